"""Fréchet distance: the 2-Wasserstein distance between Gaussian fits to two sets."""

import math

import numpy as np

from auditor.statistics.intervals import Measure, normal_interval
from auditor.statistics.moments import Moments, clean_eigh, clean_eigvalsh, moments_of

__all__ = ["frechet", "frechet_interval", "frechet_of"]


def frechet(real: np.ndarray, candidate: np.ndarray, *, level: float | None = None) -> Measure:
    """Squared 2-Wasserstein distance between Gaussian fits to the rows of two (n, d) arrays.

    The distance is defined by Heusel et al. (2017); the covariances are unbiased. The distance is biased upwards at
    finite n: compare only sets of equal sizes. If `level` is given, the interval is a confidence interval of the
    distance's expectation at these sizes, with the errors of both sides. Raises InputError for fewer than two rows.
    """
    here, there = moments_of(real), moments_of(candidate)
    low, high = math.nan, math.nan
    if level is not None:
        low, high = frechet_interval(here, there, real, candidate, level=level)
    return Measure(frechet_of(here, there), low=low, high=high, n=len(candidate))


def frechet_of(real: Moments, candidate: Moments) -> float:
    """Squared distance |μ₁−μ₂|² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁^½ Σ₂ Σ₁^½)^½, computed from symmetric eigenvalues."""
    first, second = real.covariance, candidate.covariance
    cross = clean_eigvalsh(real.root @ second @ real.root)
    gap = real.mean - candidate.mean
    return max(0.0, float(gap @ gap + np.trace(first) + np.trace(second) - 2 * np.sqrt(cross).sum()))


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
