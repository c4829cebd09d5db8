"""The picture of `bench.personal`: the gain of recall over the number of messages learnt."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from conversion.figures import write_svg

LINES = {  # kind, whose past -> label, colour, style
    ("critics", "own"): ("film critics, their own", "C0", "o-"),
    ("critics", "others"): ("film critics, another's", "C0", "o:"),
    ("dialogues", "own"): ("self-dialogues, their own", "C1", "s-"),
    ("dialogues", "others"): ("self-dialogues, another's", "C1", "s:"),
}


def plot(result: dict[str, Any], path: Path) -> None:
    """Writes the curves as an SVG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for (kind, whose), (label, colour, style) in LINES.items():
        rows = result[kind]["curve"]
        numbers = [row["messages"] for row in rows]
        gains = [100 * row[whose]["gain_top3"] for row in rows]
        errors = [100 * row[whose]["standard_error"] for row in rows]
        axes.errorbar(numbers, gains, errors, fmt=style, label=label, color=colour, capsize=2)
    axes.axhline(0, color="0.7", linewidth=0.8)
    numbers = [row["messages"] for row in result["critics"]["curve"]]
    axes.set(xlabel="messages learnt", ylabel="gain of top-3 recall, points", title=result["name"])
    axes.set_xscale("symlog", linthresh=10)
    axes.set_xlim(-1, 1.3 * numbers[-1])
    told = [number for number, after in zip(numbers, [*numbers[1:], math.inf], strict=True) if after >= 2 * number]
    axes.set_xticks(told, [str(number) for number in told])  # two of nearly the same place would overlap
    axes.minorticks_off()
    axes.legend(frameon=False)
    write_svg(figure, path)
