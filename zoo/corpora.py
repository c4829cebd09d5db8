"""From the name of a corpus, or from files, to one stream of token ids per split, with the counts you should see.

Letters: N tokens of a split. Token arrays live in files under `ZOO_CACHE` (default ~/.cache/rnnlm-zoo) and are mapped
into memory, so a corpus may be larger than memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from .cached_files import cached
from .errors import CorpusError, VocabularyError
from .sources import KNOWN, SPLITS, texts_of
from .tokenization import EOS, UNK, Text, build_tokenizer, vocabulary_of, words_by_id

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FORMAT = "1"  # of the cached files; to be raised when the same text would give other ids


@dataclass(eq=False)
class Corpus:
    """Token streams of a corpus.

    Args:
        name: what it was asked for as.
        vocabulary: the words, by id.
        splits: train, valid, test (those there are) -> ids [N], int32, mapped from a file and read-only.
        sha256: split -> hash of the unpacked text.
        unknown: split -> words of the text that a given tokenizer's vocabulary has not; empty where none was given.
    """

    name: str
    vocabulary: list[str] = field(repr=False)
    splits: dict[str, np.ndarray] = field(repr=False)
    sha256: dict[str, str]
    given: PreTrainedTokenizerBase | None = field(default=None, repr=False)
    unknown: dict[str, int] = field(default_factory=dict)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer that was given, or one of this vocabulary; built on demand because transformers is slow."""
        if self.given is None:
            self.given = build_tokenizer(self.vocabulary)
        return self.given

    @property
    def vocab_size(self) -> int:
        return len(self.vocabulary)

    @property
    def eos_id(self) -> int:
        return self.vocabulary.index(EOS)


def load_corpus(
    name: str | Path = "ptb",
    data_dir: str | Path | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    splits: Sequence[str] | None = None,
    max_vocabulary: int | None = None,
) -> Corpus:
    """The token streams of a corpus, one `<eos>` per line.

    Args:
        name: `ptb`, `wikitext-2`; a folder with train.txt, valid.txt, test.txt (plain or .gz); one text file, which
            becomes the split `test`; or `hub:owner/name[:config][@revision]`, rows of a column `text` or `sentence`.
        data_dir: folder of the corpora, or of the named one; None: the environment variable ZOO_DATA.
        tokenizer: gives the vocabulary; None: the words of the training text (of the only text, if there is but one).
        splits: those needed; None: all of a named corpus, else what there is.
        max_vocabulary: the most words when the vocabulary is built here.

    Raises:
        CorpusError: missing, unreadable, empty or not text, or not the files that the name promises.
        VocabularyError: a word that a vocabulary without `<unk>` does not have.
    """
    wanted = SPLITS if splits is None else tuple(splits)
    if not wanted or set(wanted) - set(SPLITS):
        given = ", ".join(map(repr, wanted)) or "none"
        raise CorpusError(f"split {given} (--split); allowed: {', '.join(SPLITS)}")
    name = str(name)
    known = name in KNOWN
    texts = texts_of(name, data_dir)
    needed = set(wanted if known or splits else ()) | ({"train"} if known and tokenizer is None else set())
    if missing := [split for split in SPLITS if split in needed and split not in texts]:
        files = ", ".join((KNOWN[name].file if known else "{split}.txt").format(split=split) for split in missing)
        raise CorpusError(f"{name} has {', '.join(texts)} and lacks {', '.join(missing)}; give a folder with {files}")
    learnt = next(iter(texts)) if tokenizer is None else ""  # the split whose words are the vocabulary
    hashes = {split: _sha256(text) for split, text in texts.items() if split in wanted or split == learnt}
    for split, sha256 in hashes.items() if known else ():
        _check(name, split, texts[split], sha256)
    if tokenizer is None:
        vocabulary = _cached_vocabulary(texts[learnt], hashes[learnt], max_vocabulary)
    else:
        vocabulary = words_by_id(tokenizer)
    hashes = {split: sha256 for split, sha256 in hashes.items() if split in wanted}
    ids = {word: i for i, word in enumerate(vocabulary)}
    key = hashlib.sha256("\n".join(vocabulary).encode()).hexdigest()
    arrays = {split: _cached_tokens(texts[split], sha256, key, ids) for split, sha256 in hashes.items()}
    foreign = hashes if tokenizer is not None else {}
    unknown = {split: _cached_unknown(texts[split], sha256, key, ids) for split, sha256 in foreign.items()}
    return Corpus(name, vocabulary, arrays, hashes, tokenizer, unknown)


def _check(name: str, split: str, text: Text, sha256: str) -> None:
    """Refuses a file that is not the one its name promises."""
    tokens, expected = KNOWN[name].facts[split]
    if sha256 != expected:
        count = sum(map(len, text.words()))
        raise CorpusError(
            f"{text.name} is not the {split} text of {name}: expected {tokens:,} tokens, sha256 {expected[:16]}..., "
            f"given {count:,} tokens, sha256 {sha256[:16]}...; get the original, or give it as a text of your own"
        )


def _sha256(text: Text) -> str:
    """The hash of the unpacked bytes."""
    digest = hashlib.sha256()
    for block in text.blocks():
        digest.update(block)
    return digest.hexdigest()


def _cached_vocabulary(text: Text, sha256: str, max_size: int | None) -> list[str]:
    """The vocabulary of a text, counted once."""
    name = f"{sha256[:32]}-{max_size or 'all'}.{FORMAT}.json"

    def write(file: IO[bytes]) -> None:
        file.write(json.dumps(vocabulary_of([text], max_size), ensure_ascii=False).encode())

    return cached(name, lambda path: json.loads(path.read_bytes()), write)


def _cached_tokens(text: Text, sha256: str, key: str, ids: dict[str, int]) -> np.ndarray:
    """The ids of a text [N], made once and mapped from their file."""

    def write(file: IO[bytes]) -> None:
        header = {"descr": "<i4", "fortran_order": False, "shape": (0,)}
        np.lib.format.write_array_header_1_0(file, header)
        total = 0
        for words in text.words():
            total += len(words)
            _ids(text, words, ids).tofile(file)
        file.seek(0)
        # numpy pads the header for growth, so that the true length fits in the place of the zero.
        np.lib.format.write_array_header_1_0(file, header | {"shape": (total,)})

    return cached(f"{sha256[:32]}-{key[:32]}.{FORMAT}.npy", lambda path: np.load(path, mmap_mode="r"), write)


def _cached_unknown(text: Text, sha256: str, key: str, ids: dict[str, int]) -> int:
    """How many words of a text a vocabulary has not, counted once."""

    def write(file: IO[bytes]) -> None:
        file.write(json.dumps(sum(word not in ids for words in text.words() for word in words)).encode())

    return cached(f"{sha256[:32]}-{key[:32]}.{FORMAT}.unknown.json", lambda path: json.loads(path.read_bytes()), write)


def _ids(text: Text, words: list[str], ids: dict[str, int]) -> np.ndarray:
    unk = ids.get(UNK, -1)
    found = np.fromiter((ids.get(word, unk) for word in words), dtype="<i4", count=len(words))
    if unk < 0 and (found < 0).any():
        word = words[int(np.argmax(found < 0))]
        raise VocabularyError(
            f"{text.name} has the word {word!r}, which the vocabulary of {len(ids)} words has not, nor has it {UNK}; "
            f"give a tokenizer whose vocabulary has {UNK}, or one made from this corpus"
        )
    return found
