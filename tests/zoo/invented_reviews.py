"""A data folder with invented reviews in the place of the public ones, for the tests."""

import gzip
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from zoo import review_sources

PHRASES = (
    "A GOOD film!<br /><br />Don't miss it",
    "'tis bad, 3/10 ½ \u0130 …",
    "the caf\u00e9 scene",
    "it  was\tlong\n",
)


def text_of(number: int) -> str:
    return f"{PHRASES[number % len(PHRASES)]} number{number}"


def imdb_rows() -> dict[str, list[dict]]:
    train = [
        {"id": f"t{i}", "label": i % 2, "rating": 1, "movie": f"film{i % 40}", "text": text_of(i)} for i in range(200)
    ]
    test = [
        {"id": f"u{i}", "label": i % 2, "rating": 1, "movie": f"other{i}", "text": text_of(500 + i)} for i in range(20)
    ]
    train[7]["text"] = test[3]["text"]
    for row in train[:40]:  # each film has this text once
        row["text"] = "the same words"
    return {"imdb.train.jsonl": train, "imdb.test.jsonl": test}


def scale_rows() -> dict[str, list[dict]]:
    rows = [
        {"author": f"critic{i % 3}", "id": str(i), "rating": round(i % 11 / 10, 2), "text": text_of(i)}
        for i in range(300)
    ]
    for i in range(50):
        rows[i + 100]["text"] = rows[i]["text"]
    return {"scale.jsonl": rows}


def write_reviews(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder: reviews of both names, whose sha256 become the right ones, and a folder `ptb` beside them."""
    monkeypatch.setenv("ZOO_CACHE", str(folder / "cache"))
    monkeypatch.delenv("ZOO_DATA", raising=False)
    root = folder / "data"
    (root / "ptb").mkdir(parents=True)
    for name, own, made in (("imdb", "imdb", imdb_rows()), ("movie-reviews", "movie_reviews", scale_rows())):
        (root / own).mkdir()
        sha256 = {}
        for file, rows in made.items():
            content = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
            sha256[file] = hashlib.sha256(content).hexdigest()
            (root / own / f"{file}.gz").write_bytes(gzip.compress(content))
        monkeypatch.setitem(review_sources.SOURCES, name, replace(review_sources.SOURCES[name], files=sha256))
    return root
