"""A record for a number with its interval, and functions for closed-form confidence intervals."""

import math
from dataclasses import KW_ONLY, dataclass

import numpy as np
from scipy import stats

from auditor.records import Number

__all__ = ["Measure", "fieller", "normal_interval", "wilson_interval"]


@dataclass(frozen=True, slots=True)
class Measure:
    """An estimate with its interval and the number of items it was measured on; nan for unknown numbers."""

    estimate: Number
    _: KW_ONLY
    low: Number = math.nan
    high: Number = math.nan
    reference: Number = math.nan  # the same statistic for a real sample of the same size
    n: int | None = None  # items
    reason: str | None = None  # why the estimate is nan, or what limits it

    @property
    def is_known(self) -> bool:
        """Whether the estimate is known, which means that it is a finite number."""
        return math.isfinite(self.estimate)


def wilson_interval(hits: float, n: float, *, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927); [0, 1] for n = 0.

    The number of items n may be fractional, such as an effective sample size.
    """
    if n == 0:
        return 0.0, 1.0
    z2, p = _z(level) ** 2, hits / n
    centre, half = (p + z2 / (2 * n)) / (1 + z2 / n), math.sqrt(z2 * (p * (1 - p) + z2 / (4 * n)) / n) / (1 + z2 / n)
    return max(0.0, centre - half) if hits > 0 else 0.0, min(1.0, centre + half) if hits < n else 1.0


def normal_interval(value: float, standard_error: float, *, level: float = 0.95) -> tuple[float, float]:
    """Normal confidence interval: value ± z·standard error."""
    return value - _z(level) * standard_error, value + _z(level) * standard_error


def fieller(
    observed: float,
    means: tuple[float, float],
    *,
    incoming: tuple[float, float],
    calibration: tuple[float, float],
    composition: float = 0.0,
    constant: float = 0.0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Fieller's interval of the weight π in [0, 1], if an observed mean m is a mixture (1−π)a + πb of two means.

    The interval is the smallest that contains every π with (m − (1−π)a − πb)² ≤ z²·V(π). The variance is V(π) =
    (1−π)·incoming₀ + π·incoming₁ + (1−π)²·calibration₀ + π²·calibration₁ + π(1−π)·composition + constant, where all
    terms are variances of means. The term `composition` is (b−a)²/n if the items are a sample of a larger set, and
    `constant` is an error variance of the observed mean. Fieller's interval (1954) of the ratio (m − a)/(b − a) keeps
    its confidence level where a normal interval of the ratio does not. If no π satisfies the inequality, the observed
    mean m lies outside [a, b] by more than chance, and the nearer end, 0 or 1, is returned as both limits.
    """
    (a, b), z2 = means, _z(level) ** 2
    (i0, i1), (c0, c1) = incoming, calibration
    # (p + q·π)² ≤ z²(v + w·π + u·π²)
    p, q = observed - a, a - b
    quadratic = q * q - z2 * (c0 + c1 - composition)
    linear = 2 * p * q - z2 * (i1 - i0 - 2 * c0 + composition)
    free = p * p - z2 * (i0 + c0 + constant)
    grid = np.concatenate([[0.0, 1.0], _roots_in_unit(quadratic, linear, free)])
    rounding = 1e-12 * max(abs(quadratic), abs(linear), abs(free))
    inside = grid[quadratic * grid**2 + linear * grid + free <= rounding]
    if len(inside) == 0 and q == 0:
        return 0.0, 1.0  # equal means tell nothing about π, whatever was observed
    if len(inside) == 0:
        nearest = float(np.clip(p / -q, 0.0, 1.0))
        return nearest, nearest
    return float(inside.min()), float(inside.max())


def _roots_in_unit(quadratic: float, linear: float, constant: float) -> np.ndarray:
    roots = np.roots([quadratic, linear, constant]) if quadratic else np.roots([linear, constant])
    real = roots[np.isreal(roots)].real
    return real[(real >= 0) & (real <= 1)]


def _z(level: float) -> float:
    return float(stats.norm.ppf((1 + level) / 2))
