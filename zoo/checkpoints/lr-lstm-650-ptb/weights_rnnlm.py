"""Weight forms: how a matrix [rows, columns] is stored and multiplied without ever being expanded.

A form is one class with: `fields` (what its spec must hold), `forward` (product, or rows where it is a lookup table),
`from_dense`, `to_dense` (its plain twin, for tests and conversion) and `reset` (initialisation).
Letters: M rows, N columns, R rank; `...` any leading sizes.
"""

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init


class DenseLinear(nn.Linear):
    """A matrix [M, N] stored whole; x [..., N] -> x Wᵀ + bias [..., M]."""

    bound: float

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

    fields: dict[str, type] = {}

    @staticmethod
    def build(spec: dict, rows: int, columns: int, bias: bool, lookup: bool) -> nn.Module:
        """An empty matrix [rows, columns]."""
        return DenseEmbedding(rows, columns) if lookup else DenseLinear(columns, rows, bias=bias)

    @staticmethod
    def from_dense(matrix: torch.Tensor, spec: dict) -> dict[str, torch.Tensor]:
        """Tensors of this form for a matrix [M, N]."""
        return {"weight": matrix.clone()}


class LowRank(nn.Module):
    """A matrix [M, N] as left [M, R] times right [R, N] (Grachev et al. 2019, eq. 7)."""

    fields = {"rank": int}
    bound: float

    def __init__(self, rows: int, columns: int, rank: int, bias: bool = False, lookup: bool = False):
        super().__init__()
        self.lookup = lookup
        self.left = nn.Parameter(torch.empty(rows, rank))
        self.right = nn.Parameter(torch.empty(rank, columns))
        self.bias = nn.Parameter(torch.empty(rows)) if bias else None

    @classmethod
    def build(cls, spec: dict, rows: int, columns: int, bias: bool, lookup: bool) -> nn.Module:
        """An empty matrix [rows, columns] of rank `spec["rank"]`; ValueError for a rank above its smaller side."""
        if spec["rank"] > min(rows, columns):
            most = min(rows, columns)
            raise ValueError(f"rank {spec['rank']} for a matrix {rows} x {columns}; it must be at most {most}")
        return cls(rows, columns, spec["rank"], bias, lookup)

    @staticmethod
    def from_dense(matrix: torch.Tensor, spec: dict) -> dict[str, torch.Tensor]:
        """The best approximation of a matrix [M, N] in the Frobenius norm (truncated SVD), scale shared evenly."""
        u, s, vt = torch.linalg.svd(matrix.float(), full_matrices=False)
        root = s[: spec["rank"]].sqrt()
        return {"left": u[:, : len(root)] * root, "right": root[:, None] * vt[: len(root)]}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """ids [...] -> rows [..., N] where it is a lookup table, else x [..., N] -> x Wᵀ + bias [..., M]."""
        if self.lookup:
            return F.embedding(x, self.left) @ self.right
        return F.linear(F.linear(x, self.right), self.left, self.bias)

    def to_dense(self) -> torch.Tensor:
        """The matrix [M, N] that the factors stand for."""
        return self.left @ self.right

    def reset(self) -> None:
        """Fills the factors so that the product has the variance of U(-bound, bound), and the bias with zeros."""
        rank = self.left.shape[1]
        factor = math.sqrt(self.bound * math.sqrt(3.0 / rank))  # var(left) var(right) R = bound²/3
        init.uniform_(self.left, -factor, factor)
        init.uniform_(self.right, -factor, factor)
        if self.bias is not None:
            init.zeros_(self.bias)


FORMS: dict[str, Any] = {"dense": Dense, "low_rank": LowRank}


def check_spec(spec: dict, role: str) -> None:
    """Refuses a spec with an unknown form, or with missing, misspelt or wrong-typed fields (ValueError)."""
    form = spec.get("form") if isinstance(spec, dict) else None
    if form not in FORMS:
        raise ValueError(f"weights[{role!r}] is {spec!r}; give {{'form': one of {', '.join(FORMS)}, ...}}")
    fields = FORMS[form].fields
    given = set(spec) - {"form"}
    if given != set(fields):
        raise ValueError(
            f"weights[{role!r}] of form {form} has the fields {sorted(given)}; it takes exactly {sorted(fields)}"
        )
    for name, kind in fields.items():
        if type(spec[name]) is not kind or (kind is int and spec[name] < 1):
            raise ValueError(f"weights[{role!r}][{name!r}] is {spec[name]!r}; it must be a positive {kind.__name__}")


def build(
    spec: dict, rows: int, columns: int, bound: float, bias: bool = False, lookup: bool = False
) -> nn.Module:
    """An empty matrix [rows, columns] of the form that `spec` names; `lookup`: it is indexed by row.

    `reset()` of what comes back fills it with the variance of U(-bound, bound).
    """
    form = FORMS[spec["form"]].build(spec, rows, columns, bias, lookup)
    form.bound = float(bound)
    return form
