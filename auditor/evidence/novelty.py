"""Novelty: how far an item lies from the reference, compared with distances among the reference's own items."""

import math

import numpy as np

from auditor.statistics.intervals import Measure, normal_interval

__all__ = ["NOVEL", "novelty", "unexplained"]

NOVEL = 0.95  # novelty above which an item counts as lying outside


def novelty(nearest: np.ndarray, reference_nearest: np.ndarray) -> np.ndarray:
    """Share of reference items whose nearest-neighbour distance is below that of each audited item, (n,) in [0, 1].

    `nearest` (n,) is the distance of each audited item to the nearest reference item. `reference_nearest` (m,) is the
    distance of each reference item to its nearest other reference item, sorted.
    """
    return np.searchsorted(reference_nearest, nearest, side="left") / len(reference_nearest)


def unexplained(novel: int, n: int, n_reference: int, *, level: float = 0.95) -> Measure:
    """Share of audited items outside the reference, corrected for the 5 % of reference items outside by definition.

    The value is (F − 0.05) / 0.95, where F is the share of audited items with a novelty above 0.95. The interval
    includes the sampling errors of the share F and of the 95 % quantile of the reference's distances. Items outside the
    reference may be synthetic or come from another real source.
    """
    inside = NOVEL
    observed = novel / n
    smoothed = (novel + 1) / (n + 2)
    variance = smoothed * (1 - smoothed) / n + inside * (1 - inside) / n_reference
    value = (observed - (1 - inside)) / inside
    low, high = normal_interval(value, math.sqrt(variance) / inside, level=level)
    return Measure(max(0.0, value), low=max(0.0, low), high=min(1.0, max(high, 0.0)), n=n)
