"""ncnn's two files of a network, written by hand: its converter turns a step's matrices into layers without 8 bits.

Blobs are rows: [n, N] with n = 1, but for the products of a Tensor Train.

Letters: M rows, N columns, O layer output, H hidden.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

MAGIC = 7767517
FLOAT32, FLOAT16, INT8 = (np.array(tag, "<u4").tobytes() for tag in (0, 0x01306B47, 0x000D4B38))
SUM, DIFFERENCE, PRODUCT = 0, 1, 2  # of BinaryOp
SWAP = 1  # of Permute: rows and columns of every channel


def eight_bits(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """matrix [M, N] -> integers [M, N] and scales [M] with matrix = integers / scales."""
    largest = np.abs(matrix).max(axis=1)
    scales = (127 / np.where(largest == 0, 1, largest)).astype(np.float32)
    return np.rint(matrix * scales[:, None]).astype(np.int8), scales


class Graph:
    """Layers in the order in which they run, and their weights; a blob may be read more than once.

    Args:
        variant: how matrices are stored: "fp32", "fp16" or "int8".
    """

    def __init__(self, variant: str):
        self.variant, self.layers, self.weights = variant, list[tuple[str, list[str], list[str], str]](), list[bytes]()
        self.blobs = 0

    def ops(self, kind: str, *inputs: str, outputs: int = 1, **parameters: Any) -> list[str]:
        """Adds a layer, its parameters by number (`_0=...`); the names of its results."""
        names = [f"b{self.blobs + number}" for number in range(outputs)]
        self.blobs += outputs
        self._layer(kind, inputs, names, {int(key[1:]): value for key, value in parameters.items()})
        return names

    def op(self, kind: str, *inputs: str, **parameters: Any) -> str:
        """Adds a layer with one result; the result's name."""
        return self.ops(kind, *inputs, **parameters)[0]

    def input(self, name: str) -> str:
        """A blob that is given."""
        self._layer("Input", [], [name], {})
        return name

    def output(self, name: str, blob: str) -> None:
        """Makes a blob a result of this name."""
        self._layer("Split", [blob], [name], {})

    def _layer(self, kind: str, inputs: Sequence[str], outputs: list[str], parameters: Mapping[int, Any]) -> None:
        told = [
            f"{-23300 - key}={len(value)},{','.join(map(str, value))}" if isinstance(value, list) else f"{key}={value}"
            for key, value in parameters.items()
        ]
        self.layers.append((kind, list(inputs), outputs, " ".join(told)))

    def numbers(self, array: np.ndarray, half: bool = False) -> None:
        """Adds floats with their tag."""
        data = array.astype("<f2" if half else "<f4").tobytes()
        self.weights.append((FLOAT16 if half else FLOAT32) + _whole_words(data))

    def integers(self, array: np.ndarray) -> None:
        """Adds 8-bit integers with their tag."""
        self.weights.append(INT8 + _whole_words(array.tobytes()))

    def bare(self, array: np.ndarray) -> None:
        """Adds floats without a tag: biases and scales."""
        self.weights.append(array.astype("<f4").tobytes())

    def matrix(self, x: str, weight: np.ndarray, bias: np.ndarray | None = None) -> str:
        """x [n, N] -> x weightᵀ + bias [n, M]; in 8 bits a scale per row, and one per row of x, found on the way."""
        M, N = weight.shape
        if self.variant != "int8":
            y = self.op("InnerProduct", x, _0=M, _1=int(bias is not None), _2=M * N)
            self._stored(weight)
            if bias is not None:
                self.bare(bias)
            return y
        # The matrix is the first factor, as only that one may have a scale per row.
        added = {"_10": -1} if bias is None else {"_10": 1}
        y = self.op("Gemm", x, _2=0, _3=1, _4=1, _6=1, _7=M, _9=N, **added, _14=1, _18=2)
        scales = self._stored(weight)
        if bias is not None:
            self.numbers(bias)
        self._scales(scales)
        return y

    def rows(self, token: str, table: np.ndarray) -> str:
        """The row [1, N] of a table that a word selects."""
        M, N = table.shape
        x = self.op("Embed", token, _0=N, _1=M, _2=0, _3=M * N)
        self.numbers(table, half=self.variant == "fp16")
        return x

    def constant(self, row: np.ndarray) -> str:
        """A row [1, N] that never changes."""
        x = self.op("MemoryData", _0=len(row), _1=1)
        self.bare(row)
        return x

    def lstm(
        self, x: str, h: str, c: str, matrices: tuple[np.ndarray, np.ndarray, np.ndarray | None], bias: np.ndarray
    ) -> tuple[str, str, str]:
        """ncnn's own layer -> output, h, c.

        Args:
            matrices: W [4H, N], U [4H, O], both in the order i, f, g, o, and the projection [O, H], never rounded.
            bias: [4H], in that order.
        """
        W, U, projection = _gates(matrices[0]), _gates(matrices[1]), matrices[2]
        H, O = len(bias) // 4, U.shape[1]
        eight = 2 if self.variant == "int8" else 0
        y, h, c = self.ops("LSTM", x, h, c, outputs=3, _0=O, _1=W.size, _2=0, _3=H, _8=eight)
        scales = [self._stored(W)]
        self.numbers(_gates(bias))
        scales.append(self._stored(U))
        if projection is not None:
            self.numbers(projection, half=self.variant == "fp16")
        self._scales(*scales)
        return y, h, c

    def _stored(self, matrix: np.ndarray) -> np.ndarray | None:
        """Adds a matrix with its tag; in 8 bits its scales, which come later."""
        if self.variant != "int8":
            self.numbers(matrix, half=self.variant == "fp16")
            return None
        integers, scales = eight_bits(matrix)
        self.integers(integers)
        return scales

    def _scales(self, *scales: np.ndarray | None) -> None:
        """Adds the scales of matrices, where they have some."""
        for row in scales:
            if row is not None:
                self.bare(row)

    def files(self) -> tuple[str, bytes]:
        """The text of the layers, and the weights; a blob is read once only, so copies are told apart."""
        uses = Counter(blob for _, inputs, _, _ in self.layers for blob in inputs)
        left: dict[str, list[str]] = {}
        lines, blobs = list[str](), 0
        for kind, inputs, outputs, parameters in self.layers:
            given = [left[blob].pop(0) if blob in left else blob for blob in inputs]
            blobs += len(outputs)
            lines.append(_line(kind, len(lines), given, outputs, parameters))
            for blob in outputs:
                if uses[blob] > 1:
                    left[blob] = [f"{blob}_{number}" for number in range(uses[blob])]
                    blobs += uses[blob]
                    lines.append(_line("Split", len(lines), [blob], left[blob], ""))
        return "\n".join([str(MAGIC), f"{len(lines)} {blobs}", *lines, ""]), b"".join(self.weights)


def _gates(rows: np.ndarray) -> np.ndarray:
    """rows [4H, ...] of i, f, g, o -> of i, f, o, g."""
    i, f, g, o = np.split(rows, 4)
    return np.concatenate([i, f, o, g])


def _line(kind: str, number: int, inputs: list[str], outputs: list[str], parameters: str) -> str:
    words = [kind, f"l{number}", str(len(inputs)), str(len(outputs)), *inputs, *outputs, parameters]
    return " ".join(words).rstrip()


def _whole_words(data: bytes) -> bytes:
    """With zeros up to a multiple of four bytes."""
    return data + bytes(-len(data) % 4)
