"""A picture of size against test perplexity, with the time of a token as the area of a point; SVG written by hand.

Plain text and rounded numbers, so that the same results give the same file everywhere.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass
from html import escape

from .facts import Facts
from .latency import OURS, device_of

CORPUS = "ptb"
TITLE = "Size against test perplexity; on the line: none is both smaller and better"
WIDTH, HEIGHT = 900, 560
LEFT, RIGHT, TOP, BOTTOM = 70, 30, 60, 60
LETTER, LINE = 6.6, 14  # pixels of a letter and of a line of a label
SMALLEST, LARGEST = 4.5, 15  # radius in pixels
INK, PALE, POINT, FRONT, MARK = "#222222", "#dddddd", "#3b76af", "#c0504d", "#e69f00"
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Point:
    """A checkpoint: size in MB, test perplexity, milliseconds of a token (None: not measured)."""

    name: str
    mb: float
    perplexity: float
    ms: float | None


def picture(checkpoints: list[Facts], marked: str | None = None) -> str:
    """The SVG of the checkpoints that have a perplexity on CORPUS, one of them marked; "" where none has."""
    device = _device(checkpoints)
    points = [
        Point(facts.name, facts.size["bytes"] / 1e6, facts.quality[CORPUS]["test"]["perplexity"], _ms(facts, device))
        for facts in checkpoints
        if CORPUS in facts.quality
    ]
    return _draw(points, device, marked) if points else ""


def _device(checkpoints: list[Facts]) -> str | None:
    """The device and threads on which most checkpoints were timed, the first by name of equals."""
    found = Counter(
        device_of(found) for facts in checkpoints for found in facts.latency if OURS in found["milliseconds"]
    )
    return min(found, key=lambda device: (-found[device], device), default=None)


def _ms(facts: Facts, device: str | None) -> float | None:
    """The median of the OpenCL step on this device."""
    for found in facts.latency:
        if device_of(found) == device and OURS in found["milliseconds"]:
            return found["milliseconds"][OURS]["median"]
    return None


def frontier(points: list[Point]) -> list[Point]:
    """The points than which none is both smaller and better, by size."""
    kept = list[Point]()
    for point in sorted(points, key=lambda point: (point.mb, point.perplexity)):
        if not kept or point.perplexity < kept[-1].perplexity:
            kept.append(point)
    return kept


def _draw(points: list[Point], device: str | None, marked: str | None) -> str:
    """Axes (size is logarithmic), frontier, points, and a label for each where it covers nothing."""
    low, high = min(p.mb for p in points) / 1.3, max(p.mb for p in points) * 2.2
    best, worst = min(p.perplexity for p in points), max(p.perplexity for p in points)
    margin = max(1.0, 0.1 * (worst - best))
    best, worst = best - margin, worst + margin

    def x(mb: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(mb / low) / math.log(high / low)

    def y(perplexity: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (worst - perplexity) / (worst - best)

    slowest = max((p.ms for p in points if p.ms is not None), default=None)
    radius = {p.name: SMALLEST if p.ms is None or not slowest else _radius(p.ms, slowest) for p in points}
    spots = {p.name: (x(p.mb), y(p.perplexity)) for p in points}
    front = [spots[p.name] for p in frontier(points)]
    # The taken boxes come first, so that a label covers neither a point nor the frontier nor another label.
    taken = [(px - radius[n], py - radius[n], px + radius[n], py + radius[n]) for n, (px, py) in spots.items()]
    taken += [box for start, end in itertools.pairwise(front) for box in _along(start, end)]
    font = 'font-family="sans-serif"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {font} font-size="12" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="14">{TITLE}</text>',
        _text(LEFT, 42, _subtitle(device) + (f"; ringed: {marked}" if marked else ""), "start"),
    ]
    for mb in _ticks(low, high):
        lines.append(_line(x(mb), TOP, x(mb), HEIGHT - BOTTOM, PALE))
        lines.append(_text(x(mb), HEIGHT - BOTTOM + 18, f"{mb:g}", "middle"))
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500) if (worst - best) / step <= 10 or step == 500)
    for perplexity in range(math.ceil(best / step) * step, math.floor(worst) + 1, step):
        lines.append(_line(LEFT, y(perplexity), WIDTH - RIGHT, y(perplexity), PALE))
        lines.append(_text(LEFT - 8, y(perplexity) + 4, str(perplexity), "end"))
    lines.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16, "MB of config.json and model.safetensors", "middle"))
    lines.append(
        f'<text transform="translate(20 {(TOP + HEIGHT - BOTTOM) / 2:.1f}) rotate(-90)" text-anchor="middle">'
        f"test perplexity, {CORPUS}</text>"
    )
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py in front)
    lines.append(f'<polyline points="{path}" fill="none" stroke="{FRONT}" stroke-dasharray="5 4"/>')
    for point in sorted(points, key=lambda point: (-radius[point.name], point.name)):
        px, py = spots[point.name]
        fill = MARK if point.name == marked else "white" if point.ms is None else POINT
        lines.append(
            f'<circle cx="{px:.1f}" cy="{py:.1f}" r="{radius[point.name]:.1f}" fill="{fill}" fill-opacity="0.7" '
            f'stroke="{POINT}"/>'
        )
        if point.name == marked:
            lines.append(
                f'<circle cx="{px:.1f}" cy="{py:.1f}" r="{radius[point.name] + 5:.1f}" fill="none" stroke="{MARK}" '
                'stroke-width="3"/>'
            )
    for point in sorted(points, key=lambda point: (point.perplexity, point.name)):
        label = point.name.removesuffix(f"-{CORPUS}") + ("" if point.ms is None else f", {point.ms:.3f} ms")
        lines += _label(label, *spots[point.name], radius[point.name], taken)
    return "\n".join([*lines, "</svg>", ""])


def _subtitle(device: str | None) -> str:
    """What the times are of."""
    if device is None:
        return "latency of the OpenCL step: not measured yet"
    return f"area and label: median time of the OpenCL step, {device}; white: not measured"


def _radius(ms: float, slowest: float) -> float:
    """Radius of a point whose area grows with its time."""
    return max(SMALLEST, LARGEST * math.sqrt(ms / slowest))


def _ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 times the powers of ten within two sizes."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [digit * 10.0**power for power in powers for digit in (1, 2, 5) if low <= digit * 10.0**power <= high]


def _label(text: str, px: float, py: float, radius: float, taken: list[Box]) -> list[str]:
    """A label beside its point, or farther away with a line to it; its box joins the taken ones."""
    wide = LETTER * len(text)
    for away in range(8, 240, 6):
        out = radius + away
        for right, down in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)):
            start = px + out if right > 0 else px - out - wide
            if right == 0:
                start = max(LEFT, min(px - wide / 2, WIDTH - RIGHT - wide))
            middle = py + down * out
            box = (start, middle - LINE / 2, start + wide, middle + LINE / 2)
            if _free(box, taken):
                taken.append(box)
                drawn = [f'<text x="{start:.1f}" y="{middle + 4:.1f}">{escape(text)}</text>']
                if away > 14:
                    near = min(max(px, start), start + wide)
                    drawn.append(_line(px, py, near, middle - down * LINE / 2, INK, 0.4))
                return drawn
    return []


def _along(start: tuple[float, float], end: tuple[float, float]) -> list[Box]:
    """Boxes without area along a line, near enough to each other to keep labels off it."""
    (x1, y1), (x2, y2), count = start, end, 1 + int(math.dist(start, end) / 4)
    spots = [(x1 + (x2 - x1) * part / count, y1 + (y2 - y1) * part / count) for part in range(count + 1)]
    return [(px, py, px, py) for px, py in spots]


def _free(box: Box, taken: list[Box]) -> bool:
    """Whether a box lies within the axes and on none of the taken ones."""
    left, top, right, bottom = box
    if left < LEFT or right > WIDTH - RIGHT or top < TOP or bottom > HEIGHT - BOTTOM:
        return False
    return all(right < a or c < left or bottom < b or d < top for a, b, c, d in taken)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
