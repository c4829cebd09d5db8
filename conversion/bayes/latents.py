"""The variational parameters of a model: a spread for every weight, and mean and spread of every group variable.

They are a module of the model, `variational`, while it trains, so that optimizer, average and saved state take them
along; the means of the weights are the model's own parameters. Letters: M rows, N columns of a matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn

from zoo.configuration_rnnlm import RnnLmConfig
from zoo.errors import RecipeError

from ..matrices import matrix_of, score_of, select, spec_of
from .groups import Group, groups_of
from .priors import KLS, LogNormal, log_alpha
from .spec import Spec

LEAST = -12.0  # log sigma
Tensors = dict[str, torch.Tensor]
# The dense factors of a form, as submodules.
FACTORS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "low_rank": lambda spec: ["left", "right"],
    "tensor_train": lambda spec: [f"cores.{number}" for number in range(len(spec["ranks"]) + 1)],
}


def names_of(config: RnnLmConfig, roles: tuple[str, ...], score: int = 0) -> list[str]:
    """The matrices that roles name, `score` of a text classifier last; of a factored one its factors, `embed/left`.

    Args:
        score: classes of a text classifier; 0: a language model.

    Raises:
        RecipeError: a role that the model has not, or a matrix whose numbers are integers or sparse.
    """
    matrices = select(config, [role for role in roles if role != "score"]) if set(roles) - {"score"} else []
    names = []
    for name in matrices:
        if score and name == "head":  # in the config of an untied classifier, not in its model
            continue
        spec = spec_of(config, name)
        form, values = spec["form"], spec.get("values", {}).get("form", "dense")
        if (form not in FACTORS and form != "dense") or values != "dense":
            raise RecipeError(f"{name} is stored as {form}; only dense matrices and factors learn so: put bayes first")
        names += [f"{name}/{factor}" for factor in FACTORS[form](spec)] if form in FACTORS else [name]
    if "score" in roles and not score:
        raise RecipeError("roles names score, the last layer of a text classifier; a language model's is head")
    if score and {"score", "all"} & set(roles):
        names.append("score")
    return names


def parameter_of(model: Any, name: str) -> nn.Parameter:
    """The parameter that holds a dense matrix or factor."""
    if name == "score":
        return model.score.weight
    matrix, _, factor = name.partition("/")
    return matrix_of(model, matrix).get_submodule(factor).weight


def key(name: str) -> str:
    """A name without dots, for the containers of torch."""
    return name.replace(".", "_").replace("/", "_")


class Latents(nn.Module):
    """Of the matrices and groups that a spec names.

    Args:
        model: dense where the spec says so; its weights are the means.
        spec: what is noisy.
        observations: words or texts that the likelihood is a sum over.
    """

    done: torch.Tensor
    updates: torch.Tensor

    def __init__(self, model: Any, spec: Spec, observations: int):
        super().__init__()
        self.spec, self.observations = spec, observations
        score = score_of(model)
        self.names = names_of(model.config, spec.roles, score)
        self.groups: list[Group] = groups_of(model.config, spec.groups, self.names, score)
        self.scaled, self.mean, self.group_scaled = nn.ParameterDict(), nn.ParameterDict(), nn.ParameterDict()
        for name in self.names:
            if spec.prior in KLS:
                theta = parameter_of(model, name).detach()
                start = spec.log_sigma + (float(theta.std(correction=0).clamp_min(1e-6).log()) if spec.relative else 0)
                self.scaled[key(name)] = nn.Parameter(torch.full_like(theta, start / spec.rate))
        log_normal = spec.group_prior == "log_normal"
        for group in self.groups if spec.prior != "group_lasso" else ():
            self.mean[key(group.name)] = nn.Parameter(torch.full((group.size,), -0.05 if log_normal else 1.0))
            start = spec.group_log_sigma / spec.rate
            self.group_scaled[key(group.name)] = nn.Parameter(torch.full((group.size,), start))
        self.register_buffer("done", torch.zeros((), dtype=torch.float64))  # share of the training that is over
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def log_sigma(self, name: str) -> torch.Tensor | None:
        """log sigma of a matrix's weights [M, N]; None where they are plain numbers."""
        return self.spec.rate * self.scaled[key(name)] if key(name) in self.scaled else None

    def spread(self, group: Group) -> torch.Tensor:
        """log sigma of a group's variables [size]."""
        return self.spec.rate * self.group_scaled[key(group.name)]

    def generator(self, seed: int = 0) -> torch.Generator:
        """The noise of the update to come: the same in all processes, and in a run that goes on."""
        return torch.Generator(self.done.device).manual_seed(1_000_003 * seed + int(self.updates))

    def group_log_alpha(self, group: Group) -> torch.Tensor:
        """log(variance / mean²) of its variables [size]."""
        mean, spread = self.mean[key(group.name)], self.spread(group)
        return (LogNormal.log_alpha if self.spec.group_prior == "log_normal" else log_alpha)(mean, spread)

    def group_means(self, threshold: float, means: Tensors | None = None) -> Tensors:
        """Name of a group -> the mean of its variables [size], zero where they go."""
        found = {}
        for group in self.groups:
            mean, spread = self.mean[key(group.name)], self.spread(group)
            value = LogNormal.moment(mean, spread, 1) if self.spec.group_prior == "log_normal" else mean
            found[group.name] = value.masked_fill(self.group_log_alpha(group) > self.spec.group_limit(threshold), 0)
        return found

    def group_samples(self, generator: torch.Generator) -> Tensors:
        """Name of a group -> a sample of its variables [size]."""
        found = {}
        for group in self.groups:
            mean, spread = self.mean[key(group.name)], self.spread(group)
            options: dict[str, Any] = {"generator": generator, "device": mean.device}
            if self.spec.group_prior == "log_normal":
                found[group.name] = LogNormal.sample(mean, spread, torch.rand(mean.shape, **options))
            else:
                found[group.name] = mean + spread.exp() * torch.randn(mean.shape, **options)
        return found

    def factor(self, name: str, groups: Tensors) -> torch.Tensor | float:
        """What the group variables multiply a matrix with, [M, 1], [1, N] or [M, N]."""
        factor: torch.Tensor | float = 1.0
        for group in self.groups:
            z = groups[group.name]
            if name in group.rows:
                factor = factor * z[:, None]
            if name in group.columns:
                factor = factor * z[None, :]
        return factor

    def noisy(self, name: str, theta: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """A sample of a matrix [M, N] before its groups, by the additive reparametrisation (thesis, eq. 2)."""
        log_sigma = self.log_sigma(name)
        if log_sigma is None:
            return theta
        return theta + log_sigma.exp() * torch.randn(theta.shape, generator=generator, device=theta.device)

    def kl(self, means: Tensors) -> torch.Tensor:
        """The KL divergence of all weights and group variables from their priors, nats."""
        terms = []
        if self.spec.prior in KLS:
            kl, spreads = KLS[self.spec.prior], {name: self.log_sigma(name) for name in self.names}
            terms += [kl(means[name], spread).sum() for name, spread in spreads.items() if spread is not None]
        group_kl = LogNormal.kl if self.spec.group_prior == "log_normal" else KLS["log_uniform"]
        terms += [group_kl(self.mean[key(g.name)], self.spread(g)).sum() for g in self.groups]
        return torch.stack(terms).sum()

    @torch.no_grad()
    def matrices(self, means: Tensors, threshold: float) -> Tensors:
        """Name -> the matrix that counts after training: means times group means, with what goes set to zero.

        Args:
            means: name -> mean [M, N].
            threshold: of the spec's criterion.
        """
        groups, found = self.group_means(threshold), {}
        for name in self.names:
            theta = means[name].detach()
            if self.spec.prior in ("log_uniform", "ard"):
                theta = theta.masked_fill(self.goes(name, theta, threshold), 0)
            found[name] = theta * self.factor(name, groups)
        return found

    def goes(self, name: str, theta: torch.Tensor, threshold: float) -> torch.Tensor:
        """Which numbers of a matrix a threshold makes zero, bool [M, N]."""
        spread = cast("torch.Tensor", self.log_sigma(name)).detach()
        if self.spec.criterion == "prior_variance":
            return theta.square() + (2 * spread).exp() < threshold
        if self.spec.criterion == "snr":
            return theta.abs() < threshold * spread.exp()
        return log_alpha(theta, spread) > threshold

    @torch.no_grad()
    def keep_in_bounds(self) -> None:
        """Keeps the spreads where their exponentials are numbers."""
        for scaled in (*self.scaled.values(), *self.group_scaled.values()):
            scaled.clamp_(LEAST / self.spec.rate, self.spec.most_log_sigma / self.spec.rate)
