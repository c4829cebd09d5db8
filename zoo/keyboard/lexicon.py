"""Words that begin as a person has typed, exactly or with one slip.

Words are compared in lower case with straight quotes. Letters: W words of the lexicon, n letters typed.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ..typed_text import straight

TYPO = 7.0  # nats that a slip costs, as bench.slips weighs it: the word must be 1,100 times as likely
APOSTROPHE = 1.0  # nats that a missing apostrophe costs
SHORTEST = 3  # letters from which a slip is looked for; of a missing apostrophe one fewer
LONGEST = 20  # letters up to which it is; a longer word is completed only as typed
MOST = 40  # letters of the longest word that is completed at all
PARTIAL = re.compile(r"\w[\w']*")


def folded(text: str) -> str:
    """A word as it is compared."""
    return straight(text).lower()


def is_partial(folded_prefix: str) -> bool:
    """Whether it can be the beginning of a word: letters, digits and apostrophes, at most 40."""
    return len(folded_prefix) <= MOST and PARTIAL.fullmatch(folded_prefix) is not None


class Lexicon:
    """A sorted list of words; a prefix is one range of it.

    Args:
        words: as they are shown; several may differ in case only.
        ids: of the words, what `matches` returns.
    """

    def __init__(self, words: Sequence[str], ids: Sequence[int]):
        pairs = sorted((folded(word), token) for word, token in zip(words, ids, strict=True))
        self._keys = [key for key, _ in pairs]
        self._ids = np.array([token for _, token in pairs], np.int64)
        self.twins = max(Counter(self._keys).values(), default=1)  # the most words that differ in case only
        self._letters = np.zeros((LONGEST + 1, len(pairs)), np.uint32)  # zeros after the end of a word
        for row, key in enumerate(self._keys):
            for place, letter in enumerate(key[: LONGEST + 1]):
                self._letters[place, row] = ord(letter)
        self._apostrophes = _bits([letters == ord("'") for letters in self._letters])

    def matches(self, prefix: str) -> tuple[np.ndarray, np.ndarray]:
        """The words that begin with a prefix, or would but for one slip.

        Returns:
            their ids, and what the slip costs in nats: 0 where there is none.
        """
        prefix = folded(prefix)
        if not is_partial(prefix):
            return np.zeros(0, np.int64), np.zeros(0)
        first, last = bisect_left(self._keys, prefix), bisect_left(self._keys, prefix + "\U0010ffff")
        rows, costs = self._slips(prefix)
        ids = np.concatenate([self._ids[first:last], self._ids[rows]])
        return ids, np.concatenate([np.zeros(last - first), costs])

    def _slips(self, prefix: str) -> tuple[np.ndarray, np.ndarray]:
        """Rows of words that match with exactly one letter wrong, missing, too many, or two swapped; their costs.

        Bit i of a row says whether a typed letter is that of the word at i, i + 1 or i - 1.
        """
        n = len(prefix)
        if not SHORTEST - 1 <= n <= LONGEST or not self._keys:
            return np.zeros(0, np.int64), np.zeros(0)
        typed, letters = [ord(letter) for letter in prefix], self._letters
        here = _bits([letters[i] == typed[i] for i in range(n)])
        later = _bits([letters[i + 1] == typed[i] for i in range(n)])
        at = ~here & (here + 1)  # the bit of the first letter that differs
        missing = _all_from(later, at, n)  # typed[i:] = word[i+1:]
        apostrophe = missing & (self._apostrophes & at > 0)
        found = apostrophe
        if n >= SHORTEST:
            sooner = _bits([letters[0] != letters[0], *(letters[i - 1] == typed[i] for i in range(1, n))])
            wrong = _all_from(here, at << 1, n)  # typed[i+1:] = word[i+1:]
            too_many = _all_from(sooner, at << 1, n)  # typed[i+1:] = word[i:]
            swapped = (later & at > 0) & (sooner & (at << 1) > 0) & _all_from(here, at << 2, n)
            found = missing | wrong | too_many | swapped
        rows = np.flatnonzero(found & (at < 1 << n))
        return rows, np.where(apostrophe[rows], APOSTROPHE, TYPO)


def _bits(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Columns [W] of truths -> numbers [W] with a bit for each."""
    found = np.zeros(len(columns[0]), np.int32)
    for place, column in enumerate(columns):
        found |= column.astype(np.int32) << place
    return found


def _all_from(bits: np.ndarray, first: np.ndarray, n: int) -> np.ndarray:
    """Whether all of n bits are set from one on, which is given as a number with that bit alone [W]."""
    asked = ((1 << n) - 1) & ~(first - 1)
    return bits & asked == asked
