"""Sparse matrices as kernels/sparse.cl reads them: rows of like length side by side, columns in a byte each.

Letters: M rows, N columns, K numbers that are not zero, B blocks of BLOCK columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.errors import ZooError
from zoo.forms import Sparse

from .packing import WIDEST, pad, scratch_of, take
from .settings import Settings

BLOCK, STEP = 128, 4  # columns of a block, which two registers of 64 bytes hold; numbers of a row that lie together
LEVEL = 2048  # what is added to a vector's 12 bits


@dataclass(frozen=True)
class Slices:
    """A sparse matrix for the kernels.

    Args:
        arrays: values, columns, starts, rows (row of each place), places (place of each row), scale and level, what
            LEVEL in every column would give, by place.
        kinds: type of the numbers of each array in OpenCL C.
        fields: macros.
        scratch: ints of local memory that the vector needs.
        each: bytes of a number and its column.
    """

    arrays: dict[str, np.ndarray]
    kinds: dict[str, str]
    fields: dict[str, Any]
    scratch: int
    each: int


def slices_of(form: Sparse, settings: Settings, half: bool, unpacked: bool) -> Slices:
    """Packs a matrix; `half`: floats are stored in 16 bits; `unpacked`: integers become floats."""
    M, N, across = len(form.starts) - 1, form.num_columns, settings.vec * settings.lanes
    B, small = -(-N // BLOCK), form.scale is not None and not unpacked
    if small and N > WIDEST:
        raise ZooError(
            f"an int8 matrix has {N} columns; the OpenCL step sums at most {WIDEST} in 32 bits: store floats"
        )
    row = np.repeat(np.arange(M), np.diff(form.starts))
    run = row * B + form.columns // BLOCK  # the numbers of a row in a block
    counts = np.bincount(run, minlength=M * B)
    order, widths = _order(-(-counts.reshape(M, B) // STEP), across)
    starts = np.concatenate([[0], np.cumsum(widths)])
    places = np.empty_like(order)
    places[order] = np.arange(M)
    within = np.arange(len(run)) - (np.cumsum(counts) - counts)[run]
    step = starts[places[row] // across * B + run % B] + within // STEP
    beside, of_step = places[row] % across, within % STEP
    columns = np.zeros((starts[-1], across, STEP), np.uint8)
    columns[step, beside, of_step] = form.columns % BLOCK
    rows, level = np.full(pad(M, across), -1), np.zeros(M, np.int32)
    rows[:M] = order
    if small:
        values = np.zeros_like(columns, np.int8)
        values[step, beside, of_step] = form.values
        np.add.at(level, row, LEVEL * form.values.astype(np.int32))
    else:
        values = np.zeros((starts[-1], STEP, across), np.float16 if half and form.scale is None else np.float32)
        values[step, of_step, beside] = form.values if form.scale is None else form.values * form.scale[row]
    arrays = {
        "values": values.reshape(-1).view(np.uint8),
        "columns": columns.reshape(-1),
        "starts": starts.astype(np.int32),
        "rows": np.maximum(rows, 0).astype(np.int32),
        "places": places.astype(np.int32),
        "scale": (take(form.scale, rows) if small and form.scale is not None else np.zeros(1)).astype(np.float32),
        "level": take(level, rows),
    }
    kinds = dict.fromkeys(arrays, "int") | {"values": "uchar", "columns": "uchar", "scale": "float"}
    fields = {
        "M": M,
        "N": N,
        "SLICES": len(rows) // across,
        "BLOCKS": B,
        "KIND": {4: 0, 2: 1, 1: 2}[values.itemsize],
    }
    return Slices(arrays, kinds, fields, scratch_of(settings, N, 2 * pad(N, BLOCK)), values.itemsize + 1)


def _order(steps: np.ndarray, across: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps [M, B] of rows -> the rows in the better of two orders, and the steps [slices B] of slices of them."""

    def widths(order: np.ndarray) -> np.ndarray:
        M, B = steps.shape
        filled = np.zeros((pad(M, across), B), steps.dtype)
        filled[:M] = steps[order]
        return filled.reshape(-1, across, B).max(axis=1).reshape(-1)

    orders = [np.argsort(-steps.sum(axis=1), kind="stable"), np.lexsort(-steps.T[::-1])]
    return min(((order, widths(order)) for order in orders), key=lambda found: int(found[1].sum()))
