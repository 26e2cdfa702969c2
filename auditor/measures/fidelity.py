"""How close a set lies to a real one: Fréchet distance, precision, recall, density, coverage."""

import math

import numpy as np

from auditor.statistics.intervals import Measure, normal_interval, wilson_interval
from auditor.statistics.moments import Moments, clean_eigh, clean_eigvalsh, moments_of
from indexes.errors import InputError
from indexes.search import Membership, ball_counts, knn, membership

__all__ = ["coverage_baseline", "frechet", "frechet_interval", "frechet_of", "neighbour_radii", "prdc"]


def frechet(real: np.ndarray, candidate: np.ndarray, *, level: float | None = None) -> Measure:
    """Squared 2-Wasserstein distance between Gaussian fits to the rows of two (n, d) arrays.

    Heusel et al. (2017); unbiased covariances. Biased upwards at finite n: compare only at equal sizes. With a `level`
    the interval is that of the distance's expectation at these sizes, from both sides' errors. Raises InputError for
    fewer than two rows.
    """
    here, there = moments_of(real), moments_of(candidate)
    low, high = math.nan, math.nan
    if level is not None:
        low, high = frechet_interval(here, there, real, candidate, level=level)
    return Measure(frechet_of(here, there), low=low, high=high, n=len(candidate))


def frechet_of(real: Moments, candidate: Moments) -> float:
    """|μ₁−μ₂|² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁^½ Σ₂ Σ₁^½)^½, through symmetric eigenvalues."""
    first, second = real.covariance, candidate.covariance
    cross = clean_eigvalsh(real.root @ second @ real.root)
    gap = real.mean - candidate.mean
    return max(0.0, float(gap @ gap + np.trace(first) + np.trace(second) - 2 * np.sqrt(cross).sum()))


def frechet_interval(
    real: Moments, candidate: Moments, real_rows: np.ndarray, candidate_rows: np.ndarray, *, level: float = 0.95
) -> tuple[float, float]:
    """Interval for the expectation of the plug-in distance at these sizes, by its influence functions.

    The derivative of the squared distance in one covariance is I − T, T the optimal transport map's matrix
    (Rippl, Munk & Sturm 2016). `*_rows` are samples of each side, used only for the influence function's variance.
    """
    distance = frechet_of(real, candidate)
    variance = 0.0
    for here, there, rows in ((real, candidate, real_rows), (candidate, real, candidate_rows)):
        influence = _frechet_influence(here, there, rows)
        variance += float(influence.var(ddof=1)) / here.n
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


def neighbour_radii(vectors: np.ndarray, k: int, *, device: str = "cpu") -> np.ndarray:
    """Squared distance (n,) float32 of each row to its k-th nearest other row."""
    if len(vectors) <= k:
        raise InputError(f"radii to the {k}-th neighbour need more than {k} vectors, got {len(vectors)}")
    return knn(vectors, vectors, k + 1, device=device)[0][:, k]


def prdc(
    real: np.ndarray, candidate: np.ndarray, *, k: int = 5, level: float | None = None, device: str = "cpu"
) -> dict[str, Measure]:
    """Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020) of (n, d) arrays.

    With a `level` each measure has the interval of its expectation at these sizes. The interval includes two errors:
    that of the counted items, and that of the items whose balls count them. The second error is by Efron and Stein
    (1981): the sum over balls of the squared change of the measure without the ball. Raises InputError for k rows or
    fewer on a side.
    """
    held = membership(candidate, real, neighbour_radii(real, k, device=device), device=device)
    if level is None:
        recalled, _ = ball_counts(real, candidate, neighbour_radii(candidate, k, device=device), device=device)
        by_balls = None
    else:
        of_real = membership(real, candidate, neighbour_radii(candidate, k, device=device), device=device)
        recalled, by_balls = of_real.counts, of_real.sole_queries
    n = len(candidate)
    return {
        "precision": _share(held.counts > 0, held.sole_queries, n, level),
        "recall": _share(recalled > 0, by_balls, n, level),
        "density": _density(held, k, level),
        "coverage": _share(held.totals > 0, held.sole_balls, n, level),
    }


def _share(hits: np.ndarray, alone: np.ndarray | None, n: int, level: float | None) -> Measure:
    """The share of `hits` (m,) bool; `alone` is the number of hits that each item of the other side makes alone.

    The interval is Wilson's, for the number of items whose error is as large as that of both sides together.
    """
    value, m = float(hits.mean()), len(hits)
    if level is None or alone is None:
        return Measure(value, n=n)
    smoothed = (hits.sum() + 1) / (m + 2)
    binomial = smoothed * (1 - smoothed)
    effective = binomial / (binomial / m + float((alone / m) @ (alone / m)))
    low, high = wilson_interval(value * effective, effective, level=level)
    return Measure(value, low=low, high=high, n=n)


def _density(held: Membership, k: int, level: float | None) -> Measure:
    n, value = len(held.counts), float(held.counts.mean() / k)
    if level is None:
        return Measure(value, n=n)
    items = held.counts.var(ddof=1) / (n * k**2)
    balls = ((held.totals - held.totals.mean()) ** 2).sum() / (n * k) ** 2
    low, high = normal_interval(value, math.sqrt(items + balls), level=level)
    return Measure(value, low=max(0.0, low), high=high, n=n)


def coverage_baseline(n_real: int, n_candidate: int, k: int) -> float:
    """Expected coverage of n_real points by n_candidate points of the same distribution (Naeem et al. 2020).

    A ball is empty when the k nearest of the n_real − 1 + n_candidate others are all real.
    """
    steps = np.arange(k)
    return float(1 - np.prod((n_real - 1 - steps) / (n_real - 1 + n_candidate - steps)))
