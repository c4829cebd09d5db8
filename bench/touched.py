"""What one token reads of a network: bytes of the weights, as stored and as libraries hold them, and operations.

The embedding counts as the one row that is looked up, unless the tied head reads all of it; then it counts once, as the
head. Everything else is read whole. Letters: M rows, N columns, R rank, r bond, i row mode.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from zoo import specs
from zoo.counts import count
from zoo.layout import Layout, prefix_of, read_layout
from zoo.tensors import TensorFile

FLOAT = 4  # bytes


def row_share(spec: specs.Spec, rows: int, columns: int) -> float:
    """Share of the numbers of a matrix [M, N] that one of its rows needs."""
    if spec["form"] == "low_rank":  # a row of the left factor [M, R], all of the right one [R, N]
        return (1 + columns) / (rows + columns)
    if spec["form"] == "tensor_train":  # of each core [r i, j s] the part of one i
        numbers = [m * n for m, n in specs.core_shapes(spec)]
        return sum(n / i for n, i in zip(numbers, spec["row_modes"], strict=True)) / sum(numbers)
    return 1 / rows


def read_shares(layout: Layout) -> dict[str, float]:
    """Share that one token reads of every matrix, by its name; 1 but for an embedding that no head shares."""
    shares = dict.fromkeys(layout.shapes, 1.0)
    if not layout.tie_word_embeddings:
        shares["embed"] = row_share(layout.spec("embed"), *layout.shapes["embed"])
    return shares


def stored_bytes(folder: str | Path) -> int:
    """Bytes that one token reads of a checkpoint folder: as stored, with scales, indices and row starts.

    Raises:
        CheckpointError: config.json or the weights cannot be read, or do not belong together.
    """
    shares = read_shares(read_layout(folder))
    return sum(math.ceil(part.bytes * shares.get(part.name, 1)) for part in count(folder))


def loaded_bytes(folder: str | Path) -> int:
    """Bytes that one token reads where the forms are computed with as they are stored, but floats in 32 bits."""
    layout, file = read_layout(folder), TensorFile(folder)
    shares, total = read_shares(layout), FLOAT * sum(layout.biases.values())
    for name in layout.shapes:
        size = sum(
            math.prod(entry["shape"]) * (FLOAT if "F" in entry["dtype"] else int(entry["dtype"][1:]) // 8)
            for tensor, entry in file.header.items()
            if tensor.startswith(f"{prefix_of(name)}.") and tensor != "lm_head.bias"
        )
        total += math.ceil(shares[name] * size)
    return total


def touched_bytes(folder: str | Path, bits: int = 32, group: int | None = None) -> int:
    """Bytes that one token reads where a library has dense matrices, and factors, in `bits` bits.

    Args:
        bits: of a number; below 16 with a float per row or group.
        group: columns that share such a float; None: a whole row.
    """
    layout = read_layout(folder)
    shares, total = read_shares(layout), FLOAT * sum(layout.biases.values())
    for name, (M, N) in layout.shapes.items():
        for rows, columns in _factors(layout.spec(name), M, N):
            scales = 0 if bits >= 16 else rows * (1 if group is None else math.ceil(columns / group))
            total += math.ceil(shares[name] * (rows * columns * bits / 8 + FLOAT * scales))
    return total


def dense_bytes(folder: str | Path) -> int:
    """Bytes that one token reads where all matrices, factored ones too, are multiplied out in fp32."""
    return FLOAT * _numbers(read_layout(folder), tuple(specs.FIELDS))


def operations(layout: Layout) -> int:
    """Multiplications and additions of one token: two for every number of the factors that it reads."""
    return 2 * _numbers(layout)


def expanded_bytes(layout: Layout) -> int:
    """Bytes that one token reads where sparse and Tensor Train matrices are made dense, and every number takes 4."""
    return FLOAT * _numbers(layout, ("sparse", "tensor_train"))


def shrunk_bytes(layout: Layout) -> int:
    """Bytes that one token reads where every form is read as small as it is: int8 1 B a number, int4 1/2.

    Of a sparse matrix a number and its column, 4 B each; scales and row starts are left out. For networks that are
    known by their layout only; a checkpoint has `stored_bytes`.
    """
    total = float(FLOAT * sum(layout.biases.values()))
    for _, spec, numbers in _matrices(layout):
        values = spec.get("values", spec)["form"]
        width = {"int8": 1.0, "int4": 0.5}.get(values, FLOAT)
        if spec["form"] == "sparse":
            numbers, width = spec["nonzeros"], width + FLOAT
        total += width * numbers
    return math.ceil(total)


def _numbers(layout: Layout, dense: tuple[str, ...] = ()) -> int:
    """Numbers that one token reads, those of biases too; matrices of the forms in `dense` as if they were dense."""
    total = sum(layout.biases.values())
    for name, spec, numbers in _matrices(layout):
        if spec["form"] in dense:
            rows, columns = layout.shapes[name]
            numbers = columns if name == "embed" and not layout.tie_word_embeddings else rows * columns
        total += math.ceil(numbers)
    return total


def _matrices(layout: Layout) -> Iterator[tuple[str, specs.Spec, float]]:
    """Name, spec and numbers read of every matrix."""
    shares = read_shares(layout)
    for name, (rows, columns) in layout.shapes.items():
        spec = layout.spec(name)
        yield name, spec, specs.parameters(spec, rows, columns) * shares[name]


def _factors(spec: specs.Spec, M: int, N: int) -> list[tuple[int, int]]:
    """(rows, columns) of the matrices that a form multiplies."""
    if spec["form"] == "low_rank":
        return [(M, spec["rank"]), (spec["rank"], N)]
    return list(specs.core_shapes(spec)) if spec["form"] == "tensor_train" else [(M, N)]
