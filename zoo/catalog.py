"""The shipped checkpoints: name -> size, quality, sha256 and parent, read from the generated `catalog.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CATALOG = Path(__file__).with_name("catalog.json")
CHECKPOINTS = Path(__file__).with_name("checkpoints")
LANGUAGE, CLASSIFICATION = "text-generation", "text-classification"
HEADLINES = {"perplexity": 2, "accuracy": 4, "rmse": 4}  # what is told first of a checkpoint -> digits


@dataclass(frozen=True)
class Entry:
    """One row of the catalog.

    Attributes:
        name: the checkpoint's name and the name of its folder.
        description: cell, layers and widths in one line.
        parent: the checkpoint that this one was made from; None: trained from scratch.
        parameters: stored numbers, a tied matrix once.
        nonzeros: those of them that are not zero.
        bytes: size of config.json and model.safetensors together.
        quality: corpus -> {"valid_perplexity": ..., "test_perplexity": ..., "test_top1": ..., "test_top3": ...}, of a
            text classifier {"valid_accuracy": ..., "test_accuracy": ...}, or mse and rmse.
        sha256: file name -> hexadecimal sha256, README.md left out.
        task: LANGUAGE or CLASSIFICATION, in the Hub's words.
    """

    name: str
    description: str
    parent: str | None
    parameters: int
    nonzeros: int
    bytes: int
    quality: Mapping[str, Mapping[str, float]]
    sha256: Mapping[str, str]
    task: str = LANGUAGE

    @property
    def folder(self) -> Path:
        """Where the checkpoint lies."""
        return CHECKPOINTS / self.name

    @property
    def headline(self) -> str:
        """Its quality on the test text of each corpus, in a few words."""
        return ", ".join(
            f"{corpus} test {metric} {numbers[f'test_{metric}']:.{digits}f}"
            for corpus, numbers in self.quality.items()
            for metric, digits in HEADLINES.items()
            if f"test_{metric}" in numbers
        )


@cache
def entries() -> dict[str, Entry]:
    """Every shipped checkpoint by name, in the order of the catalog; empty where none is shipped."""
    if not CATALOG.exists():
        return {}
    rows = json.loads(CATALOG.read_text(encoding="utf-8"))
    return {name: Entry(name=name, **row) for name, row in rows.items()}
