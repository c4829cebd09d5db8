"""The words of a log counted: in numpy after every word that is typed, and plainly.

Letters: N words of the log, C different words in it, or before one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

import numpy as np


class Counts:
    """A log as numbers, changed in step with it.

    Args:
        log: (word, the one before or None), oldest first.
    """

    def __init__(self, log: Iterable[tuple[str, str | None]] = ()):
        self._codes: dict[str, int] = {}
        self.names: list[str] = []  # by code
        self._words: deque[int] = deque()
        self._before: deque[int] = deque()
        self._ids: Mapping[str, int] | None = None
        self._tokens: list[int] = []
        for word, previous in log:
            self.add(word, previous)

    def add(self, word: str, previous: str | None, oldest: bool = False) -> None:
        """One more word, the latest or the oldest."""
        put = (self._words.appendleft, self._before.appendleft) if oldest else (self._words.append, self._before.append)
        put[0](self._code(word))
        put[1](-1 if previous is None else self._code(previous))

    def remove(self, place: int) -> None:
        """Takes a word out, counted from the oldest."""
        del self._words[place], self._before[place]

    def weights(self, previous: str | None, half_life: float) -> tuple[np.ndarray, np.ndarray]:
        """Weight of every word [C], and of those whose word before is `previous`; the latest word weighs 1."""
        N, C = len(self._words), len(self.names)
        words = np.fromiter(reversed(self._words), np.int64, N)
        decay = np.full(N, 0.5 ** (1 / half_life))
        decay[:1] = 1
        weights = np.cumprod(decay)
        code = -2 if previous is None else self._codes.get(previous, -2)
        after = np.fromiter(reversed(self._before), np.int64, N) == code
        return np.bincount(words, weights, C), np.bincount(words[after], weights[after], C)

    def tokens(self, ids: Mapping[str, int]) -> np.ndarray:
        """The id of every word [C] in a vocabulary; -1: it has none."""
        if ids is not self._ids:
            self._ids, self._tokens = ids, []
        self._tokens += [ids.get(word, -1) for word in self.names[len(self._tokens) :]]
        return np.array(self._tokens, np.int64)

    def _code(self, word: str) -> int:
        code = self._codes.setdefault(word, len(self.names))
        if code == len(self.names):
            self.names.append(word)
        return code


def plain_weights(
    log: Iterable[tuple[str, str | None]], half_life: float
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """The plain twin of `Counts.weights`: of every word, and of every word after each word before; oldest first."""
    single: dict[str, float] = {}
    after: dict[str, dict[str, float]] = {}
    weight, decay = 1.0, 0.5 ** (1 / half_life)
    for word, previous in reversed(list(log)):
        single[word] = single.get(word, 0.0) + weight
        if previous is not None:
            row = after.setdefault(previous, {})
            row[word] = row.get(word, 0.0) + weight
        weight *= decay
    return single, after
