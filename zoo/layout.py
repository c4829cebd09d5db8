"""What a checkpoint's config.json says, read and checked without torch or transformers.

Letters: D embedding, P projection, O layer output (P if projected, else H).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import CheckpointError

CELLS = ("lstm", "gru", "rnn")
DENSE: Mapping[str, Any] = {"form": "dense"}


@dataclass(frozen=True)
class Layout:
    """The fields of RnnLmConfig that decide the tensors and the special words; the same names and meanings."""

    vocab_size: int
    embedding_size: int
    hidden_size: int
    num_hidden_layers: int
    cell: str
    projection_size: int | None
    output_projection_size: int | None
    tie_word_embeddings: bool
    head_bias: bool
    weights: Mapping[str, Mapping[str, Any]]
    special_ids: tuple[int, ...]
    eos_id: int | None

    @property
    def layer_output_size(self) -> int:
        """O, width of what a layer hands on and carries to the next time step."""
        return self.hidden_size if self.projection_size is None else self.projection_size

    @property
    def feature_size(self) -> int:
        """Width of what the head reads."""
        return self.layer_output_size if self.output_projection_size is None else self.output_projection_size

    def form_of(self, role: str, layer: int | None = None) -> Mapping[str, Any]:
        """Weight form of a role; a layer's own entry comes before the role's."""
        own = self.weights.get(f"{role}.{layer}") if layer is not None else None
        return own or self.weights.get(role) or DENSE

    def describe(self) -> str:
        """Layers, cell and widths in one line."""
        projected = "" if self.projection_size is None else f", projection {self.projection_size}"
        mapped = "" if self.output_projection_size is None else f", output projection {self.output_projection_size}"
        tied = "tied" if self.tie_word_embeddings else "untied"
        return (
            f"{self.num_hidden_layers} x {self.cell.upper()} {self.hidden_size}{projected}, "
            f"embedding {self.embedding_size}{mapped}, {tied}, vocabulary {self.vocab_size:,}"
        )


def read_layout(folder: str | Path) -> Layout:
    """Reads config.json of a checkpoint folder.

    Raises:
        CheckpointError: the file cannot be read, or names the field, its value and what it must be.
    """
    path = Path(folder) / "config.json"
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON; get the checkpoint again") from error
    if not isinstance(given, dict):
        raise CheckpointError(f"{path} holds no JSON object; get the checkpoint again")

    def refuse(name: str, allowed: str) -> CheckpointError:
        found = repr(given[name]) if name in given else "nothing"
        return CheckpointError(f"{path} has {found} as {name}; it must be {allowed}; get the checkpoint again")

    def size(name: str, optional: bool = False) -> Any:
        value = given.get(name)
        if optional and value is None:
            return None
        if type(value) is not int or value < 1:
            raise refuse(name, "a whole number of at least 1" + (", or null" if optional else ""))
        return value

    def switch(name: str) -> bool:
        value = given.get(name, True)  # transformers leaves out what equals its own default
        if not isinstance(value, bool):
            raise refuse(name, "true or false")
        return value

    if given.get("cell") not in CELLS:
        raise refuse("cell", f"one of {', '.join(CELLS)}")
    weights = given.get("weights") or {}
    if not isinstance(weights, dict) or not all(isinstance(spec, dict) and "form" in spec for spec in weights.values()):
        raise refuse("weights", 'an object of role -> {"form": name, ...}')
    ids: list[int] = []
    for name in ("eos_token_id", "bos_token_id", "pad_token_id"):
        value = given.get(name)
        found = value if isinstance(value, list) else [] if value is None else [value]
        if not all(type(token) is int and 0 <= token < size("vocab_size") for token in found):
            raise refuse(name, f"an id from 0 to {size('vocab_size') - 1}, or null")
        ids += found
    layout = Layout(
        vocab_size=size("vocab_size"),
        embedding_size=size("embedding_size"),
        hidden_size=size("hidden_size"),
        num_hidden_layers=size("num_hidden_layers"),
        cell=given["cell"],
        projection_size=size("projection_size", optional=True),
        output_projection_size=size("output_projection_size", optional=True),
        tie_word_embeddings=switch("tie_word_embeddings"),
        head_bias=switch("head_bias"),
        weights=weights,
        special_ids=tuple(sorted(set(ids))),
        eos_id=ids[0] if ids else None,
    )
    if layout.tie_word_embeddings and layout.feature_size != layout.embedding_size:
        raise refuse("embedding_size", f"the width before the tied head, {layout.feature_size}")
    return layout
