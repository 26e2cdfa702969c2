"""Sliced Wasserstein distance: the mean squared distance between sorted projections on many directions."""

import math

import numpy as np

from auditor.measures.checked_rows import DOMINANT, FEWEST, centred_pair
from auditor.statistics.intervals import Measure, normal_interval

__all__ = ["sliced_wasserstein"]

_DIRECTIONS = 256
_SEED = 2015  # of the directions, which are the same in every run


def sliced_wasserstein(real: np.ndarray, candidate: np.ndarray, *, level: float | None = None) -> Measure:
    """Squared sliced 2-Wasserstein distance between real rows (m, d) and candidate rows (n, d), over fixed directions.

    The distance is defined by Bonneel et al. (2015): the mean over directions of the squared distance between the
    quantile functions of the projections. The unit is the real total variance / d, the mean variance of a column. So a
    shift by μ of a set with unit variances gives |μ|²/d, and scaling such a set about its mean by s gives (1 − s)². The
    value is at least 0 and has no upper limit; it does not change if all vectors are scaled or moved together. The
    distance detects outliers, shrinking and missing modes. In many dimensions most projections look normal, so the
    distance detects little beyond differences of mean and covariance.

    The directions are 256 // d random orthonormal bases, or 256 orthonormal vectors if d is larger. The value is biased
    upwards at finite sizes: compare it with that of a real sample of the same size. If `level` is given, the interval
    is a confidence interval of the expectation at these sizes and directions. The error comes from both sides'
    Kantorovich potentials (del Barrio & Loubes 2019) and from the error of the unit. For equal distributions the
    interval is about 1.5 times as wide as needed. There is no interval if one real row holds most of the real variance.
    The estimate is nan if fewer than 2 rows are on a side, if all real rows are equal, or if a row is 1e12 times as far
    away as the others. Raises InputError for arrays that are not finite and of equal width.
    """
    pair = centred_pair(real, candidate)
    m, n = len(pair.real), len(pair.candidate)
    if pair.reason:
        return Measure(math.nan, n=n, reason=pair.reason)
    directions = _directions(pair.real.shape[1])
    lengths = ((pair.real - pair.real.mean(0)) ** 2).sum(1)
    unit = float(lengths.sum()) / (m - 1) / pair.real.shape[1]
    total, of_real, of_candidate = _transport(pair.real @ directions, pair.candidate @ directions)
    value = total / unit
    if level is None:
        return Measure(value, n=n)
    if min(m, n) < FEWEST:
        return Measure(value, n=n, reason=f"an interval needs at least {FEWEST} items on each side, got {min(m, n)}")
    if lengths.max() > DOMINANT * lengths.sum():
        reason = "one real item holds most of the real variance, so no interval can be given: look at the item"
        return Measure(value, n=n, reason=reason)
    of_real = of_real - value * lengths / pair.real.shape[1]
    error = math.sqrt(of_real.var(ddof=1) / m + of_candidate.var(ddof=1) / n) / unit
    low, high = normal_interval(value, error, level=level)
    return Measure(value, low=max(0.0, low), high=high, n=n)


def _directions(width: int) -> np.ndarray:
    """Unit vectors (d, directions) in orthonormal bases, whose mean squared product with v is |v|²/d."""
    rng = np.random.default_rng(_SEED)
    bases = 1 if width == 1 else max(1, _DIRECTIONS // width)
    return np.hstack([np.linalg.qr(rng.normal(size=(width, min(width, _DIRECTIONS))))[0] for _ in range(bases)])


def _transport(real: np.ndarray, candidate: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Mean over columns of the squared distance of projections (m, k) and (n, k), and each row's potential (m,), (n,).

    A row's potential is the derivative of the distance with respect to the row's weight, up to a constant.
    """
    m, n = len(real), len(candidate)
    edges = np.union1d(np.arange(m + 1) * n, np.arange(n + 1) * m)  # in 1/mn: where either quantile function steps
    weights, here, there = np.diff(edges) / (m * n), edges[:-1] // n, edges[:-1] // m
    x_steps, y_steps = np.searchsorted(edges, np.arange(1, m) * n), np.searchsorted(edges, np.arange(1, n) * m)
    total, of_real, of_candidate = 0.0, np.zeros(m), np.zeros(n)
    for x, y in zip(real.T, candidate.T, strict=True):
        x_order, y_order = np.argsort(x, kind="stable"), np.argsort(y, kind="stable")
        x, y = x[x_order], y[y_order]
        gap = x[here] - y[there]
        total += float(weights @ gap**2)
        of_real[x_order] += _potential(x, gap[x_steps - 1] + gap[x_steps])
        of_candidate[y_order] += _potential(y, -gap[y_steps - 1] - gap[y_steps])
    columns = real.shape[1]
    return total / columns, of_real / columns, of_candidate / columns


def _potential(positions: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """Integral of twice the gap x − T(x) along sorted positions x (n,), where T is the transport map; its mean is 0.

    `gaps` (n − 1,) are the sums of the gaps on both sides of each step from one position to the next.
    """
    potential = np.concatenate([[0.0], np.cumsum(np.diff(positions) * gaps)])
    return potential - potential.mean()
