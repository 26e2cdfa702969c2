"""Squared maximum mean discrepancy for any kernel, with an interval that is also valid for equal distributions."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from auditor.measures.checked_rows import DOMINANT, FEWEST
from auditor.statistics.intervals import Measure, normal_interval

__all__ = ["Kernel", "mean_discrepancy"]

_BLOCK = 2**22  # kernel values in memory at a time

Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]  # values (a, b) for rows (a, d) and (b, d)


def mean_discrepancy(real: np.ndarray, candidate: np.ndarray, kernel: Kernel, *, level: float | None) -> Measure:
    """Unbiased estimate of E k(x, x') + E k(y, y') − 2 E k(x, y) for real rows x and candidate rows y.

    The estimate is the U-statistic of Gretton et al. (2012, lemma 6), and can be negative. If `level` is given, the
    interval is a confidence interval of the population value for this kernel. Each side needs at least 2 rows. An
    interval needs 10 rows on each side, and that no row holds most of the first-order variance.

    The variance of the estimate follows from Hoeffding's decomposition (1948). The first-order variance comes from each
    row's mean kernel value and is proportional to the population value θ. The second-order variance comes from the
    doubly centred kernel. Like Wilson's interval for a proportion, the interval contains every θ for which the estimate
    is within z standard errors at θ. (An interval with one standard error for all θ misses small θ up to one time in
    eight, because a low estimate comes with a small standard error.) The interval contains 0 when the estimate is
    within z standard errors of 0, with the error for equal distributions. For weak differences, its upper end is high.
    """
    m, n = len(real), len(candidate)
    own, theirs, across = _within(real, kernel), _within(candidate, kernel), _across(real, candidate, kernel)
    value = own.mean + theirs.mean - 2 * across.mean
    if level is None:
        return Measure(value, n=n)
    if min(m, n) < FEWEST:
        return Measure(value, n=n, reason=f"an interval needs at least {FEWEST} items on each side, got {min(m, n)}")
    if _is_dominated(own, theirs, across):
        return Measure(value, n=n, reason="one item holds most of the variance, so no interval can be given")
    variance, second = _variances(own, theirs, across)
    if variance == 0:
        return Measure(value, n=n, reason="all kernel values are equal, so no interval can be given")
    slope = variance / max(value, math.sqrt(variance))  # of the variance in θ; on the large side for weak differences
    low, high = _interval(value, second, slope, level=level)
    return Measure(value, low=low, high=max(high, 0.0), n=n)  # no population value is below 0


def _interval(value: float, constant: float, slope: float, *, level: float) -> tuple[float, float]:
    """Smallest and largest θ with (value − θ)² ≤ z² (constant + slope · max(θ, 0))."""
    _, z = normal_interval(0.0, 1.0, level=level)
    low, high = normal_interval(value, math.sqrt(constant), level=level)
    middle, half = value + z**2 * slope / 2, z * math.sqrt(max(constant + slope * value + (z * slope) ** 2 / 4, 0.0))
    return (middle - half if low > 0 else low), (middle + half if high > 0 else high)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Means of a kernel over pairs of rows."""

    rows: np.ndarray  # (a,) mean of each row's values
    columns: np.ndarray  # (b,)
    residual: float  # mean square of the values minus their row's and their column's effect

    @property
    def mean(self) -> float:
        return float(self.rows.mean())


def _is_dominated(own: _Pairs, theirs: _Pairs, across: _Pairs) -> bool:
    """Whether one row, or one row of each side together, holds most of the first-order variance."""
    sides = own.rows - across.rows, theirs.rows - across.columns
    parts = [(each - each.mean()) ** 2 / (len(each) * (len(each) - 1)) for each in sides]
    return bool(sum(each.max() for each in parts) > DOMINANT * sum(each.sum() for each in parts))


def _variances(own: _Pairs, theirs: _Pairs, across: _Pairs) -> tuple[float, float]:
    """Variance of the estimate, and the second-order variance, which is the variance for equal distributions."""
    m, n = len(across.rows), len(across.columns)
    second = 2 * own.residual / (m * (m - 1)) + 2 * theirs.residual / (n * (n - 1)) + 4 * across.residual / (m * n)
    # the sample variance of the row means contains the second order twice
    means = 4 * (np.var(own.rows - across.rows, ddof=1) / m + np.var(theirs.rows - across.columns, ddof=1) / n)
    return max(float(means) - second, second), second


def _across(first: np.ndarray, second: np.ndarray, kernel: Kernel) -> _Pairs:
    a, b = len(first), len(second)
    rows, columns, square = _sums(first, second, kernel, is_within=False)
    rows, columns = rows / b, columns / a
    spread = square - a * b * rows.mean() ** 2 - b * a * rows.var() - a * b * columns.var()
    return _Pairs(rows, columns, max(spread, 0.0) / ((a - 1) * (b - 1)))


def _within(vectors: np.ndarray, kernel: Kernel) -> _Pairs:
    """Means of a kernel over pairs of different rows of a set: least squares in a symmetric table without diagonal."""
    n = len(vectors)
    rows, columns, square = _sums(vectors, vectors, kernel, is_within=True)
    rows, columns = rows / (n - 1), columns / (n - 1)
    if n <= 3:
        return _Pairs(rows, columns, math.nan)  # no degrees of freedom are left
    spread = square - n * (n - 1) * rows.mean() ** 2 - 2 * (n - 1) ** 2 / (n - 2) * n * rows.var()
    return _Pairs(rows, columns, max(spread, 0.0) / (n * (n - 3)))


def _sums(
    first: np.ndarray, second: np.ndarray, kernel: Kernel, *, is_within: bool
) -> tuple[np.ndarray, np.ndarray, float]:
    """Sums of the kernel by row (a,) and by column (b,), and the sum of its squares; `is_within` omits the diagonal."""
    rows, columns, square = np.empty(len(first)), np.zeros(len(second)), 0.0
    step = max(1, _BLOCK // len(second))
    for start in range(0, len(first), step):
        values = kernel(first[start : start + step], second)
        if is_within:
            np.fill_diagonal(values[:, start : start + step], 0.0)
        rows[start : start + step] = values.sum(1)
        columns += values.sum(0)
        square += float(np.vdot(values, values))
    return rows, columns, square
