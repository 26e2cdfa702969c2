"""Test whether the scores of a set can be a mixture of the scores of the reference's components."""

import numpy as np

from auditor.evidence.calibration import Calibration, ScoreCounts
from auditor.fraction.adjusted_count import histogram_mixture, mixture_fractions, smoothed
from auditor.fraction.composition import Composition

__all__ = ["fit_p_value"]

_FIT_DRAWS = 999


def fit_p_value(
    calibration: Calibration, observed: ScoreCounts, composition: Composition, *, rng: np.random.Generator
) -> float:
    """P-value of the hypothesis that the audited set's score histogram is a mixture of the reference's histograms.

    The test statistic is Pearson's chi-squared at the fitted synthetic fraction. The null distribution of the statistic
    is simulated with 999 draws of the audited set's and the reference's histograms, with a new fit to each draw.
    """
    m, sizes = calibration.n_real, calibration.sizes
    real, synthetic = smoothed(calibration, composition)
    fraction = histogram_mixture(calibration, observed, composition)
    expected = (1 - fraction) * real + fraction * synthetic
    statistic = _pearson(observed.histogram[None], real[None], synthetic[None])[0]
    drawn = rng.multinomial(observed.n, expected / expected.sum(), size=_FIT_DRAWS)
    drawn_real = _redraw(real, _effective(composition.real, sizes[:m]), rng)
    drawn_synthetic = _redraw(synthetic, _effective(composition.synthetic, sizes[m:]), rng)
    return float((1 + (_pearson(drawn, drawn_real, drawn_synthetic) >= statistic).sum()) / (_FIT_DRAWS + 1))


def _effective(weights: np.ndarray, sizes: np.ndarray) -> int:
    """Effective number of items in a weighted mixture of histograms."""
    return round(1 / float(weights**2 @ (1 / sizes)))


def _redraw(density: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    counts = rng.multinomial(n, density / density.sum(), size=_FIT_DRAWS) + 0.5 / len(density)
    return counts / counts.sum(1, keepdims=True)


def _pearson(counts: np.ndarray, real: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    fractions = mixture_fractions(counts, real, synthetic)[:, None]
    n = counts.sum(1, keepdims=True)
    expected = n * ((1 - fractions) * real + fractions * synthetic)
    return ((counts - expected) ** 2 / (expected + 0.5)).sum(1)
