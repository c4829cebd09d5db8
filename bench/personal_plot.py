"""The picture of `bench.personal`: the gain of recall over the number of messages learnt."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

LINES = {  # kind, whose past -> label, colour, style
    ("critics", "own"): ("film critics, their own", "C0", "o-"),
    ("critics", "others"): ("film critics, another's", "C0", "o:"),
    ("dialogues", "own"): ("self-dialogues, their own", "C1", "s-"),
    ("dialogues", "others"): ("self-dialogues, another's", "C1", "s:"),
}


def plot(result: dict[str, Any], path: Path) -> None:
    """Writes the curves as an SVG."""
    import matplotlib

    matplotlib.use("svg")
    # The same bytes for the same numbers, with letters as text.
    matplotlib.rcParams.update({"svg.hashsalt": "zoo", "svg.fonttype": "none"})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
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
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
