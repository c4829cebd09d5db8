"""Finds the fastest shape of the kernels for an OpenCL device, and keeps it in a small file.

Every candidate must first answer as its numpy twin does, so that a driver that computes wrongly is found here.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.commands import DEFAULTS
from zoo.errors import ZooError
from zoo.hub import folder_of

from .opencl.devices import alone, describe, device_of
from .opencl.model import OpenClModel
from .opencl.reference import rounded_model
from .opencl.settings import SHIPPED, Settings, as_json, candidates, path_of
from .report import check_out, name_of, told, versions, write

if TYPE_CHECKING:
    import pyopencl

CHECKED, ROUNDS, BLOCK = 20, 10, 50
NEAR = 0.02  # of a logit: rounding that falls the other way may move one so far in a few steps


def tune(folder: Path, device: pyopencl.Device, tried: list[Settings] | None = None) -> list[dict[str, Any]]:
    """Times the candidates for a device side by side on one checkpoint.

    Returns:
        settings, and microseconds (median of a step) or what was wrong with it; the fastest first.

    Raises:
        ZooError: no candidate works.
    """
    models, rows = {}, []
    tokens = np.random.default_rng(0).integers(0, 2**31, CHECKED + ROUNDS * BLOCK)
    twin = rounded_model(folder)
    for settings in candidates(device) if tried is None else tried:
        try:
            model = OpenClModel(folder, device, settings=settings)
            check(model, twin, (tokens[:CHECKED] % model.vocab_size).tolist())
            models[settings] = model
        except ZooError as error:
            rows.append({"settings": as_json(settings), "error": str(error)})
    if not models:
        raise ZooError(
            f"no settings work on {describe(device)}: {rows[-1]['error'] if rows else 'none were tried'}; "
            "try another driver: --device"
        )
    times: dict[Settings, list[float]] = {settings: [] for settings in models}
    for start in range(CHECKED, len(tokens), BLOCK):
        for settings, model in models.items():
            for token in (tokens[start : start + BLOCK] % model.vocab_size).tolist():
                before = time.perf_counter()
                model.step(token)
                times[settings].append(time.perf_counter() - before)
    found: list[dict[str, Any]] = [
        {"settings": as_json(settings), "microseconds": 1e6 * float(np.median(each))}
        for settings, each in times.items()
    ]
    return sorted(found, key=lambda row: row["microseconds"]) + rows


def check(model: OpenClModel, twin: Any, tokens: list[int]) -> None:
    """Refuses settings whose logits are not the twin's (ZooError)."""
    state = None
    for token in tokens:
        model.step(token)
        expected, state = twin.step(token, state)
        logits = model.logits()
        found = logits - np.logaddexp.reduce(logits)
        worst = float(np.abs(found - expected).max())
        if not worst <= NEAR:
            raise ZooError(f"computes wrongly: a log probability differs by {worst:.3g} after the id {token}")


def main(arguments: list[str] | None = None) -> int:
    """Tunes for one device; writes its file of settings."""
    parser = argparse.ArgumentParser(prog="python -m bench.tune", description=__doc__)
    parser.add_argument("checkpoint", nargs="?", default=DEFAULTS[0], help="timed (default: %(default)s)")
    parser.add_argument("--device", help="part of the name of an OpenCL device (default: PYOPENCL_CTX, or the first)")
    parser.add_argument(
        "--ship", action="store_true", help="write to bench/opencl/tuned, to be committed, not to the cache"
    )
    parser.add_argument("--threads", type=int, default=1, help="of PoCL, as in bench.latency (default: 1)")
    given = parser.parse_args(arguments)

    def run() -> int:
        alone(given.threads)
        device = device_of(given.device)
        path = path_of(device, SHIPPED if given.ship else None)
        check_out(path.parent)
        rows = tune(folder_of(given.checkpoint), device)
        known = {"device": describe(device), "checkpoint": name_of(given.checkpoint), "versions": versions()}
        write(path, {**known, "settings": rows[0]["settings"], "tried": rows})
        for row in rows:
            time = f"{row['microseconds']:9.1f} us" if "microseconds" in row else row["error"]
            print(" ".join(f"{name} {value}" for name, value in row["settings"].items()) + f"  {time}")
        print(f"kept in {path}; bench.latency with --threads {given.threads} takes them from there")
        return 0

    return told(run)


if __name__ == "__main__":
    sys.exit(main())
