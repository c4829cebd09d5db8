"""One step of a recurrent language model in numpy: no torch, so that the first suggestion comes at once.

It is the plain twin of `modeling_rnnlm`: the same tensors, the same formulas, one token at a time, in float32.
Letters: V vocabulary, D embedding, H hidden, P projection, O layer output (P if projected, else H), R rank,
M rows and N columns of a matrix. Equations: Grachev et al. 2019.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .errors import CheckpointError, VocabularyError, ZooError
from .hub import verify
from .layout import read_layout
from .tensors import TensorFile

State = tuple[tuple[np.ndarray, np.ndarray], ...]  # (h [O], c [H or 0]) per layer


class Matrix(Protocol):
    """A matrix [M, N] in some weight form."""

    def matvec(self, x: np.ndarray) -> np.ndarray:
        """x [N] -> product [M]."""

    def row(self, index: int) -> np.ndarray:
        """One row [N]."""


@dataclass(frozen=True)
class Dense:
    """A matrix [M, N] stored whole."""

    weight: np.ndarray

    @classmethod
    def read(cls, file: TensorFile, prefix: str, rows: int, columns: int, spec: Mapping[str, Any]) -> Dense:
        """The matrix stored under `prefix`."""
        return cls(file.read(f"{prefix}.weight", (rows, columns)))

    def matvec(self, x: np.ndarray) -> np.ndarray:
        return self.weight @ x

    def row(self, index: int) -> np.ndarray:
        return self.weight[index]


@dataclass(frozen=True)
class LowRank:
    """A matrix [M, N] as left [M, R] times right [R, N] (eq. 7)."""

    left: np.ndarray
    right: np.ndarray

    @classmethod
    def read(cls, file: TensorFile, prefix: str, rows: int, columns: int, spec: Mapping[str, Any]) -> LowRank:
        """The factors stored under `prefix`."""
        rank = spec.get("rank")
        if type(rank) is not int or rank < 1:
            raise CheckpointError(
                f"config.json gives {prefix} the rank {rank!r}; it must be a whole number of at least 1"
            )
        return cls(file.read(f"{prefix}.left", (rows, rank)), file.read(f"{prefix}.right", (rank, columns)))

    def matvec(self, x: np.ndarray) -> np.ndarray:
        return self.left @ (self.right @ x)

    def row(self, index: int) -> np.ndarray:
        return self.left[index] @ self.right


FORMS: dict[str, type[Dense] | type[LowRank]] = {"dense": Dense, "low_rank": LowRank}


@dataclass(frozen=True)
class Layer:
    """Matrices and biases of one recurrent layer; None: the cell has no such thing."""

    input: Matrix
    recurrent: Matrix
    bias: np.ndarray
    projection: Matrix | None
    candidate: Matrix | None
    candidate_bias: np.ndarray | None

    def project(self, out: np.ndarray) -> np.ndarray:
        """Output of the cell [H] -> output of the layer [O] (eq. 9, 20)."""
        return out if self.projection is None else self.projection.matvec(out)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """The logistic function; by tanh, which does not overflow."""
    return 0.5 * np.tanh(0.5 * x) + 0.5


def lstm(layer: Layer, x: np.ndarray, h: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x [N], h [O], c [H] -> h, c after one token (eq. 11-15)."""
    i, f, g, o = np.split(layer.input.matvec(x) + layer.recurrent.matvec(h) + layer.bias, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return layer.project(sigmoid(o) * np.tanh(c)), c


def rnn(layer: Layer, x: np.ndarray, h: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x [N], h [O] -> h after one token (eq. 2-3, 8)."""
    return layer.project(np.tanh(layer.input.matvec(x) + layer.recurrent.matvec(h) + layer.bias)), c


def gru(layer: Layer, x: np.ndarray, h: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x [N], h [O] -> h after one token (eq. 16-19); unprojected it resets after the product, as cuDNN does."""
    xw, hu, O = layer.input.matvec(x) + layer.bias, layer.recurrent.matvec(h), len(h)
    r, z = np.split(sigmoid(xw[: 2 * O] + hu[: 2 * O]), 2)
    if layer.candidate is None:
        n = np.tanh(xw[2 * O :] + r * (hu[2 * O :] + layer.candidate_bias))
    else:
        n = layer.project(np.tanh(xw[2 * O :] + layer.candidate.matvec(r * h)))  # eq. 21
    return n + z * (h - n), c


CELLS: dict[str, Callable[[Layer, np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]]
CELLS = {"lstm": lstm, "gru": gru, "rnn": rnn}


class NumpyModel:
    """A language model read from a checkpoint folder; holds weights only, the state goes in and out of `step`.

    Raises:
        CheckpointError: the folder lacks a file, a file is damaged, or a tensor is missing, left over or of another
            shape than config.json asks for.
    """

    def __init__(self, folder: str | Path):
        verify(folder)
        self.layout = layout = read_layout(folder)
        file = TensorFile(folder)
        self.path = file.path
        V, D, O = layout.vocab_size, layout.embedding_size, layout.layer_output_size
        self.embedding = self._matrix(file, "model.embed_tokens", "embed", V, D)
        self.layers = [self._layer(file, number) for number in range(layout.num_hidden_layers)]
        self.output_projection: Matrix | None = None
        if layout.output_projection_size is not None:
            rows = layout.output_projection_size
            self.output_projection = self._matrix(file, "output_projection", "output_projection", rows, O)
        self.head = self.embedding
        if not layout.tie_word_embeddings:
            self.head = self._matrix(file, "lm_head", "head", V, layout.feature_size)
        self.head_bias = file.read("lm_head.bias", (V,)) if layout.head_bias else np.zeros(1, np.float32)
        file.check_all_asked()
        self._cell = CELLS[layout.cell]

    def _matrix(
        self, file: TensorFile, prefix: str, role: str, rows: int, columns: int, layer: int | None = None
    ) -> Matrix:
        """A matrix [rows, columns] in the form that the config gives its role."""
        spec = self.layout.form_of(role, layer)
        if spec["form"] not in FORMS:
            raise CheckpointError(
                f"config.json gives {prefix} the form {spec['form']!r}; without torch there are {', '.join(FORMS)}; "
                "load it with zoo.loading.load"
            )
        return FORMS[spec["form"]].read(file, prefix, rows, columns, spec)

    def _layer(self, file: TensorFile, number: int) -> Layer:
        """One recurrent layer."""
        layout, prefix = self.layout, f"model.layers.{number}"
        H, P, O = layout.hidden_size, layout.projection_size, layout.layer_output_size
        projected_gru = layout.cell == "gru" and P is not None
        rows = 2 * O + H if projected_gru else {"lstm": 4, "gru": 3, "rnn": 1}[layout.cell] * H

        def matrix(role: str, rows: int, columns: int) -> Matrix:
            return self._matrix(file, f"{prefix}.{role}", role, rows, columns, number)

        return Layer(
            input=matrix("input", rows, layout.embedding_size if number == 0 else O),
            recurrent=matrix("recurrent", 2 * O if projected_gru else rows, O),
            bias=file.read(f"{prefix}.bias", (rows,)),
            projection=None if P is None else matrix("projection", P, H),
            candidate=self._matrix(file, f"{prefix}.candidate", "recurrent", H, O, number) if projected_gru else None,
            candidate_bias=(
                file.read(f"{prefix}.candidate_bias", (H,)) if layout.cell == "gru" and P is None else None
            ),
        )

    def initial_state(self) -> State:
        """Zeros, the state before the first token."""
        c = self.layout.hidden_size if self.layout.cell == "lstm" else 0
        zeros = (np.zeros(self.layout.layer_output_size, np.float32), np.zeros(c, np.float32))
        return (zeros,) * self.layout.num_hidden_layers

    def step(self, token_id: int, state: State | None = None) -> tuple[np.ndarray, State]:
        """One token further.

        Args:
            token_id: the word read, 0 to V-1.
            state: what the step before returned; None: the beginning of a text. It is left as it is.

        Returns:
            log probabilities of the next word [V], float32; the state after this word.

        Raises:
            VocabularyError: an id outside the vocabulary.
            ZooError: a state of another model.
            CheckpointError: the weights give no finite numbers.
        """
        V = self.layout.vocab_size
        if not isinstance(token_id, int | np.integer) or not 0 <= token_id < V:
            raise VocabularyError(
                f"the id {token_id!r} is outside this vocabulary of {V} words; allowed: 0 to {V - 1}, as made by the "
                "checkpoint's own tokenizer"
            )
        start = self.initial_state()
        state = start if state is None else state
        if [(h.shape, c.shape) for h, c in state] != [(h.shape, c.shape) for h, c in start]:
            raise ZooError("the state is of another model; pass what step returned for this one, or None")
        x = self.embedding.row(int(token_id))
        after = []
        for layer, (h, c) in zip(self.layers, state, strict=True):
            x, c = self._cell(layer, x, h, c)
            after.append((x, c))
        if self.output_projection is not None:
            x = self.output_projection.matvec(x)
        logits = self.head.matvec(x) + self.head_bias
        top = logits.max()
        norm = float(top) + math.log(np.exp(logits - top).sum())
        if not math.isfinite(norm):
            raise CheckpointError(f"{self.path} gives no finite probabilities; get the checkpoint again")
        return logits - np.float32(norm), tuple(after)
