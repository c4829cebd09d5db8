"""The kernels' plain twins in numpy: what they must answer, rounding of vectors included.

Letters: M rows, N columns, G groups of columns, V vocabulary, K best words.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from zoo.forms import LowRank, Sparse, TensorTrain
from zoo.leaves import Int4, Int8
from zoo.runtime import NumpyModel


def quantise(x: np.ndarray, most: int) -> tuple[np.ndarray, np.float32]:
    """x [N] -> integers, the greatest magnitude as `most`, and the scale that gives x back (vector.cl)."""
    greatest = np.abs(x).max(initial=0).astype(np.float32)
    inverse = np.float32(most) / greatest if greatest > 0 else np.float32(0)
    return np.rint(x * inverse).astype(np.int32), np.float32(greatest / np.float32(most))


class RoundedInt8(Int8):
    """An 8-bit matrix whose product rounds the vector to 12 bits and sums integers (dot.cl, dot_i8)."""

    def matvec(self, x: np.ndarray) -> np.ndarray:
        """x [N] -> product [M]."""
        q, unit = quantise(x, 2047)
        sums = (self.weight.astype(np.int32) @ q).astype(np.float32)
        return sums * unit * self.scale[:, 0] + self.offset * unit * np.float32(q.sum())


class RoundedInt4(Int4):
    """A 4-bit matrix whose product rounds the vector to 8 bits and sums integers group by group (dot.cl, dot_i4)."""

    def matvec(self, x: np.ndarray) -> np.ndarray:
        """x [N] -> product [M]."""
        q, unit = quantise(x, 127)
        (M, N), G = self.size, self.scale.shape[1]
        pairs = np.stack([self.weight & 15, self.weight >> 4], axis=-1).reshape(M, -1)[:, :N].astype(np.int32) - 8
        wide = np.zeros((M, G * self.group), np.int32)
        wide[:, :N] = pairs * q
        return (wide.reshape(M, G, self.group).sum(axis=2) * self.scale).sum(axis=1) * unit


class RoundedSparse(Sparse):
    """A sparse 8-bit matrix whose product rounds the vector to 12 bits (sparse.cl)."""

    def matvec(self, x: np.ndarray) -> np.ndarray:
        """x [N] -> product [M]."""
        (q, unit), M = quantise(x, 2047), len(self.starts) - 1
        rows = np.repeat(np.arange(M), np.diff(self.starts))
        sums = np.bincount(rows, self.values.astype(np.int64) * q[self.columns], M).astype(np.float32)
        return sums * unit * (1 if self.scale is None else self.scale)


def rounded(form: Any) -> Any:
    """A form whose integer matrices round the vectors they multiply, as the kernels do."""
    if isinstance(form, Int8):
        return RoundedInt8(form.weight, form.scale, form.offset)
    if isinstance(form, Int4):
        return RoundedInt4(form.weight, form.scale, form.group, form.size[1])
    if isinstance(form, Sparse) and form.scale is not None:
        return RoundedSparse(form.values, form.columns, form.starts, form.scale, form.num_columns, "a twin")
    if isinstance(form, LowRank):
        return LowRank(rounded(form.left), rounded(form.right))
    if isinstance(form, TensorTrain):
        ends = [math.prod(form.column_modes[:m]) * math.prod(form.row_modes[m + 1 :]) for m in range(len(form.cores))]
        cores = [rounded(core) if end == 1 else core for core, end in zip(form.cores, ends, strict=True)]
        spec = {"row_modes": form.row_modes, "column_modes": form.column_modes, "ranks": form.bonds[1:-1]}
        return TensorTrain(cores, spec)  # those that multiply a single vector
    return form


def rounded_model(folder: str | Path) -> NumpyModel:
    """A checkpoint whose step computes as the kernels do."""
    model = NumpyModel(folder)
    tied = model.head is model.embedding
    model.head = rounded(model.head)
    model.embedding = model.head if tied else rounded(model.embedding)
    if model.output_projection is not None:
        model.output_projection = rounded(model.output_projection)
    matrices = ("input", "recurrent", "projection", "candidate")
    model.layers = [
        replace(layer, **{name: rounded(getattr(layer, name)) for name in matrices if getattr(layer, name) is not None})
        for layer in model.layers
    ]
    return model


def best(logits: np.ndarray, top: int) -> tuple[list[int], list[float]]:
    """logits [V] -> ids [K] and log probabilities [K] of the greatest, best first, equals by id (top.cl, merge.cl)."""
    ids = np.lexsort((np.arange(len(logits)), -logits))[:top]
    norm = logits.max() + np.log(np.exp(logits - logits.max()).sum())
    return ids.tolist(), (logits[ids] - norm).tolist()
