"""Words of a text, the vocabulary of a corpus, and the word-level tokenizer made from it.

The rule: words stand between white space (Python's `str.split`), every newline is one `<eos>`. `words_of` is its plain
form, fast enough for corpora; the tokenizer of `build_tokenizer` gives the ids of the same words for any text.
"""

from __future__ import annotations

import codecs
import gzip
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import CorpusError, VocabularyError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

EOS = "<eos>"
UNK = "<unk>"
BLOCK = 1 << 20  # bytes read at a time


def build_tokenizer(vocabulary: list[str]) -> PreTrainedTokenizerFast:
    """A generic fast tokenizer whose ids are the positions in `vocabulary`; `save_pretrained` needs no code of ours.

    Padding is `<eos>`, on the left. A word outside the vocabulary becomes `<unk>`. Decoded text starts with a blank,
    so that a prompt and its continuation join as words.

    Raises:
        VocabularyError: no `<eos>`, a word given twice, or one that no text can contain.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    _check(vocabulary)
    # Without `<unk>` in the vocabulary an unknown word is the library's error, which names the missing token.
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token=UNK))
    # Python's str.split takes the four separators for white space, the library does not.
    separators = normalizers.Replace(Regex(r"[\x1c-\x1f]"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace("\n", f" {EOS} "), separators])
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.Sequence([decoders.Replace(Regex("^"), " "), decoders.Fuse()])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        # `<unk>` is not declared: as a special token it would vanish from decoded text, and it is a word of PTB.
        eos_token=EOS,
        pad_token=EOS,
        padding_side="left",
        clean_up_tokenization_spaces=False,  # it would turn "was n't" into "wasn't"
        model_input_names=["input_ids", "attention_mask"],
    )


def vocabulary_of(files: Iterable[str | Path | Text], max_size: int | None = None) -> list[str]:
    """The words of text files by falling frequency, equals by alphabet; always with `<unk>` and `<eos>`.

    Args:
        files: UTF-8 text, plain or gzip.
        max_size: the most words, `<unk>` and `<eos>` included; None: all.

    Raises:
        CorpusError: a file cannot be read, is not text or has no words.
        VocabularyError: `max_size` leaves no room for a word.
    """
    if max_size is not None and max_size < 3:
        raise VocabularyError(f"a vocabulary of at most {max_size} words; give 3 or more: {UNK}, {EOS} and a word")
    counts: Counter[str] = Counter({UNK: 0, EOS: 0})
    for file in files:
        for words in (file if isinstance(file, Text) else Text.of(file)).words():
            counts.update(words)
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    if max_size is None or len(ordered) <= max_size:
        return ordered
    kept = {UNK, EOS, *[word for word in ordered if word not in (UNK, EOS)][: max_size - 2]}
    return [word for word in ordered if word in kept]


def words_of(text: str) -> list[str]:
    """The words of a text, `<eos>` for every newline: what the tokenizer makes of it, before ids."""
    return text.replace("\n", EOS).replace(EOS, f" {EOS} ").split()


def words_by_id(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The vocabulary of a word-level tokenizer, in the order of the ids.

    Raises:
        VocabularyError: ids with holes, no `<eos>`, or words that a word-level tokenizer cannot have.
    """
    vocabulary = words_in_order(tokenizer)
    _check(vocabulary)
    return vocabulary


def words_in_order(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The vocabulary of any tokenizer, in the order of the ids.

    Raises:
        VocabularyError: ids with holes.
    """
    pairs = sorted((i, word) for word, i in tokenizer.get_vocab().items())
    if [i for i, _ in pairs] != list(range(len(pairs))):
        raise VocabularyError(f"the tokenizer's {len(pairs)} ids are not 0 to {len(pairs) - 1}; use one of this zoo")
    return [word for _, word in pairs]


@dataclass(frozen=True)
class Text:
    """A text that can be read again and again in bounded memory.

    Args:
        name: what messages call it.
        blocks: gives its UTF-8 bytes from the beginning, in pieces of any size.
    """

    name: str
    blocks: Callable[[], Iterator[bytes]]

    @classmethod
    def of(cls, file: str | Path) -> Text:
        """The text of a file, unpacked if it is gzip whatever its name."""
        return cls(str(file), lambda: _unpacked(Path(os.path.expanduser(file))))

    def words(self) -> Iterator[list[str]]:
        """The words, a block at a time.

        Raises:
            CorpusError: not readable, not UTF-8, NUL bytes, or no words at all.
        """
        decoder = codecs.getincrementaldecoder("utf-8-sig")()
        rest, offset, found = "", 0, False
        for block in self.blocks():
            if b"\0" in block:
                raise self._binary(f"NUL, byte {offset + block.index(0):,}")
            try:
                text = rest + decoder.decode(block)
            except UnicodeDecodeError as error:
                # The decoder may hold the first bytes of a character, and drops a byte order mark.
                place = offset + len(block) - len(error.object) + error.start
                raise self._binary(f"{error.reason}, byte {place:,}") from error
            # A word must not be cut: what follows the last blank waits for the next block.
            cut = max(map(text.rfind, " \t\n")) + 1
            words, rest, offset = words_of(text[:cut]), text[cut:], offset + len(block)
            found = found or any(word != EOS for word in words)
            yield words
        try:
            words = words_of(rest + decoder.decode(b"", final=True))
        except UnicodeDecodeError as error:
            raise self._binary(f"{error.reason} at the end") from error
        if not (found or any(word != EOS for word in words)):
            raise CorpusError(f"{self.name} is empty: it has no words; give UTF-8 text with a sentence per line")
        yield words

    def _binary(self, reason: str) -> CorpusError:
        return CorpusError(f"{self.name} is not text ({reason}); allowed: UTF-8 text, plain or gzip")


def _unpacked(path: Path) -> Iterator[bytes]:
    """The bytes of a plain or gzip file."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as stream:
            while block := stream.read(BLOCK):
                yield block
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CorpusError(f"cannot read {path}: {reason}; give a readable text file, plain or gzip") from error


def _check(vocabulary: list[str]) -> None:
    """Refuses a vocabulary whose words and ids would not correspond."""
    if isinstance(vocabulary, str) or not all(isinstance(word, str) for word in vocabulary):
        raise VocabularyError("a vocabulary is a list of words, each a str; build one with vocabulary_of(files)")
    if EOS not in vocabulary:
        raise VocabularyError(f"the vocabulary of {len(vocabulary)} words lacks {EOS}, the end of a line; add it")
    if len(set(vocabulary)) != len(vocabulary):
        twice = next(word for word, count in Counter(vocabulary).items() if count > 1)
        raise VocabularyError(f"the vocabulary has {twice!r} more than once; give every word once")
    for word in vocabulary:
        if words_of(word) != [word]:
            raise VocabularyError(f"{word!r} cannot be a word of a text: words have no white space and no {EOS} inside")
