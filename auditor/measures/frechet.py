"""Fréchet distance: the 2-Wasserstein distance between Gaussian fits to two sets."""

import math

import numpy as np
from scipy import linalg

from auditor.measures.checked_rows import FEWEST, are_equal, centred_pair
from auditor.statistics.intervals import Measure, normal_interval
from auditor.statistics.moments import Moments, clean_eigh, moments_of
from indexes.errors import InputError

__all__ = ["frechet", "frechet_interval", "frechet_of"]


def frechet(real: np.ndarray, candidate: np.ndarray, *, level: float | None = None) -> Measure:
    """Squared 2-Wasserstein distance between Gaussian fits to the rows of two (n, d) arrays.

    The distance is defined by Heusel et al. (2017); the covariances are unbiased. The distance does not change if all
    vectors are moved, and grows with the square of their scale. The distance is biased upwards at finite n: compare
    only sets of equal sizes. If `level` is given, the interval is a confidence interval of the distance's expectation
    at these sizes, with the errors of both sides; it needs at least 10 rows on each side. The estimate is nan if a row
    is 1e12 times as far away as the others, or if the distance is beyond the range of float64. Raises InputError for
    fewer than two rows, and for arrays that are not finite and of equal width.
    """
    pair = centred_pair(real, candidate, needs_spread=False)
    m, n = len(pair.real), len(pair.candidate)
    if min(m, n) < 2:
        raise InputError(f"a Fréchet distance needs at least 2 vectors on each side, got {m} and {n}")
    if pair.reason:
        return Measure(math.nan, n=n, reason=pair.reason)
    here, there = moments_of(pair.real), moments_of(pair.candidate)
    low, high, reason = math.nan, math.nan, None
    if level is not None and min(m, n) < FEWEST:
        reason = f"an interval needs at least {FEWEST} items on each side, got {min(m, n)}"
    elif level is not None and are_equal(pair.real) and are_equal(pair.candidate):
        reason = "all vectors of each side are equal, so no interval can be given"
    elif level is not None:
        low, high = frechet_interval(here, there, pair.real, pair.candidate, level=level)
    value, low, high = (number * pair.unit * pair.unit for number in (frechet_of(here, there), low, high))
    if math.isinf(value) or math.isinf(high):
        reason = "the distance is beyond the range of float64: divide all vectors by a common factor"
        return Measure(math.nan, n=n, reason=reason)
    return Measure(value, low=low, high=high, n=n, reason=reason)


def frechet_of(real: Moments, candidate: Moments) -> float:
    """Squared distance |μ₁−μ₂|² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁^½ Σ₂ Σ₁^½)^½; the last trace is that of |Σ₁^½ Σ₂^½|.

    The trace is computed from singular values, because roots of eigenvalues would lose half of the digits. A distance
    below the rounding error is 0.
    """
    gap, cross = real.mean - candidate.mean, linalg.svdvals(real.root @ candidate.root)
    total = float(gap @ gap + np.trace(real.covariance) + np.trace(candidate.covariance))
    distance = total - 2 * float(cross.sum())
    return distance if distance > len(gap) * np.finfo(np.float64).eps * total else 0.0


def frechet_interval(
    real: Moments,
    candidate: Moments,
    real_rows: np.ndarray,
    candidate_rows: np.ndarray,
    *,
    copies: float = 1.0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Confidence interval of the expected plug-in distance at these sizes, by its influence functions.

    The derivative of the squared distance with respect to one covariance is I − T, where T is the matrix of the optimal
    transport map (Rippl, Munk & Sturm 2016). `*_rows` are samples of each side, used only for the influence function's
    variance. `copies` is the design effect of copies among the candidate's items.
    """
    distance = frechet_of(real, candidate)
    variance = 0.0
    for here, there, rows, effect in (
        (real, candidate, real_rows, 1.0),
        (candidate, real, candidate_rows, copies),
    ):
        influence = _frechet_influence(here, there, rows)
        variance += effect * float(influence.var(ddof=1)) / here.n
    low, high = normal_interval(distance, math.sqrt(variance), level=level)
    return max(0.0, low), high


def _frechet_influence(here: Moments, there: Moments, rows: np.ndarray) -> np.ndarray:
    root = there.root
    values, vectors = clean_eigh(root @ here.covariance @ root)
    inverse_root = np.where(values > 0, 1 / np.sqrt(np.where(values > 0, values, 1)), 0)
    transport = root @ (vectors * inverse_root) @ vectors.T @ root  # maps `here` onto `there`
    centred = np.asarray(rows, dtype=np.float64) - here.mean
    quadratic = (centred**2).sum(1) - ((centred @ transport) * centred).sum(1)
    return quadratic + 2 * centred @ (here.mean - there.mean)
