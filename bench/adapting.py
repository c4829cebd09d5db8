"""Perplexity with weights or a cache that follow the text, tuned on validation text; columns of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoo.adapting import NAMES, score_adapting, settings_of, splits_for, summary
from zoo.corpora import load_corpus
from zoo.errors import CheckpointError
from zoo.evaluation import language_corpus
from zoo.layout import read_layout
from zoo.loading import load

from .report import corpus_name, cpu_name, name_of, read, sha256_of, versions, write

KINDS = tuple(NAMES)
SPLITS = ("valid", "test")


def add_adapting(
    folder: Path,
    kind: str,
    corpus: str | None,
    data_dir: str | None,
    out: Path,
    on_tokens: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Measures a checkpoint folder so, and writes what was found into the file of its static numbers.

    Args:
        kind: `dynamic` or `cache`.
        corpus, data_dir: as in `zoo.corpora.load_corpus`; None: the public one of its training, else ptb.
        out: folder of results.
        on_tokens: called with the number of tokens done since the last call.

    Raises:
        CheckpointError: there are no static numbers of these weights, or it cannot follow a text.
        CorpusError: the corpus cannot be used.
    """
    import torch

    name, corpus = name_of(str(folder)), corpus or language_corpus(folder)
    short = corpus_name(corpus)
    path, sha256 = out / name / f"{short}.json", sha256_of(folder)
    read_layout(folder).check_language_model(name, "dynamic evaluation and a neural cache are of")
    before = read(path)
    if before.get("sha256") != sha256:
        raise CheckpointError(
            f"{path} has no static numbers of these weights; measure them first: python -m bench.quality {name}"
        )
    model, tokenizer = load(folder)
    data = load_corpus(corpus, data_dir, tokenizer=tokenizer, splits=splits_for(kind, SPLITS, tune=True))
    found = score_adapting(kind, model, data, SPLITS, settings_of(kind, ()), tune=True, on_tokens=on_tokens)
    entry = {
        **summary(found),
        **{split: found.scores[split].summary() for split in SPLITS},
        "versions": versions(),
        "device": cpu_name() if model.device.type == "cpu" else torch.cuda.get_device_name(model.device),
        "threads": torch.get_num_threads(),
        "command": f"python -m bench.quality {name} --corpus {short} --data DIR --adapt {kind}",
    }
    write(path, before | {kind: entry})
    for split in SPLITS:
        told = (
            f"perplexity {entry[split]['perplexity']:.2f} with {NAMES[kind]}, {before[split]['perplexity']:.2f} without"
        )
        print(f"{name} {short} {split}: {told}")
    return entry
