"""What was timed and what was predicted, as tables: the latency section of a card, and the README's table.

Results of other versions and of other people have some of the keys only, so a column is shown where a row has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .facts import Facts, card_of
from .paper import differences, rows_of

OURS = "opencl"
PLAIN = "c"  # what a device without OpenCL has
PHONE = "Mali-T880"  # of the paper
NONE = "–"


def _fixed(digits: int, factor: float = 1) -> Callable[[Any], str]:
    """How a number is written."""
    return lambda value: f"{value * factor:.{digits}f}"


# Heading, key, how it is written; the key is one of a contender's, of its milliseconds ("ms.") or of the ratios.
COLUMNS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("mean ms", "ms.mean", _fixed(3)),
    ("median ms", "ms.median", _fixed(3)),
    ("p95 ms", "ms.p95", _fixed(3)),
    ("p99 ms", "ms.p99", _fixed(3)),
    ("/ base", "ratio", _fixed(2)),
    ("x floor", "times_floor", _fixed(2)),
    ("spaced ms", "spaced_ms", _fixed(3)),
    ("on the device ms", "device_ms", _fixed(3)),
    ("cold ms", "cold_ms", _fixed(0)),
    ("cold ms, empty cache", "cold_empty_cache_ms", _fixed(0)),
    ("MB", "file_bytes", _fixed(2, 1e-6)),
    ("MB touched", "touched_bytes", _fixed(2, 1e-6)),
    ("RSS MB", "rss_mb", _fixed(0)),
    ("mJ", "joules_per_token", _fixed(2, 1e3)),
    ("same top-3", "top3_agreement", lambda value: f"{value:.1%}"),
)


def device_of(found: dict) -> str:
    """A device and its threads."""
    threads = found["protocol"]["threads"]
    return f"{found['device']}, {threads} thread{'' if threads == 1 else 's'}"


def section(facts: Facts) -> str:
    """The latency section of a card: measurements, the paper's figure, predictions, agreement with torch."""
    parts = ["\n".join(map(_measured, facts.latency)) or "Not measured yet.\n"]
    parts += [_paper(facts), _predicted(facts.predicted), "\n".join(map(_agreement, facts.agreement))]
    return "\n".join(part for part in parts if part)


def _measured(found: dict) -> str:
    """What was timed on one device, the fastest first."""
    cells = {
        contender: _values(contender, found) for contender, row in found["milliseconds"].items() if "median" in row
    }
    columns = [column for column in COLUMNS if any(row.get(column[1]) is not None for row in cells.values())]
    lines = [f"Measured on {device_of(found)}:", ""]
    lines += [f"| contender | {' | '.join(heading for heading, *_ in columns)} |", f"|---|{'---:|' * len(columns)}"]
    for contender, row in sorted(cells.items(), key=lambda cell: cell[1]["ms.median"]):
        told = [NONE if row.get(key) is None else write(row[key]) for _, key, write in columns]
        lines.append(f"| {contender} | {' | '.join(told)} |")
    notes = _notes(found)
    return "\n".join([*lines, *(["", " ".join(notes)] if notes else []), ""])


def _values(contender: str, found: dict) -> dict[str, Any]:
    """What is known of a contender, by the keys of COLUMNS."""
    times = {f"ms.{what}": value for what, value in found["milliseconds"].get(contender, {}).items()}
    return found.get("contenders", {}).get(contender, {}) | times | {"ratio": found.get("ratios", {}).get(contender)}


def _notes(found: dict) -> list[str]:
    """What the columns need to be read, a sentence each."""
    notes = [f"The words are those of {found['text']}."] if found.get("text") else []
    if found.get("base"):
        notes.append(f"The base is {found['base']}, the fastest peer of comparable answers.")
    for contender, row in found.get("contenders", {}).items():
        if row.get("device_type") == "gpu" and row.get("device") != found["device"]:
            notes.append(f"{contender} ran on {row['device']}.")
        if contender.startswith(OURS) and row.get("launches"):
            how = "".join(f", {row[key]}" for key in ("chain", "device_type") if isinstance(row.get(key), str))
            notes.append(f"{contender}: {row['launches']} launches a token{how}.")
    if found.get("bandwidth"):
        told = ", ".join(f"{row['gb_per_s']:.1f} GB/s of {row['bytes'] / 1e6:.1f} MB" for row in found["bandwidth"])
        notes.append(f"Read bandwidth in the same run: {told}.")
    if memory := found.get("memory"):
        weights, made = memory["weights"] / 1e6, memory["step_peak"] / 1e6
        notes.append(f"In torch the weights take {weights:.2f} MB of memory, what one step makes {made:.2f} MB more.")
    if skipped := found.get("skipped"):
        why = skipped.items() if isinstance(skipped, dict) else [(name, "") for name in skipped]
        notes.append(f"Not run: {'; '.join(f'{name} ({reason})' if reason else name for name, reason in why)}.")
    return notes


def _paper(facts: Facts) -> str:
    """The rows of the paper's Table 1 that this network stands for."""
    lines = [
        f"The paper's Table 1 has {row.mali_ms:.2f} ms a token on a {PHONE} for {row.name} "
        f"(test perplexity {row.perplexity:.2f})."
        for row in rows_of(facts.layout)
    ]
    if not lines:
        return ""
    told = differences(facts.layout, rows_of(facts.layout)[0].layout)
    return "\n".join([*lines, f"This checkpoint differs: {', '.join(told)}." if told else "", ""])


def _predicted(predicted: list[dict]) -> str:
    """Predictions, apart from what was measured."""
    if not predicted:
        return ""
    lines = ["**Predictions, not measurements**, for devices that are not here:", ""]
    lines += ["| prediction for | ms | MB touched | how |", "|---|---:|---:|---|"]
    for found in predicted:
        for one in found["predictions"]:
            touched = one["touched_bytes"] / 1e6
            lines.append(f"| {found['device']} | {_range(one)} | {touched:.2f} | {one['how']}; {one['range']} |")
    commands = dict.fromkeys(found["command"] for found in predicted)
    return "\n".join([*lines, "", f"Predicted by {', '.join(f'`{command}`' for command in commands)}.", ""])


def _range(one: dict) -> str:
    """A prediction with its ends."""
    ends = f"{one['low']:.2f} to {one['high']:.2f}"
    return f"{one['milliseconds']:.2f} ({ends})" if "milliseconds" in one else ends


def _agreement(found: dict) -> str:
    """How far the OpenCL step gives what torch gives, on one device."""
    lines = [f"The OpenCL step beside torch, {found['words']:,} words, on {found['device']}:", ""]
    lines += ["| storage | same best three words | largest difference of a logit | perplexity | of torch |"]
    lines += ["|---|---:|---:|---:|---:|"]
    for storage, row in found["storages"].items():
        both = (row.get("perplexity"), row.get("torch_perplexity"))
        perplexity = " | ".join(NONE if value is None else f"{value:.3f}" for value in both)
        lines.append(f"| {storage} | {row['same_top3']:.2%} | {row['max_logit_difference']:.2g} | {perplexity} |")
    told = f"Measured by `{found['command']}`." if "command" in found else ""
    return "\n".join([*lines, "", told, ""])


def table(checkpoints: list[Facts]) -> str:
    """The README's table: what was measured a device, and for the paper's phone what was predicted and printed."""
    lines = [
        f"| checkpoint | measured on | {OURS} ms | base | base ms | {OURS} / base | x floor | spaced ms | cold ms "
        f"| {PHONE} ms, *predicted*: the paper's way | *predicted*: one wait a token | the paper's row |",
        f"|---|---|---:|---|{'---:|' * 8}",
    ]
    for facts in checkpoints:
        phone = " | ".join(_phone(facts))
        timed = [found for found in facts.latency if {OURS, PLAIN} & found["milliseconds"].keys()]
        rows = [_row(found) for found in timed] or [["not yet", *[NONE] * 7]]
        if timed or facts.predicted or rows_of(facts.layout):
            link = f"[{facts.name}]({card_of(facts.name)})"
            lines += [f"| {link} | {' | '.join(row)} | {phone} |" for row in rows]
    return "\n".join(lines if len(lines) > 2 else ["Nothing is measured yet."])


def _row(found: dict) -> list[str]:
    """The cells of one device."""
    base, own = found.get("base"), _values(OURS, found)
    of_base = found["milliseconds"].get(base, {}).get("median") if base else None
    values = [(own.get("ms.median"), 3), (base, None), (of_base, 3), (own.get("ratio"), 2)]
    values += [(own.get("times_floor"), 2), (own.get("spaced_ms"), 3), (own.get("cold_ms"), 0)]
    told = [NONE if value is None else value if digits is None else f"{value:.{digits}f}" for value, digits in values]
    return [device_of(found), *told]


def _phone(facts: Facts) -> list[str]:
    """Predicted the paper's way, predicted with one wait a token, and what the paper prints."""
    found = [one for device in facts.predicted if device["device"] == PHONE for one in device["predictions"]]
    fitted = [_range(one) for one in found if "milliseconds" in one]
    modelled = [_range(one) for one in found if "milliseconds" not in one]
    printed = list(dict.fromkeys(f"{row.mali_ms:.2f}" for row in rows_of(facts.layout)))
    return ["; ".join(told) or NONE for told in (fitted, modelled, printed)]
