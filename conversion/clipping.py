"""Where numbers are cut off before they are quantized.

Letters: G groups of numbers with a scale of their own, n numbers of a group.
"""

from __future__ import annotations

from typing import Literal

import torch

Limits = Literal["minmax", "percentile", "error", "coarse"]
SHARES = {  # limits that are tried for the least error, of the largest number
    "error": [1 - 0.02 * step for step in range(36)],
    "coarse": [1 - 0.08 * step for step in range(5)],
}


def symmetric_limits(
    x: torch.Tensor, levels: int, limits: Limits, percentile: float, counts: torch.Tensor | None = None
) -> torch.Tensor:
    """The size at which the numbers of every group are cut off: x [G, n] -> [G], `levels` times a scale.

    The scale is one that float16 can hold, where it can hold a near one.

    Args:
        levels: the largest whole number.
        limits: `minmax`: the largest size; `percentile`: one that so many per cent of the sizes do not exceed;
            `error`: one of least squared error; `coarse`: nearly that, in a seventh of the time.
        counts: numbers of each group [G], where the others in x are zeros that fill it up.
    """
    sizes = x.abs()
    most = sizes.amax(dim=1)
    if limits == "percentile":
        n = torch.full_like(most, x.shape[1]) if counts is None else counts.to(most)
        cut = (n * (1 - percentile / 100) + 1e-6).long().clamp(max=x.shape[1] - 1)
        most = sizes.sort(dim=1, descending=True).values.gather(1, cut[:, None])[:, 0]
    scale = in_half(most / levels)
    if limits in SHARES:
        least = torch.full_like(most, float("inf"))
        for share in SHARES[limits]:
            tried = in_half(most * share / levels)
            q = torch.round(x / torch.where(tried == 0, 1, tried)[:, None]).clamp(-levels, levels)
            error = (q * tried[:, None] - x).square().sum(dim=1)
            scale = torch.where(error < least, tried, scale)
            least = torch.minimum(error, least)
    return scale * levels


def range_limits(x: torch.Tensor, limits: Limits, percentile: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The least and the greatest number that 256 equal steps reach, float64; the least and the step fit float16.

    `limits` as in `symmetric_limits`; a percentile cuts off the same share of the numbers at either end.
    """
    low, high = x.aminmax()
    if limits == "percentile":
        ordered = x.flatten().sort().values
        cut = int(len(ordered) * (1 - percentile / 100) / 2 + 1e-6)
        low, high = ordered[cut], ordered[len(ordered) - 1 - cut]
    if limits in SHARES:
        middle, least = x.mean(), float("inf")
        for end in ("high", "low"):  # the one, then the other with the best of it
            start = (low, high)
            for share in SHARES[limits]:
                a = middle + (start[0] - middle) * share if end == "low" else start[0]
                b = middle + (start[1] - middle) * share if end == "high" else start[1]
                error = _range_error(x, *_steps(a, b))
                if error < least:
                    least, low, high = error, a, b
    return _steps(low, high)


def _range_error(x: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> float:
    """The squared error of x in 256 steps from low to high."""
    step = (high - low) / 255
    q = torch.round((x - low) / torch.where(step == 0, 1, step)).clamp(0, 255)
    return float((low + step * q - x).square().sum())


def _steps(low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The ends of 256 steps over all from `low` to `high` whose first number and step fit float16."""
    low, high = low.double(), high.double()
    near = low.half()
    if near > low:
        near = (low - 2**-11 * low.abs()).half()  # the next one below
    if torch.isfinite(near):
        low = near.double()
    return low, low + 255 * in_half((high - low) / 255)


def in_half(scale: torch.Tensor) -> torch.Tensor:
    """Scales rounded to float16, which files store, where that changes them by less than a thousandth."""
    near = scale.half().to(scale.dtype)
    return torch.where((near - scale).abs() <= 1e-3 * scale.abs(), near, scale)
