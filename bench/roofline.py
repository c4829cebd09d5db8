"""A least-squares model of the time of a token: fixed + launches x launch + bytes / bandwidth + operations / rate.

A term is fitted only where the timings can tell it from the others; `untold` says why one was not. A row is left out by
the outlier test of Cook and Weisberg (1982): the largest studentized residual, its own row not in the fit, beyond the
quantile of Student's t at 5 % shared by all rows; again until none is. Letters: n rows, p coefficients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from zoo.errors import ZooError

TERMS = ("bytes", "launches", "operations")
LEVEL = 0.05  # of the outlier test, and 1 minus that of the intervals
COLLINEAR = 0.95  # R^2 of a term in the others, above which it is not told from them
FEWEST = 4  # rows: two coefficients, and a deviation with two degrees of freedom
FEWEST_TESTED = 8  # rows, below which none is called an outlier


@dataclass(frozen=True)
class Timing:
    """One timed network: milliseconds a token, and what it read, by the names in TERMS; None: not known."""

    name: str
    milliseconds: float
    terms: Mapping[str, float | None]
    remark: str = ""


@dataclass(frozen=True)
class Fit:
    """The fitted model; `coefficients` [p]: ms, then ms for one of each of `terms`."""

    timings: Sequence[Timing]  # all rows, those left out too
    terms: tuple[str, ...]
    coefficients: np.ndarray
    r2: float
    r2_leave_one_out: float
    deviation: float  # ms, of a single timing
    spread: np.ndarray  # inverse of A^T A [p, p]
    left_out: dict[str, str]  # name of a row -> what the test found
    untold: dict[str, str]  # term -> why it is not in the model

    def predict(self, terms: Mapping[str, float | None]) -> tuple[float, float, float]:
        """Milliseconds of a network, and the ends of the 95 % interval of a timing of it."""
        row = np.array([1.0, *(terms[term] or 0.0 for term in self.terms)])
        middle = float(row @ self.coefficients)
        half = self._quantile * self.deviation * (float(row @ self.spread @ row) + 1) ** 0.5
        return middle, max(0.0, middle - half), middle + half

    def interval(self, which: int) -> tuple[float, float]:
        """The 95 % interval of a coefficient."""
        half = self._quantile * self.deviation * float(self.spread[which, which]) ** 0.5
        return float(self.coefficients[which]) - half, float(self.coefficients[which]) + half

    def by_bytes(self) -> Fit:
        """The same rows with bytes as the only term, for a network of which no more is known."""
        return fit(_without(self.timings, TERMS[1:]), "this device")

    @property
    def _quantile(self) -> float:
        """Student's t of the 95 % intervals."""
        return student(1 - LEVEL / 2, len(self.timings) - len(self.left_out) - len(self.coefficients))


def fit(timings: Sequence[Timing], where: str) -> Fit:
    """Fits the model to timings of one device.

    Raises:
        ZooError: names `where`; too few rows, or times that do not grow with the bytes.
    """
    if len(timings) < FEWEST or len({timing.terms["bytes"] for timing in timings}) < FEWEST - 1:
        raise ZooError(
            f"{where} has {len(timings)} timing(s); a fit needs at least {FEWEST}, of {FEWEST - 1} different sizes: "
            "time more checkpoints on it with python -m bench.latency NAME"
        )
    kept, left_out = list(timings), dict[str, str]()
    terms, untold = _told_apart(kept)
    while True:
        found = _solve(kept, terms)
        if len(kept) <= max(FEWEST_TESTED, len(timings) * 3 // 4):  # then the model is at fault, not the rows
            break
        studentized = found[-1]
        worst = int(np.argmax(abs(studentized)))
        limit = student(1 - LEVEL / (2 * len(kept)), len(kept) - len(terms) - 2)
        if abs(studentized[worst]) <= limit:
            break
        left_out[kept.pop(worst).name] = f"studentized residual {studentized[worst]:+.1f}, more than {limit:.1f} off"
    coefficients, spread, deviation, r2, alone, _ = found
    for number, term in enumerate(terms, 1):
        if coefficients[number] > 0:
            continue
        if term == "bytes":
            raise ZooError(
                f"the times of {where} do not grow with the bytes that a token reads, so no bandwidth can be fitted; "
                "time checkpoints of more different sizes with python -m bench.latency NAME"
            )
        again = fit(_without(timings, [term]), where)
        again.untold[term] = "as its coefficient would be negative"
        return again
    return Fit(timings, terms, coefficients, r2, alone, deviation, spread, left_out, untold)


def _without(timings: Sequence[Timing], terms: Sequence[str]) -> list[Timing]:
    """The timings with some terms unknown."""
    unknown = dict.fromkeys(terms)
    return [replace(timing, terms={**timing.terms, **unknown}) for timing in timings]


def student(p: float, freedom: int) -> float:
    """Quantile of Student's t (Abramowitz and Stegun 26.7.5; within 5 % for 2 degrees of freedom at 97.5 %)."""
    z = NormalDist().inv_cdf(p)
    parts = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(part / freedom**power for power, part in enumerate(parts, 1))


def _matrix(timings: Sequence[Timing], terms: Sequence[str]) -> np.ndarray:
    """A [n, p]: ones, then the terms."""
    return np.array([[1.0, *(timing.terms[term] for term in terms)] for timing in timings], dtype=float)


def _told_apart(timings: Sequence[Timing]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The terms that these timings can tell apart, bytes first, and why not the others."""
    terms: tuple[str, ...] = ("bytes",)
    untold = dict[str, str]()
    for term in TERMS[1:]:
        values = [timing.terms.get(term) for timing in timings]
        if None in values:
            untold[term] = "not known of every row"
        elif len(set(values)) == 1:
            untold[term] = "the same in all rows"
        elif len(timings) < FEWEST + len(terms):
            untold[term] = "too few rows"
        else:
            y = np.array(values, dtype=float)
            A = _matrix(timings, terms)
            scaled = A / A.max(0)
            rest = y / y.max() - scaled @ np.linalg.lstsq(scaled, y / y.max(), rcond=None)[0]
            r2 = 1 - float(rest @ rest) / float(np.var(y / y.max()) * len(y))
            if r2 > COLLINEAR:
                untold[term] = f"cannot be told from {' and '.join(terms)} (R^2 {r2:.3f} in them)"
            else:
                terms += (term,)
    return terms, untold


def _solve(timings: Sequence[Timing], terms: Sequence[str]) -> tuple:
    """Coefficients [p], inverse of A^T A [p, p], deviation, R^2, leave-one-out R^2, studentized residuals [n]."""
    A, y = _matrix(timings, terms), np.array([timing.milliseconds for timing in timings])
    scale = A.max(0)
    inverse = np.linalg.inv((A / scale).T @ (A / scale)) / np.outer(scale, scale)
    coefficients = inverse @ (A.T @ y)
    rest, freedom = y - A @ coefficients, len(y) - A.shape[1]
    outside = np.maximum(1 - np.einsum("np,pq,nq->n", A, inverse, A), 1e-9)  # 1 - leverage
    squares, whole = float(rest @ rest), float(np.var(y) * len(y))
    others = np.maximum(squares - rest**2 / outside, 1e-12 * whole) / max(1, freedom - 1)  # variance without the row
    alone = rest / outside
    r2, r2_alone = 1 - squares / whole, 1 - float(alone @ alone) / whole
    return coefficients, inverse, (squares / freedom) ** 0.5, r2, r2_alone, rest / np.sqrt(others * outside)
