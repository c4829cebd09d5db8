"""Matrices as products of factors: low rank and Tensor Train. The factors are dense, 8-bit or 4-bit themselves.

Letters: M rows, N columns, R rank, d modes, B vectors; i, j row and column mode, r bond; `...` any leading sizes.
"""

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init

from .leaves_rnnlm import LEAVES

DENSE = {"form": "dense"}


def leaf(spec: dict, rows: int, columns: int, bound: float = 0.0) -> nn.Module:
    """A factor [rows, columns] stored as `spec["values"]` says."""
    values = spec.get("values", DENSE)
    module = LEAVES[values["form"]].build(values, rows, columns, False, False)
    module.bound = bound
    return module


def leaf_tensors(name: str, matrix: torch.Tensor, spec: dict) -> dict[str, torch.Tensor]:
    """The tensors of a factor, their names below `name`."""
    values = spec.get("values", DENSE)
    return {f"{name}.{key}": tensor for key, tensor in LEAVES[values["form"]].from_dense(matrix, values).items()}


class Factored(nn.Module):
    """What the two have in common."""

    bias: nn.Parameter | None
    lookup: bool
    product: Any
    rows: Any

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """ids [...] -> rows [..., N] where it is a lookup table, else x [..., N] -> x Wᵀ + bias [..., M]."""
        if self.lookup:
            return self.rows(x)
        y = self.product(x)
        return y if self.bias is None else y + self.bias

    def factors(self) -> list[Any]:
        """The factors."""
        raise NotImplementedError

    def factor_bound(self, bound: float) -> float:
        """Bound of the factors' uniform distribution, so that the product has the variance of U(-bound, bound)."""
        raise NotImplementedError

    def reset(self) -> None:
        """Zeros for the bias; the factors are modules of their own, which the library initialises."""
        if self.bias is not None:
            init.zeros_(self.bias)


class LowRank(Factored):
    """A matrix [M, N] as left [M, R] times right [R, N] (Grachev et al. 2019, eq. 7)."""

    required = {"rank": int}
    optional = {"values": dict}

    def __init__(self, spec: dict, rows: int, columns: int, bias: bool = False, lookup: bool = False):
        super().__init__()
        self.lookup, self.rank = lookup, spec["rank"]
        self.left: Any = leaf(spec, rows, self.rank)
        self.right: Any = leaf(spec, self.rank, columns)
        self.bias = nn.Parameter(torch.empty(rows)) if bias else None

    @staticmethod
    def check(spec: dict, rows: int, columns: int) -> None:
        """ValueError for a rank above the matrix's smaller side."""
        if spec["rank"] > (most := min(rows, columns)):
            raise ValueError(f"rank {spec['rank']} for a matrix {rows} x {columns}; it must be at most {most}")

    @classmethod
    def build(cls, spec: dict, rows: int, columns: int, bias: bool, lookup: bool) -> nn.Module:
        """An empty matrix [rows, columns]."""
        return cls(spec, rows, columns, bias, lookup)

    @staticmethod
    def from_dense(matrix: torch.Tensor, spec: dict) -> dict[str, torch.Tensor]:
        """The best approximation of a matrix [M, N] in the Frobenius norm (truncated SVD), scale shared evenly."""
        u, s, vt = torch.linalg.svd(matrix.detach().float(), full_matrices=False)
        root = s[: spec["rank"]].sqrt()
        left, right = u[:, : len(root)] * root, root[:, None] * vt[: len(root)]
        return {**leaf_tensors("left", left, spec), **leaf_tensors("right", right, spec)}

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., N] -> x Wᵀ [..., M]."""
        return self.left(self.right(x))

    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        """ids [...] -> rows [..., N]."""
        return self.right.transposed(self.left.rows(ids))

    def to_dense(self) -> torch.Tensor:
        """The matrix [M, N] that the factors stand for."""
        return self.left.to_dense() @ self.right.to_dense()

    def factors(self) -> list[Any]:
        return [self.left, self.right]

    def factor_bound(self, bound: float) -> float:
        return math.sqrt(bound * math.sqrt(3.0 / self.rank))  # var(left) var(right) R = bound²/3


def balanced_modes(size: int, count: int) -> list[int]:
    """`count` whole numbers, as equal as they can be, whose product is `size`; ascending, 1s for lack of divisors."""
    modes = []
    for left in range(count, 0, -1):
        root = round(size ** (1 / left))
        mode = size if left == 1 else min((k for k in range(1, size + 1) if size % k == 0), key=lambda k: abs(k - root))
        modes.append(mode)
        size //= mode
    return sorted(modes)


class TensorTrain(Factored):
    """A matrix [M, N] as a Tensor Train of cores G_m[a, i_m, j_m, b], contracted without ever being expanded.

    Rows are numbered (i_1 .. i_d) and columns (j_1 .. j_d), the first slowest: the TT-matrix of Novikov et al. 2015.
    The plain reshape of Grachev et al. 2019 (eq. 22) is the case of row modes k_1..k_p, 1.. and column modes 1..,
    k_p+1..k_d. Core m is stored as a matrix [r_m-1 i_m, j_m r_m].
    """

    required = {"row_modes": list, "column_modes": list, "ranks": list}
    optional = {"values": dict}

    def __init__(self, spec: dict, rows: int, columns: int, bias: bool = False, lookup: bool = False):
        super().__init__()
        self.lookup, self.num_rows, self.num_columns = lookup, rows, columns
        self.bonds = [1, *spec["ranks"], 1]
        self.row_modes, self.column_modes = list(spec["row_modes"]), list(spec["column_modes"])
        shapes = zip(self.bonds[:-1], self.row_modes, self.column_modes, self.bonds[1:], strict=True)
        self.cores = nn.ModuleList(leaf(spec, r * i, j * s) for r, i, j, s in shapes)
        self.bias = nn.Parameter(torch.empty(rows)) if bias else None

    @staticmethod
    def check(spec: dict, rows: int, columns: int) -> None:
        """ValueError for modes that do not multiply to the sizes, and for ranks above the full ones."""
        row_modes, column_modes, ranks = spec["row_modes"], spec["column_modes"], spec["ranks"]
        d = len(row_modes)
        for name, modes, size in (("row_modes", row_modes, rows), ("column_modes", column_modes, columns)):
            if not modes or math.prod(modes) != size:
                nearest = balanced_modes(size, max(1, len(modes)))
                raise ValueError(f"{name} {modes} multiply to {math.prod(modes)}, not {size}; e.g. {nearest} do")
        if len(column_modes) != d or len(ranks) != d - 1:
            raise ValueError(
                f"{d} row_modes, {len(column_modes)} column_modes and {len(ranks)} ranks; as many column modes as row "
                "modes are needed (fill up with 1) and one rank less"
            )
        full = full_ranks(row_modes, column_modes)
        if any(rank > most for rank, most in zip(ranks, full, strict=True)):
            nearest = [min(rank, most) for rank, most in zip(ranks, full, strict=True)]
            raise ValueError(f"ranks {ranks}; with these modes they are at most {full}, e.g. {nearest}")

    @classmethod
    def build(cls, spec: dict, rows: int, columns: int, bias: bool, lookup: bool) -> nn.Module:
        """An empty matrix [rows, columns]."""
        return cls(spec, rows, columns, bias, lookup)

    @staticmethod
    def from_dense(matrix: torch.Tensor, spec: dict) -> dict[str, torch.Tensor]:
        """The cores of a matrix [M, N] by TT-SVD (Oseledets 2011, algorithm 1), scale shared evenly."""
        cores, _ = tt_svd(matrix, spec["row_modes"], spec["column_modes"], spec["ranks"])
        norms = [core.norm() for core in cores]
        if all(norms):
            even = torch.stack(norms).log().mean().exp()
            cores = [core * (even / norm) for core, norm in zip(cores, norms, strict=True)]
        tensors = {}
        for number, core in enumerate(cores):
            r, i, j, s = core.shape
            tensors.update(leaf_tensors(f"cores.{number}", core.reshape(r * i, j * s), spec))
        return tensors

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., N] -> x Wᵀ [..., M], one core after the other from the last (Novikov et al. 2015, section 4)."""
        leading, done = x.shape[:-1], 1  # done: row modes whose columns are summed already
        z = x.reshape(math.prod(leading), self.num_columns, 1)  # [B, j_1 .. j_m r_m, i_m+1 .. i_d]
        B = len(z)
        for m in range(len(self.cores) - 1, -1, -1):
            j, s, i, r = self.column_modes[m], self.bonds[m + 1], self.row_modes[m], self.bonds[m]
            J = math.prod(self.column_modes[:m])
            z = z.view(B, J, j * s, done).transpose(2, 3)  # [B, j_1 .. j_m-1, done, j_m r_m]
            z = self.cores[m](z)  # [B, j_1 .. j_m-1, done, r_m-1 i_m]
            z = z.transpose(2, 3).reshape(B, J, r, i * done)
            z = z.reshape(B, J * r, i * done)  # [B, j_1 .. j_m-1 r_m-1, i_m .. i_d]
            done *= i
        return z.reshape(*leading, self.num_rows)

    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        """ids [...] -> rows [..., N]: of every core the slices that the id's digits select."""
        n, rest = ids.flatten(), self.num_rows
        z = torch.ones(len(n), 1, 1, device=n.device, dtype=self.kind())
        for m, core in enumerate(self.factors()):
            i, r, s = self.row_modes[m], self.bonds[m], self.bonds[m + 1]
            rest //= i
            digit = n // rest % i if m else n // rest  # an id out of range is one in the first core too
            slices = core.rows(torch.arange(r, device=n.device) * i + digit[:, None])  # [n, r_m-1, j_m r_m]
            z = (z @ slices).reshape(len(n), z.shape[1] * self.column_modes[m], s)  # [n, j_1 .. j_m, r_m]
        return z.view(*ids.shape, self.num_columns)

    def to_dense(self) -> torch.Tensor:
        """The matrix [M, N] that the cores stand for."""
        cores = [core.to_dense() for core in self.factors()]
        z = cores[0].new_ones(1, 1, 1)  # [i_1 .. i_m, j_1 .. j_m, r_m]
        for m, core in enumerate(cores):
            G = core.reshape(self.bonds[m], self.row_modes[m], self.column_modes[m], self.bonds[m + 1])
            z = torch.einsum("mnr,rijs->minjs", z, G).flatten(2, 3).flatten(0, 1)
        return z[..., 0]

    def kind(self) -> torch.dtype:
        """The type of the numbers that it computes with."""
        return next(parameter.dtype for parameter in self.parameters() if parameter.is_floating_point())

    def factors(self) -> list[Any]:
        return list(self.cores)

    def factor_bound(self, bound: float) -> float:
        # The variances multiply and every bond sums over its rank: prod(b_m²/3) prod(r_m) = bound²/3.
        d, paths = len(self.cores), math.prod(self.bonds)
        return math.sqrt(3) * (bound**2 / 3 / paths) ** (1 / (2 * d))


def full_ranks(row_modes: list[int], column_modes: list[int]) -> list[int]:
    """The largest rank that each bond can need."""
    sizes = [i * j for i, j in zip(row_modes, column_modes, strict=True)]
    return [min(math.prod(sizes[:m]), math.prod(sizes[m:])) for m in range(1, len(sizes))]


def tt_svd(
    matrix: torch.Tensor,
    row_modes: list[int],
    column_modes: list[int],
    ranks: list[int] | None = None,
    error: float = 0.0,
) -> tuple[list[torch.Tensor], list[float]]:
    """Tensor Train of a matrix [M, N] (Oseledets 2011, algorithm 1).

    Args:
        ranks: of the bonds; None: the smallest that keep the relative error below `error`.
        error: in the Frobenius norm, relative to the matrix's.

    Returns:
        The cores [r_m-1, i_m, j_m, r_m], and per bond the norm of the singular values left out. The squares of these
        sum up to at least the square of the error (theorem 2.2), with equality for a single bond.
    """
    d = len(row_modes)
    order = [axis for m in range(d) for axis in (m, d + m)]
    rest = matrix.detach().double().reshape(*row_modes, *column_modes).permute(order).reshape(1, -1)
    allowed = error * float(matrix.detach().norm()) / math.sqrt(max(1, d - 1))
    cores, left_out = [], []
    for m in range(d - 1):
        r, i, j = len(rest), row_modes[m], column_modes[m]
        u, s, vt = torch.linalg.svd(rest.reshape(r * i * j, -1), full_matrices=False)
        tails = s.flip(0).square().cumsum(0).flip(0).sqrt()  # [k]: norm of what is left out at rank k
        rank = max(1, int((tails > allowed).sum())) if ranks is None else min(ranks[m], len(s))
        left_out.append(float(tails[rank]) if rank < len(s) else 0.0)
        core, rest = u[:, :rank], s[:rank, None] * vt[:rank]
        if ranks is not None and rank < ranks[m]:  # an earlier bond is too narrow: the rest of this one lies idle
            idle = ranks[m] - rank
            core, rest, rank = F.pad(core, (0, idle)), F.pad(rest, (0, 0, 0, idle)), ranks[m]
        cores.append(core.reshape(r, i, j, rank).float())
    cores.append(rest.reshape(len(rest), row_modes[-1], column_modes[-1], 1).float())
    return cores, left_out
