"""Weight forms in numpy: how a matrix is read from a checkpoint and multiplied without ever being expanded.

The plain twin of `weights_rnnlm`. Specs are checked by `layout` before anything here reads by them.
Letters: M rows, N columns, R rank, K stored numbers; i, j row and column mode, r bond. All floats are float32.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from .errors import CheckpointError
from .leaves import LEAVES
from .specs import DENSE, Spec, core_shapes
from .tensors import TensorFile

BLOCK = 1 << 15  # numbers of a sparse matrix that are multiplied at once


class Matrix(Protocol):
    """A matrix [M, N] in some weight form."""

    def matvec(self, x: np.ndarray) -> np.ndarray:
        """x [N] -> product [M]."""

    def row(self, index: int) -> np.ndarray:
        """One row [N]."""

    @property
    def nonzeros(self) -> int:
        """How many stored numbers are not zero."""


def _leaf(file: TensorFile, prefix: str, rows: int, columns: int, spec: Spec) -> Any:
    """A factor [rows, columns], stored as `spec["values"]` says."""
    values = spec.get("values", DENSE)
    return LEAVES[values["form"]].read(file, prefix, rows, columns, values)


class LowRank:
    """A matrix [M, N] as left [M, R] times right [R, N] (Grachev et al. 2019, eq. 7)."""

    def __init__(self, left: Any, right: Any):
        self.left, self.right = left, right

    @classmethod
    def read(cls, file: TensorFile, prefix: str, rows: int, columns: int, spec: Spec) -> LowRank:
        """The factors stored under `prefix`."""
        R = spec["rank"]
        return cls(_leaf(file, f"{prefix}.left", rows, R, spec), _leaf(file, f"{prefix}.right", R, columns, spec))

    def matvec(self, x: np.ndarray) -> np.ndarray:
        """x [N] -> product [M]."""
        return self.left.matvec(self.right.matvec(x))

    def row(self, index: int) -> np.ndarray:
        """One row [N]."""
        return self.right.vecmat(self.left.row(index))

    @property
    def nonzeros(self) -> int:
        """How many numbers of the factors are not zero."""
        return self.left.nonzeros + self.right.nonzeros


class TensorTrain:
    """A matrix [M, N] as a Tensor Train of cores G_m[a, i_m, j_m, b], each a matrix [r_m-1 i_m, j_m r_m].

    Rows are numbered (i_1 .. i_d) and columns (j_1 .. j_d), the first slowest (Novikov et al. 2015; Grachev et al.
    2019, eq. 22).
    """

    def __init__(self, cores: list[Any], spec: Spec):
        self.cores, self.row_modes, self.column_modes = cores, spec["row_modes"], spec["column_modes"]
        self.bonds = [1, *spec["ranks"], 1]

    @classmethod
    def read(cls, file: TensorFile, prefix: str, rows: int, columns: int, spec: Spec) -> TensorTrain:
        """The cores stored under `prefix`."""
        shapes = enumerate(core_shapes(spec))
        return cls([_leaf(file, f"{prefix}.cores.{m}", *shape, spec) for m, shape in shapes], spec)

    def matvec(self, x: np.ndarray) -> np.ndarray:
        """x [N] -> product [M]; the last core first (Novikov et al. 2015, section 4)."""
        done = 1  # row modes whose columns are summed already
        for m in range(len(self.cores) - 1, -1, -1):
            # [j_1 .. j_m-1, j_m r_m, i_m+1 .. i_d] -> [j_1 .. j_m-1, r_m-1 i_m, i_m+1 .. i_d]
            x = self.cores[m].matmat(x.reshape(-1, self.column_modes[m] * self.bonds[m + 1], done))
            done *= self.row_modes[m]
        return x.reshape(done)

    def row(self, index: int) -> np.ndarray:
        """One row [N]: the product of the slices that the digits of its number select."""
        digits = np.unravel_index(index, self.row_modes)
        row = np.ones((1, 1), np.float32)
        for core, r, i, s, digit in zip(
            self.cores, self.bonds[:-1], self.row_modes, self.bonds[1:], digits, strict=True
        ):
            row = (row @ core.rows(slice(int(digit), r * i, i))).reshape(-1, s)  # [j_1 .. j_m, r_m]
        return row[:, 0]

    @property
    def nonzeros(self) -> int:
        """How many numbers of the cores are not zero."""
        return sum(core.nonzeros for core in self.cores)


class Sparse:
    """A matrix [M, N] as its K numbers that are not zero, their columns, and where each row starts.

    The numbers are floats, or 8-bit ones with a scale per row.

    Raises:
        CheckpointError: starts or columns that are not in order or out of range; begins with `where`.
    """

    def __init__(
        self, values: np.ndarray, columns: np.ndarray, starts: np.ndarray, scale: np.ndarray | None, N: int, where: str
    ):
        self.values, self.columns, self.starts, self.scale, self.num_columns = values, columns, starts, scale, N
        K, counts = len(values), np.diff(starts)
        if starts[0] != 0 or starts[-1] != K or (counts < 0).any():
            raise CheckpointError(
                f"{where}.starts does not rise from 0 to the {K} stored numbers; get the checkpoint again"
            )
        if K and (columns.min() < 0 or columns.max() >= N):
            raise CheckpointError(f"{where}.columns has one outside 0 to {N - 1}; get the checkpoint again")
        rising = columns[1:] > columns[:-1]
        rising[starts[1:-1][(starts[1:-1] > 0) & (starts[1:-1] < K)] - 1] = True
        if not rising.all():
            raise CheckpointError(f"{where}.columns does not rise within each row; get the checkpoint again")
        # Slices of rows of about BLOCK numbers; where sums begin, without the rows that have none.
        self.blocks, row = [], 0
        while row < len(counts):
            end = int(np.searchsorted(starts, starts[row] + BLOCK, "right")) - 1
            end = min(max(end, row + 1), len(counts))
            self.blocks.append(slice(row, end))
            row = end
        self.full = bool(counts.all())

    @classmethod
    def read(cls, file: TensorFile, prefix: str, rows: int, columns: int, spec: Spec) -> Sparse:
        """The matrix stored under `prefix`."""
        K, small = spec["nonzeros"], "values" in spec
        return cls(
            file.read(f"{prefix}.values", (K,), np.int8 if small else None),
            file.read(f"{prefix}.columns", (K,), column_type(columns)),
            file.read(f"{prefix}.starts", (rows + 1,), np.int32),
            file.read(f"{prefix}.scale", (rows,)) if small else None,
            columns,
            f"{file.path} is damaged: {prefix}",
        )

    def matvec(self, x: np.ndarray) -> np.ndarray:
        """x [N] -> product [M]."""
        out = np.zeros(len(self.starts) - 1, np.float32)
        for block in self.blocks:
            starts = self.starts[block.start : block.stop + 1]
            first, last = starts[0], starts[-1]
            products = x.take(self.columns[first:last], mode="clip")  # in range already; clip is the quick mode
            products *= self.values[first:last]
            if self.full:
                np.add.reduceat(products, starts[:-1] - first, out=out[block])
            elif first < last:
                filled = np.flatnonzero(np.diff(starts))  # reduceat knows no empty sums
                out[block][filled] = np.add.reduceat(products, starts[filled] - first)
        return out if self.scale is None else out * self.scale

    def row(self, index: int) -> np.ndarray:
        """One row [N]."""
        out = np.zeros(self.num_columns, np.float32)
        here = slice(self.starts[index], self.starts[index + 1])
        out[self.columns[here]] = self.values[here] if self.scale is None else self.values[here] * self.scale[index]
        return out

    @property
    def by_rows(self) -> int:
        """How many numbers the rows have that are not empty, zeros included."""
        return int(np.count_nonzero(np.diff(self.starts))) * self.num_columns

    @property
    def nonzeros(self) -> int:
        """How many of the stored numbers are not zero."""
        if self.scale is None:
            return int(np.count_nonzero(self.values))
        return int(np.count_nonzero(self.values * np.repeat(self.scale, np.diff(self.starts))))


def column_type(columns: int) -> type[np.generic]:
    """The integers that number the columns of a sparse matrix."""
    return np.uint8 if columns <= 1 << 8 else np.int16 if columns < 1 << 15 else np.int32


FORMS: dict[str, Any] = {**LEAVES, "low_rank": LowRank, "tensor_train": TensorTrain, "sparse": Sparse}


def read(file: TensorFile, prefix: str, rows: int, columns: int, spec: Spec) -> Matrix:
    """The matrix [rows, columns] stored under `prefix` in the form of a spec that `layout` has checked."""
    return FORMS[spec["form"]].read(file, prefix, rows, columns, spec)
