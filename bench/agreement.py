"""Does the OpenCL step answer what torch answers? Best words and logits over real text, perplexity over all of it."""

from __future__ import annotations

import argparse
import itertools
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from zoo.corpora import load_corpus
from zoo.errors import ZooError
from zoo.evaluation import language_corpus
from zoo.hub import folder_of

from .opencl.devices import alone, describe, device_of
from .opencl.model import STORAGES, OpenClModel
from .report import RESULTS, check_out, corpus_name, name_of, read, sha256_of, slug, told, versions, write

if TYPE_CHECKING:
    import pyopencl

WORDS = 5000
STORED = ["stored", "fp32"]
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
    found = read(path)
    return found["test"]["perplexity"] if found.get("sha256") == sha256 and "test" in found else None


def main(arguments: list[str] | None = None) -> int:
    """Measures checkpoints; writes `results/<name>/opencl-<device>.json` of each."""
    parser = argparse.ArgumentParser(prog="python -m bench.agreement", description=__doc__)
    parser.add_argument("checkpoint", nargs="+", help="name of a shipped checkpoint, folder, or owner/name on the Hub")
    parser.add_argument("--device", help="part of the name of an OpenCL device (default: PYOPENCL_CTX, or the first)")
    parser.add_argument("--storage", nargs="+", choices=STORAGES, default=STORED, help="of stored floats")
    parser.add_argument(
        "--corpus", help="as zoo evaluate takes it (default: the public one that the checkpoint was trained on)"
    )
    parser.add_argument("--data", metavar="DIR", help="folder of the corpus (default: environment variable ZOO_DATA)")
    parser.add_argument("--words", type=int, default=WORDS, help=f"compared one by one (default: {WORDS})")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results (default: bench/results)")
    parser.add_argument("--replace", action="store_true", help="write over a result of more words")
    given = parser.parse_args(arguments)

    def run() -> int:
        if given.words < 1:
            raise ZooError(f"--words is {given.words}; give at least 1")
        check_out(given.out)
        alone()
        device = device_of(given.device)
        for checkpoint in given.checkpoint:
            name, folder = name_of(checkpoint), folder_of(checkpoint)
            sha256, path = sha256_of(folder), given.out / name / f"opencl-{slug(device.name)}.json"
            before = read(path)
            if before.get("sha256") == sha256 and before.get("words", 0) > given.words and not given.replace:
                raise ZooError(f"{path} has {before['words']:,} words, more than --words; give --out, or --replace")
            corpus = given.corpus or language_corpus(folder)
            found = measure(
                folder, device, corpus, given.data, given.storage, given.words, progress=sys.stderr.isatty()
            )
            for row in found["storages"].values():
                row["torch_perplexity"] = torch_perplexity(given.out / name / f"{found['corpus']}.json", sha256)
            known = {
                "name": name,
                "sha256": sha256,
                "command": command_of(name, found["corpus"], given),
                "device": describe(device),
                "versions": versions(),
            }
            write(path, known | found)
            for storage, row in found["storages"].items():
                print(
                    f"{name} {storage}, {found['corpus']}: same three best words at {row['same_top3']:.2%} of "
                    f"{found['words']:,} words, logits within {row['max_logit_difference']:.2g}, perplexity "
                    f"{row['perplexity']:.3f} "
                    f"(torch: {row['torch_perplexity'] or 'not measured, type python -m bench.quality'})"
                )
        return 0

    return told(run)


def command_of(name: str, corpus: str, given: argparse.Namespace) -> str:
    """What to type for the same measurement elsewhere."""
    words = ["python", "-m", "bench.agreement", name]
    words += [] if corpus == "ptb" else ["--corpus", corpus]
    words += [] if given.words == WORDS else ["--words", str(given.words)]
    words += [] if given.storage == STORED else ["--storage", *given.storage]
    words += ["--device", given.device] if given.device else []
    return shlex.join([*words, "--data", "DIR"])


if __name__ == "__main__":
    sys.exit(main())
