"""Items that lie further from the reference than its own items lie from each other."""

import math

import numpy as np

from auditor.statistics.intervals import Measure, normal_interval

__all__ = ["NOVEL", "novelty", "unexplained"]

NOVEL = 0.95  # novelty above which an item counts as lying outside


def novelty(nearest: np.ndarray, reference_nearest: np.ndarray) -> np.ndarray:
    """For each item, the share of reference items that are nearer to another exemplar than the item is, (n,) in [0, 1].

    nearest (n,) is the distance of each item to the nearest exemplar of any component. reference_nearest (m,) is the
    distance of each reference item to its nearest other exemplar, sorted.
    """
    return np.searchsorted(reference_nearest, nearest, side="left") / len(reference_nearest)


def unexplained(novel: int, n: int, n_reference: int, *, level: float = 0.95) -> Measure:
    """Share of a set that lies outside the reference, beyond the 5 % of reference items that do so by definition.

    (F − 0.05) / 0.95, where F is the share of novel items; the interval includes the error of F and of the reference's
    own quantile. Items outside the reference may be synthetic or come from another real source.
    """
    inside = NOVEL
    observed = novel / n
    smoothed = (novel + 1) / (n + 2)
    variance = smoothed * (1 - smoothed) / n + inside * (1 - inside) / n_reference
    value = (observed - (1 - inside)) / inside
    low, high = normal_interval(value, math.sqrt(variance) / inside, level=level)
    return Measure(max(0.0, value), low=max(0.0, low), high=min(1.0, max(high, 0.0)), n=n)
