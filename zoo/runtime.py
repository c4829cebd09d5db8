"""One step of a recurrent language model in numpy: no torch, so that the first suggestion comes at once.

It is the plain twin of `modeling_rnnlm`: the same tensors, the same formulas, one token at a time, in float32.
Letters: V vocabulary, D embedding, H hidden, P projection, O layer output (P if projected, else H), N width of a
layer's input. Equations: Grachev et al. 2019.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import forms
from .errors import CheckpointError, VocabularyError, ZooError
from .forms import Matrix
from .hub import verify
from .layout import prefix_of, read_layout
from .tensors import TensorFile

State = tuple[tuple[np.ndarray, np.ndarray], ...]  # (h [O], c [H or 0]) per layer


@dataclass(frozen=True)
class Layer:
    """Matrices and biases of one recurrent layer; None: the cell has no such thing."""

    input: Matrix
    recurrent: Matrix
    bias: np.ndarray
    projection: Matrix | None
    candidate: Matrix | None
    candidate_bias: np.ndarray | None
    mogrifier: tuple[Matrix, ...] = ()

    def mogrify(self, x: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x [N] and h [O], scaled by each other in turn (Melis et al. 2020, eq. 1-2)."""
        for number, matrix in enumerate(self.mogrifier):
            if number % 2 == 0:
                x = 2 * sigmoid(matrix.matvec(h)) * x
            else:
                h = 2 * sigmoid(matrix.matvec(x)) * h
        return x, h

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


def cifg(layer: Layer, x: np.ndarray, h: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x [N], h [O], c [H] -> h, c after one token; f = 1 - i (Greff et al. 2015)."""
    i, g, o = np.split(layer.input.matvec(x) + layer.recurrent.matvec(h) + layer.bias, 3)
    c = c + sigmoid(i) * (np.tanh(g) - c)
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


def best_ids(scores: np.ndarray, k: int) -> np.ndarray:
    """Ids of the k greatest of scores [V], or all V, best first, equals by id."""
    k = min(k, len(scores))
    least = np.partition(scores, -k)[-k]
    found = np.flatnonzero(scores >= least)
    return found[np.argsort(-scores[found], kind="stable")][:k]


CELLS: dict[str, Callable[[Layer, np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]]
CELLS = {"lstm": lstm, "cifg": cifg, "gru": gru, "rnn": rnn}


class NumpyModel:
    """A language model read from a checkpoint folder; holds weights only, the state goes in and out of `step`.

    Raises:
        CheckpointError: the folder lacks a file, a file is damaged, or a tensor is missing, left over or of another
            shape than config.json asks for.
    """

    def __init__(self, folder: str | Path):
        verify(folder)
        self.layout = layout = read_layout(folder)
        layout.check_language_model(folder, "next words are suggested by")
        file = TensorFile(folder)
        self.path = file.path
        matrices = {
            name: forms.read(file, prefix_of(name), *shape, layout.spec(name)) for name, shape in layout.shapes.items()
        }
        biases = {name: file.read(name, (length,)) for name, length in layout.biases.items()}
        file.check_all_asked()
        self.embedding = matrices["embed"]
        self.output_projection = matrices.get("output_projection")
        self.latent, self.prior = matrices.get("latent"), matrices.get("prior")
        self.head = matrices.get("head", self.embedding)
        self.head_bias = biases.get("lm_head.bias", np.zeros(1, np.float32))
        self.layers = [
            Layer(
                input=matrices[f"input.{number}"],
                recurrent=matrices[f"recurrent.{number}"],
                bias=biases[f"model.layers.{number}.bias"],
                projection=matrices.get(f"projection.{number}"),
                candidate=matrices.get(f"candidate.{number}"),
                candidate_bias=biases.get(f"model.layers.{number}.candidate_bias"),
                mogrifier=tuple(matrices[f"mogrifier.{number}.{r}"] for r in range(layout.mogrifier_rounds)),
            )
            for number in range(layout.num_hidden_layers)
        ]
        self._cell = CELLS[layout.cell]

    def initial_state(self) -> State:
        """Zeros, the state before the first token."""
        sizes = (self.layout.layer_output_size, self.layout.cell_size)
        zeros = (np.zeros(sizes[0], np.float32), np.zeros(sizes[1], np.float32))
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
            x, c = self._cell(layer, *layer.mogrify(x, h), c)
            after.append((x, c))
        if self.latent is not None and self.prior is not None:
            return self._mixture(self.latent, self.prior, x), tuple(after)
        if self.output_projection is not None:
            x = self.output_projection.matvec(x)
        return self._log_softmax(self.head.matvec(x) + self.head_bias), tuple(after)

    def _mixture(self, latent: Matrix, prior: Matrix, h: np.ndarray) -> np.ndarray:
        """h [O] -> log probabilities [V] of K softmaxes (Yang et al. 2018, section 3)."""
        shares = self._log_softmax(prior.matvec(h))  # [K]
        latents = np.tanh(latent.matvec(h)).reshape(len(shares), -1)
        each = (self._log_softmax(self.head.matvec(x) + self.head_bias) for x in latents)
        return np.logaddexp.reduce([share + one for share, one in zip(shares, each, strict=True)])

    def _log_softmax(self, logits: np.ndarray) -> np.ndarray:
        """Log probabilities of logits; CheckpointError where they are not finite."""
        top = logits.max()
        norm = float(top) + math.log(np.exp(logits - top).sum())
        if not math.isfinite(norm):
            raise CheckpointError(f"{self.path} gives no finite probabilities; get the checkpoint again")
        return logits - np.float32(norm)
