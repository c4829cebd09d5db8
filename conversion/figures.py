"""Figures of matplotlib as SVG files that are the same for the same numbers, and small enough to be committed."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np

TAG, NUMBER = re.compile(r"<[^>]*>"), re.compile(r"-?\d+\.\d{3,}")
ALIKE = re.compile(
    r'<g([^>]*)>\n((?:<use [^>]*? (style="[^"]*")/>\n)(?:<use [^>]*? \3/>\n)+)</g>'
)  # marks of one style
IDS = re.compile(r"\b[mp][0-9a-f]{10}\b")  # of markers and clips, as matplotlib names them


def write_svg(figure: Any, path: Path) -> None:
    """Writes a figure as SVG, its folder too; letters are text, places have two decimals (of 1/72 inch).

    Raises:
        ImportError: matplotlib is missing.
    """
    import matplotlib

    content = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "rnnlm-zoo", "svg.fonttype": "none"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(compact(content.getvalue()), encoding="utf-8")


def compact(svg: str) -> str:
    """An SVG with two decimals in its tags, without indents and with short ids; its texts stay."""
    svg = "\n".join(line.strip() for line in svg.splitlines() if line.strip()) + "\n"
    for number, long in enumerate(dict.fromkeys(IDS.findall(svg))):
        svg = svg.replace(long, f"m{number}")
    svg = ALIKE.sub(lambda group: f"<g{group[1]} {group[3]}>\n{group[2].replace(f' {group[3]}', '')}</g>", svg)
    return TAG.sub(lambda tag: NUMBER.sub(lambda number: _short(float(number[0])), tag[0]), svg)


def _short(number: float) -> str:
    return np.format_float_positional(round(number, 2) + 0.0, trim="-")
