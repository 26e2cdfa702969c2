"""Kernel inception distance: the squared maximum mean discrepancy with a cubic polynomial kernel."""

import math
from dataclasses import replace

import numpy as np

from auditor.measures.checked_rows import centred_pair
from auditor.measures.mean_discrepancy import Kernel, mean_discrepancy
from auditor.statistics.intervals import Measure

__all__ = ["kid"]


def kid(real: np.ndarray, candidate: np.ndarray, *, level: float | None = None) -> Measure:
    """Kernel inception distance (Bińkowski et al. 2018) between real rows (m, d) and candidate rows (n, d).

    The kernel is (x·y/d + 1)³; all pairs of rows are used, not random subsets. The value is 0 for equal distributions
    and has no upper limit; the unbiased estimate can be slightly negative. Use KID for comparisons with papers. KID
    detects only differences in the first three moments, hardly detects independent noise, and depends on the origin and
    scale of the vectors.

    The kernel is evaluated as k(x, y) − k(x, z) − k(z, y) + k(z, z) where z is the real median. The terms with z cancel
    in the distance, so that a large common offset, a small scale or a far row does not reduce the precision.

    If `level` is given, the interval is a confidence interval of the population value, with the sampling errors of both
    sides. There is no interval if one row of a side holds most of the variance. The estimate is nan if fewer than 2
    rows are on a side, if all real rows are equal, if a row is 1e12 times as far away as the others, or if kernel
    values leave the range of float64. Raises InputError for arrays that are not finite and of equal width.
    """
    pair = centred_pair(real, candidate)
    if pair.reason:
        return Measure(math.nan, n=len(candidate), reason=pair.reason)
    with np.errstate(over="ignore", invalid="ignore"):
        kernel = _kernel(pair.origin, pair.unit)
        measure = mean_discrepancy(pair.real, pair.candidate, kernel, level=level)
    value, low, high = (number * pair.unit * pair.unit for number in (measure.estimate, measure.low, measure.high))
    if math.isfinite(value) and (level is None or measure.reason or math.isfinite(high)):
        return replace(measure, estimate=value, low=low, high=high)
    reason = "kernel values are beyond the range of float64: divide all vectors by a common factor"
    return Measure(math.nan, n=len(candidate), reason=reason)


def _kernel(z: np.ndarray, unit: float) -> Kernel:
    """The kernel minus its terms at the origin z, divided by unit², for rows relative to z in units of `unit`."""
    width = len(z)
    at_origin = z @ z / width + 1

    def kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        p, q, product = (first @ z / width)[:, None], second @ z / width, first @ second.T / width
        base = at_origin + unit * p + unit * q  # x·y/d + 1 = base + unit² · product
        values = 3 * base**2 * product
        product *= unit
        values += (3 * base * product + unit * product**2) * product
        base += at_origin
        base *= 3 * p * q
        values += base
        return values

    return kernel
