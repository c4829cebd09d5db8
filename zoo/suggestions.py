"""From a text to the words that may follow it, without torch.

The text is read from the start of a line (the model's first input is `<eos>`), a word at a time with carried state.
A word that the vocabulary does not have is tried in lower case, then as a person types: signs apart, in its usual case,
"don't" as the vocabulary has it; what is not known even so is `<unk>`. `zoo keyboard` minds sentences too.
"""

from __future__ import annotations

import re
import statistics
import time
from collections import deque
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Encoding, Tokenizer

from .errors import CheckpointError, VocabularyError
from .hub import folder_of
from .keyboard.vocabulary import Vocabulary
from .runtime import NumpyModel, best_ids
from .tokenization import EOS
from .typed_text import split_words

TIMED = 1000  # steps whose median is `ms_per_word`


class Suggestion(NamedTuple):
    """A word and its probability under the model, 0 to 1."""

    word: str
    probability: float


class Suggester:
    """A checkpoint that suggests the next word.

    Args:
        name: a shipped checkpoint, a folder, or `owner/name[@revision]` on the Hub.

    Raises:
        CheckpointError: unknown, damaged, or without a word that starts a line.
    """

    def __init__(self, name: str | Path):
        self.folder = folder_of(name)
        self.model = NumpyModel(self.folder)
        self._tokenizer = _read_tokenizer(self.folder)
        layout = self.model.layout
        start = layout.eos_id if layout.eos_id is not None else self._tokenizer.token_to_id("<eos>")
        if start is None:
            raise CheckpointError(
                f"{self.folder / 'config.json'} names no eos_token_id and the vocabulary has no <eos>, with which a "
                "text starts; set eos_token_id"
            )
        self._start = start
        self._unknown = self._tokenizer.token_to_id(getattr(self._tokenizer.model, "unk_token", None) or "<unk>")
        special = {start, *layout.special_ids, *self._tokenizer.get_added_tokens_decoder()}
        self._special = sorted(special if self._unknown is None else special | {self._unknown})
        self._seconds: deque[float] = deque(maxlen=TIMED)

    @property
    def size_bytes(self) -> int:
        """Bytes on disk of the network: config.json and model.safetensors."""
        return sum((self.folder / name).stat().st_size for name in ("config.json", "model.safetensors"))

    @property
    def ms_per_word(self) -> float | None:
        """Median time of a step, word in to distribution out, over the latest 1000 steps; None before the first."""
        return statistics.median(self._seconds) * 1000 if self._seconds else None

    def suggest(self, text: str, k: int = 5, special: bool = False) -> list[Suggestion]:
        """The k most probable next words after a text, best first.

        Args:
            text: any text; empty: the beginning of a line.
            k: how many, from 1 to the number of words that can be suggested.
            special: also `<eos>` and `<unk>`, which are never suggested otherwise. Probabilities are the model's over
                the whole vocabulary either way.

        Raises:
            VocabularyError: k out of range, or a word that a vocabulary without `<unk>` does not have.
        """
        self.check_k(k, special)
        state = None
        for token in [self._start, *self._encode(text).ids]:
            before = time.perf_counter()
            log_probs, state = self.model.step(token, state)
            self._seconds.append(time.perf_counter() - before)
        if not special:
            log_probs[self._special] = -np.inf
        return [Suggestion(self._word(token), float(np.exp(log_probs[token]))) for token in best_ids(log_probs, k)]

    def check_k(self, k: int, special: bool = False) -> None:
        """Refuses a number of suggestions that the vocabulary cannot give (VocabularyError)."""
        most = self.model.layout.vocab_size - (0 if special else len(self._special))
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= most:
            raise VocabularyError(f"k is {k!r}; this model can suggest 1 to {most} words")

    def unknown_words(self, text: str) -> list[str]:
        """The words of a text that are read as `<unk>`, in order.

        Raises:
            VocabularyError: there is one and the vocabulary has no `<unk>`.
        """
        written, encoding = self._prepare(text), self._encode(text)
        pairs = zip(encoding.ids, encoding.offsets, strict=True)
        words = [written[first:last] for token, (first, last) in pairs if token == self._unknown]
        return [word for word in words if self._tokenizer.token_to_id(word) is None]

    def _word(self, token: int) -> str:
        return self._tokenizer.id_to_token(token) or f"<{token}>"

    def _prepare(self, text: str) -> str:
        """The text with words as the vocabulary has them, where it has them otherwise than they are typed."""

        def known(match: re.Match[str]) -> str:
            word = match[0]
            for form in (word, word.lower()):
                if self._tokenizer.token_to_id(form) is not None:
                    return form
            pieces = [piece for typed in split_words(word) for piece in self._pieces(typed)]
            return " ".join(pieces) if any(self._tokenizer.token_to_id(piece) is not None for piece in pieces) else word

        return re.sub(r"\S+", known, text.encode("utf-8", "surrogatepass").decode("utf-8", "replace"))

    def _pieces(self, typed: str) -> list[str]:
        """The words of the vocabulary that a typed word or sign is, or the word itself."""
        if (vocabulary := self._vocabulary) is None:
            return [typed]
        form = vocabulary.form(typed, starts=False)
        return [form if token == vocabulary.unk else vocabulary.words[token] for token in vocabulary.tokens(form)]

    @cached_property
    def _vocabulary(self) -> Vocabulary | None:
        """The words as the keyboard reads them; None without `<eos>`."""
        words = [self._word(token) for token in range(self.model.layout.vocab_size)]
        return Vocabulary(words) if EOS in words else None

    def _encode(self, text: str) -> Encoding:
        """Ids and places of the words."""
        written = self._prepare(text)
        try:
            return self._tokenizer.encode(written, add_special_tokens=False)
        except Exception as error:  # the library has no class of its own: a word-level model without <unk> raises here
            missing = next((word for word in written.split() if self._tokenizer.token_to_id(word) is None), text)
            raise VocabularyError(
                f"the vocabulary has neither the word {missing!r} nor <unk>; leave the word out, or use another model"
            ) from error


def _read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a checkpoint folder."""
    path = folder / "tokenizer.json"
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library has no class of its own for a file that it cannot read
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} is no tokenizer ({reason}); get the checkpoint again") from error
