"""Chooses how much a person's words weigh beside the model."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Many

import numpy as np

from zoo.keyboard.personal import MIXTURE, Mixture
from zoo.keyboard.vocabulary import Vocabulary

from .personal import Measured, curve

GRID: dict[str, tuple[float, ...]] = {
    "single": (0.1, 0.2, 0.3),
    "single_half": (300, 1000, 3000),
    "pair": (0.1, 0.2, 0.3),
    "pair_half": (4, 8, 16),
    "half_life": (2000, 8000, 30000),
}


def tuned(
    people: Many[tuple[Many[Measured], Many[int]]], vocabulary: Vocabulary, allowed: np.ndarray
) -> Iterator[tuple[Mixture, float]]:
    """One number of the mixture after the other is set to the best of GRID, twice; every one that was better so far.

    people: groups and numbers of messages; what counts is the mean gain of top-3 over all.
    """

    def gain(mixture: Mixture) -> float:
        found = [curve(group, sizes, mixture, vocabulary, allowed, ("own",))["curve"][1:] for group, sizes in people]
        return float(np.mean([row["own"]["gain_top3"] for rows in found for row in rows]))

    best, most = MIXTURE, gain(MIXTURE)
    yield best, most
    for _ in range(2):
        for name, values in GRID.items():
            for value in values:
                other = best._replace(**{name: value})
                if other != best and (found := gain(other)) > most:
                    best, most = other, found
                    yield best, most
