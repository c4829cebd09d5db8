"""What bench.predict knows of a device: a fit to timings taken on it, and published figures of its hardware."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.hub import folder_of
from zoo.layout import layout_of, read_layout

from .report import RESULTS, slug
from .roofline import Fit, Timing, fit
from .touched import expanded_bytes, operations, shrunk_bytes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PHONES = Path(__file__).with_name("phones.toml")
PAPER = Path(__file__).parents[1] / "conversion" / "paper_rows.toml"  # read as data; conversion itself is not needed
CONTENDER = "opencl"
NEEDED = (
    ("name",),
    ("sha256",),
    ("device",),
    ("protocol", "threads"),
    ("milliseconds", CONTENDER, "median"),
    ("contenders", CONTENDER, "touched_bytes"),
)


@dataclass(frozen=True)
class Device:
    """What predictions for one device are made of: a fit, published figures (see phones.toml), or both."""

    name: str
    fit: Fit | None = None
    paper: bool = False  # the fit is to the paper's timings
    judged: list[tuple[Timing, str]] = field(default_factory=list)  # rows never in the fit, and how each was read
    wait_ms: tuple[float, float] | None = None
    gb_per_s: tuple[float, float] | None = None
    touched: dict[str, Timing] = field(default_factory=dict)  # sha256 of weights -> their timing


def devices(asked: Sequence[str], results: Path = RESULTS) -> list[Device]:
    """The devices of names in phones.toml, of result files, and of devices that have result files in `results`.

    Raises:
        ZooError: nothing has this name; says which there are.
    """
    phones = tomllib.loads(PHONES.read_text(encoding="utf-8"))
    found, files = list[Device](), list[Path]()
    for given in dict.fromkeys(asked):
        if given in phones:
            found.append(_phone(phones[given]))
        elif given.endswith(".json"):
            files.append(Path(given))
        else:
            own = [path for path in sorted(results.glob(f"*/latency-{slug(given)}.json")) if _has_contender(path)]
            if not own:
                timed = {path.stem.removeprefix("latency-") for path in results.glob("*/latency-*.json")}
                raise ZooError(
                    f"no device {given!r}; there are {', '.join([*phones, *sorted(timed)])}, and files: "
                    "--device latency-*.json"
                )
            files += own
    return found + measured_devices(files)


def _phone(figures: dict[str, Any]) -> Device:
    """A device of phones.toml. Of the paper's, rows of plain matrices make the fit; the others are judged by it."""
    name, wait, bandwidth = figures["name"], tuple(figures["wait_ms"]), tuple(figures["gb_per_s"])
    if not figures.get("paper"):
        return Device(name, wait_ms=wait, gb_per_s=bandwidth)
    plain, judged = list[Timing](), list[tuple[Timing, str]]()
    for row in tomllib.loads(PAPER.read_text(encoding="utf-8"))["row"]:
        if "mali_ms" not in row["paper"]:
            continue
        layout = layout_of(row["config"], f"{PAPER.name}, {row['id']}")
        for how, count in (("as dense fp32", expanded_bytes), ("as small as stored", shrunk_bytes)):
            terms: dict[str, float | None] = {"bytes": count(layout), "operations": operations(layout)}
            timing = Timing(row["name"], row["paper"]["mali_ms"], terms, row.get("remark", ""))
            if layout.weights:
                judged.append((timing, how))
        if not layout.weights:
            plain.append(timing)
    return Device(name, fit(plain, "Table 1 of the paper"), True, judged, wait, bandwidth)


def measured_devices(paths: Iterable[Path]) -> list[Device]:
    """A device for every (device, threads) of results of bench.latency with the OpenCL step among their contenders.

    Raises:
        ZooError: a file is no such result, or a device has too few of them.
    """
    groups: dict[str, list[Timing]] = {}
    touched: dict[str, dict[str, Timing]] = {}
    for path in paths:
        found = _result(path)
        threads, count = found["protocol"]["threads"], _operations(found["name"])
        label = found["device"] if threads == 1 else f"{found['device']}, {threads} threads"
        for contender, own in found["contenders"].items():
            if not contender.startswith(CONTENDER) or "touched_bytes" not in own:
                continue
            terms: dict[str, float | None] = {"bytes": own["touched_bytes"], "launches": own.get("launches")}
            name = found["name"] + contender.removeprefix(CONTENDER)  # e.g. lstm-200-ptb-fp32
            median = found["milliseconds"][contender]["median"]
            timing = Timing(name, median, {**terms, "operations": count})
            groups.setdefault(label, []).append(timing)
            if contender == CONTENDER:
                touched.setdefault(label, {})[found["sha256"]] = timing
    return [Device(label, fit(group, label), touched=touched[label]) for label, group in groups.items()]


def _read(path: Path) -> Any:
    """A file as JSON."""
    if not path.is_file():
        raise ZooError(f"there is no file {path}; give results of python -m bench.latency NAME")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ZooError(f"{path} cannot be read as JSON; give results of python -m bench.latency NAME") from error


def _has_contender(path: Path) -> bool:
    """Whether the OpenCL step was timed; results from before it was there have none."""
    found = _read(path)
    return isinstance(found, dict) and CONTENDER in found.get("milliseconds", {})


def _result(path: Path) -> dict[str, Any]:
    """A latency result with what a fit needs of it."""
    found = _read(path)
    if isinstance(found, dict) and found.get("kind") == "prediction":
        raise ZooError(f"{path} is itself a prediction; give results of python -m bench.latency NAME")
    for keys in NEEDED:
        value = found
        for key in keys:
            if not isinstance(value, dict) or key not in value:
                raise ZooError(
                    f"{path} has no {'.'.join(keys)}; give results of python -m bench.latency NAME "
                    f"--backend {CONTENDER}"
                )
            value = value[key]
    return found


def _operations(name: str) -> int | None:
    """Operations of a shipped checkpoint by its name; of another, unknown."""
    try:
        return operations(read_layout(folder_of(name)))
    except ZooError:
        return None
