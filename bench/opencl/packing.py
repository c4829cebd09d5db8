"""Matrices as the kernels read them: tiles of rows, a step of columns at a time (kernels/dot.cl says how they lie).

Letters: M rows, N columns, T tiles, R rows of a tile, L lanes, S steps, G groups of columns of a 4-bit matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.errors import ZooError
from zoo.leaves import Dense, Int4, Int8

from .settings import Settings

WIDEST = 4096  # columns whose products of 12 and 8 bits sum up to less than 2 ** 31


def pad(count: int, to: int = 16) -> int:
    """The next multiple; 16 numbers are what every vector's local copy is padded to."""
    return -(-count // to) * to


@dataclass(frozen=True)
class Packed:
    """A matrix [M, N] of numbers for the kernels.

    Args:
        weight, scale: what the device holds, as bytes; scale is empty for floats.
        tiles: tiles that have rows.
        columns: N.
        stage: `bring` and `quantise` as the macro STAGE(v, x) calls them.
        dot: the product of a tile as the macro DOT(w, s, v, tile) calls it.
        number: one number as the macro NUMBER(w, s, m, n) calls it.
        offset: what is added to every number.
        scratch: ints of local memory that the vector needs.
    """

    weight: np.ndarray
    scale: np.ndarray
    tiles: int
    columns: int
    stage: str
    dot: str
    number: str
    offset: float
    scratch: int

    @property
    def touched(self) -> int:
        """Bytes that a product reads."""
        return self.weight.nbytes + self.scale.nbytes


def in_order(rows: int, settings: Settings) -> np.ndarray:
    """Row of each place in the tiles [T R], rows as they are; -1: none, where the last tiles are filled up."""
    order = np.full(pad(rows, settings.rows * settings.lanes), -1)
    order[:rows] = np.arange(rows)
    return order


def gate_order(units: int, settings: Settings, coupled: bool) -> np.ndarray:
    """Row of each place in the tiles [T R] where a tile is the gates i, f, g, o of VEC units, each H rows below.

    coupled: there are only i, g and o; i stands in the place of f too.
    """
    places = np.full((pad(units, settings.vec * settings.lanes) // settings.vec, 4, settings.vec), -1)
    unit = np.arange(len(places))[:, None] * settings.vec + np.arange(settings.vec)
    for gate in range(4):
        row = max(0, gate - 1) if coupled else gate
        places[:, gate] = np.where(unit < units, row * units + unit, -1)
    return places.reshape(-1)


def take(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Rows in another order; zeros where there is none."""
    taken = values[np.maximum(order, 0)]
    taken[order < 0] = 0
    return taken


def narrow(values: np.ndarray, half: bool) -> np.ndarray:
    """Floats in 16 bits where `half` is wanted and changes none of them, else in 32."""
    values = values.astype(np.float32)
    with np.errstate(over="ignore"):
        halfs = values.astype(np.float16)
    return halfs if half and (halfs == values).all() else values


def pack(leaf: Dense | Int8 | Int4, order: np.ndarray, settings: Settings, half: bool) -> Packed:
    """A matrix of any leaf form; `half`: floats are stored in 16 bits."""
    if isinstance(leaf, Int8):
        return _int8(leaf, order, settings, half)
    if isinstance(leaf, Int4):
        return _int4(leaf, order, settings, half)
    N = leaf.weight.shape[1]
    kind = "f16" if half else "f32"
    return Packed(
        weight=_tiled(take(leaf.weight.astype(np.float16 if half else np.float32), order)[..., None], settings),
        scale=np.empty(0, np.float32),
        tiles=_tiles(order, settings),
        columns=N,
        stage=f"bring(v, x, {N})",
        dot=f"dot_{kind}(w, s, v, tile, {N})",
        number=f"at_{kind}(w, s, m, n, {N})",
        offset=0.0,
        scratch=scratch_of(settings, N),
    )


def _int8(leaf: Int8, order: np.ndarray, settings: Settings, half: bool) -> Packed:
    """A scale per row; a matrix in 256 steps has the same one in every row, and an offset."""
    M, N = leaf.size
    if N > WIDEST:
        raise ZooError(
            f"an int8 matrix has {N} columns; the OpenCL step sums at most {WIDEST} in 32 bits: store it dense"
        )
    S = pad(N) // 4
    q = np.zeros((len(order), 4 * S), np.int8)
    q[:, :N] = take(leaf.weight, order)
    scale = narrow(take(np.broadcast_to(leaf.scale[:, 0], (M,)), order), half)
    offset, is_half = float(leaf.offset), int(scale.dtype == np.float16)
    return Packed(
        weight=_tiled((q.view(np.uint8) ^ 128).reshape(len(order), S, 4), settings),
        scale=scale.view(np.uint8),
        tiles=_tiles(order, settings),
        columns=N,
        stage=f"bring(v, x, {N}), quantise12(v, {N})",
        dot=f"dot_i8(w, s, v, tile, {N}, {is_half})",
        number=f"at_i8(w, s, m, n, {N}, {as_float(offset)}, {is_half})",
        offset=offset,
        scratch=scratch_of(settings, N, 8 * S),
    )


def _int4(leaf: Int4, order: np.ndarray, settings: Settings, half: bool) -> Packed:
    """Groups of columns begin at a multiple of 8, a step."""
    N, G, group = leaf.size[1], leaf.scale.shape[1], leaf.group
    wide = pad(group, 8)
    pairs = np.stack([leaf.weight & 15, leaf.weight >> 4], axis=-1).reshape(len(leaf.weight), -1)[:, :N]
    columns = np.zeros((len(pairs), G * group), np.uint8)
    columns[:, :N] = pairs
    steps = np.zeros((len(order), G, wide), np.uint8)
    steps[..., :group] = take(columns.reshape(-1, G, group), order)
    steps = steps.reshape(len(order), G * wide // 8, 8)
    scale = narrow(take(leaf.scale, order), half)
    fields = f"{G}, {wide // 8}, {int(scale.dtype == np.float16)}"
    return Packed(
        weight=_tiled(steps[..., :4] | steps[..., 4:] << 4, settings),
        scale=_tiled(scale[..., None], settings),
        tiles=_tiles(order, settings),
        columns=N,
        stage=f"bring(v, x, {N}), quantise8(v, {N}, {G * wide}, {group}, {wide})",
        dot=f"dot_i4(w, s, v, tile, {N}, {fields})",
        number=f"at_i4(w, s, m, n, {group}, {fields})",
        offset=0.0,
        scratch=scratch_of(settings, N, G * wide, G),
    )


def _tiled(numbers: np.ndarray, settings: Settings) -> np.ndarray:
    """[T R, S, numbers of a step] -> [T / L, S, L, R, numbers of a step], flat bytes."""
    _, S, per = numbers.shape
    tiles = numbers.reshape(-1, settings.lanes, settings.rows, S, per).transpose(0, 3, 1, 2, 4)
    return np.ascontiguousarray(tiles).reshape(-1).view(np.uint8)


def _tiles(order: np.ndarray, settings: Settings) -> int:
    """Tiles up to the last that has a row."""
    return -(-(int(np.flatnonzero(order >= 0)[-1]) + 1) // settings.rows)


def scratch_of(settings: Settings, N: int, integers: int = 0, groups: int = 0) -> int:
    """Ints of local memory; as the macros HEAD, FLOATS, INTS and SUMS of kernels/vector.cl lay it out."""
    return pad(2 + 2 * settings.lanes) + pad(N) + pad(integers // 4) + pad(groups)


def as_float(value: float) -> str:
    """A float as OpenCL C writes it."""
    return f"{np.float32(value):.9e}f"


def size_of(leaf: Any) -> tuple[int, int]:
    """Rows and columns of a leaf."""
    return leaf.weight.shape if isinstance(leaf, Dense) else leaf.size


def is_half(packed: Packed, order: np.ndarray) -> int:
    """Whether a matrix with a scale per row has them in 16 bits."""
    return int(packed.scale.nbytes == 2 * len(order))


def by_digit(core: Any, R: int) -> Any:
    """A core of a train, its rows (r, i) in the order (i, r)."""
    order = np.arange(size_of(core)[0]).reshape(R, -1).T.ravel()
    if isinstance(core, Dense):
        return Dense(core.weight[order])
    scale = np.broadcast_to(core.scale, (len(order), core.scale.shape[1]))[order]
    if isinstance(core, Int8):
        return Int8(core.weight[order], scale, core.offset)
    return Int4(core.weight[order], scale, core.group, core.size[1])
