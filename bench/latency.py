"""Latency of one suggestion: a token in, the three most probable next words out, batch 1, by the alternatives.

The protocol is that of Grachev et al. 2019, section 5: 100 warm-up steps, 1000 timed ones; see `rounds`.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from zoo.catalog import LANGUAGE, entries
from zoo.corpora import load_corpus
from zoo.errors import CorpusError, ZooError
from zoo.hub import folder_of, verify
from zoo.layout import read_layout

from .contenders import CONTENDERS, OURS, TOP, chosen
from .latency_table import table
from .report import RESULTS, cpu_name, name_of, sha256_of, slug, versions, write
from .rounds import Contest, Measured, Protocol, has_torch

USABLE = 0.9  # agreement from which a peer may be what the others are compared with


def text_of(folder: Path, data: str | None, length: int) -> tuple[list[int], str]:
    """The first ids of the PTB test text, or random ones where it is not there; and which of the two.

    Raises:
        CorpusError: `data` has no such text.
    """
    if data is not None or os.environ.get("ZOO_DATA"):
        try:
            ids = load_corpus("ptb", data, tokenizer=vocabulary_of(folder), splits=("test",)).splits["test"]
            return ids[:length].tolist(), "ptb, test, its first tokens"
        except CorpusError:
            if data is not None:
                raise
    return np.random.default_rng(0).integers(0, read_layout(folder).vocab_size, length).tolist(), "random ids, seed 0"


def vocabulary_of(folder: Path) -> Any:
    """All that a corpus asks of a tokenizer, from its file: the libraries for it may not be installed on a phone."""
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    added = {token["content"]: token["id"] for token in content.get("added_tokens", [])}
    return SimpleNamespace(get_vocab=lambda: content["model"]["vocab"] | added)


def measure(
    folder: str | Path,
    names: list[str] | None,
    protocol: Protocol,
    work: Path,
    data: str | None = None,
    interpreters: dict[str, Path] | None = None,
    environment: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Times contenders on one checkpoint.

    Raises:
        ZooError: an unknown contender, none that can be timed, or a protocol that cannot be followed.
    """
    if protocol.threads < 1 or protocol.passes < 1:
        raise ZooError(f"threads is {protocol.threads} and passes {protocol.passes}; give at least 1 of each")
    folder = Path(folder)
    verify(folder)
    read_layout(folder).check_language_model(folder.name, "latency is measured of")
    tokens, text = text_of(folder, data, max(protocol.warm_up + protocol.timed, protocol.checked))
    contest = Contest(folder, work, protocol, interpreters or {}, environment or {})
    contest.run(chosen(names), tokens)
    milliseconds = {name: summary(measured) for name, measured in contest.found.items()}
    usable = [
        name
        for name, measured in contest.found.items()
        if not name.startswith(OURS) and measured.top3_agreement >= USABLE
    ]
    base = min(usable, key=lambda name: milliseconds[name]["median"], default=None)
    gpus = [m.description["device"] for m in contest.found.values() if m.description.get("device_type") == "gpu"]
    return {
        "device": gpus[0] if gpus else cpu_name(),
        "versions": versions(),
        "text": text,
        "protocol": {"batch": 1, "top": TOP, **asdict(protocol)},
        **({"memory": memory_in_torch(folder)} if has_torch() else {}),
        "reference": contest.reference,
        "bandwidth": contest.bandwidth,
        "milliseconds": milliseconds,
        "contenders": {
            name: details(measured, milliseconds[name]["median"], contest) for name, measured in contest.found.items()
        },
        "base": base,
        "ratios": {} if base is None else {n: ratio(m, contest.found[base]) for n, m in contest.found.items()},
        "skipped": contest.skipped,
    }


def memory_in_torch(folder: Path) -> dict[str, int]:
    """What `memory.step_memory` gives; imported late, as the benchmark also runs where there is no torch."""
    from .memory import step_memory

    return step_memory(folder)


def summary(measured: Measured) -> dict[str, float]:
    """Mean, median and percentiles of the steps of a pass; of several passes the median of each."""
    passes = [np.concatenate(rounds) for rounds in measured.rounds]
    rows = [[steps.mean(), np.median(steps), *np.percentile(steps, [95, 99])] for steps in passes]
    return dict(zip(("mean", "median", "p95", "p99"), map(float, np.median(rows, axis=0)), strict=True))


def ratio(measured: Measured, base: Measured) -> float:
    """Median over the rounds of (its median / the base's in the same round); of several passes the median."""
    passes = zip(measured.rounds, base.rounds, strict=True)
    return statistics.median(
        statistics.median(statistics.median(a) / statistics.median(b) for a, b in zip(mine, theirs, strict=True))
        for mine, theirs in passes
    )


def details(measured: Measured, median: float, contest: Contest) -> dict[str, Any]:
    """What is told of a contender beside its times."""
    found = {
        **measured.description,
        "top3_agreement": measured.top3_agreement,
        "spaced_ms": statistics.median(measured.spaced_ms),
        "cold_ms": measured.cold_ms,
        "cold_empty_cache_ms": measured.cold_empty_cache_ms,
        "rss_mb": None if measured.peak_memory is None else measured.peak_memory / 1e6,
        "device_ms": statistics.median(measured.device_ms) if measured.device_ms else None,
        "joules_per_token": statistics.mean(measured.joules) if measured.joules else None,
    }
    touched, device = found.get("touched_bytes"), found.get("device_type", "cpu")
    if touched and contest.bandwidth and device == contest.bandwidth_device:
        sizes, speeds = zip(*((row["bytes"], row["gb_per_s"]) for row in contest.bandwidth), strict=True)
        found["floor_ms"] = touched / float(np.interp(np.log(touched), np.log(sizes), speeds)) / 1e6
        found["times_floor"] = median / found["floor_ms"]
    return {key: value for key, value in found.items() if value is not None}


def command_of(name: str, given: argparse.Namespace) -> str:
    """What to type for the same measurement elsewhere: without this machine's paths."""
    words = ["python", "-m", "bench.latency", name]
    words += ["--backend", *given.backend] if given.backend else []
    for option, usual in (("threads", 1), ("passes", 1), ("device", None)):
        value = getattr(given, option)
        words += [f"--{option}", str(value)] if value != usual else []
    return shlex.join(words) + (" --data DIR" if given.data or os.environ.get("ZOO_DATA") else "")


def interpreters_of(given: list[str]) -> dict[str, Path]:
    """`litert=PATH` -> its parts (ZooError)."""
    found = {}
    for text in given:
        prefix, _, path = text.partition("=")
        if not any(name == prefix or name.startswith(f"{prefix}-") for name in CONTENDERS) or not Path(path).is_file():
            raise ZooError(f"--python is {text!r}; give a contender and an interpreter: litert=other/bin/python")
        found[prefix] = Path(path).absolute()
    return found


def main(arguments: list[str] | None = None) -> int:
    """Measures checkpoints on this machine; writes `results/<name>/latency-<device>.json` of each."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__)
    parser.add_argument("checkpoint", nargs="*", help="name of a shipped checkpoint, folder, or owner/name on the Hub")
    parser.add_argument("--all", action="store_true", help="all shipped language models")
    parser.add_argument("--backend", nargs="+", metavar="NAME", help=f"any of {', '.join(CONTENDERS)} (default: all)")
    parser.add_argument("--threads", type=int, default=1, help="threads of each contender (default: 1)")
    parser.add_argument("--passes", type=int, default=1, help="how often all is timed; medians are told (default: 1)")
    parser.add_argument("--device", help="part of the name of an OpenCL device (default: PYOPENCL_CTX, or the first)")
    parser.add_argument("--data", help="folder of the PTB corpus (default: ZOO_DATA; without it random ids are read)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results (default: bench/results)")
    parser.add_argument("--work", type=Path, help="folder of what is made of the checkpoints (default: in ZOO_CACHE)")
    parser.add_argument(
        "--python", action="append", default=[], metavar="NAME=PATH", help="another interpreter, e.g. litert=PATH"
    )
    given = parser.parse_args(arguments)
    cache = Path(os.environ.get("ZOO_CACHE") or "~/.cache/rnnlm-zoo").expanduser()
    environment = {"RNNLM_OPENCL_DEVICE": given.device} if given.device else {}
    try:
        shipped = [name for name, row in entries().items() if row.task == LANGUAGE]
        checkpoints = shipped if given.all else given.checkpoint
        if not checkpoints:
            raise ZooError("no checkpoint was given; name one, or give --all")
        chosen(given.backend)
        interpreters, folders = interpreters_of(given.python), {name: folder_of(name) for name in checkpoints}
        protocol = Protocol(threads=given.threads, passes=given.passes)
        for checkpoint, folder in folders.items():
            name, work = name_of(checkpoint), (given.work or cache / "bench") / name_of(checkpoint)
            found = measure(folder, given.backend, protocol, work, given.data, interpreters, environment)
            result = {"name": name, "sha256": sha256_of(folder), "command": command_of(name, given), **found}
            threads = "" if given.threads == 1 else f"-{given.threads}-threads"
            write(given.out / name / f"latency-{slug(result['device'])}{threads}.json", result)
            print(table(result))
    except (ZooError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written of the checkpoint that was being measured", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
