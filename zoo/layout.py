"""What a checkpoint's config.json says, read and checked without torch or transformers.

Letters: V vocabulary, D embedding, H hidden, P projection, O layer output (P if projected, else H), L layers,
K softmaxes.
A language model has a head, a text classifier (or one that predicts a number of a text) `score` in its place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import specs
from .errors import CheckpointError

CLASSIFIER = "RnnLmForSequenceClassification"
GATES = {"lstm": 4, "cifg": 3, "gru": 3, "rnn": 1}  # a cell's gates and candidates, H rows each
LAYER_ROLES = ("input", "recurrent", "candidate", "projection", "mogrifier")
ROLES = ("embed", *LAYER_ROLES, "output_projection", "latent", "prior", "head")
PLAIN = {"mogrifier_rounds": 0, "num_softmaxes": 1}  # the values at which a model has no such thing


@dataclass(frozen=True)
class Layout:
    """The fields of RnnLmConfig that decide the tensors and the special words; the same names and meanings.

    labels: what a text classifier tells apart; one: it predicts a number; None: a language model.
    """

    vocab_size: int
    embedding_size: int
    hidden_size: int
    num_hidden_layers: int
    cell: str
    projection_size: int | None
    output_projection_size: int | None
    tie_word_embeddings: bool
    head_bias: bool
    weights: Mapping[str, specs.Spec]
    special_ids: tuple[int, ...]
    eos_id: int | None
    labels: int | None = None
    mogrifier_rounds: int = 0
    num_softmaxes: int = 1

    @property
    def layer_output_size(self) -> int:
        """O, width of what a layer hands on and carries to the next time step."""
        return self.hidden_size if self.projection_size is None else self.projection_size

    @property
    def cell_size(self) -> int:
        """Width of the state c beside the output; 0: the cell has none."""
        return self.hidden_size if self.cell in ("lstm", "cifg") else 0

    @property
    def feature_size(self) -> int:
        """Width of what the head reads."""
        return self.layer_output_size if self.output_projection_size is None else self.output_projection_size

    def form_of(self, role: str, layer: int | str | None = None) -> specs.Spec:
        """Weight form of a role; a layer's own entry comes before the role's; of a Mogrifier with the round, `1.0`."""
        if role == "head" and self.tie_word_embeddings:
            role = "embed"
        own = self.weights.get(f"{role}.{layer}") if layer is not None else None
        if own is None and role == "mogrifier":
            own = self.weights.get(f"{role}.{str(layer).partition('.')[0]}")
        if role == "candidate" and not own and role not in self.weights:
            return self.form_of("recurrent", layer)
        return own or self.weights.get(role) or specs.DENSE

    def spec(self, name: str) -> specs.Spec:
        """Weight form of a matrix by its name, a key of `shapes`."""
        role, _, layer = name.partition(".")
        return self.form_of(role, layer or None)

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """(rows, columns) of every matrix: `embed`, `input.0`, `recurrent.0` ..., `head` where it is its own."""
        H, P, O = self.hidden_size, self.projection_size, self.layer_output_size
        projected_gru = self.cell == "gru" and P is not None
        rows = 2 * O + H if projected_gru else GATES[self.cell] * H
        shapes = {"embed": (self.vocab_size, self.embedding_size)}
        for layer in range(self.num_hidden_layers):
            shapes[f"input.{layer}"] = (rows, self.embedding_size if layer == 0 else O)
            shapes[f"recurrent.{layer}"] = (2 * O if projected_gru else rows, O)
            if projected_gru:
                shapes[f"candidate.{layer}"] = (H, O)
            if P is not None:
                shapes[f"projection.{layer}"] = (P, H)
            for number in range(self.mogrifier_rounds):  # the input by the state, the state by the input, ...
                sizes = (shapes[f"input.{layer}"][1], O)
                shapes[f"mogrifier.{layer}.{number}"] = sizes if number % 2 == 0 else sizes[::-1]
        if self.labels is not None:
            return shapes | {"score": (self.labels, O)}
        if self.num_softmaxes > 1:
            shapes["latent"] = (self.num_softmaxes * self.feature_size, O)
            shapes["prior"] = (self.num_softmaxes, O)
        elif self.output_projection_size is not None:
            shapes["output_projection"] = (self.output_projection_size, O)
        if not self.tie_word_embeddings:
            shapes["head"] = (self.vocab_size, self.feature_size)
        return shapes

    @property
    def biases(self) -> dict[str, int]:
        """Length of every bias by the name of its tensor."""
        biases = {}
        for layer in range(self.num_hidden_layers):
            biases[f"model.layers.{layer}.bias"] = self.shapes[f"input.{layer}"][0]
            if self.cell == "gru" and self.projection_size is None:
                biases[f"model.layers.{layer}.candidate_bias"] = self.hidden_size
        if self.labels is not None:
            return biases | {"score.bias": self.labels}
        return biases | ({"lm_head.bias": self.vocab_size} if self.head_bias else {})

    def describe(self) -> str:
        """Layers, cell and widths in one line."""
        projected = "" if self.projection_size is None else f", projection {self.projection_size}"
        mapped = "" if self.output_projection_size is None else f", output projection {self.output_projection_size}"
        layers = f"{self.num_hidden_layers} x {self.cell.upper()} {self.hidden_size}{projected}"
        layers += f", {self.mogrifier_rounds} Mogrifier rounds" if self.mogrifier_rounds else ""
        if self.labels is not None:
            told = "a number" if self.labels == 1 else f"{self.labels} classes"
            return f"{layers}, embedding {self.embedding_size}, vocabulary {self.vocab_size:,}, {told}"
        tied = "tied" if self.tie_word_embeddings else "untied"
        tied += f", {self.num_softmaxes} softmaxes" if self.num_softmaxes > 1 else ""
        return f"{layers}, embedding {self.embedding_size}{mapped}, {tied}, vocabulary {self.vocab_size:,}"

    def check_language_model(self, name: str | Path, what: str) -> None:
        """Refuses a text classifier (CheckpointError) where only a language model will do.

        Args:
            name: of the checkpoint.
            what: what was asked for, e.g. "latency is measured of".
        """
        if self.labels is not None:
            raise CheckpointError(
                f"{name} is a text classifier, and {what} language models only; name one of those (zoo list), or "
                f"for its quality type: zoo evaluate {name}"
            )


def prefix_of(name: str) -> str:
    """What the names of a matrix's tensors begin with; `name` is a key of `Layout.shapes`."""
    role, *place = name.split(".")
    if place:
        return ".".join(["model.layers", place[0], role, *place[1:]])
    return {"embed": "model.embed_tokens", "head": "lm_head"}.get(role, role)


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
    try:
        return layout_of(given, str(path))
    except CheckpointError as error:
        raise CheckpointError(f"{error}; get the checkpoint again") from None


def layout_of(given: Mapping[str, Any], source: str = "the config") -> Layout:
    """The layout that the fields of an RnnLmConfig give; other fields are passed over.

    Raises:
        CheckpointError: begins with `source`; names the field, its value and what it must be.
    """

    def refuse(name: str, allowed: str) -> CheckpointError:
        found = repr(given[name]) if name in given else "nothing"
        return CheckpointError(f"{source} has {found} as {name}; it must be {allowed}")

    def size(name: str, optional: bool = False) -> Any:
        value = given.get(name)
        if optional and value is None:
            return None
        if type(value) is not int or value < 1:
            raise refuse(name, "a whole number of at least 1" + (", or null" if optional else ""))
        return value

    def number(name: str) -> int:
        value = given.get(name, PLAIN[name])  # older files have none
        if type(value) is not int or value < PLAIN[name]:
            raise refuse(name, f"a whole number of at least {PLAIN[name]}")
        return value

    def switch(name: str) -> bool:
        value = given.get(name, True)  # transformers leaves out what equals its own default
        if not isinstance(value, bool):
            raise refuse(name, "true or false")
        return value

    if given.get("cell") not in GATES:
        raise refuse("cell", f"one of {', '.join(GATES)}")
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
        labels=_labels(given, refuse),
        mogrifier_rounds=number("mogrifier_rounds"),
        num_softmaxes=number("num_softmaxes"),
    )
    if layout.labels is None and layout.tie_word_embeddings and layout.feature_size != layout.embedding_size:
        raise refuse("embedding_size", f"the width before the tied head, {layout.feature_size}")
    _check_weights(layout, source)
    return layout


def _labels(given: Mapping[str, Any], refuse: Callable[[str, str], CheckpointError]) -> int | None:
    """How many labels a text classifier has; None: a language model."""
    if CLASSIFIER not in (given.get("architectures") or ()):
        return None
    names = given.get("id2label", {0: "", 1: ""})  # transformers leaves out what equals its own default
    if not isinstance(names, dict) or not names:
        raise refuse("id2label", "an object with a name per label")
    return len(names)


def _check_weights(layout: Layout, source: str) -> None:
    """Refuses forms of matrices that there are not, and forms that a matrix cannot have."""
    shapes = layout.shapes
    roles = {name.partition(".")[0] for name in shapes} - {"score"}  # it has no form
    for key in layout.weights:
        role, dot, _ = key.partition(".")
        if role not in roles or (dot and not any(f"{name}.".startswith(f"{key}.") for name in shapes)):
            allowed = [allowed for allowed in ROLES if allowed in roles]
            tied = role == "head" and layout.labels is None and layout.tie_word_embeddings
            hint = "; the head is tied to embed" if tied else ""
            raise CheckpointError(
                f"{source} has weights for {key!r}, which this model has not; it has {', '.join(allowed)}; "
                f"a layer's own are input.0 to input.{layout.num_hidden_layers - 1}{hint}"
            )
    for name, (rows, columns) in shapes.items():
        specs.check(layout.spec(name), rows, columns, f"{source}: weights of {name}")
