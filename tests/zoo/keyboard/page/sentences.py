"""Sentences to type: messages of a corpus of dialogue, evenly from its files."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

WORDS = range(3, 26)  # in a sentence


def read_sentences(files: Sequence[Path], count: int) -> list[str]:
    """The first messages of usual length of each file, `count` in all."""
    sentences: list[str] = []
    for number, path in enumerate(files):
        wanted = (count * (number + 1)) // len(files) - len(sentences)
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            usual = (line.strip() for line in lines if len(line.split()) in WORDS)
            sentences += islice(usual, wanted)
    return sentences
