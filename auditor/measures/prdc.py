"""Precision, recall, density and coverage: how much real items and a set lie in each other's neighbourhoods."""

import math
from dataclasses import dataclass, replace

import numpy as np

from auditor.measures.checked_rows import checked_pair, frame_around, outlier
from auditor.statistics.intervals import Measure, normal_interval, wilson_interval
from indexes.errors import InputError
from indexes.search import knn, membership

__all__ = [
    "Balls",
    "balls_of",
    "coverage_baseline",
    "density_of",
    "growth_of",
    "neighbour_radii",
    "prdc",
    "proportion",
]

_FARTHEST = 1e4  # longest distance in units of the median one, at which float32 still shows the others
_BEYOND = 1e15  # in units of a frame; its squares, and those of rows with up to a million columns, fit float32


@dataclass(frozen=True, slots=True)
class Balls:
    """A ball around each of m points, whose radius is the distance to the k-th nearest other point.

    If one of the k nearest points were missing, the ball would reach to the next one.
    """

    radii: np.ndarray  # (m,) float32, squared
    next_radii: np.ndarray  # (m,) float32, squared distance to the next point
    neighbours: np.ndarray  # (m, k) row numbers of the k nearest other points


def balls_of(points: np.ndarray, k: int, *, device: str = "cpu") -> Balls:
    """The balls around more than k points (m, d); k + 1 points have no next neighbour, and their balls do not grow."""
    m = len(points)
    if m <= k:
        raise InputError(f"balls to the {k}-th neighbour need more than {k} vectors, got {m}")
    squared, nearest = knn(points, points, min(m, k + 2), device=device)
    others = nearest != np.arange(m)[:, None]
    others[others.all(1), -1] = False  # a point with too many copies may not find itself
    squared, nearest = (array[others].reshape(m, -1) for array in (squared, nearest))
    return Balls(squared[:, k - 1], squared[:, -1], nearest[:, :k])


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
    sum over these items of the squared change of the measure if the item is left out. A point on the surface of a ball
    lies inside it, which differs from the reference implementation where distances tie. Copies count as often as they
    occur, as in the published definitions; an audit leaves them out. The vectors are rounded to float32 around the
    median of the balls' side. All estimates are nan if a row is 10000 times as far away as the others. Raises
    InputError if a side has k rows or fewer, and for arrays that are not finite and of equal width.
    """
    real_rows, candidate_rows = checked_pair(real, candidate)
    m, n = len(real_rows), len(candidate_rows)
    if not 1 <= k < min(m, n):
        raise InputError(f"got {m} real and {n} candidate vectors and k = {k}, expected k ≥ 1 and more than k vectors")
    sides = (real_rows, "real"), (candidate_rows, "candidate")
    if reason := next(filter(None, (outlier(rows, name, farthest=_FARTHEST) for rows, name in sides)), None):
        return dict.fromkeys(("precision", "recall", "density", "coverage"), Measure(math.nan, n=n, reason=reason))
    real, candidate = _placed(real_rows, candidate_rows)
    balls = balls_of(real, k, device=device)
    held = membership(candidate, real, balls.radii, device=device)
    larger = membership(candidate, real, balls.next_radii, device=device).totals
    centres, tested = _placed(candidate_rows, real_rows)
    of_real = membership(tested, centres, neighbour_radii(centres, k, device=device), device=device)
    found = {
        "precision": proportion(int((held.counts > 0).sum()), n, held.sole_queries / n, level=level),
        "recall": proportion(int((of_real.counts > 0).sum()), m, of_real.sole_queries / m, level=level),
        "density": density_of(
            held.totals, int((held.counts**2).sum()), n, balls.neighbours, growth_of(held.totals, larger), level=level
        ),
        "coverage": proportion(int((held.totals > 0).sum()), m, held.sole_balls / m, level=level),
    }
    return {name: replace(measure, n=n) for name, measure in found.items()}


def _placed(centres: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The centres of balls (m, d) and other points (n, d) in a frame around the centres, float32."""
    frame = frame_around(centres)
    with np.errstate(over="ignore"):
        points = frame.place(others)
    # clipped points stay outside all balls, because no centre is an `outlier`
    return frame.place(centres).astype(np.float32), np.clip(points, -_BEYOND, _BEYOND).astype(np.float32)


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
    totals: np.ndarray, squares: int, n: int, neighbours: np.ndarray, growth: float, *, copies: float = 1.0,
    level: float | None,
) -> Measure:  # fmt: skip
    """Mean number of real balls that contain an item, divided by k, for n items.

    `totals` (m,) gives the number of items in each ball, and `squares` is the sum, over the items, of the squared
    number of balls that contain an item. `neighbours` (m, k) are the real points that give each ball its size.

    The interval includes the error of the items and the error of the real points (jackknife). Without one real point,
    its ball is missing, and the balls of which it is a neighbour reach to their next neighbour; they then contain the
    share `growth` more items. `copies` is the design effect of copies among the items.
    """
    k = neighbours.shape[1]
    value = float(totals.sum()) / n / k
    if level is None or n < 2:
        return Measure(value, n=n)
    items = copies * max(squares / k**2 - n * value**2, 0.0) / (n - 1) / n
    gained = growth * np.bincount(neighbours.ravel(), np.repeat(totals, k), minlength=len(totals))
    lost = totals - gained
    balls = float(((lost - lost.mean()) ** 2).sum()) / (n * k) ** 2
    low, high = normal_interval(value, math.sqrt(items + balls), level=level)
    return Measure(value, low=max(0.0, low), high=high, n=n)


def growth_of(totals: np.ndarray, larger: np.ndarray) -> float:
    """Share by which the items in all balls (m,) grow if each ball reaches to its next neighbour."""
    return float(larger.sum()) / max(float(totals.sum()), 1.0) - 1


def coverage_baseline(n_real: int, n_candidate: int, k: int) -> float:
    """Expected coverage of n_real points by n_candidate points of the same distribution (Naeem et al. 2020).

    A ball is empty if the k nearest of the n_real − 1 + n_candidate other points are all real.
    """
    steps = np.arange(k)
    return float(1 - np.prod((n_real - 1 - steps) / (n_real - 1 + n_candidate - steps)))
