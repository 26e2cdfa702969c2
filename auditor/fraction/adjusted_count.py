"""The fraction if the set holds only known sources and generators: corrected counts and mixtures."""

import math

import numpy as np
from scipy import special

from auditor.evidence.calibration import Calibration, ScoreCounts
from auditor.fraction.composition import Composition
from auditor.statistics.intervals import Measure, fieller

__all__ = [
    "adjusted_count",
    "histogram_mixture",
    "known_fit",
    "mixture_fractions",
    "probabilistic_adjusted_count",
    "score_weights",
    "smoothed",
]


def probabilistic_adjusted_count(calibration: Calibration, observed: ScoreCounts, composition: Composition) -> float:
    """PACC (Bella et al. 2010): mean posterior of synthetic, corrected by its means on real and synthetic items."""
    m = calibration.n_real
    means = np.array([c.posteriors.mean[m:].sum() for c in calibration.components])
    a, b = composition.real @ means[:m], composition.synthetic @ means[m:]
    return adjusted_count(float(observed.posteriors.mean[m:].sum()), float(a), float(b))


def adjusted_count(observed: float, a: float, b: float) -> float:
    """(m − a)/(b − a) within [0, 1] (Forman 2008), nan where b is no larger than a."""
    return float(np.clip((observed - a) / (b - a), 0, 1)) if b > a else math.nan


def histogram_mixture(calibration: Calibration, observed: ScoreCounts, composition: Composition) -> float:
    """Maximum-likelihood fraction of the mixture (1 − π)·f₀ + π·f₁ of score histograms, by expectation maximisation."""
    real, synthetic = smoothed(calibration, composition)
    return float(mixture_fractions(observed.histogram[None], real[None], synthetic[None])[0])


def smoothed(calibration: Calibration, composition: Composition) -> tuple[np.ndarray, np.ndarray]:
    """Densities of both sides; half an item per component, spread over the bins, keeps likelihood ratios finite."""
    counts = np.stack([c.histogram for c in calibration.components]) + 0.5 / len(calibration.densities[0])
    densities = counts / counts.sum(1, keepdims=True)
    m = calibration.n_real
    return composition.real @ densities[:m], composition.synthetic @ densities[m:]


def mixture_fractions(counts: np.ndarray, real: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    """Maximum-likelihood π for each row of counts (r, bins), by bisection of the concave likelihood's derivative."""
    low, high = np.zeros(len(counts)), np.ones(len(counts))
    difference = synthetic - real
    for _ in range(40):
        middle = (low + high) / 2
        slope = (counts * difference / (real + middle[:, None] * difference)).sum(1)
        low, high = np.where(slope > 0, middle, low), np.where(slope > 0, high, middle)
    return (low + high) / 2


def score_weights(centres: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """The posterior g (r, bins) at log odds (bins,) for each π (r,): the efficient score of a mixture near π.

    g is computed from the calibrated log odds at the bins' centres and not from the ratio of the histograms. The same
    histograms correct g later, and a ratio fitted to them would overstate how far apart the two sides are (coverage .83
    instead of .95 with 300 reference items). A badly calibrated g makes the interval wider but not wrong.
    """
    priors = special.logit(np.clip(fractions, 0.02, 0.98))
    return np.asarray(special.expit(centres + priors[:, None]))


def known_fit(
    calibration: Calibration, observed: ScoreCounts, composition: Composition, *, level: float, is_sample: bool
) -> Measure:
    """Corrected mean of the posterior at the mixture's π, with Fieller's interval."""
    m, n = calibration.n_real, observed.n
    g = score_weights(calibration.centres, np.array([histogram_mixture(calibration, observed, composition)]))[0]
    means = calibration.densities @ g
    real = _side(calibration, g, slice(None, m), composition.real, is_sample=is_sample)
    generated = _side(calibration, g, slice(m, None), composition.synthetic, is_sample=is_sample)
    a, b = float(composition.real @ means[:m]), float(composition.synthetic @ means[m:])
    observed_mean = float(observed.histogram @ g) / n
    if b <= a:
        return Measure(math.nan, low=0.0, high=1.0, n=n, reason="known generators score no higher than real items")
    value = adjusted_count(observed_mean, a, b)
    low, high = fieller(
        observed_mean,
        (a, b),
        incoming=(real[0] / n, generated[0] / n),
        calibration=(real[1], generated[1]),
        composition=(b - a) ** 2 / n if is_sample else 0.0,
        constant=sum(composition.errors(means)),
        level=level,
    )
    return Measure(value, low=min(low, value), high=max(high, value), n=n)


def _side(
    calibration: Calibration, g: np.ndarray, rows: slice, shares: np.ndarray, *, is_sample: bool
) -> tuple[float, float]:
    """Variance of g over one side's items, and the error variance of the mean of g over the reference's items.

    In a set it is fixed which item comes from which component, so only the variance within components counts; for a
    sample of a larger set the variance between components is added.
    """
    means = calibration.densities[rows] @ g
    variances = np.array([_spread(c.histogram, g) for c in calibration.components[rows]])
    within = float(shares @ variances)
    between = float(shares @ (means - shares @ means) ** 2) if is_sample else 0.0
    errors = variances / calibration.sizes[rows]
    return within + between, float(shares**2 @ errors)


def _spread(histogram: np.ndarray, g: np.ndarray) -> float:
    """Variance of g over a histogram with half an item added at either extreme of g.

    If every reference item falls on its own side, the plain variance is zero, but n items cannot prove a zero variance.
    """
    counts = histogram.astype(np.float64)
    counts[[g.argmin(), g.argmax()]] += 0.5
    mean = counts @ g / counts.sum()
    return float(counts @ (g - mean) ** 2 / counts.sum())
