"""Does the OpenCL step answer what torch answers? Best words and logits over real text, perplexity over all of it."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from zoo.corpora import load_corpus
from zoo.errors import ZooError
from zoo.hub import folder_of

from .opencl.devices import describe, device_of
from .opencl.model import STORAGES, OpenClModel
from .report import RESULTS, corpus_name, name_of, sha256_of, slug, versions, write

if TYPE_CHECKING:
    import pyopencl

WORDS = 5000
TOP = 3
WINDOW = 250  # words that torch reads at once


def measure(
    folder: str | Path,
    device: pyopencl.Device,
    corpus: str = "ptb",
    data_dir: str | Path | None = None,
    storages: Sequence[str] = ("stored", "fp32"),
    words: int = WORDS,
    progress: bool = False,
) -> dict[str, Any]:
    """Runs the test split of a corpus through torch in fp32 and through the OpenCL step.

    Args:
        storages: of the numbers that the checkpoint has as floats, some of `bench.opencl.model.STORAGES`.
        words: how many of the first words are compared one by one.

    Returns:
        corpus, words, targets, and per storage: same_top3 (share of the compared words with the same three best in the
        same order), same_set (in any order), max_logit_difference, perplexity over the whole split; screened (whether
        the best words are those of a step that reads most rows of its output layer by half, see `OpenClModel`) and the
        greatest difference of its log probabilities.

    Raises:
        CheckpointError, CorpusError, ZooError: what was given cannot be run.
    """
    import torch

    from zoo.cache_rnnlm import RnnLmCache
    from zoo.loading import load

    model, tokenizer = load(folder)
    data = load_corpus(corpus, data_dir, tokenizer=tokenizer, splits=("test",))
    tokens = np.concatenate([[data.eos_id], data.splits["test"]]).tolist()
    compared = min(words, len(tokens) - 1)
    expected, cache = [], RnnLmCache(model.config)
    with torch.no_grad():
        for start in range(0, compared, WINDOW):
            window = torch.tensor([tokens[start : min(start + WINDOW, compared)]])
            expected.append(model(window, past_key_values=cache).logits[0].numpy())
    logits_of_torch = np.concatenate(expected)
    found: dict[str, Any] = {
        "corpus": corpus_name(corpus),
        "words": compared,
        "targets": len(tokens) - 1,
        "storages": {},
    }
    for storage in storages:
        screened = OpenClModel(folder, device, storage, TOP, screen=True)
        step = OpenClModel(folder, device, storage, TOP) if screened.screened else screened
        same, in_any_order, most, loss, apart = 0, 0, 0.0, 0.0, 0.0
        pairs = itertools.pairwise(tokens)
        for place, (token, target) in enumerate(tqdm(pairs, desc=storage, total=len(tokens) - 1, disable=not progress)):
            ids, log_probs = step.step(token)
            logits = step.logits()
            loss += float(np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[target])
            if place < compared:
                if screened.screened:
                    ids, others = screened.step(token)
                    apart = max(apart, float(np.abs(np.subtract(log_probs, others)).max()))
                best = np.argsort(-logits_of_torch[place], kind="stable")[:TOP].tolist()
                same += ids == best
                in_any_order += set(ids) == set(best)
                most = max(most, float(np.abs(logits - logits_of_torch[place]).max()))
        found["storages"][storage] = {
            "floats": step.storage,
            "same_top3": same / compared,
            "same_set": in_any_order / compared,
            "max_logit_difference": most,
            "screened": screened.screened,
            "max_log_probability_difference": apart if screened.screened else None,
            "perplexity": float(np.exp(loss / (len(tokens) - 1))),
        }
    return found


def torch_perplexity(path: Path, sha256: str) -> float | None:
    """What `bench.quality` found for the test split of the same weights; None where it has not been run."""
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    return found["test"]["perplexity"] if found["sha256"] == sha256 and "test" in found else None


def main(arguments: list[str] | None = None) -> int:
    """Measures checkpoints; writes `results/<name>/opencl-<device>.json` of each."""
    parser = argparse.ArgumentParser(prog="python -m bench.agreement", description=__doc__)
    parser.add_argument("checkpoint", nargs="+", help="name of a shipped checkpoint, folder, or owner/name on the Hub")
    parser.add_argument("--device", help="part of the name of an OpenCL device (default: PYOPENCL_CTX, or the first)")
    parser.add_argument("--storage", nargs="+", choices=STORAGES, default=["stored", "fp32"], help="of stored floats")
    parser.add_argument("--corpus", default="ptb", help="ptb, wikitext-2, a folder, a text file or hub:owner/name")
    parser.add_argument("--data", metavar="DIR", help="folder of the corpus (default: environment variable ZOO_DATA)")
    parser.add_argument("--words", type=int, default=WORDS, help=f"compared one by one (default: {WORDS})")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results (default: bench/results)")
    given = parser.parse_args(arguments)
    try:
        if given.words < 1:
            raise ZooError(f"--words is {given.words}; give at least 1")
        device = device_of(given.device)
        for checkpoint in given.checkpoint:
            name, folder = name_of(checkpoint), folder_of(checkpoint)
            found = measure(
                folder, device, given.corpus, given.data, given.storage, given.words, progress=sys.stderr.isatty()
            )
            sha256 = sha256_of(folder)
            for row in found["storages"].values():
                row["torch_perplexity"] = torch_perplexity(given.out / name / f"{found['corpus']}.json", sha256)
            other = "" if found["corpus"] == "ptb" else f" --corpus {found['corpus']}"
            known = {
                "name": name,
                "sha256": sha256,
                "command": f"python -m bench.agreement {name}{other} --data DIR",
                "device": describe(device),
                "versions": versions(),
            }
            write(given.out / name / f"opencl-{slug(device.name)}.json", known | found)
            for storage, row in found["storages"].items():
                print(
                    f"{name} {storage}: same three best words at {row['same_top3']:.2%} of {found['words']:,} words, "
                    f"logits within {row['max_logit_difference']:.2g}, perplexity {row['perplexity']:.3f} "
                    f"(torch: {row['torch_perplexity'] or 'not measured, type python -m bench.quality'})"
                )
    except (ZooError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
