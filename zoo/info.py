"""What a checkpoint folder holds, from its files alone: the network, counts by role, recipe, measured numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from .errors import CheckpointError
from .hub import verify
from .layout import read_layout
from .tensors import TensorFile

LAYER = re.compile(r"model\.layers\.(\d+)\.(\w+)")
COUNTS = ("parameters", "nonzeros", "bytes")


def describe(folder: str | Path) -> dict[str, Any]:
    """Summary of a checkpoint folder.

    Returns:
        network: one line; roles: role -> {parameters, nonzeros, bytes in the file}, layers numbered from 0, a tied head
        under `embed`; total: their sums; recipe: text of recipe.toml or None; metrics: metrics.json or None.

    Raises:
        CheckpointError: the folder lacks a file, or one is damaged.
    """
    folder = Path(folder)
    verify(folder)
    layout = read_layout(folder)
    roles: dict[str, dict[str, int]] = {}
    for name, *counts in TensorFile(folder).stored():
        role = roles.setdefault(_role(name), dict.fromkeys(COUNTS, 0))
        for what, count in zip(COUNTS, counts, strict=True):
            role[what] += count
    return {
        "network": layout.describe(),
        "forms": {role: dict(spec) for role, spec in layout.weights.items()},
        "roles": roles,
        "total": {what: sum(role[what] for role in roles.values()) for what in COUNTS},
        "recipe": _text(folder / "recipe.toml"),
        "metrics": _metrics(folder / "metrics.json"),
    }


def _role(tensor: str) -> str:
    """Role of a tensor by its name; biases under `bias`."""
    layer = LAYER.match(tensor)
    if layer:
        number, part = layer.groups()
        part = {"candidate": "recurrent", "candidate_bias": "bias"}.get(part, part)
        return f"{part}.{number}"
    if tensor == "lm_head.bias":
        return "bias.head"
    first = tensor.removeprefix("model.").partition(".")[0]
    return {"embed_tokens": "embed", "lm_head": "head"}.get(first, first)


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
