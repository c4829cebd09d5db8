"""From the name of a set of film reviews to ids and labels, split always in the same way; which: `review_sources`.

The ids lie in files under `ZOO_CACHE` and are mapped into memory. Letters: n texts, T words of one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from .cached_files import cached
from .errors import CorpusError
from .review_sources import SOURCES, Files
from .review_tokenization import PAD, Encoder, build_review_tokenizer, review_vocabulary
from .sources import SPLITS
from .tokenization import UNK, words_in_order

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FORMAT = "1"  # of the cached files; to be raised when the same reviews would give other ids or splits


@dataclass(eq=False)
class Split:
    """texts: ids [T] of each review, int32, read-only; labels [n]: classes, int64, or ratings from 0 to 1, float32."""

    texts: list[np.ndarray] = field(repr=False)
    labels: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(eq=False)
class Reviews:
    """Reviews as ids, with their labels.

    Args:
        name: `imdb` or `movie-reviews`.
        vocabulary: the words, by id.
        splits: train, valid, test (those asked for) -> texts and labels in the order of the file, so to be shuffled.
        sha256: split -> hash of the unpacked file that its reviews are from.
        num_labels, problem_type: as in the config of a model that predicts the labels.
        given: the tokenizer that made the ids, if one was given.
    """

    name: str
    vocabulary: list[str] = field(repr=False)
    splits: dict[str, Split]
    sha256: dict[str, str]
    num_labels: int
    problem_type: str
    given: PreTrainedTokenizerBase | None = field(default=None, repr=False)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer that was given, or one of this vocabulary; built on demand because transformers is slow."""
        if self.given is None:
            self.given = build_review_tokenizer(self.vocabulary)
        return self.given

    @property
    def id2label(self) -> dict[int, str]:
        """Names of the labels, as in the config of a model."""
        return dict(enumerate(SOURCES[self.name].names))

    @property
    def vocab_size(self) -> int:
        return len(self.vocabulary)

    @property
    def pad_id(self) -> int:
        return self.vocabulary.index(PAD)

    @property
    def unk_id(self) -> int:
        return self.vocabulary.index(UNK)


def load_reviews(
    name: str,
    data_dir: str | Path | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    max_vocabulary: int = 20_000,
    splits: Sequence[str] | None = None,
) -> Reviews:
    """The reviews of a public set.

    Args:
        name: `imdb` or `movie-reviews`.
        data_dir: folder of the corpora, of this one, or of another one beside it; None: the environment variable
            ZOO_DATA.
        tokenizer: gives the vocabulary and the ids; None: made of the most frequent words of the train split.
        max_vocabulary: the most words when the vocabulary is made here, `<pad>` and `<unk>` included.
        splits: those needed; None: all.

    Raises:
        CorpusError: no such set, or its files are missing, unreadable, or not those that the name promises.
        VocabularyError: no room for a word, or an unknown word and no `<unk>`.
    """
    if name not in SOURCES:
        raise CorpusError(f"no reviews are called {name!r}; allowed: {', '.join(SOURCES)}")
    wanted = SPLITS if splits is None else tuple(splits)
    if not wanted or set(wanted) - set(SPLITS):
        raise CorpusError(f"splits {list(wanted)}; allowed: some of {', '.join(SPLITS)}")
    files = Files(name, wanted if tokenizer is not None else ("train", *wanted), data_dir)
    vocabulary = _cached_vocabulary(files, max_vocabulary) if tokenizer is None else words_in_order(tokenizer)
    words = Encoder(vocabulary if tokenizer is None else tokenizer)
    source = files.source
    return Reviews(
        name=name,
        vocabulary=vocabulary,
        splits={split: _cached_split(files, split, words) for split in wanted},
        sha256={split: source.sha256[split] for split in wanted},
        num_labels=len(source.names),
        problem_type=source.problem_type,
        given=tokenizer,
    )


def _cached_vocabulary(files: Files, max_size: int) -> list[str]:
    """The words of the train split, counted once."""

    def write(file: IO[bytes]) -> None:
        words = review_vocabulary((row["text"] for row in files.rows("train")), max_size)
        file.write(json.dumps(words, ensure_ascii=False).encode())

    return cached(f"{files.key('train')}-{max_size}.{FORMAT}.json", lambda path: json.loads(path.read_bytes()), write)


def _cached_split(files: Files, split: str, words: Encoder) -> Split:
    """The ids and labels of a split, made once: one array of n, the lengths, the labels' bits and all ids."""

    def write(file: IO[bytes]) -> None:
        rows = files.rows(split)
        ids = words.encode([row["text"] for row in rows])
        labels = np.array([row[files.source.label] for row in rows], np.float32)
        np.save(file, np.concatenate([[len(rows)], list(map(len, ids)), labels.view(np.int32), *ids], dtype=np.int32))

    name = f"{files.key(split)}-{words.key}.{FORMAT}.npy"
    array = np.asarray(cached(name, lambda path: np.load(path, mmap_mode="r"), write))
    n = int(array[0])
    lengths, bits, ids = np.split(array[1:], [n, 2 * n])
    kind = np.float32 if len(files.source.names) == 1 else np.int64
    return Split(np.split(ids, np.cumsum(lengths)[:-1]), bits.view(np.float32).astype(kind))
