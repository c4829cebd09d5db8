"""Matrices stored number by number, in numpy: dense, 8-bit, 4-bit. The factors of the other forms are such ones.

The plain twin of `leaves_rnnlm`. Integers become floats a block of rows at a time, never the whole matrix.
Letters: M rows, N columns, G groups of columns, n chosen rows, B and C any sizes. All floats are float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .specs import Spec
from .tensors import TensorFile

BLOCK = 1 << 17  # most numbers of a packed matrix that are floats at once; half a megabyte, which caches hold


class Dense:
    """A matrix [M, N] stored whole."""

    def __init__(self, weight: np.ndarray):
        self.weight = weight

    @classmethod
    def read(cls, file: TensorFile, prefix: str, rows: int, columns: int, spec: Spec) -> Dense:
        """The matrix stored under `prefix`."""
        return cls(file.read(f"{prefix}.weight", (rows, columns)))

    def matvec(self, x: np.ndarray) -> np.ndarray:
        """x [N] -> product [M]."""
        return self.weight @ x

    def matmat(self, z: np.ndarray) -> np.ndarray:
        """z [B, N, C] -> products [B, M, C]."""
        return self.weight @ z

    def vecmat(self, y: np.ndarray) -> np.ndarray:
        """y [M] -> y W [N]."""
        return y @ self.weight

    def rows(self, index: slice) -> np.ndarray:
        """The rows [n, N] that a slice selects."""
        return self.weight[index]

    def row(self, index: int) -> np.ndarray:
        """One row [N]."""
        return self.weight[index]

    @property
    def nonzeros(self) -> int:
        """How many numbers are not zero."""
        return int(np.count_nonzero(self.weight))


class Packed:
    """A matrix [M, N] of small integers. A subclass says how rows become floats, and multiplies a vector faster."""

    size: tuple[int, int]

    def matvec(self, x: np.ndarray) -> np.ndarray:
        """x [N] -> product [M]."""
        raise NotImplementedError

    def rows(self, index: slice) -> np.ndarray:
        """The rows [n, N] that a slice selects."""
        raise NotImplementedError

    def row(self, index: int) -> np.ndarray:
        """One row [N]."""
        return self.rows(slice(index, index + 1))[0]

    def blocks(self, width: int) -> Iterator[slice]:
        """Slices of rows, `width` floats each, that are small enough to be floats at once."""
        height = max(1, BLOCK // width)
        return (slice(start, start + height) for start in range(0, self.size[0], height))

    def matmat(self, z: np.ndarray) -> np.ndarray:
        """z [B, N, C] -> products [B, M, C]."""
        if len(z) == z.shape[2] == 1:
            return self.matvec(z[0, :, 0])[None, :, None]
        out = np.empty((len(z), self.size[0], z.shape[2]), np.float32)
        for block in self.blocks(4 * self.size[1]):
            np.matmul(self.rows(block), z, out=out[:, block])
        return out

    def vecmat(self, y: np.ndarray) -> np.ndarray:
        """y [M] -> y W [N]."""
        out = np.zeros(self.size[1], np.float32)
        for block in self.blocks(4 * self.size[1]):
            out += y[block] @ self.rows(block)
        return out


class Int8(Packed):
    """A matrix [M, N] in 8 bits a number, w = scale q + offset (Grachev et al. 2019, section 4.1).

    Scheme `row`: a scale per row, no offset. Scheme `range`: 256 equal steps from the least to the greatest number.
    """

    def __init__(self, weight: np.ndarray, scale: np.ndarray, offset: np.float32):
        self.weight, self.scale, self.offset = weight, scale, offset  # int8 [M, N], [M, 1] or [1, 1]
        self.size = weight.shape

    @classmethod
    def read(cls, file: TensorFile, prefix: str, rows: int, columns: int, spec: Spec) -> Int8:
        """The matrix stored under `prefix`."""
        weight = file.read(f"{prefix}.weight", (rows, columns), np.int8)
        if spec["scheme"] == "row":
            return cls(weight, file.read(f"{prefix}.scale", (rows,))[:, None], np.float32(0))
        low, step = file.read(f"{prefix}.low", ()), file.read(f"{prefix}.step", ())
        return cls(weight, step.reshape(1, 1), np.float32(low + 128 * step))

    def matvec(self, x: np.ndarray) -> np.ndarray:
        """x [N] -> product [M]."""
        M, N = self.size
        out, buffer = np.empty(M, np.float32), np.empty((min(M, max(1, BLOCK // N)), N), np.float32)
        for block in self.blocks(N):
            part = self.weight[block]
            floats = buffer[: len(part)]
            floats[...] = part
            np.matmul(floats, x, out=out[block])
        out *= self.scale[:, 0]
        return out + self.offset * x.sum() if self.offset else out

    def rows(self, index: slice) -> np.ndarray:
        rows = self.weight[index].astype(np.float32)
        rows *= self.scale if len(self.scale) == 1 else self.scale[index]
        rows += self.offset
        return rows

    @property
    def nonzeros(self) -> int:
        """How many numbers are not zero."""
        return sum(int(np.count_nonzero(self.rows(block))) for block in self.blocks(self.size[1]))


class Int4(Packed):
    """A matrix [M, N] in 4 bits a number, w = scale[m, g] q with q in -7..7 and a scale per `group` columns of a row.

    Column 2k lies in the low half of a byte and 2k + 1 in the high one, each as q + 8.
    """

    def __init__(self, weight: np.ndarray, scale: np.ndarray, group: int, columns: int):
        self.weight, self.scale, self.group = weight, scale, group  # uint8 [M, N/2 rounded up], [M, G]
        self.size = (len(weight), columns)

    @classmethod
    def read(cls, file: TensorFile, prefix: str, rows: int, columns: int, spec: Spec) -> Int4:
        """The matrix stored under `prefix`."""
        weight = file.read(f"{prefix}.weight", (rows, -(-columns // 2)), np.uint8)
        return cls(weight, file.read(f"{prefix}.scale", (rows, -(-columns // spec["group"]))), spec["group"], columns)

    def matvec(self, x: np.ndarray) -> np.ndarray:
        """x [N] -> product [M]."""
        (M, pairs), G, half = self.weight.shape, self.scale.shape[1], self.group // 2
        padded = np.zeros((G * half, 2), np.float32)
        padded.reshape(-1)[: len(x)] = x
        even, odd = (np.ascontiguousarray(padded[:, k]).reshape(G, half, 1) for k in (0, 1))
        surplus = 8 * (even + odd).sum(axis=1)  # [G, 1], of the 8 that is stored on top of every q
        height = min(M, max(1, BLOCK // (G * half)))
        out, buffer = np.empty(M, np.float32), np.zeros((height, G * half), np.float32)
        for block in self.blocks(G * half):
            part = self.weight[block]
            floats = buffer[: len(part)]
            groups = floats.reshape(-1, G, half).transpose(1, 0, 2)  # [G, n, half], of the same memory
            floats[:, :pairs] = part & 15
            sums = groups @ even
            floats[:, :pairs] = part >> 4
            sums += groups @ odd  # [G, n, 1]
            np.einsum("gn,ng->n", sums[..., 0] - surplus, self.scale[block], out=out[block])
        return out

    def rows(self, index: slice) -> np.ndarray:
        pairs, N = self.weight[index], self.size[1]
        q = np.stack([pairs & 15, pairs >> 4], axis=-1).reshape(len(pairs), -1)[:, :N].astype(np.float32)
        q -= 8
        q *= np.repeat(self.scale[index], self.group, axis=1)[:, :N]
        return q

    @property
    def nonzeros(self) -> int:
        """How many numbers are not zero."""
        return sum(int(np.count_nonzero(self.rows(block))) for block in self.blocks(self.size[1]))


LEAVES: dict[str, Any] = {"dense": Dense, "int8": Int8, "int4": Int4}
