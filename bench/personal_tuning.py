"""Chooses how much a person's words weigh beside the model."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Many

import numpy as np

from zoo.keyboard.personal import MIXTURE, Mixture
from zoo.keyboard.vocabulary import Vocabulary

from .personal import Measured, curve

FACTORS = {"single": 1.5, "single_half": 2.0, "pair": 1.5, "pair_half": 2.0, "half_life": 2.0}  # a step of each number
WEIGHTS = ("single", "pair")  # shares: they stay below one
STEPS = 6  # in one direction, at most


def tuned(
    people: Many[tuple[Many[Measured], Many[int]]], vocabulary: Vocabulary, allowed: np.ndarray
) -> Iterator[tuple[Mixture, float]]:
    """One number of the mixture after the other goes up or down while that is better, twice; every one that was better.

    people: groups and numbers of messages; what counts is the mean gain of top-3 over all.
    """

    def gain(mixture: Mixture) -> float:
        found = [curve(group, sizes, mixture, vocabulary, allowed, ("own",))["curve"][1:] for group, sizes in people]
        return float(np.mean([row["own"]["gain_top3"] for rows in found for row in rows]))

    best, most = MIXTURE, gain(MIXTURE)
    yield best, most
    for _ in range(2):
        for name, factor in FACTORS.items():
            for step in (factor, 1 / factor):
                before = most
                for _ in range(STEPS):
                    value = getattr(best, name) * step
                    other = best._replace(**{name: value})
                    if (name in WEIGHTS and value >= 1) or (found := gain(other)) <= most:
                        break
                    best, most = other, found
                    yield best, most
                if most > before:  # the other direction was worse than where this one began
                    break
