"""Precision, recall, density and coverage: how much real items and a set lie in each other's neighbourhoods."""

import math
from dataclasses import replace

import numpy as np

from auditor.statistics.frame import frame_of
from auditor.statistics.intervals import Measure, normal_interval, wilson_interval
from indexes.errors import InputError
from indexes.search import knn, membership

__all__ = [
    "coverage_baseline",
    "density_of",
    "neighbour_radii",
    "prdc",
    "proportion",
]


def neighbour_radii(vectors: np.ndarray, k: int, *, device: str = "cpu") -> np.ndarray:
    """Squared distance (n,) float32 of each row to its k-th nearest other row."""
    if len(vectors) <= k:
        raise InputError(f"radii to the {k}-th neighbour need more than {k} vectors, got {len(vectors)}")
    return knn(vectors, vectors, k + 1, device=device)[0][:, k]


def prdc(
    real: np.ndarray, candidate: np.ndarray, *, k: int = 5, level: float | None = None, device: str = "cpu"
) -> dict[str, Measure]:
    """Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020) of (n, d) arrays.

    A ball around an item reaches to the k-th nearest other item of its side. If `level` is given, each measure has a
    confidence interval of its expectation at these sizes. The interval includes the error of the counted items, and the
    error of the items at the centres of the balls. The variance of the second error is by Efron and Stein (1981): the
    sum over all balls of the squared change of the measure if the ball is left out. A point on the surface of a ball
    lies inside it, which differs from the reference implementation where distances tie. Copies count as often as they
    occur, as in the published definitions; an audit leaves them out. Raises InputError if a side has k rows or fewer.
    """
    frame = frame_of(real)
    real, candidate = (frame.place(rows).astype(np.float32) for rows in (real, candidate))
    held = membership(candidate, real, neighbour_radii(real, k, device=device), device=device)
    of_real = membership(real, candidate, neighbour_radii(candidate, k, device=device), device=device)
    m, n = len(real), len(candidate)
    found = {
        "precision": proportion(int((held.counts > 0).sum()), n, held.sole_queries / n, level=level),
        "recall": proportion(int((of_real.counts > 0).sum()), m, of_real.sole_queries / m, level=level),
        "density": density_of(int(held.totals.sum()), int((held.counts**2).sum()), n, held.totals, k, level=level),
        "coverage": proportion(int((held.totals > 0).sum()), m, held.sole_balls / m, level=level),
    }
    return {name: replace(measure, n=n) for name, measure in found.items()}


def proportion(hits: int, trials: int, influences: np.ndarray, *, copies: float = 1.0, level: float | None) -> Measure:
    """The share of hits among trials, where the items of the other side decide what is a hit.

    `influences` are the changes of the share if each item of the other side were absent; the sum of their squares is
    the variance from the other side (Efron and Stein 1981). The interval is Wilson's interval for an effective number
    of trials that accounts for the errors of both sides. `copies` is the design effect of copies among the trials.
    """
    value = hits / trials
    if level is None:
        return Measure(value, n=trials)
    smoothed = (hits + 1) / (trials + 2)
    binomial = smoothed * (1 - smoothed)
    effective = binomial / (binomial * copies / trials + float(influences @ influences))
    low, high = wilson_interval(value * effective, effective, level=level)
    return Measure(value, low=low, high=high, n=trials)


def density_of(
    total: int, squares: int, n: int, totals: np.ndarray, k: int, *, copies: float = 1.0, level: float | None
) -> Measure:
    """Mean number of real balls that contain an item, divided by k, for n items.

    `total` and `squares` are the sums, over the items, of the number of balls that contain an item and of its square.
    `totals` (m,) gives the number of items in each ball. The interval includes the error of the items and the error of
    the balls. `copies` is the design effect of copies among the items.
    """
    value = total / n / k
    if level is None or n < 2:
        return Measure(value, n=n)
    items = copies * max(squares / k**2 - n * value**2, 0.0) / (n - 1) / n
    balls = float(((totals - totals.mean()) ** 2).sum()) / (n * k) ** 2
    low, high = normal_interval(value, math.sqrt(items + balls), level=level)
    return Measure(value, low=max(0.0, low), high=high, n=n)


def coverage_baseline(n_real: int, n_candidate: int, k: int) -> float:
    """Expected coverage of n_real points by n_candidate points of the same distribution (Naeem et al. 2020).

    A ball is empty if the k nearest of the n_real − 1 + n_candidate other points are all real.
    """
    steps = np.arange(k)
    return float(1 - np.prod((n_real - 1 - steps) / (n_real - 1 + n_candidate - steps)))
