"""The tables of docs/keyboard-page.md: first load, times, and whether the page suggests what torch does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .facts import Facts

PAGE = "docs/keyboard-page.md"
RUNTIMES = {"c": "the C step", "page": "the page"}


def tables(checkpoints: list[Facts]) -> dict[str, str]:
    """Title -> table, of the checkpoints whose page was measured."""
    timed = {facts.name: facts.keyboard["keyboard-page"] for facts in checkpoints if "keyboard-page" in facts.keyboard}
    stem = "keyboard-page-parity"
    same = {facts.name: facts.keyboard[stem] for facts in checkpoints if stem in facts.keyboard}
    return {
        **({"first load": _table(timed, FIRST_LOAD), "times of the page": _table(timed, TIMES)} if timed else {}),
        **({"parity": _parity(same)} if same else {}),
    }


def _table(timed: dict[str, dict[str, Any]], rows: dict[str, Callable[[dict[str, Any]], str]]) -> str:
    """A column for each checkpoint."""
    lines = [f"| | {' | '.join(timed)} |", f"|---|{'---:|' * len(timed)}"]
    return "\n".join([*lines, *(f"| {told} | {' | '.join(map(row, timed.values()))} |" for told, row in rows.items())])


def _bytes(*ends: str) -> Callable[[dict[str, Any]], str]:
    """Bytes of the files whose paths end so, and of packed ones unpacked."""

    def told(found: dict[str, Any]) -> str:
        sizes, unpacked = found["first_load"]["files"], found["first_load"]["unpacked"]
        paths = [path for path in sizes if path.endswith(ends)]
        whole = sum(unpacked.get(path, 0) for path in paths)
        return f"{sum(sizes[path] for path in paths):,}" + (f" ({whole:,} unpacked)" if whole else "")

    return told


def _page(found: dict[str, Any]) -> str:
    """Bytes of all files that are neither step nor model."""
    sizes = found["first_load"]["files"]
    others = [size for path, size in sizes.items() if not path.startswith("models/") and not path.endswith(".wasm")]
    return f"{sum(others):,}"


def _to(what: str) -> Callable[[dict[str, Any]], str]:
    """Milliseconds from a key."""
    return lambda found: "median {p50:.1f} ms, 95 % within {p95:.1f}".format(**found["keys"][what])


def _step(found: dict[str, Any]) -> str:
    step, tick = found["step"]["milliseconds"], found["step"]["clock_tick_ms"]
    return f"median {step['median']:.1f} ms, mean {step['mean']:.2f}, 95 % within {step['p95']:.1f}; clock {tick:.1f}"


def _seconds(found: dict[str, Any]) -> str:
    seconds = found["seconds"]
    return f"{seconds['bar']:.1f} s, {seconds['model']:.1f} s, {seconds['model_again']:.1f} s"


FIRST_LOAD: dict[str, Callable[[dict[str, Any]], str]] = {
    "the model, its words with it": _bytes("model.rnnlm.gz"),
    "what computes it: `rnnlm.wasm`": _bytes(".wasm"),
    "the page: HTML, CSS, JavaScript, short list, rules": _page,
    "**in all**": lambda found: f"**{found['first_load']['bytes']:,}**",
}
TIMES: dict[str, Callable[[dict[str, Any]], str]] = {
    "measured on": lambda found: f"{found['device']}, {found['cores']} cores, load {found['load']:.1f}",
    "in": lambda found: f"{found['browser']}; the step by {found['wasm']['compiler']}",
    "keys": lambda found: f"{found['keys']['pressed']:,}, {found['keys']['per_second']} a second",
    "key to the new words in the bar": _to("to_bar"),
    "key to the end of the frame that shows them": _to("to_frame"),
    "a step": _step,
    "first bar, model there, the latter at the second visit": _seconds,
}


def _parity(same: dict[str, dict[str, Any]]) -> str:
    """A row for each engine of each checkpoint."""
    lines = [
        "| checkpoint | computed by | MB | bars | messages | digests | bars like the C step's |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for name, found in same.items():
        for engine, row in found["engines"].items():
            size, beside = "", ""
            if engine == "page":
                size, beside = f"{found['bytes'] / 1e6:.2f}", _share(found["page_beside_c"]["same_keys"])
            shares = [_share(row[key]) for key in ("same_keys", "same_suggestions", "same_digest")]
            told = [name, RUNTIMES.get(engine, engine), size, *shares, beside]
            lines.append(f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in told)}|")
    counts = "; ".join(
        f"{name}: {found['messages']:,} messages, {found['keys']:,} bars" for name, found in same.items()
    )
    return "\n".join([*lines, "", f"Shares that equal torch's. {counts}."])


def _share(value: float) -> str:
    """Per cent; 100 only where nothing is missing."""
    return "100%" if value == 1 else f"{min(value, 0.9999):.2%}"
