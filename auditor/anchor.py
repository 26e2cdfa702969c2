"""Bounds from the real side: what is missing of the share that looks confidently real cannot be real."""

import math

import numpy as np
from scipy import stats

from auditor.calibration import Calibration, ScoreCounts

__all__ = ["real_side_bound", "unseen_guard"]


def unseen_guard(
    calibration: Calibration, observed: ScoreCounts, *, level: float = 0.95, is_sample: bool = False
) -> float:
    """Upper bound of the fraction that also allows for an unseen generator too rare for the test of fit.

    What is missing of the confidently real share, v(t) = 1 − F_U(t)/F_R(t), plus its error, divided by the share of
    synthetic items that cannot hide there: at most as many as of the known generator that hides best. The tightest
    of three thresholds. Holds if no unseen generator looks more real than the known ones.
    """
    z, bounds = stats.norm.ppf((1 + level) / 2), [1.0]  # half the error for each: the tightest of three is taken
    below = np.cumsum(calibration.densities, axis=1)  # (K + 1, bins)
    below_observed = np.cumsum(observed.histogram) / observed.n
    for wanted in (0.5, 0.7, 0.85):
        t = int(np.argmin(np.abs(below[0] - wanted)))
        q, synthetic = below[0, t], below[1:, t].max()
        if synthetic < q < 1:
            u = below_observed[t]
            missing, hidden = 1 - u / q, synthetic / q
            within = u * (1 - u) / q**2 if is_sample else u * (1 - q) / q**2  # of this set: the real items' alone
            variance = within / observed.n + (u / q) ** 2 * (1 - q) / q / calibration.components[0].n
            bounds.append((missing + z * math.sqrt(variance)) / (1 - hidden))
    return float(np.clip(min(bounds), 0, 1))


def real_side_bound(calibration: Calibration, observed: ScoreCounts, *, level: float = 0.95) -> float:
    """Lower bound of the fraction, given only that every real item comes from the reference's sources.

    At every threshold t, F_U(t) ≥ (1 − π)·F_R(t): what is missing of the confidently real share cannot be real.
    The best of four thresholds, each at a quarter of the error probability.
    """
    z = stats.norm.ppf(1 - (1 - level) / 2 / 4)
    below_real, below = np.cumsum(calibration.densities[0]), np.cumsum(observed.histogram) / observed.n
    n_real, bounds = calibration.components[0].n, [0.0]
    for wanted in (0.5, 0.7, 0.85, 0.95):
        t = int(np.argmin(np.abs(below_real - wanted)))
        q, u = below_real[t], below[t]
        if not 0 < q < 1:
            continue
        share = u / q
        variance = u * (1 - u) / observed.n / q**2 + share**2 * (1 - q) / q / n_real
        bounds.append(1 - share - z * math.sqrt(variance))
    return float(np.clip(max(bounds), 0, 1))
