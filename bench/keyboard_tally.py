"""Sums of what a keyboard was worth, sequence by sequence, and the numbers that are told of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .keystrokes import LETTERS, SLOTS, Found
from .typed import Sequence, Word


@dataclass
class Tally:
    """Sums over sequences of one source, read in one way.

    sequences: (hits of slot 1, hits of all slots, words) of each, for the standard errors.
    """

    sequences: list[tuple[int, int, int]] = field(default_factory=list)
    loss: float = 0.0
    tokens: int = 0
    known_loss: float = 0.0
    known_tokens: int = 0
    unknown_words: int = 0
    completions: dict[int, list[int]] = field(default_factory=lambda: {n: [0, 0, 0] for n in range(1, LETTERS + 1)})
    keys: dict[int, int] = field(default_factory=lambda: {1: 0, SLOTS: 0})
    plain_keys: int = 0
    least_keys: int = 0

    def add(self, sequence: Sequence, losses: np.ndarray, found: list[Found], unk: int | None) -> None:
        """One sequence: losses of its tokens, slots of its words."""
        known = np.array([token != unk for token in sequence.ids])
        self.loss += float(losses.sum())
        self.tokens += len(losses)
        self.known_loss += float(losses[known].sum())
        self.known_tokens += int(known.sum())
        firsts = [one.slots[0] for one in found]
        self.sequences.append((firsts.count(0), sum(slot < SLOTS for slot in firsts), len(firsts)))
        self.plain_keys += sequence.signs
        self.least_keys += sequence.signs
        for k in self.keys:
            self.keys[k] += sequence.signs
        for word, one in zip(sequence.words, found, strict=True):
            self._add_word(word, one)

    def _add_word(self, word: Word, found: Found) -> None:
        length = len(word.typed)
        self.unknown_words += word.token < 0
        self.plain_keys += length + 1
        self.least_keys += 1 if word.token >= 0 else length + 1
        for k in self.keys:
            self.keys[k] += found.keys(k, length)
        for letters in self.completions:
            if length > letters < len(found.slots):
                row = self.completions[letters]
                row[0] += found.slots[letters] == 0
                row[1] += found.slots[letters] < SLOTS
                row[2] += 1

    def __iadd__(self, other: Tally) -> Tally:
        self.sequences += other.sequences
        for name in ("loss", "tokens", "known_loss", "known_tokens", "unknown_words", "plain_keys", "least_keys"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for k in self.keys:
            self.keys[k] += other.keys[k]
        for letters, row in other.completions.items():
            self.completions[letters] = [a + b for a, b in zip(self.completions[letters], row, strict=True)]
        return self

    def summary(self, completions: bool) -> dict[str, Any]:
        """The numbers by name.

        Args:
            completions: with those of partial words.
        """
        first, all_, words = np.array(self.sequences).reshape(-1, 3).T
        found: dict[str, Any] = {
            "sequences": len(self.sequences),
            "words": int(words.sum()),
            "unknown_words": self.unknown_words / max(1, int(words.sum())),
            "top1": _ratio(first, words),
            "top3": _ratio(all_, words),
            "tokens": self.tokens,
            "perplexity": math.exp(self.loss / max(1, self.tokens)),
            "perplexity_without_unk": math.exp(self.known_loss / max(1, self.known_tokens)),
        }
        if completions:
            found["completion"] = {
                str(letters): {"words": words_, "top1": top1 / max(1, words_), "top3": top3 / max(1, words_)}
                for letters, (top1, top3, words_) in self.completions.items()
            }
            saved = {f"saved_{k}": 1 - keys / max(1, self.plain_keys) for k, keys in self.keys.items()}
            limit = 1 - self.least_keys / max(1, self.plain_keys)
            found["keystrokes"] = {"without": self.plain_keys, **saved, "limit": limit}
        return found


def _ratio(hits: np.ndarray, words: np.ndarray) -> dict[str, float]:
    """Share of words, and its standard error with sequences as what was drawn."""
    total = max(1, int(words.sum()))
    share = float(hits.sum() / total)
    return {"recall": share, "standard_error": float(np.sqrt(np.square(hits - share * words).sum()) / total)}
