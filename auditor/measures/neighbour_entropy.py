"""How much denser or sparser a set is than the real one, by the distances to nearest neighbours."""

import math

import numpy as np

from auditor.measures.checked_rows import FEWEST, checked_pair
from auditor.measures.neighbour_distances import distinct_rows, nearest_rows
from auditor.statistics.intervals import Measure, normal_interval

__all__ = ["neighbour_entropy"]

_NEIGHBOUR = 5  # k
_SEED = 1987  # of the split of the larger side, which is the same in every run


def neighbour_entropy(real: np.ndarray, candidate: np.ndarray, *, level: float | None = None) -> Measure:
    """Differential entropy of candidate rows (n, d) minus that of real rows (m, d), in nats per dimension.

    The estimator is that of Kozachenko & Leonenko (1987) with the 5th neighbour (Kraskov et al. 2004). At equal sizes,
    the entropies differ by the intrinsic dimension times the difference of the mean log distances to that neighbour. So
    the difference of the mean log distances is the entropy difference per dimension. The value is 0 for equal
    distributions, and log s if the candidate is the real distribution scaled by s (so ½ log λ if its variances are λ
    times as large). The value does not change if all vectors are scaled or moved together. Neighbour entropy detects
    shrinking within kinds. Neighbour entropy also detects noise, which raises the value and can hide a loss. Neighbour
    entropy hardly detects missing modes.

    Exact copies are removed first, because the log of a distance 0 is infinite; near copies remain and lower the value.
    The larger side is split at random (fixed seed) into parts of the smaller side's size, and the values of the parts
    are averaged; a remainder is not used. If `level` is given, the interval is a confidence interval of the expectation
    at this size, by the jackknife of both sides (Efron & Stein 1981). In few dimensions the interval is wider than
    necessary (1.5 times for d = 1). The estimate is nan for fewer than 10 different rows on a side, or for a row 1e12
    times as far away as the others. Raises InputError for arrays that are not finite and of equal width.
    """
    real, candidate = checked_pair(real, candidate)
    n = len(candidate)
    ours, reason = distinct_rows(candidate, name="candidate", fewest=FEWEST)
    if reason is None:
        theirs, reason = distinct_rows(real, name="real", fewest=FEWEST)
    if reason is not None:
        return Measure(math.nan, n=n, reason=reason)
    size = min(len(ours), len(theirs))
    here, variance = _mean_log_distance(ours, size)
    there, variance_real = _mean_log_distance(theirs, size)
    if level is None:
        return Measure(here - there, n=n)
    low, high = normal_interval(here - there, math.sqrt(variance + variance_real), level=level)
    return Measure(here - there, low=low, high=high, n=n)


def _mean_log_distance(rows: np.ndarray, size: int) -> tuple[float, float]:
    """Mean log distance to the k-th neighbour within parts of `size` rows, and the variance of this mean."""
    parts = len(rows) // size
    order = np.random.default_rng(_SEED).permutation(len(rows))[: parts * size].reshape(parts, size)
    found = [_mean_with_variance(rows[part]) for part in order]
    means, variances = np.array(found).T
    return float(means.mean()), float(variances.sum()) / parts**2


def _mean_with_variance(rows: np.ndarray) -> tuple[float, float]:
    """Mean log distance to the k-th neighbour, and the variance of this mean by the jackknife.

    Leaving out a row removes the value of this row. A row that had it among the k nearest rows then uses the distance
    to its (k + 1)-th neighbour.
    """
    distances, neighbours = nearest_rows(rows, _NEIGHBOUR + 1)
    logs, n = np.log(distances[:, -2:]), len(rows)
    farther = np.repeat(logs[:, 1] - logs[:, 0], _NEIGHBOUR)
    left_out = np.bincount(neighbours[:, :-1].ravel(), farther, minlength=n) - logs[:, 0]  # up to a constant
    return float(logs[:, 0].mean()), float(left_out.var()) / (n - 1)
