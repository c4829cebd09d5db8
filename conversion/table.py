"""The table of a compression, a row at a time."""

from __future__ import annotations

import textwrap
from typing import Any

HEADER = f"{'step':<44} {'parameters':>11} {'nonzeros':>11} {'MB':>7} {'valid':>9} {'change':>8}"


def print_row(row: dict[str, Any], before: dict[str, Any] | None) -> None:
    """Prints what a step made; the header before the first row."""
    if before is None:
        print(HEADER, flush=True)
    measure = next(key for key in ("valid_perplexity", "valid_accuracy", "valid_rmse") if key in row)
    value = f"{row[measure]:>9.2f}" if measure == "valid_perplexity" else f"{row[measure]:>9.4f}"
    change = "" if before is None else f"{row[measure] / before[measure] - 1:+8.2%}"
    lines = textwrap.wrap(row["step"], 44) or [""]
    print(
        f"{lines[0]:<44} {row['parameters']:>11,} {row['nonzeros']:>11,} {row['bytes'] / 1e6:>7.3f} "
        f"{value} {change}".rstrip(),
        *lines[1:],
        sep="\n",
        flush=True,
    )
