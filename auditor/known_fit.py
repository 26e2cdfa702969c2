"""The fraction if the reference's components are all there is: generator shares, corrected counts, mixtures."""

import math

import numpy as np
from scipy import optimize, special

from auditor.calibration import Calibration, ScoreCounts
from auditor.intervals import Measure, fieller
from auditor.moments import Moments

__all__ = [
    "generator_weights",
    "histogram_mixture",
    "known_fit",
    "mixture_fractions",
    "probabilistic_adjusted_count",
    "smoothed",
]

_WEIGHT_DRAWS = 200


def generator_weights(
    calibration: Calibration, observed: ScoreCounts, *, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Shares (K,) of the generators within the synthetic part, and draws (200, K) of their sampling error.

    Multi-class adjusted count (Firat 2016): the mean posterior vector of the set is the components' mean posterior
    vectors times their shares, solved under non-negativity. With one generator there is nothing to estimate.
    """
    k = len(calibration.components) - 1
    if k == 1:
        return np.ones(1), np.ones((_WEIGHT_DRAWS, 1))
    means = np.stack([c.posteriors.mean for c in calibration.components])  # (K + 1, K + 1), row = component
    errors = [_padded_covariance(c.posteriors) / c.n for c in calibration.components]
    shares = _solve_shares(means, observed.posteriors.mean)
    within = sum(share * e * c.n for share, e, c in zip(shares, errors, calibration.components, strict=True))
    draws = np.empty((_WEIGHT_DRAWS, k + 1))
    for i in range(_WEIGHT_DRAWS):
        drawn = np.stack([_normal(m, e, rng) for m, e in zip(means, errors, strict=True)])
        draws[i] = _solve_shares(drawn, _normal(observed.posteriors.mean, within / observed.n, rng))
    return _within_synthetic(shares[None])[0], _within_synthetic(draws)


def _padded_covariance(posteriors: Moments) -> np.ndarray:
    """Covariance with half an item added at every corner of the simplex, for the reason given at `_spread`."""
    corners = len(posteriors.total)
    n = posteriors.n + corners / 2
    mean = (posteriors.total + 0.5) / n
    return (posteriors.outer + np.eye(corners) / 2) / n - np.outer(mean, mean)


def _solve_shares(means: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Non-negative shares summing to one with sharesᵀ·means ≈ mean; the sum is one because posteriors sum to one."""
    shares = optimize.nnls(means.T, mean)[0]
    return shares / shares.sum()


def _within_synthetic(shares: np.ndarray) -> np.ndarray:
    synthetic = shares[:, 1:]
    total = synthetic.sum(1, keepdims=True)
    even = np.full_like(synthetic, 1 / synthetic.shape[1])  # nothing synthetic: any weights give the same fraction
    return np.where(total > 1e-9, synthetic / np.maximum(total, 1e-9), even)


def _normal(mean: np.ndarray, covariance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.multivariate_normal(mean, covariance, method="eigh")


def probabilistic_adjusted_count(calibration: Calibration, observed: ScoreCounts, weights: np.ndarray) -> float:
    """PACC (Bella et al. 2010): mean posterior of synthetic, corrected by its means on real and synthetic items."""
    means = np.array([1 - c.posteriors.mean[0] for c in calibration.components])
    a, b = means[0], weights @ means[1:]
    return float(np.clip((1 - observed.posteriors.mean[0] - a) / (b - a), 0, 1)) if b > a else math.nan


def histogram_mixture(calibration: Calibration, observed: ScoreCounts, weights: np.ndarray) -> float:
    """Maximum-likelihood fraction of the mixture (1 − π)·f₀ + π·f₁ of score histograms, by expectation maximisation."""
    real, synthetic = smoothed(calibration, weights)
    return float(mixture_fractions(observed.histogram[None], real[None], synthetic[None])[0])


def smoothed(calibration: Calibration, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Densities with half an item spread over the bins, so that no likelihood ratio is infinite."""
    counts = np.stack([c.histogram for c in calibration.components]) + 0.5 / len(calibration.densities[0])
    densities = counts / counts.sum(1, keepdims=True)
    return densities[0], weights @ densities[1:]


def mixture_fractions(counts: np.ndarray, real: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    """Maximum-likelihood π for each row of counts (r, bins), by bisection of the concave likelihood's derivative."""
    low, high = np.zeros(len(counts)), np.ones(len(counts))
    difference = synthetic - real
    for _ in range(40):
        middle = (low + high) / 2
        slope = (counts * difference / (real + middle[:, None] * difference)).sum(1)
        low, high = np.where(slope > 0, middle, low), np.where(slope > 0, high, middle)
    return (low + high) / 2


def known_fit(
    calibration: Calibration,
    observed: ScoreCounts,
    weights: np.ndarray,
    weight_draws: np.ndarray,
    *,
    level: float,
    is_sample: bool,
) -> Measure:
    """Corrected mean of the posterior g at the mixture's π, the efficient score, with Fieller's interval.

    g comes from the calibrated log odds at the bins' centres and not from the ratio of the histograms: a ratio fitted
    to the very counts that correct it would see them further apart than they are (coverage .83 instead of .95 with
    300 reference items). A badly calibrated g costs width, not truth.
    """
    fraction = np.clip(histogram_mixture(calibration, observed, weights), 0.02, 0.98)
    g = special.expit(calibration.centres + special.logit(fraction))  # (bins,)
    means = calibration.densities @ g
    variances = np.array([_spread(c.histogram, g) for c in calibration.components])
    errors = variances / [c.n for c in calibration.components]
    a, b, m = means[0], float(weights @ means[1:]), float(observed.histogram @ g) / observed.n
    if b <= a:
        return Measure(math.nan, 0.0, 1.0, observed.n, reason="known generators score no higher than real items")
    from_weights = float((weight_draws @ means[1:]).var())
    value = float(np.clip((m - a) / (b - a), 0, 1))
    low, high = fieller(
        m,
        (a, b),
        incoming=(variances[0] / observed.n, weights @ variances[1:] / observed.n),
        calibration=(errors[0], float(weights**2 @ errors[1:]) + from_weights),
        composition=(b - a) ** 2 / observed.n if is_sample else 0.0,
        level=level,
    )
    return Measure(value, min(low, value), max(high, value), observed.n)


def _spread(histogram: np.ndarray, g: np.ndarray) -> float:
    """Variance of g over a histogram with half an item added at either extreme of g.

    Where every reference item falls on its own side the plain variance is zero, which n items cannot prove.
    """
    counts = histogram.astype(np.float64)
    counts[[g.argmin(), g.argmax()]] += 0.5
    mean = counts @ g / counts.sum()
    return float(counts @ (g - mean) ** 2 / counts.sum())
