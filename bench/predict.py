"""Predicts the time of a token on a device that is not here: a model, fitted to timings or made of published figures.

t = fixed + launches x launch + bytes touched / bandwidth + operations / rate, a term only where the timings can tell it
from the others. The timings are the paper's own (Table 1 of Grachev et al. 2019) or result files of bench.latency.
A prediction is never written into a latency-*.json.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.hub import folder_of
from zoo.layout import read_layout

from .phones import Device, devices
from .report import RESULTS, check_out, name_of, sha256_of, slug, told, write
from .roofline import Fit
from .touched import expanded_bytes, operations, stored_bytes

PAPERS_WAY = "as the paper's own runtime takes; fitted to its timings"
MEASURED = "as bench.latency times it; fitted to result files"
ONE_WAIT = "all kernels of a token enqueued at once and waited for once; from published figures of the hardware"


def predict(checkpoint: str, device: Device, command: str) -> dict[str, Any]:
    """What a checkpoint should take on a device, as JSON.

    Raises:
        CheckpointError: nothing has this name, or its files are damaged.
    """
    folder = folder_of(checkpoint)
    layout, stored = read_layout(folder), stored_bytes(folder)
    layout.check_language_model(checkpoint, "the time of a token is predicted for")
    sha256 = sha256_of(folder)
    found = list[dict[str, Any]]()
    if device.fit:
        terms: dict[str, float | None] = {"bytes": stored, "operations": operations(layout)}
        if device.paper:  # its int8, pruned and Tensor Train rows took the time of dense fp32
            terms["bytes"] = expanded_bytes(layout)
        elif timed := device.touched.get(sha256):
            terms = dict(timed.terms)
        usable = device.fit if all(terms.get(term) for term in device.fit.terms) else device.fit.by_bytes()
        middle, low, high = usable.predict(terms)
        entry = _entry(PAPERS_WAY if device.paper else MEASURED, terms["bytes"], low, high, "95 % interval of a timing")
        found.append(entry | {"milliseconds": round(middle, 3)})
    if device.wait_ms and device.gb_per_s:
        (wait, waits), (slow, fast) = device.wait_ms, device.gb_per_s
        low, high = wait + stored / fast / 1e6, waits + stored / slow / 1e6
        found.append(_entry(ONE_WAIT, stored, low, high, "from the best to the worst of the figures"))
    about = {"kind": "prediction", "name": name_of(checkpoint), "sha256": sha256, "command": command}
    fitted = {"fit": summary(device.fit)} if device.fit else {}
    return about | {"device": device.name, "predictions": found} | fitted


def _entry(how: str, touched: float | None, low: float, high: float, ends: str) -> dict[str, Any]:
    """One prediction as JSON; milliseconds."""
    entry = {"kind": "prediction", "how": how, "touched_bytes": touched}
    return entry | {"low": round(low, 3), "high": round(high, 3), "range": ends}


def summary(found: Fit) -> dict[str, Any]:
    """A fit as JSON: milliseconds, GB/s with the ends of its 95 % interval, why a row or a term is not in it."""
    slow, fast = (round(1e-6 / end, 3) if end > 0 else None for end in reversed(found.interval(1)))
    extra = zip(found.terms[1:], found.coefficients[2:], strict=True)
    return {
        "rows": len(found.timings) - len(found.left_out),
        "fixed_ms": round(float(found.coefficients[0]), 3),
        "fixed_ms_interval": [round(end, 3) for end in found.interval(0)],
        "gb_per_s": round(1e-6 / float(found.coefficients[1]), 3),
        "gb_per_s_interval": [slow, fast],
        **{f"ms_per_{term}": float(f"{coefficient:.4g}") for term, coefficient in extra},
        "r2": round(found.r2, 4),
        "r2_leave_one_out": round(found.r2_leave_one_out, 4),
        "deviation_ms": round(found.deviation, 3),
        "left_out": found.left_out,
        "untold": found.untold,
    }


def residuals(device: Device) -> list[dict[str, Any]]:
    """The rows of a device's fit and those that it was judged by: what was timed, and what the fit says, in ms."""
    assert device.fit is not None
    rows = [(timing, device.fit.left_out.get(timing.name, "")) for timing in device.fit.timings]
    rows += [(timing, f"judged {how}, not in the fit") for timing, how in device.judged]
    found = []
    for timing, remark in rows:
        middle, low, high = device.fit.predict(timing.terms)
        found.append(
            {
                "name": timing.name,
                "bytes": timing.terms["bytes"],
                "timed": timing.milliseconds,
                "model": middle,
                "low": low,
                "high": high,
                "remark": remark,
                "why": timing.remark,
            }
        )
    return found


def fit_table(device: Device) -> list[str]:
    """The fit of a device with the residual of every row, and why rows do not fit; nothing where it has none."""
    if not device.fit:
        return [f"{device.name}: nothing was timed on it; published figures only"]
    told = summary(device.fit)
    slow, fast = told["gb_per_s_interval"]
    lines = [
        f"{device.name}: t = {told['fixed_ms']:.2f} ms + bytes / {told['gb_per_s']:.2f} GB/s "
        f"(95 %: {told['fixed_ms_interval'][0]:.2f} to {told['fixed_ms_interval'][1]:.2f} ms, "
        f"{slow or 0:.2f} to {'any' if fast is None else f'{fast:.2f}'} GB/s)",
        f"{told['rows']} rows, R^2 {told['r2']:.3f}, leave-one-out R^2 {told['r2_leave_one_out']:.3f}",
        *(f"{key.replace('_', ' ')}: {value:.3g}" for key, value in told.items() if key.startswith("ms_per")),
        *(f"{term}: no term of their own, {why}" for term, why in told["untold"].items()),
    ]
    rows = residuals(device)
    width = max(len(row["name"]) for row in rows)
    lines.append(f"{'row':<{width}}  {'MB':>7}  {'timed':>7}  {'model':>7}  {'residual':>8}  remark")
    reasons = list[str]()
    for row in rows:
        remark = row["remark"]
        if remark:
            fits = row["low"] <= row["timed"] <= row["high"]
            remark = f"{'fits' if fits else 'does not fit'}: {remark}"
            reasons += [] if fits or not row["why"] else [f"{row['name']}: {' '.join(row['why'].split())}"]
        numbers = f"{row['timed']:7.3f}  {row['model']:7.3f}  {row['timed'] - row['model']:+8.3f}"
        lines.append(f"{row['name']:<{width}}  {(row['bytes'] or 0) / 1e6:7.2f}  {numbers}  {remark}".rstrip())
    if device.judged:
        reasons.append(
            "A row that fits as dense fp32 alone was expanded before or while it was computed, or paid for more "
            "launches what its smaller bytes saved; the paper does not say which."
        )
    return lines + list(dict.fromkeys(reasons))


def prediction_table(found: list[dict[str, Any]]) -> list[str]:
    """Predictions, a line each; the first word of each says what it is."""
    width = max(len(one["name"]) for one in found)
    return [
        f"prediction  {one['name']:<{width}}  {one['device']}  "
        + (f"{entry['milliseconds']:.2f} ms, " if "milliseconds" in entry else "")
        + f"{entry['low']:.2f} to {entry['high']:.2f} ms ({entry['range']}), {entry['touched_bytes'] / 1e6:.2f} MB: "
        + entry["how"]
        for one in found
        for entry in one["predictions"]
    ]


def main(arguments: list[str] | None = None) -> int:
    """Predicts for the checkpoints named on the command line; writes a file only with --out."""
    parser = argparse.ArgumentParser(prog="python -m bench.predict", description=__doc__)
    parser.add_argument("checkpoint", nargs="*", help="name of a shipped checkpoint, folder, or owner/name on the Hub")
    parser.add_argument(
        "--device",
        nargs="+",
        default=["mali-t880"],
        help="of bench/phones.toml, one that has results, or their files (default: mali-t880)",
    )
    parser.add_argument("--fit", action="store_true", help="show the fit with the residual of every row")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--out",
        type=Path,
        nargs="?",
        const=RESULTS,
        help="write <name>/predicted-<device>.json into this folder (without a folder: bench/results)",
    )
    given = parser.parse_args(arguments)
    return told(lambda: run(given))


def run(given: argparse.Namespace) -> int:
    """Fits and predicts what the options ask for; prints, and writes where asked to."""
    if not given.checkpoint and not given.fit:
        raise ZooError("no checkpoint; name one, e.g. lstm-200-ptb, or give --fit to see the fit alone")
    if given.out and not given.checkpoint:
        raise ZooError("--out writes predictions of checkpoints; name one, e.g. lstm-200-ptb")
    if given.out:
        check_out(given.out)
    known = devices(given.device)
    asked = shlex.join(given.device)
    found = [
        predict(name, device, f"python -m bench.predict {name_of(name)} --device {asked} --out")
        for name in given.checkpoint
        for device in known
    ]
    if given.out:
        for one in found:
            write(given.out / one["name"] / f"predicted-{slug(one['device'])}.json", one)
    if given.json:
        fits = [
            {"device": device.name, "fit": summary(device.fit), "timings": residuals(device)}
            for device in known
            if given.fit and device.fit
        ]
        print(json.dumps(found + fits, indent=2))
        return 0
    lines = [line for device in known if given.fit for line in [*fit_table(device), ""]]
    print("\n".join(lines + (prediction_table(found) if found else [])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
