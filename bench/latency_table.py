"""A result of `latency` as a table for people."""

from __future__ import annotations

from typing import Any

HEAD = ("contender", "median us", "p95", "p99", "/ base", "x floor", "spaced", "cold ms", "MB", "RSS MB", "top-3")


def table(result: dict[str, Any]) -> str:
    """The contenders from the fastest to the slowest, then those left out."""
    protocol, times = result["protocol"], result["milliseconds"]
    rows = [HEAD]
    for name in sorted(times, key=lambda name: times[name]["median"]):
        ms, more = times[name], result["contenders"][name]
        rows.append(
            (
                name,
                *(f"{1000 * ms[what]:.0f}" for what in ("median", "p95", "p99")),
                _number(result["ratios"].get(name), 2),
                _number(more.get("times_floor"), 2),
                f"{1000 * more['spaced_ms']:.0f}",
                f"{more['cold_ms']:.0f}",
                _number(more.get("file_bytes", 0) / 1e6, 2),
                _number(more.get("rss_mb"), 0),
                f"{more['top3_agreement']:.3f}",
            )
        )
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEAD))]
    lines = [f"{result['name']} on {result['device']}, {protocol['threads']} thread(s); base: {result['base']}"]
    for row in rows:
        name, *rest = (text.rjust(width) for text, width in zip(row, widths, strict=True))
        lines.append("  ".join([row[0].ljust(len(name)), *rest]))
    lines += [f"{name} was not timed: {reason}" for name, reason in result["skipped"].items()]
    return "\n".join(lines)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
