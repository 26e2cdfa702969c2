"""Intrinsic dimension: the number of directions in which a set varies locally."""

import math

import numpy as np

from auditor.measures.checked_rows import FEWEST, checked_rows
from auditor.measures.neighbour_distances import distinct_rows, nearest_rows
from auditor.statistics.intervals import Measure, normal_interval

__all__ = ["intrinsic_dimension"]


def intrinsic_dimension(vectors: np.ndarray, *, level: float | None = None) -> Measure:
    """Intrinsic dimension of rows (n, d) by the TwoNN estimator, a positive number without unit.

    The TwoNN estimator is by Facco et al. (2017). If the density is constant up to the second neighbour, the ratio μ of
    the distances to the second and to the first neighbour has the density dim·μ^(−dim − 1). The estimate is the
    maximum-likelihood estimate 1 / mean log μ over all rows. The estimate does not change if all vectors are scaled or
    moved. The intrinsic dimension detects a collapse onto fewer directions. The intrinsic dimension also detects noise,
    which raises it, but does not detect missing modes or changes of the spread. Dimensions above about 10 are
    underestimated (64 true dimensions give about 30 for thousands of rows): compare the estimate with that of a real
    sample of the same size.

    Exact copies are removed first; near copies remain and lower the value. Equal distances, which occur if vectors have
    few different values, raise the estimate without limit. If `level` is given, the interval is a confidence interval
    of the expectation at this size; it assumes that log(estimate) is normal. The estimate is nan for fewer than 10
    different rows. Raises InputError for arrays that are not finite and two-dimensional.
    """
    rows, reason = distinct_rows(checked_rows(vectors, "vectors"), name="candidate", fewest=FEWEST)
    if reason is not None:
        return Measure(math.nan, n=len(vectors), reason=reason)
    distances, neighbours = nearest_rows(rows, 2)
    ratios = np.log(distances[:, 1] / distances[:, 0])
    mean = float(ratios.mean())
    if mean == 0:
        reason = "the two nearest neighbours of every vector are equally far, so the dimension cannot be estimated"
        return Measure(math.nan, n=len(vectors), reason=reason)
    if level is None:
        return Measure(1 / mean, n=len(vectors))
    low, high = normal_interval(-math.log(mean), _standard_error(ratios, neighbours) / mean, level=level)
    return Measure(1 / mean, low=math.exp(low), high=math.exp(high), n=len(vectors))


def _standard_error(values: np.ndarray, neighbours: np.ndarray) -> float:
    """Standard error of the mean of values (n,), including the covariances between neighbours (n, k).

    In simulations, the standard error without these covariances is up to a quarter too small. The standard error by the
    jackknife is up to twice too large, because the ratio of two distances is not smooth in the rows.
    """
    n, deviations = len(values), values - values.mean()
    here, there = np.repeat(np.arange(n), neighbours.shape[1]), neighbours.ravel()
    pairs = np.unique(np.stack([np.minimum(here, there), np.maximum(here, there)]), axis=1)
    alone = float(deviations @ deviations)
    shared = 2 * float(deviations[pairs[0]] @ deviations[pairs[1]])
    return math.sqrt(max(alone + shared, alone)) / n
