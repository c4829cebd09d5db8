"""Quality of a checkpoint: perplexity over one stream with carried state, next-word recall, fitted temperature."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers.utils import logging

from zoo.corpora import load_corpus
from zoo.errors import ZooError
from zoo.hub import folder_of
from zoo.loading import load
from zoo.scoring import TEMPERATURES, Scores, best_temperature, score_stream

from .report import RESULTS, corpus_name, cpu_name, name_of, sha256_of, versions, write

SPLITS = ("valid", "test")


def measure(
    folder: str | Path,
    corpus: str = "ptb",
    data_dir: str | Path | None = None,
    splits: Sequence[str] = SPLITS,
    on_tokens: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Scores splits of a corpus with a checkpoint folder, batch 1, every token a target.

    Args:
        corpus, data_dir: as in `zoo.corpora.load_corpus`, which also checks text and counts of a known corpus.
        splits: which; with `valid` among them a softmax temperature is fitted on it (grid of 0.02), and
            `perplexity_at_temperature` stands beside the plain perplexity of every split.
        on_tokens: called with the number of tokens done since the last call.

    Returns:
        name, corpus, sha256 (of the weights), texts (split -> sha256), split -> scores, temperature or None, and the
        versions, device and threads that did it.

    Raises:
        CheckpointError, CorpusError, VocabularyError: what was given cannot be scored.
    """
    import torch

    folder = Path(folder)
    model, tokenizer = load(folder)
    data = load_corpus(corpus, data_dir, tokenizer=tokenizer, splits=tuple(splits))

    def score(split: str, temperatures: Sequence[float]) -> Scores:
        return score_stream(model, data.splits[split], data.eos_id, temperatures=temperatures, on_tokens=on_tokens)

    found: dict[str, Scores] = {}
    temperature = None
    if "valid" in splits:
        found["valid"] = score("valid", TEMPERATURES)
        temperature = best_temperature(found["valid"])
    for split in splits:
        if split not in found:
            found[split] = score(split, () if temperature is None else (temperature,))
    return {
        "name": folder.resolve().name,
        "corpus": corpus_name(corpus),
        "sha256": sha256_of(folder),
        "texts": dict(data.sha256),
        **{split: _row(found[split], temperature) for split in splits},
        "temperature": temperature,
        "versions": versions(),
        "device": cpu_name() if model.device.type == "cpu" else torch.cuda.get_device_name(model.device),
        "threads": torch.get_num_threads(),
    }


def _row(scores: Scores, temperature: float | None) -> dict[str, Any]:
    """One split's columns; what a temperature gives stands in a column of its own."""
    at_temperature = None if temperature is None else scores.perplexity_at(temperature)
    return {**scores.summary(), "perplexity_at_temperature": at_temperature}


def _measured_before(path: Path, sha256: str) -> dict[str, Any]:
    """Splits of the same weights that stand in the file already, so that measuring one does not lose the other."""
    if not path.is_file():
        return {}
    before = json.loads(path.read_text(encoding="utf-8"))
    return {split: before[split] for split in SPLITS if split in before} if before.get("sha256") == sha256 else {}


def main(arguments: list[str] | None = None) -> int:
    """Measures the checkpoints named on the command line; writes `results/<name>/<corpus>.json`."""
    parser = argparse.ArgumentParser(prog="python -m bench.quality", description=__doc__)
    parser.add_argument("checkpoint", nargs="+", help="name of a shipped checkpoint, folder, or owner/name on the Hub")
    parser.add_argument("--corpus", default="ptb", help="ptb, wikitext-2, a folder, a text file or hub:owner/name")
    parser.add_argument("--data", metavar="DIR", help="folder of the corpus (default: environment variable ZOO_DATA)")
    parser.add_argument("--split", action="append", help="only this one; may be repeated (default: valid and test)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results (default: bench/results)")
    given = parser.parse_args(arguments)
    splits = tuple(given.split or SPLITS)
    logging.disable_progress_bar()  # of loading; the bar here counts tokens
    try:
        for checkpoint in given.checkpoint:
            name = name_of(checkpoint)
            with tqdm(desc=name, unit=" tokens", unit_scale=True, disable=None, leave=False) as bar:
                result = measure(folder_of(checkpoint), given.corpus, given.data, splits, on_tokens=bar.update)
            corpus = result["corpus"]
            command = f"python -m bench.quality {name} --corpus {corpus} --data DIR"
            path = given.out / name / f"{corpus}.json"
            write(path, _measured_before(path, result["sha256"]) | result | {"name": name, "command": command})
            for split in splits:
                row = result[split]
                print(
                    f"{name} {corpus} {split}: perplexity {row['perplexity']:.2f} +- {row['standard_error']:.2f} over "
                    f"{row['targets']:,} targets, top-1 {row['top1']:.4f}, top-3 {row['top3']:.4f}"
                )
    except (ZooError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
