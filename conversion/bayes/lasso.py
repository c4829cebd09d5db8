"""Group lasso, the comparison method without noise: groups of weights are driven to zero by their norms.

With the group `hidden` it learns intrinsic sparse structures (Wen et al. 2018; thesis, section 5.3): a unit's group has
all weights that come in (the rows of its gates) and all that go out. Letters: H hidden, G gates.
"""

from __future__ import annotations

import math

import torch

from .groups import Group
from .latents import Latents, Tensors

TINY = 1e-12  # under the root, so that a group of zeros has a gradient


class Lasso(Latents):
    """Groups with norms in the place of group variables with noise; it has no parameters of its own."""

    def group_samples(self, generator: torch.Generator) -> Tensors:
        return {}

    def factor(self, name: str, groups: Tensors) -> torch.Tensor | float:
        return 1.0

    def kl(self, means: Tensors) -> torch.Tensor:
        """The penalty: sum of the groups' norms times the roots of their sizes, a number per observation."""
        terms = []
        for group in self.groups:
            squares, count = self.squares(group, means)
            terms.append(math.sqrt(count) * (squares + TINY).sqrt().sum())
        return torch.stack(terms).sum() * self.observations

    def squares(self, group: Group, means: Tensors) -> tuple[torch.Tensor, int]:
        """The sum of the squares of every group's weights [size], and how many there are in one."""
        parts: list[torch.Tensor] = [means[name].square().sum(1) for name in group.rows]
        parts += [means[name].square().sum(0) for name in group.columns]
        count = sum(means[name].shape[1] for name in group.rows) + sum(means[name].shape[0] for name in group.columns)
        for name in self.incoming(group):
            parts.append(means[name].square().sum(1).view(-1, group.size).sum(0))
            count += means[name].numel() // group.size
        return torch.stack(parts).sum(0), count

    def incoming(self, group: Group) -> list[str]:
        """The matrices whose rows are the gates of a hidden group's units."""
        kind, _, layer = group.name.partition(".")
        names = [f"input.{layer}", f"recurrent.{layer}"] if kind == "hidden" else []
        return [name for name in names if name in self.names]

    @torch.no_grad()
    def matrices(self, means: Tensors, threshold: float) -> Tensors:
        """Name -> the matrix without the groups whose root mean square is below the threshold."""
        found = {name: mean.detach().clone() for name, mean in means.items()}
        for group, z in zip(self.groups, self.group_means(threshold, means).values(), strict=True):
            goes = z == 0
            for name in group.rows:
                found[name][goes] = 0
            for name in group.columns:
                found[name][:, goes] = 0
            for name in self.incoming(group):
                found[name][goes.repeat(len(found[name]) // group.size)] = 0
        return found

    def group_means(self, threshold: float, means: Tensors | None = None) -> Tensors:
        """Name of a group -> root mean square of its weights [size], zero where it is below the threshold."""
        found = {}
        for group in self.groups:
            squares, count = self.squares(group, means or {})
            size = (squares / count).sqrt()
            found[group.name] = size.masked_fill(size < threshold, 0)
        return found
