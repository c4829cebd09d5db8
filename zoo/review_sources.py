"""Public sets of film reviews: their files, and which review belongs to which split.

`imdb`: the labelled part of the Large Movie Review Dataset (Maas et al. 2011), 50,000 reviews, negative (0) or positive
(1). Its 25,000 test reviews are the test split. Of the others, those of the films that are drawn first and have 15 % of
them are the valid split: whole films, so that no model is helped by other reviews of the same film. Left out are those
whose text stands in the test split too, and those of the train split whose text stands in the valid split.

`movie-reviews`: the scale data of Pang and Lee (2005), 5,006 reviews by four critics with ratings from 0 to 1; 20 % are
test and 10 % of the rest valid, drawn one by one; a text that is there twice goes to one split. The thesis
that these experiments follow speaks of 10,000 rated reviews; no such set is public. The 10,662 snippets of the same
authors (rt-polarity) have no ratings, so ratings can be predicted on the scale data alone. Quality is told as MSE and
as RMSE: the thesis's 0.15 is a root mean square deviation, as it says, because the variance of the ratings is 0.033.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import CorpusError
from .sources import SPLITS
from .tokenization import Text

VALID_FILMS = 0.15  # of the reviews that are not for the test
TEST_RATED = 0.2
VALID_RATED = 0.1 * (1 - TEST_RATED)

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Source:
    """A public set of reviews.

    Args:
        folders: where its files may lie in a data folder.
        files: the names of its files, JSON Lines, plain or with .gz -> sha256 of the unpacked bytes.
        needs: split -> the files that say what is in it, the one with its reviews first.
        split: (name of a file -> its rows, split) -> the rows of the split.
        label: key of what is to be predicted.
        names: of the labels, or of the number.
        problem_type: as in the config of a model that predicts it.
    """

    folders: tuple[str, ...]
    files: dict[str, str]
    needs: dict[str, tuple[str, ...]]
    split: Callable[[Callable[[str], Rows], str], Rows]
    label: str
    names: tuple[str, ...]
    problem_type: str

    @property
    def sha256(self) -> dict[str, str]:
        """split -> sha256 of the file with its reviews."""
        return {split: self.files[needed[0]] for split, needed in self.needs.items()}


def split_imdb(rows_of: Callable[[str], Rows], split: str) -> Rows:
    """The official test reviews; the others by film."""
    test = rows_of("imdb.test.jsonl")
    if split == "test":
        return test
    rows = rows_of("imdb.train.jsonl")
    reviews, films = Counter(row["movie"] for row in rows), set()
    left = round(VALID_FILMS * len(rows))
    for film in sorted(reviews, key=draw):
        left -= reviews[film]
        if left < 0:
            break
        films.add(film)
    tested = {row["text"] for row in test}
    valid = [row for row in rows if row["movie"] in films and row["text"] not in tested]
    if split == "valid":
        return valid
    held = tested | {row["text"] for row in valid}
    return [row for row in rows if row["movie"] not in films and row["text"] not in held]


def split_rated(rows_of: Callable[[str], Rows], split: str) -> Rows:
    """One by one, by critic and number; a text that is there several times goes where its first place goes."""
    rows = rows_of("scale.jsonl")
    first: dict[str, float] = {}
    for row in rows:
        first.setdefault(row["text"], draw(f"{row['author']}/{row['id']}"))
    bounds = {"test": (0, TEST_RATED), "valid": (TEST_RATED, TEST_RATED + VALID_RATED)}
    low, high = bounds.get(split, (TEST_RATED + VALID_RATED, 1))
    return [row for row in rows if low <= first[row["text"]] < high]


def draw(key: str) -> float:
    """A number in [0, 1) that looks random and is the same for the same key, everywhere."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big") / 2**48


SOURCES = {
    "imdb": Source(
        folders=("imdb",),
        files={
            "imdb.train.jsonl": "8354c041743743d104c1204fcc9307865b634c401cfcafe0a00f8b1a0686a24f",
            "imdb.test.jsonl": "d0404bb4a6279dd500bb7d02520031d09e35ef863073f27c0a228f966be5b089",
        },
        needs={
            "train": ("imdb.train.jsonl", "imdb.test.jsonl"),
            "valid": ("imdb.train.jsonl", "imdb.test.jsonl"),
            "test": ("imdb.test.jsonl",),
        },
        split=split_imdb,
        label="label",
        names=("negative", "positive"),
        problem_type="single_label_classification",
    ),
    "movie-reviews": Source(
        folders=("movie_reviews", "movie-reviews"),
        files={"scale.jsonl": "a46a0f2c2a4cc198c008c2cde0567d9d2ce6a3a95989f7b42303c2160590e8b1"},
        needs=dict.fromkeys(SPLITS, ("scale.jsonl",)),
        split=split_rated,
        label="rating",
        names=("rating",),
        problem_type="regression",
    ),
}


class Files:
    """The files of a set, each the one that its name promises; read at once, parsed when their rows are asked for.

    Args:
        name: a key of SOURCES.
        splits: those that will be asked for.
        data_dir: the folder of the files, of the corpora, or of another corpus beside this one; None: the environment
            variable ZOO_DATA.

    Raises:
        CorpusError: a file is missing, unreadable or another one.
    """

    def __init__(self, name: str, splits: Iterable[str], data_dir: str | Path | None = None):
        self.name, self.source = name, SOURCES[name]
        needed = [file for split in splits for file in self.source.needs[split]]
        folders = _folders(name, data_dir, needed)
        self._contents = {file: _content(name, file, folders) for file in dict.fromkeys(needed)}
        self._rows: dict[str, Rows] = {}

    def rows(self, split: str) -> Rows:
        """The reviews of a split, in the order of their file."""
        return self.source.split(self._parsed, split)

    def key(self, split: str) -> str:
        """What a split is made of, in few letters."""
        sha256 = "".join(self.source.files[file] for file in self.source.needs[split])
        return f"{self.name}-{split}-{hashlib.sha256(sha256.encode()).hexdigest()[:16]}"

    def _parsed(self, file: str) -> Rows:
        if file not in self._rows:
            self._rows[file] = [json.loads(line) for line in self._contents[file].splitlines()]
        return self._rows[file]


def _folders(name: str, data_dir: str | Path | None, files: list[str]) -> list[Path]:
    """Where the files may lie."""
    given = data_dir or os.environ.get("ZOO_DATA")
    if not given:
        raise CorpusError(
            f"{name} needs its files ({', '.join(dict.fromkeys(files))}); give --data DIR or set ZOO_DATA"
        )
    root = Path(os.path.expanduser(given))
    if not root.is_dir():
        raise CorpusError(f"the data folder {root} does not exist; give --data DIR or set ZOO_DATA")
    return [root, *(place / own for place in (root, root.resolve().parent) for own in SOURCES[name].folders)]


def _content(name: str, file: str, folders: list[Path]) -> bytes:
    """The unpacked bytes of a file in the first folder that has it."""
    paths = [folder / packed for folder in folders for packed in (file, f"{file}.gz")]
    path = next(filter(Path.is_file, paths), None)
    if path is None:
        raise CorpusError(
            f"{folders[0]} has no {file}[.gz], nor has {' or '.join(map(str, folders[1:]))}; "
            f"give --data DIR or set ZOO_DATA to the folder of {name} or of the corpora"
        )
    content, expected = b"".join(Text.of(path).blocks()), SOURCES[name].files[file]
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise CorpusError(
            f"{path} is not {file} of {name}: expected sha256 {expected[:16]}..., given {len(content):,} bytes, "
            f"sha256 {found[:16]}...; get the original"
        )
    return content
