"""The words of a checkpoint as a keyboard uses them: which may be suggested, and which tokens a typed word is.

What a vocabulary lacks switches rules off: without case words are read in lower case, without signs only the end of a
sentence is read (as `<eos>`), and one with "n't" is read as the Penn Treebank splits words.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from ..errors import CheckpointError
from ..tokenization import EOS, UNK
from ..typed_text import ENDS, Casing, is_word

PENN = re.compile(r"(.+?)(n't|'s|'re|'ve|'m|'ll|'d)")
CASED = 0.01  # share of words with a capital from which a vocabulary has case


class Vocabulary:
    """The words of a checkpoint, in the order of their ids; never changed.

    Args:
        words: by falling frequency, with `<eos>`, and `<unk>` if unknown words are to be read.
        special: further ids that are never suggested.

    Raises:
        CheckpointError: no `<eos>`.
    """

    def __init__(self, words: Sequence[str], special: Sequence[int] = ()):
        self.words = list(words)
        self.ids = {word: token for token, word in enumerate(self.words)}
        if EOS not in self.ids:
            raise CheckpointError(f"the vocabulary of {len(self.words)} words lacks {EOS}; use a model of this zoo")
        self.eos, self.unk = self.ids[EOS], self.ids.get(UNK)
        ordinary = [word for word in self.words if word not in (EOS, UNK)]
        self.has_case = sum(word != word.lower() for word in ordinary) >= CASED * len(ordinary)
        self.has_signs = "." in self.ids
        self.is_penn = "n't" in self.ids
        self._casing = Casing.of_vocabulary(ordinary)
        never = {self.eos, self.unk, *special, *((self.ids.get("n't"), self.ids.get("N")) if self.is_penn else ())}
        self.suggestible = np.array([is_word(word) and token not in never for token, word in enumerate(self.words)])

    @classmethod
    def read(cls, folder: Path) -> Vocabulary:
        """The vocabulary of a checkpoint folder, from its tokenizer.json.

        Raises:
            CheckpointError: it cannot be read, or is of no word-level tokenizer.
        """
        path = folder / "tokenizer.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            added = {token["content"]: token["id"] for token in content.get("added_tokens", [])}
            ids = content["model"]["vocab"] | added
            words = sorted(ids, key=ids.__getitem__)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path} is no word-level tokenizer; get the checkpoint again") from error
        return cls(words, [token for word, token in added.items() if word.startswith("<")])

    @cached_property
    def sha256(self) -> str:
        """Says whose ids a saved state has."""
        return hashlib.sha256("\n".join(self.words).encode("utf-8", "surrogatepass")).hexdigest()

    def form(self, typed: str, starts: bool) -> str:
        """A typed word or sign in the case in which it is read and learnt.

        Args:
            starts: whether it starts a sentence.
        """
        if not is_word(typed):
            return typed
        return (
            self._casing.word(typed, starts) if self.has_case else self._casing.usual.get(typed.lower(), typed.lower())
        )

    def tokens(self, form: str) -> list[int]:
        """The ids that the model reads for a word or sign; most have one, some none."""
        if not self.has_signs and not is_word(form):
            return [self.eos] if form in ENDS else [] if form not in self.ids else [self.ids[form]]
        if form in self.ids:
            return [self.ids[form]]
        if self.is_penn:
            if form[0].isdigit() and "N" in self.ids:
                return [self.ids["N"]]
            match = PENN.fullmatch(form)
            if match:
                return [token for part in match.groups() for token in self.tokens(part)]
        return [] if self.unk is None else [self.unk]
