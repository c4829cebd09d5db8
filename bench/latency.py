"""Latency of one suggestion: a token in, the three most probable next words out, batch 1, by the alternatives.

The protocol is that of Grachev et al. 2019, section 5: 100 warm-up steps, 1000 timed ones; see `rounds`.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from zoo.catalog import LANGUAGE, entries
from zoo.corpora import load_corpus
from zoo.errors import CorpusError, ZooError
from zoo.evaluation import language_corpus
from zoo.hub import folder_of, verify
from zoo.layout import read_layout

from .children import ROOT, cores_for
from .contenders import CONTENDERS, OURS, TOP, chosen
from .latency_table import table
from .report import RESULTS, check_out, corpus_name, cpu_name, name_of, read, sha256_of, slug, told, versions, write
from .rounds import Contest, Measured, Protocol, has_torch

USABLE = 0.9  # agreement from which a peer may be what the others are compared with


def text_of(folder: Path, data: str | None, length: int, corpus: str | None = None) -> tuple[list[int], str]:
    """The first ids of a test text, or random ones where no text is at hand; and which of the two.

    Args:
        corpus: None: the public one that the checkpoint was trained on, else ptb.

    Raises:
        CorpusError: a corpus or a folder of corpora is named that has no such text.
    """
    if corpus is not None or data is not None or os.environ.get("ZOO_DATA"):
        corpus = corpus or language_corpus(folder)
        ids = load_corpus(corpus, data, tokenizer=vocabulary_of(folder), splits=("test",)).splits["test"]
        if len(ids) < length:
            raise CorpusError(f"{corpus} has {len(ids):,} words and {length:,} are needed; give a longer --corpus")
        return ids[:length].tolist(), f"{corpus_name(corpus)}, test, its first tokens"
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
    corpus: str | None = None,
) -> dict[str, Any]:
    """Times contenders on one checkpoint.

    Raises:
        ZooError: an unknown contender, none that can be timed, or a protocol that cannot be followed.
    """
    if protocol.threads < 1 or protocol.passes < 1:
        raise ZooError(f"threads is {protocol.threads} and passes {protocol.passes}; give at least 1 of each")
    if (cores := len(cores_for(protocol.threads))) and cores < protocol.threads:
        raise ZooError(f"threads is {protocol.threads} and this machine has {cores} processors; allowed: 1 to {cores}")
    folder = Path(folder)
    verify(folder)
    read_layout(folder).check_language_model(folder.name, "latency is measured of")
    tokens, text = text_of(folder, data, max(protocol.warm_up + protocol.timed, protocol.checked), corpus)
    contest = Contest(folder, work, protocol, interpreters or {}, environment or {})
    contest.run(chosen(names), tokens)
    milliseconds = {name: summary(measured) for name, measured in contest.found.items()}
    usable = [
        name
        for name, measured in contest.found.items()
        if not name.startswith(OURS) and measured.top3_agreement >= USABLE
    ]
    base = min(usable, key=lambda name: milliseconds[name]["median"], default=None)
    return {
        "device": device_name({name: measured.description for name, measured in contest.found.items()}),
        "cpu": cpu_name(),
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


def device_name(found: dict[str, dict[str, Any]]) -> str:
    """What a result is of: the device of the OpenCL step; without one the GPU of any contender, else the CPU."""
    ours = {name: described for name, described in found.items() if name.startswith(OURS)} or found
    gpus = [described["device"] for described in ours.values() if described.get("device_type") == "gpu"]
    return gpus[0] if gpus else cpu_name()


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
    words += ["--corpus", corpus_name(given.corpus)] if given.corpus else []
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
    parser.add_argument("--corpus", help="whose test text is read (default: the public one of the training, else ptb)")
    parser.add_argument("--data", help="folder of the corpora (default: ZOO_DATA; without it random ids are read)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results (default: bench/results)")
    parser.add_argument("--work", type=Path, help="folder of what is made of the checkpoints (default: in ZOO_CACHE)")
    parser.add_argument(
        "--python", action="append", default=[], metavar="NAME=PATH", help="another interpreter, e.g. litert=PATH"
    )
    parser.add_argument("--replace", action="store_true", help="write over a result that has more contenders")
    given = parser.parse_args(arguments)
    cache = Path(os.environ.get("ZOO_CACHE") or "~/.cache/rnnlm-zoo").expanduser()
    environment = {"RNNLM_OPENCL_DEVICE": given.device} if given.device else {}

    def run() -> int:
        shipped = [name for name, row in entries().items() if row.task == LANGUAGE and row.folder.is_dir()]
        checkpoints = shipped if given.all else given.checkpoint
        if not checkpoints:
            raise ZooError("no checkpoint was given; name one, or give --all")
        names = chosen(given.backend)
        check_out(given.out)
        check_device(given.device, names, environment)
        interpreters, folders = interpreters_of(given.python), {name: folder_of(name) for name in checkpoints}
        protocol = Protocol(threads=given.threads, passes=given.passes)
        failed = []
        for checkpoint, folder in folders.items():
            name, work = name_of(checkpoint), (given.work or cache / "bench") / name_of(checkpoint)
            try:
                found = measure(
                    folder, given.backend, protocol, work, given.data, interpreters, environment, given.corpus
                )
                result = {"name": name, "sha256": sha256_of(folder), "command": command_of(name, given), **found}
                threads = "" if given.threads == 1 else f"-{given.threads}-threads"
                print(table(result), flush=True)
                keep(given.out / name / f"latency-{slug(result['device'])}{threads}.json", result, work, given.replace)
            except (ZooError, OSError) as error:
                if len(folders) == 1:
                    raise
                print(f"error: {name}: {error}", file=sys.stderr)
                failed.append(name)
        if failed:
            raise ZooError(f"not measured: {', '.join(failed)}; the others are")
        return 0

    return told(run)


def keep(path: Path, result: dict[str, Any], work: Path, replace: bool) -> None:
    """Writes a result, but over one of the same weights that has more contenders only with `replace`.

    Raises:
        ZooError: there is one; this result is in `work` then.
    """
    before = read(path)
    lost = [name for name in before.get("milliseconds", {}) if name not in result["milliseconds"]]
    if before.get("sha256") == result["sha256"] and lost and not replace:
        write(work / path.name, result)
        raise ZooError(
            f"{path} has {', '.join(lost)}, which were not timed now, and stays; this result is in {work / path.name}: "
            "to put it there give --replace, or time them too"
        )
    write(path, result)


def check_device(device: str | None, names: list[str], environment: dict[str, str]) -> None:
    """Refuses (ZooError) an OpenCL device that is not here, before anything is timed."""
    if device is None:
        return
    if not any(name.startswith(OURS) for name in names):
        raise ZooError("--device is of the OpenCL step; leave it out, or give --backend opencl too")
    code = "import sys; from bench.opencl.devices import alone, device_of; alone(); device_of(sys.argv[1])"
    code = f"import sys; from zoo.errors import ZooError\ntry:\n    {code}\nexcept ZooError as e:\n    sys.exit(str(e))"
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    variables = {**os.environ, **environment, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code, device], env=variables, capture_output=True, text=True)
    if done.returncode:
        raise ZooError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"no OpenCL device {device!r}")


if __name__ == "__main__":
    sys.exit(main())
