"""Joules that the processor packages took, where the system tells them (Linux: RAPL counters, readable by root)."""

from __future__ import annotations

import contextlib
from pathlib import Path

COUNTERS = Path("/sys/class/powercap")


def read() -> dict[str, int] | None:
    """Microjoules so far by counter; None where there is none to be read."""
    found = {}
    with contextlib.suppress(OSError, ValueError):
        for folder in COUNTERS.glob("intel-rapl:[0-9]*"):
            if folder.name.count(":") == 1:  # a package; its parts have two
                found[folder.name] = int((folder / "energy_uj").read_text())
    return found or None


def joules(before: dict[str, int] | None, after: dict[str, int] | None) -> float | None:
    """What was taken between two readings; None where one of them is missing."""
    if before is None or after is None or before.keys() != after.keys():
        return None
    total = 0
    for name, first in before.items():
        taken = after[name] - first
        if taken < 0:  # the counter began anew
            taken += int((COUNTERS / name / "max_energy_range_uj").read_text())
        total += taken
    return total / 1e6
