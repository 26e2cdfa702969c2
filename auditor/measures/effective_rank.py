"""Effective rank: the effective number of directions in which vectors vary."""

import math

import numpy as np
from scipy import linalg

from auditor.measures.checked_rows import DOMINANT, are_equal, checked_rows, frame_around
from auditor.measures.vendi import number_interval, renyi_number
from auditor.statistics.intervals import Measure
from auditor.statistics.moments import Moments

__all__ = ["effective_rank", "effective_rank_interval"]


def effective_rank(raw: Moments) -> float:
    """Exponential of the entropy of the covariance's normalised eigenvalues (Roy & Vetterli 2007)."""
    values = linalg.eigvalsh(raw.covariance)
    rounding = 1e-13 * float(np.trace(raw.second))  # what is left of copies when the mean is subtracted
    return renyi_number(np.where(values > rounding, values, 0.0), 1.0)


def effective_rank_interval(vectors: np.ndarray, *, level: float = 0.95) -> Measure:
    """Effective rank of the rows of (n, d), with a confidence interval of its expectation at this n.

    The rank does not change if all rows are scaled or moved. The estimate is nan for a single row. There is no interval
    for fewer than 10 rows, or if one row holds most of the variance. Raises InputError for arrays that are not finite
    and two-dimensional.
    """
    rows = checked_rows(vectors, "vectors")
    n = len(rows)
    if n < 2:
        return Measure(math.nan, n=n, reason="an effective rank needs at least 2 vectors, got 1")
    if are_equal(rows):
        return Measure(1.0, low=1.0, high=1.0, n=n)
    moved = rows - frame_around(rows).origin
    moved /= np.abs(moved).max()
    moved -= moved.mean(0)
    measure, squares = number_interval(moved, level), (moved**2).sum(1)
    if measure.reason or squares.max() <= DOMINANT * squares.sum():
        return measure
    return Measure(measure.estimate, n=n, reason="one vector holds most of the variance, so no interval can be given")
