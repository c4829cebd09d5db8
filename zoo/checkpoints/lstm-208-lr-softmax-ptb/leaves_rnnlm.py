"""Matrices stored number by number, as floats or as integers: whole matrices and the factors of others.

Letters: M rows, N columns; `...` any leading sizes.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init

from .integers_rnnlm import Int4, Int8


class DenseLinear(nn.Linear):
    """A matrix [M, N] stored whole; x [..., N] -> x Wᵀ + bias [..., M]."""

    bound: float

    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        """ids [...] -> rows [..., N]."""
        return F.embedding(ids, self.weight)

    def transposed(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., M] -> x W [..., N]."""
        return x @ self.weight

    def to_dense(self) -> torch.Tensor:
        """The matrix [M, N]."""
        return self.weight

    def reset(self) -> None:
        """Fills the matrix from U(-bound, bound) and the bias with zeros."""
        init.uniform_(self.weight, -self.bound, self.bound)
        if self.bias is not None:
            init.zeros_(self.bias)


class DenseEmbedding(nn.Embedding):
    """A table [M, N] stored whole; ids [...] -> rows [..., N]."""

    bound: float

    def to_dense(self) -> torch.Tensor:
        """The table [M, N]."""
        return self.weight

    def reset(self) -> None:
        """Fills the table from U(-bound, bound)."""
        init.uniform_(self.weight, -self.bound, self.bound)


class Dense:
    """The uncompressed form; as torch's own classes, so that the library's embedding tools work on it."""

    required: dict[str, type] = {}
    optional: dict[str, type] = {}

    @staticmethod
    def check(spec: dict, rows: int, columns: int) -> None:
        """Every size is possible."""

    @staticmethod
    def build(spec: dict, rows: int, columns: int, bias: bool, lookup: bool) -> nn.Module:
        """An empty matrix [rows, columns]."""
        return DenseEmbedding(rows, columns) if lookup else DenseLinear(columns, rows, bias=bias)

    @staticmethod
    def from_dense(matrix: torch.Tensor, spec: dict) -> dict[str, torch.Tensor]:
        """Tensors of this form for a matrix [M, N]."""
        return {"weight": matrix.detach().clone()}


LEAVES: dict[str, Any] = {"dense": Dense, "int8": Int8, "int4": Int4}
