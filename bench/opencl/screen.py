"""An 8-bit output layer split for kernels/screen.cl: its upper four bits as an int4 matrix, and its rows one by one.

A number q is 16 u + e with u of -8 to 7, so a row's product with x is that of 16 u with a rounded x', which an int4
matrix gives, plus e x' + q (x - x'). By Cauchy and Schwarz the rest is at most |e| |x'| + |q| |x - x'|, and its
standard deviation is that divided by the root of N, as what rounding leaves is as good as random. Rows that are further
from the best ones than the bound, or than DEVIATIONS of these, are never read whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zoo.leaves import Int4, Int8

from .packing import WIDEST, as_float, pad, scratch_of
from .settings import Settings

DEVIATIONS = 8  # beyond which one of 10 ** 15 lies


@dataclass(frozen=True)
class Screen:
    """A matrix [M, N] in two parts.

    Args:
        upper: 16 u with the scales of the matrix.
        rows: q + 128 of each row, bytes [M stride].
        reach: of each row, scale times |e| or DEVIATIONS, the less; zeros for the rows that fill the last tile up.
        ratio: the greatest |q| / |e| of a row.
        stride: bytes of a row.
        mosts: ints of local memory that the vector in 12 bits needs.
        scratch: as many as that and the most of each tile.
    """

    upper: Int4
    rows: np.ndarray
    reach: np.ndarray
    ratio: float
    stride: int
    mosts: int
    scratch: int


def can_screen(form: object, settings: Settings) -> bool:
    """Whether a matrix can be split, and the step has one work-item, so that nobody waits between the two readings."""
    alone = settings.one_launch and settings.lanes == 1
    return alone and isinstance(form, Int8) and form.offset == 0 and form.size[1] <= WIDEST


def screen_of(leaf: Int8, settings: Settings, places: int) -> Screen:
    """Splits a matrix; `places`: rows with those that fill the last tile up."""
    M, N = leaf.size
    q = leaf.weight.astype(np.int32)
    u = np.clip((q + 8) >> 4, -8, 7)
    pairs = np.full((M, pad(N, 2)), 8, np.uint8)
    pairs[:, :N] = u + 8
    scale = np.broadcast_to(leaf.scale.astype(np.float32), (M, 1))
    upper = Int4(pairs[:, ::2] | pairs[:, 1::2] << 4, scale * np.float32(16), pad(N, 2), N)
    stride = pad(N, max(16, 8 * settings.vec))
    rows = np.full((M, stride), 128, np.uint8)
    rows[:, :N] = q + 128
    left = np.sqrt(np.square(q - 16 * u).sum(axis=1))
    left = np.maximum(left, 1)  # of a row that the upper halves hold whole
    reach = np.zeros(places, np.float32)
    share = min(1, DEVIATIONS / N**0.5) * 1.001  # more than 16 bits round off
    reach[:M] = left * np.abs(scale[:, 0]) * share
    if reach[:M].min() > 1e-3 and reach.max() < 6e4:  # 16 bits have no more exact numbers below, and none above
        reach = reach.astype(np.float16)
    ratio = float((np.sqrt(np.square(q).sum(axis=1)) / left).max() * 1.001)
    mosts = scratch_of(settings, stride, 2 * stride)
    return Screen(upper, rows.reshape(-1), reach, ratio, stride, mosts, mosts + places // 4)


def fields_of(screen: Screen, half_scales: bool, half_bias: bool, second: int) -> dict[str, object]:
    """The macros of kernels/screen.cl beside those of `Plan.tiles`."""
    return {
        "COLUMNS": screen.upper.size[1],
        "STRIDE": screen.stride,
        "SECOND": second,
        "MOSTS": screen.mosts,
        "RATIO": as_float(screen.ratio),
        "HALF_SCALES": int(half_scales),
        "HALF_REACH": int(screen.reach.dtype == np.float16),
        "ONE_BIAS(p)": "vload_half(0, p)" if half_bias else "*(p)",
    }
