"""Dynamic evaluation (Krause et al. 2018): the weights follow the text that has been scored already.

After each window the weights take a step down its gradient, each divided by what is usual for it on training text, and
a step back towards the trained weights (their eq. 6 and 7, "RMS with an RMS global prior").
Letters: N tokens, S stripes, T time steps of a window, V vocabulary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .errors import CheckpointError, ZooError
from .scoring import Scores, Sums, check_stream

if TYPE_CHECKING:
    import torch

    from .modeling_rnnlm import RnnLmForCausalLM

STRIPES = 20  # of training text side by side, for the usual gradients
MOST = 200_000  # training tokens that tell them


@dataclass(frozen=True)
class Dynamic:
    """How far the weights follow.

    Attributes:
        lr: step of a weight whose gradient is the usual one.
        decay: share of the way back to the trained weight after each window, where the usual gradient is the mean one;
            in proportion to it elsewhere, never more than all of the way.
        floor: added to each usual gradient, in means of all.
        window: targets between two steps.
    """

    lr: float = 0.0002
    decay: float = 0.008
    floor: float = 0.5
    window: int = 10

    def check(self) -> None:
        """Refuses (ZooError) what is no step."""
        finite = math.isfinite(self.lr) and math.isfinite(self.floor)
        if not (finite and self.lr >= 0 and 0 <= self.decay <= 1 and self.floor > 0 and self.window >= 1):
            raise ZooError(
                f"lr={self.lr:g} decay={self.decay:g} floor={self.floor:g} window={self.window}; allowed: any finite "
                "lr from 0, decay from 0 to 1, floor above 0, window from 1"
            )


def learning(model: RnnLmForCausalLM) -> list[torch.nn.Parameter]:
    """The parameters that have gradients: of what is stored in integers none but the biases.

    Raises:
        CheckpointError: all matrices are stored in integers.
    """
    from .integers_rnnlm import Packed
    from .sparse_rnnlm import Sparse

    fixed = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, Packed | Sparse)
        for name, parameter in module.named_parameters(recurse=False)
        if name not in ("bias", "values")
    }
    found = [part for part in model.parameters() if part.is_floating_point() and id(part) not in fixed]
    biases = {id(parameter) for name, parameter in model.named_parameters() if name.rpartition(".")[2].endswith("bias")}
    if all(id(part) in biases for part in found):
        raise CheckpointError(
            "all matrices are stored in integers, which have no gradients, so the weights cannot follow the text; "
            "give zoo.floats.in_floats(model), the same model in floats"
        )
    return found


def usual_gradients(
    model: RnnLmForCausalLM,
    tokens: np.ndarray,
    eos_id: int,
    window: int,
    most: int = MOST,
    on_tokens: Callable[[int], object] | None = None,
) -> list[torch.Tensor]:
    """Root mean square of the gradient of each number of `learning(model)` over training text.

    Args:
        tokens: ids [N] of the training text; evenly spread stripes of it are read.
        window: T, as it will be in the evaluation.
        most: tokens that are read.
        on_tokens: called with the number of tokens done since the last call.

    Raises:
        CheckpointError: nothing learns. CorpusError, VocabularyError, ZooError: as `score_stream`.
    """
    import torch

    tokens = np.asanyarray(tokens)
    check_stream(tokens, eos_id, model.config.vocab_size, window)
    parts, N = learning(model), len(tokens)
    S = min(STRIPES, N)
    starts = (np.arange(S) * N // S)[:, None]  # [S, 1]
    squares, state, count = [torch.zeros_like(part) for part in parts], None, 0
    length = max(1, min(N // S, most // S))
    with _as_it_was(model, parts):
        for first in range(0, length, window):
            places = starts + np.arange(first, min(first + window, length))  # [S, T]
            before = np.where(places == 0, eos_id, tokens[np.maximum(places - 1, 0)])
            logits, state = _forward(model, before, state)
            targets = torch.from_numpy(tokens[places].astype(np.int64)).to(model.device)
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
            for square, gradient in zip(squares, _gradients(loss, parts), strict=True):
                square.addcmul_(gradient, gradient)
            count += 1
            if on_tokens is not None:
                on_tokens(places.size)
    return [square.div_(count).sqrt_() for square in squares]


def score_dynamic(
    model: RnnLmForCausalLM,
    tokens: np.ndarray,
    eos_id: int,
    usual: list[torch.Tensor],
    how: Dynamic,
    on_tokens: Callable[[int], object] | None = None,
) -> Scores:
    """Scores every token of a stream [N] as `score_stream` does, with weights that follow; they are then as before.

    Args:
        usual: of `usual_gradients`.
        on_tokens: called with the number of tokens done since the last call.

    Raises:
        CheckpointError: nothing learns, or no finite probabilities. Others as `score_stream`.
    """
    sums, began = Sums(()), time.perf_counter()
    for logits, targets in predictions(model, tokens, eos_id, usual, how):
        sums.add(logits, targets)
        if on_tokens is not None:
            on_tokens(len(targets))
    return sums.scores(time.perf_counter() - began)


def predictions(
    model: RnnLmForCausalLM, tokens: np.ndarray, eos_id: int, usual: list[torch.Tensor], how: Dynamic
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(logits [T, V], targets [T]) of one window after the other; it is learnt from when the next one is asked for."""
    import torch

    tokens = np.asanyarray(tokens)
    check_stream(tokens, eos_id, model.config.vocab_size, how.window)
    how.check()
    parts = learning(model)
    mean = torch.stack([part.mean() for part in usual]).mean()
    if not mean > 0:
        raise CheckpointError("the usual gradients are all zero; this model learns nothing from its training text")
    shares = [(how.decay * part / mean).clamp_(max=1) for part in usual]
    steps = [how.lr / (part + how.floor * mean) for part in usual]
    inputs, state = np.concatenate([[eos_id], tokens[:-1]]), None
    trained = [part.detach().clone() for part in parts]
    with _as_it_was(model, parts):
        for first in range(0, len(tokens), how.window):
            logits, state = _forward(model, inputs[None, first : first + how.window], state)
            targets = torch.from_numpy(tokens[first : first + how.window].astype(np.int64)).to(model.device)
            yield logits[0].detach().clone(), targets
            gradients = _gradients(torch.nn.functional.cross_entropy(logits[0], targets), parts)
            with torch.no_grad():
                numbers = [part.data for part in parts]
                torch._foreach_lerp_(numbers, trained, shares)
                torch._foreach_addcmul_(numbers, gradients, steps, value=-1)


def _forward(model: RnnLmForCausalLM, inputs: np.ndarray, state: object) -> tuple[torch.Tensor, object]:
    """ids [S, T] and the state before them -> logits [S, T, V] with their graph, and the state cut off from it."""
    import torch

    ids = torch.from_numpy(inputs.astype(np.int64)).to(model.device)
    with torch.enable_grad():
        output = model.model(ids, past_key_values=state, use_cache=True)
        logits = model.logits(model.readout(output.last_hidden_state)).float()
    return logits, output.past_key_values.detach()


def _gradients(loss: torch.Tensor, parts: list[torch.nn.Parameter]) -> tuple[torch.Tensor, ...]:
    """Gradient of each part."""
    import torch

    return torch.autograd.grad(loss, parts)


class _as_it_was:
    """Evaluation mode with gradients inside, mode and numbers of the model as before outside."""

    def __init__(self, model: RnnLmForCausalLM, parts: list[torch.nn.Parameter]):
        self.model, self.parts = model, parts

    def __enter__(self) -> None:
        self.training, self.wanted = self.model.training, [part.requires_grad for part in self.parts]
        self.numbers = [part.detach().clone() for part in self.parts]
        self.model.eval()
        for part in self.parts:
            part.requires_grad_(True)

    def __exit__(self, *_: object) -> None:
        self.model.train(self.training)
        for part, wanted, numbers in zip(self.parts, self.wanted, self.numbers, strict=True):
            part.data.copy_(numbers)
            part.requires_grad_(wanted)
