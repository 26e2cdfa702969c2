"""Squared maximum mean discrepancy with a Gaussian kernel."""

import math

import numpy as np

from auditor.measures.checked_rows import centred_pair
from auditor.measures.mean_discrepancy import mean_discrepancy
from auditor.statistics.intervals import Measure

__all__ = ["cmmd", "median_distance"]

_MOST = 2048  # real rows whose distances give the bandwidth
_CENTRE = 64  # rows whose median is taken as the origin of distances


def cmmd(real: np.ndarray, candidate: np.ndarray, *, level: float | None = None) -> Measure:
    """Squared maximum mean discrepancy between real rows (m, d) and candidate rows (n, d), with a Gaussian kernel.

    The kernel is exp(−|x − y|² / 2σ²), and the measure has no unit. The value is 0 for equal distributions and at most
    2; the unbiased estimate (Gretton et al. 2012) can be slightly negative. Jayasumana et al. (2024) call the measure
    CMMD; they use CLIP vectors of length one and σ = 10. Here σ is the median distance between real rows. So the
    measure does not change if all vectors are scaled or moved together, and its values differ from published values.
    CMMD detects any difference between the distributions, above all missing modes, shrinking and added noise. CMMD
    hardly detects a few outliers, or differences much finer than σ.

    If `level` is given, the interval is a confidence interval of the population value. The interval includes the
    sampling errors of both sides, but not the much smaller error of σ. There is no interval if one row of a side holds
    most of the variance. The estimate is nan if fewer than 2 rows are on
    a side, if half of the real pairs are equal, or if a row is 1e12 times as far away as the others. Raises InputError
    for arrays that are not finite and of equal width.
    """
    pair = centred_pair(real, candidate)
    if pair.reason:
        return Measure(math.nan, n=len(candidate), reason=pair.reason)
    sigma = median_distance(pair.real)
    if sigma == 0:
        reason = "half of all pairs of real vectors are equal, so their median distance is 0"
        return Measure(math.nan, n=len(candidate), reason=reason)
    return mean_discrepancy(pair.real / sigma, pair.candidate / sigma, _gaussian, level=level)


def median_distance(rows: np.ndarray) -> float:
    """Median distance between pairs of rows of (n, d); if n is large, only evenly spaced rows are used."""
    kept = rows[:: -(-len(rows) // _MOST)]
    squares = _squared_distances(kept, kept)[np.triu_indices(len(kept), 1)]
    return float(np.median(np.sqrt(squares)))


def _gaussian(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    values = _squared_distances(first, second)
    values *= -0.5
    return np.exp(values, out=values)


def _squared_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    some = second[:: -(-len(second) // _CENTRE)]
    centre = np.median(some, axis=0)  # near most rows, whose products would lose digits far from the origin
    first, second = first - centre, second - centre
    squares = first @ second.T
    squares *= -2
    squares += (first**2).sum(1)[:, None]
    squares += (second**2).sum(1)
    return np.maximum(squares, 0.0, out=squares)
