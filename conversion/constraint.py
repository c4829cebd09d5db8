"""What fine-tuning keeps to: pruned weights that stay zero, weights that are quantized in every forward.

The trainer has a constraint in force while it computes loss and gradients and while it validates, and calls
`after_update` after every step of the optimizer, for the model and for the average of its weights. A constraint carries
nothing from update to update: all follows from the weights and the share of the training that is done, so a run that
was stopped goes on as it would have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn


class Constraint:
    """Of a model's weights; a subclass overrides what it needs, the rest does nothing."""

    @contextmanager
    def in_force(self, model: nn.Module) -> Iterator[None]:
        """Inside, the model has the weights that count, e.g. quantized ones; afterwards its own (latent) ones again.

        Forward and backward pass run inside, so the gradients of the weights that count become those of the latent ones
        (the straight-through estimate of Bengio et al. 2013). The parameters must stay the same objects: a constraint
        exchanges their `data`.
        """
        yield

    def after_update(self, model: nn.Module, done: float) -> None:
        """Corrects the weights after an update; `done`: the share of the whole training that is over, 0 to 1."""

    def complete(self, done: float) -> bool:
        """Whether the weights at this point are of the kind wanted; until then none is kept as the best."""
        return True

    def report(self, model: nn.Module) -> dict[str, Any]:
        """What the log of the run should say of the weights beside the perplexities."""
        return {}


class NoConstraint(Constraint):
    """Free weights."""


class KeepZeros(Constraint):
    """Weights that are zero stay zero: no gradient reaches them, and the optimizer's momentum does not revive them.

    Args:
        names: of the parameters; a tied tensor by either of its names.
    """

    def __init__(self, names: Iterable[str]):
        self.names = tuple(names)
        self.zeros: list[torch.Tensor] = []  # of the update under way, in the order of `tensors`

    def tensors(self, model: nn.Module) -> list[nn.Parameter]:
        """The parameters named, each once."""
        return list({id(tensor): tensor for tensor in map(model.get_parameter, self.names)}.values())

    @contextmanager
    def in_force(self, model: nn.Module) -> Iterator[None]:
        tensors = self.tensors(model)
        self.zeros = [tensor.detach() == 0 for tensor in tensors]
        yield
        for tensor, zero in zip(tensors, self.zeros, strict=True):
            if tensor.grad is not None:
                tensor.grad.masked_fill_(zero, 0)

    @torch.no_grad()
    def after_update(self, model: nn.Module, done: float) -> None:
        for tensor, zero in zip(self.tensors(model), self.zeros, strict=True):
            tensor.masked_fill_(zero, 0)


class Together(Constraint):
    """Several constraints at once, e.g. a pruned model that is quantized.

    Args:
        constraints: the first one sees the latent weights; each after it what those before have put in force.
    """

    def __init__(self, *constraints: Constraint):
        self.constraints = constraints

    @contextmanager
    def in_force(self, model: nn.Module) -> Iterator[None]:
        with ExitStack() as stack:
            for constraint in self.constraints:
                stack.enter_context(constraint.in_force(model))
            yield

    def after_update(self, model: nn.Module, done: float) -> None:
        for constraint in self.constraints:
            constraint.after_update(model, done)

    def complete(self, done: float) -> bool:
        return all(constraint.complete(done) for constraint in self.constraints)
