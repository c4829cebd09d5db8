"""Quality of a checkpoint: perplexity over one stream with carried state, next-word recall, fitted temperature.

Of a text classifier: accuracy, or error of the numbers that it predicts, over labelled texts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm
from transformers.utils import logging

from zoo.corpora import load_corpus
from zoo.errors import ZooError
from zoo.evaluation import language_corpus, reviews_of
from zoo.hub import folder_of, verify
from zoo.layout import read_layout
from zoo.loading import load, load_classifier
from zoo.scoring import TEMPERATURES, Scores, best_temperature, score_stream
from zoo.text_scoring import score_texts

from .adapting import KINDS, add_adapting
from .report import RESULTS, check_out, corpus_name, cpu_name, name_of, read, sha256_of, told, versions, write

if TYPE_CHECKING:
    import torch

SPLITS = ("valid", "test")


def measure(
    folder: str | Path,
    corpus: str | None = None,
    data_dir: str | Path | None = None,
    splits: Sequence[str] = SPLITS,
    on_tokens: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Scores splits of a corpus with a checkpoint folder, batch 1, every token a target; or every labelled text.

    Args:
        corpus, data_dir: as in `zoo.corpora.load_corpus`, which also checks text and counts of a known corpus, or in
            `zoo.reviews.load_reviews`; None: the one that it was trained on, of a
            language model only where it is a public one, else ptb.
        splits: which; with `valid` among them a softmax temperature is fitted on it (grid of 0.02), and
            `perplexity_at_temperature` stands beside the plain perplexity of every split.
        on_tokens: called with the number of tokens, or texts, done since the last call.

    Returns:
        name, corpus, sha256 (of the weights), texts (split -> sha256), split -> scores, temperature or None (of a
        language model), and the versions, device and threads that did it.

    Raises:
        CheckpointError, CorpusError, VocabularyError: what was given cannot be scored.
    """
    folder = Path(folder)
    verify(folder)
    if read_layout(folder).labels is not None:
        return _measure_texts(folder, corpus, data_dir, splits, on_tokens)
    model, tokenizer = load(folder)
    corpus = corpus or language_corpus(folder)
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
    rows = {split: _row(found[split], temperature) for split in splits}
    return _result(folder, corpus_name(corpus), data.sha256, {**rows, "temperature": temperature}, model.device)


def _measure_texts(
    folder: Path,
    corpus: str | None,
    data_dir: str | Path | None,
    splits: Sequence[str],
    on_texts: Callable[[int], object] | None,
) -> dict[str, Any]:
    """As `measure`, of a text classifier."""
    model, tokenizer = load_classifier(folder)
    reviews = reviews_of(folder, tokenizer, corpus, data_dir, tuple(splits))
    rows = {
        split: score_texts(model, part.texts, part.labels, on_texts=on_texts).summary()
        for split, part in reviews.splits.items()
    }
    return _result(folder, reviews.name, reviews.sha256, rows, model.device)


def _result(
    folder: Path, corpus: str, texts: Mapping[str, str], rows: dict[str, Any], device: torch.device
) -> dict[str, Any]:
    """What was found, with whose it is and what found it."""
    import torch

    return {
        "name": folder.resolve().name,
        "corpus": corpus,
        "sha256": sha256_of(folder),
        "texts": dict(texts),
        **rows,
        "versions": versions(),
        "device": cpu_name() if device.type == "cpu" else torch.cuda.get_device_name(device),
        "threads": torch.get_num_threads(),
    }


def _row(scores: Scores, temperature: float | None) -> dict[str, Any]:
    """One split's columns; what a temperature gives stands in a column of its own."""
    at_temperature = None if temperature is None else scores.perplexity_at(temperature)
    return {**scores.summary(), "perplexity_at_temperature": at_temperature}


def _told(row: dict[str, Any]) -> str:
    """One split's numbers in a line."""
    if "perplexity" in row:
        return (
            f"perplexity {row['perplexity']:.2f} +- {row['standard_error']:.2f} over {row['targets']:,} targets, "
            f"top-1 {row['top1']:.4f}, top-3 {row['top3']:.4f}"
        )
    first = "accuracy" if "accuracy" in row else "rmse"
    more = f", mse {row['mse']:.4f}" if "mse" in row else ""
    return f"{first} {row[first]:.4f} +- {row['standard_error']:.4f} over {row['texts']:,} texts{more}"


def _measured_before(path: Path, sha256: str) -> dict[str, Any]:
    """What stands of the same weights in the file already, so that measuring one split does not lose another."""
    before = read(path)
    kept = (*SPLITS, *KINDS)
    return {key: before[key] for key in kept if key in before} if before.get("sha256") == sha256 else {}


def main(arguments: list[str] | None = None) -> int:
    """Measures the checkpoints named on the command line; writes `results/<name>/<corpus>.json`."""
    parser = argparse.ArgumentParser(prog="python -m bench.quality", description=__doc__)
    parser.add_argument("checkpoint", nargs="+", help="name of a shipped checkpoint, folder, or owner/name on the Hub")
    parser.add_argument(
        "--corpus",
        help="ptb, wikitext-2, dialogue, russian, a folder, a text file or hub:owner/name; of a text classifier imdb "
        "or movie-reviews (default: what it was trained on)",
    )
    parser.add_argument("--data", metavar="DIR", help="folder of the corpus (default: environment variable ZOO_DATA)")
    parser.add_argument("--split", action="append", help="only this one; may be repeated (default: valid and test)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results (default: bench/results)")
    parser.add_argument(
        "--adapt",
        action="append",
        choices=KINDS,
        help="dynamic: weights that follow the text; cache: a neural cache; tuned on valid, written beside the "
        "static numbers of the same file; may be repeated",
    )
    given = parser.parse_args(arguments)
    splits = tuple(given.split or SPLITS)
    logging.disable_progress_bar()  # of loading; the bar here counts tokens

    def run() -> int:
        check_out(given.out)
        if given.adapt and given.split:
            raise ZooError("--adapt measures valid and test; leave out --split")
        for checkpoint in given.checkpoint:
            name, folder = name_of(checkpoint), folder_of(checkpoint)
            for kind in given.adapt or ():
                with tqdm(desc=f"{name}, {kind}", unit="", unit_scale=True, disable=None, leave=False) as bar:
                    add_adapting(folder, kind, given.corpus, given.data, given.out, bar.update)
            if given.adapt:
                continue
            for path in sorted((given.out / name).glob("*.json")):
                read(path)  # a damaged one is refused before the work, not after it
            with tqdm(desc=name, unit="", unit_scale=True, disable=None, leave=False) as bar:
                result = measure(folder, given.corpus, given.data, splits, on_tokens=bar.update)
            corpus = result["corpus"]
            command = f"python -m bench.quality {name} --corpus {corpus} --data DIR"
            path = given.out / name / f"{corpus}.json"
            write(path, _measured_before(path, result["sha256"]) | result | {"name": name, "command": command})
            for split in splits:
                print(f"{name} {corpus} {split}: {_told(result[split])}")
        return 0

    return told(run)


if __name__ == "__main__":
    sys.exit(main())
