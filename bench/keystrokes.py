"""Which slot a word comes in, by the letters typed of it: what `Keyboard.suggest` shows, over whole texts at once.

A suggestion is right when it shows what the target, by the rules of case, shows. Letters: V vocabulary, k slots.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from zoo.keyboard.lexicon import folded
from zoo.keyboard.model import KeyboardModel
from zoo.keyboard.ranking import TWIN, shown

from .typed import Word

SLOTS = 3  # the most that are looked at
LETTERS = 3  # typed letters up to which the slot is looked up whatever came before


class Found(NamedTuple):
    """Of one word: its slot after 0, 1, 2 ... letters, counted from 0; SLOTS: in none; as far as it was looked up."""

    slots: tuple[int, ...]

    def keys(self, k: int, length: int) -> int:
        """Keys for the word and the space after it, by a person who takes it as soon as it is in one of k slots."""
        return next((letters + 1 for letters, slot in enumerate(self.slots[:length]) if slot < k), length + 1)


class Slots:
    """Looks words up in distributions.

    Args:
        model: whose vocabulary and lexicon.
        allowed: [V], whether a word may be suggested.
    """

    def __init__(self, model: KeyboardModel, allowed: np.ndarray):
        self._words, self._lexicon, self.allowed = model.vocabulary.words, model.lexicon, allowed
        # Better words that surely fill the slots, as one may be what is typed and each may come in several cases.
        self._enough = (SLOTS + 1) * model.lexicon.twins
        self._matches: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def of(self, word: Word, log_probs: np.ndarray, letters: int | None = None) -> Found:
        """A word's slots in a distribution [V].

        Args:
            letters: how many are typed at most; None: at least LETTERS, and then until the word is in the first slot.
        """
        if word.token < 0 or not self.allowed[word.token]:
            return Found((SLOTS,) * (len(word.typed) if letters is None else letters + 1))
        found = [self._next(word, log_probs)]
        for typed in range(1, len(word.typed) if letters is None else letters + 1):
            if letters is None and typed > LETTERS and found[-1] == 0:
                break
            found.append(self._completion(word, word.typed[:typed], log_probs))
        return Found(tuple(found))

    def _next(self, word: Word, log_probs: np.ndarray) -> int:
        """The slot before any letter."""
        own = log_probs[word.token]
        better = np.flatnonzero(log_probs >= own)
        better = better[self.allowed[better]]
        better = better[(log_probs[better] > own) | (better <= word.token)]
        return self._slot(word, "", better, -log_probs[better])

    def _completion(self, word: Word, prefix: str, log_probs: np.ndarray) -> int:
        """The slot after some letters."""
        key = folded(prefix)
        if key not in self._matches:
            ids, costs = self._lexicon.matches(prefix)
            kept = self.allowed[ids]
            self._matches[key] = ids[kept], costs[kept]
        ids, costs = self._matches[key]
        scores = log_probs[ids].astype(np.float64) - costs
        own = scores[ids == word.token]
        if not len(own):  # the typed form is not how the word is written, as a number in it
            return SLOTS
        better = np.flatnonzero((scores > own[0]) | ((scores == own[0]) & (ids <= word.token)))
        return self._slot(word, prefix, ids[better], -scores[better])

    def _slot(self, word: Word, prefix: str, ids: np.ndarray, costs: np.ndarray) -> int:
        """The slot of a word that is the last of these, as they are shown."""
        if len(ids) > self._enough:
            return SLOTS
        wanted, texts, best = shown(word.form, prefix, word.starts), set[str](), dict[str, float]()
        for place in np.lexsort((ids, costs)).tolist():
            better, cost = self._words[ids[place]], float(costs[place])
            if cost - best.setdefault(folded(better), cost) > TWIN:
                continue
            text = shown(better, prefix, word.starts)
            if text == wanted:
                return min(len(texts), SLOTS)
            if text != prefix:
                texts.add(text)
        return SLOTS
