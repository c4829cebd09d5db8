"""Bytes of weights that one token reads in a library's own formats; of an embedding that is no head its one row.

Letters: M rows, N columns.
"""

from __future__ import annotations

import math
from pathlib import Path

from bench.touched import read_shares
from zoo.layout import Layout, prefix_of, read_layout
from zoo.specs import Spec, core_shapes
from zoo.tensors import TensorFile


def touched_bytes(folder: Path, bits: int = 32, group: int | None = None) -> int:
    """For a library that has dense matrices, and factors, in `bits` bits, with a float per row or group if not floats.

    Args:
        group: columns that share a scale; None: a whole row.
    """
    layout = read_layout(folder)
    shares, total = read_shares(layout), _bias_bytes(layout)
    for name, (M, N) in layout.shapes.items():
        for rows, columns in _factors(layout.spec(name), M, N):
            scales = 0 if bits >= 16 else rows * (1 if group is None else math.ceil(columns / group))
            total += math.ceil(shares[name] * (rows * columns * bits / 8 + 4 * scales))
    return total


def stored_bytes(folder: Path) -> int:
    """For a library that computes with the forms as they are stored, and with floats in 32 bits."""
    layout, file = read_layout(folder), TensorFile(folder)
    shares, total = read_shares(layout), _bias_bytes(layout)
    for name in layout.shapes:
        size = sum(
            math.prod(entry["shape"]) * (4 if "F" in entry["dtype"] else int(entry["dtype"][1:]) // 8)
            for tensor, entry in file.header.items()
            if tensor.startswith(f"{prefix_of(name)}.") and tensor != "lm_head.bias"
        )
        total += math.ceil(shares[name] * size)
    return total


def dense_bytes(folder: Path) -> int:
    """For a library that has all matrices, factored ones too, multiplied out in fp32."""
    layout = read_layout(folder)
    numbers = sum(M * N for name, (M, N) in layout.shapes.items() if name != "embed" or layout.tie_word_embeddings)
    row = 0 if layout.tie_word_embeddings else layout.embedding_size
    return 4 * (numbers + row) + _bias_bytes(layout)


def _bias_bytes(layout: Layout) -> int:
    return 4 * sum(layout.biases.values())


def _factors(spec: Spec, M: int, N: int) -> list[tuple[int, int]]:
    """(rows, columns) of the matrices that a form multiplies."""
    if spec["form"] == "low_rank":
        return [(M, spec["rank"]), (spec["rank"], N)]
    return list(core_shapes(spec)) if spec["form"] == "tensor_train" else [(M, N)]
