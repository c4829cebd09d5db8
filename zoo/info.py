"""What a checkpoint folder holds, from its files alone: the network, counts by matrix, recipe, measured numbers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from .counts import COUNTS, Part, count, total
from .errors import CheckpointError
from .hub import verify
from .layout import read_layout

HEADER = ("matrix", "rows", "columns", "form", *COUNTS)


def describe(folder: str | Path) -> dict[str, Any]:
    """Summary of a checkpoint folder.

    Returns:
        network: one line; forms: role -> spec, as in config.json; matrices: one `zoo.counts.Part` as a dict each, the
        biases after the matrices, a tied head under `embed`; roles: role -> {parameters, nonzeros, bytes in the file},
        layers numbered from 0, what a GRU's candidate has with the recurrent ones; total: their sums; recipe: text of
        recipe.toml or None; metrics: metrics.json or None.

    Raises:
        CheckpointError: the folder lacks a file, or one is damaged, or config and weights do not belong together.
    """
    folder = Path(folder)
    verify(folder)
    layout, parts = read_layout(folder), count(folder)
    return {
        "network": layout.describe(),
        "forms": {role: dict(spec) for role, spec in layout.weights.items()},
        "matrices": [dataclasses.asdict(part) for part in parts],
        "roles": _by_role(parts),
        "total": total(parts),
        "recipe": _text(folder / "recipe.toml"),
        "metrics": _metrics(folder / "metrics.json"),
    }


def table(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """The counts of what `describe` found as rows of text: a header, a row per matrix and bias, their sums."""
    rows = [HEADER]
    for part in found["matrices"]:
        rows.append((part["name"], f"{part['rows']:,}", f"{part['columns']:,}", part["form"], *_numbers(part)))
    return [*rows, ("total", "", "", "", *_numbers(found["total"]))]


def _numbers(counts: dict[str, Any]) -> list[str]:
    """The three counts as text."""
    return [f"{counts[what]:,}" for what in COUNTS]


def _by_role(parts: list[Part]) -> dict[str, dict[str, int]]:
    """Counts of what belongs to a role, in the order of the network."""
    roles: dict[str, list[Part]] = {}
    for part in parts:
        role = part.name.replace("candidate_bias.", "bias.").replace("candidate.", "recurrent.")
        roles.setdefault(role, []).append(part)
    return {role: total(own) for role, own in roles.items()}


def _text(path: Path) -> str | None:
    """The text of a file; None: there is none."""
    if not path.is_file():
        return None
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as text; get the checkpoint again") from error


def _metrics(path: Path) -> Any:
    """The content of metrics.json; None: there is none."""
    text = _text(path)
    try:
        return None if text is None else json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be read as JSON; get the checkpoint again") from error
