"""Training under noise: the model has sampled weights while a window is computed, and its means otherwise.

The evidence lower bound (thesis, eq. 5) is maximised by one sample of all weights per batch, the same at every time
step and in both places of a tied matrix. Where a weight is used once per text, in a classifier's last layer, the noise
is drawn for the product instead (local reparametrisation), which has less variance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.nn import functional as F

from ..constraint import Constraint
from .latents import Latents, Tensors, parameter_of
from .spec import Spec

ONCE = ("score",)  # matrices that a text uses once


class Variational(Constraint):
    """Weights are samples in training and thresholded means in validation; the KL divergence's gradient is added.

    Args:
        spec: as that of the model's `variational`.
        seed: of the noise.
    """

    def __init__(self, spec: Spec, seed: int = 0):
        self.spec, self.seed = spec, seed

    @contextmanager
    def in_force(self, model: Any) -> Iterator[None]:
        latents: Latents = model.variational
        parameters = {name: parameter_of(model, name) for name in latents.names}
        means = {name: parameter.detach() for name, parameter in parameters.items()}
        if not model.training:
            exchanged = latents.matrices(means, self.spec.thresholds[0])
            with exchange(parameters, exchanged):
                yield
            return
        leaves = {name: mean.requires_grad_() for name, mean in means.items()}
        generator = latents.generator(self.seed)
        with torch.enable_grad(), ExitStack() as stack:
            groups = latents.group_samples(generator)
            made: Tensors = {}
            drawn: list[tuple[torch.Tensor, torch.Tensor]] = []  # what a product's noise is made of, and leaves for it
            for name, theta in leaves.items():
                factor = latents.factor(name, groups)
                log_sigma = latents.log_sigma(name)
                if name in ONCE and log_sigma is not None:
                    made[name] = theta * factor
                    factor = torch.as_tensor(factor, dtype=theta.dtype, device=theta.device)
                    drawn += [(x, x.detach().requires_grad_()) for x in (log_sigma, factor)]
                    hook = local_noise(drawn[-2][1], drawn[-1][1], generator)
                    stack.callback(model.get_submodule(name).register_forward_hook(hook).remove)
                else:
                    made[name] = latents.noisy(name, theta, generator) * factor
            with exchange(parameters, made):
                yield
            if all(parameter.grad is None for parameter in parameters.values()):
                return
            kl = latents.kl(leaves) * (self.spec.kl_factor(float(latents.done)) / latents.observations)
            told = [(made[name], p.grad) for name, p in parameters.items() if p.grad is not None]
            told += [(x, leaf.grad) for x, leaf in drawn if leaf.grad is not None and x.requires_grad]
            told.append((kl, torch.ones_like(kl)))
            torch.autograd.backward([x for x, _ in told], [gradient for _, gradient in told])
            for name, parameter in parameters.items():
                parameter.grad = leaves[name].grad

    def after_update(self, model: Any, done: float) -> None:
        latents: Latents = model.variational
        latents.done.fill_(done)
        latents.updates += 1
        latents.keep_in_bounds()

    def complete(self, done: float) -> bool:
        """Only the last weights are as sparse as the bound makes them; earlier ones merely fit better."""
        return done > 1 - 1e-6

    @torch.no_grad()
    def report(self, model: Any) -> dict[str, Any]:
        """Share of numbers that stay in every matrix, number of group variables that stay, and the KL divergence."""
        latents: Latents = model.variational
        means = {name: parameter_of(model, name).detach() for name in latents.names}
        kept = latents.matrices(means, self.spec.thresholds[0])
        groups = latents.group_means(self.spec.thresholds[0], means)
        return {
            "density": {name: round(float((m != 0).float().mean()), 6) for name, m in kept.items()},
            "groups": {name: int(z.count_nonzero()) for name, z in groups.items()},
            "nonzeros": sum(int(m.count_nonzero()) for m in kept.values()),
            "kl": round(float(latents.kl(means)), 2),
        }


@contextmanager
def exchange(parameters: dict[str, Any], values: Tensors) -> Iterator[None]:
    """Inside, the parameters have other values; their gradients are kept."""
    own = {name: parameter.data for name, parameter in parameters.items()}
    for name, parameter in parameters.items():
        parameter.data = values[name].detach()
    try:
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data = own[name]


def local_noise(
    log_sigma: torch.Tensor, factor: torch.Tensor, generator: torch.Generator
) -> Callable[[Any, tuple[torch.Tensor, ...], torch.Tensor], torch.Tensor]:
    """A forward hook that adds the noise of W to x Wᵀ [B, M]: N(0, x² (sigma² factor²)ᵀ) (thesis, section 3.2)."""

    def hook(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        variance = F.linear(inputs[0].square(), (log_sigma.exp() * factor).square())
        noise = torch.randn(output.shape, generator=generator, device=output.device)
        return output + (variance + 1e-12).sqrt() * noise

    return hook
