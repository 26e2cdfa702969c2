"""Choice of the fraction estimator by cross-validation on the reference's own scores."""

import numpy as np

from auditor.evidence.calibration import Calibration
from auditor.fraction.adjusted_count import mixture_fractions, score_weights
from auditor.fraction.composition import Composition

__all__ = ["COUNT", "MIXTURE", "choose_estimator"]

COUNT, MIXTURE = "score-weighted-count", "histogram-mixture"
_PREVALENCES = np.array([0.0, 0.05, 0.25, 0.5, 0.75, 1.0])
_SPLITS = 50
_BEYOND_DOUBT = 2.0  # standard errors by which the mixture's error must be smaller


def choose_estimator(calibration: Calibration, composition: Composition, n: int, *, rng: np.random.Generator) -> str:
    """Choose the estimator COUNT, unless MIXTURE has a clearly smaller error for sets of n items of this composition.

    Each of 50 random splits halves the scores of every component: one half is for calibration, the other for simulated
    sets of known fraction.
    """
    m = calibration.n_real
    halves = [
        _halved(np.rint(c.histogram).astype(np.int64), rng) for c in calibration.components
    ]  # each (splits, 2, bins)
    densities = np.stack(halves)  # (m + K, splits, 2, bins)
    real = np.tensordot(composition.real, densities[:m], 1)  # (splits, 2, bins)
    synthetic = np.tensordot(composition.synthetic, densities[m:], 1)
    truth = np.tile(_PREVALENCES, _SPLITS)
    here, there = (np.repeat(side[:, 0], len(_PREVALENCES), 0) for side in (real, synthetic))
    unseen = [np.repeat(side[:, 1], len(_PREVALENCES), 0) for side in (real, synthetic)]
    law = (1 - truth)[:, None] * unseen[0] + truth[:, None] * unseen[1]
    counts = rng.multinomial(n, law / law.sum(1, keepdims=True))
    mixture = mixture_fractions(counts, here, there)
    g = score_weights(calibration.centres, mixture)
    a, b, seen = ((g * part).sum(1) for part in (here, there, counts / n))
    apart = b > a
    count = np.where(apart, np.clip((seen - a) / np.where(apart, b - a, 1), 0, 1), 0.5)
    gain = (np.abs(count - truth) - np.abs(mixture - truth)).reshape(_SPLITS, -1).mean(1)
    return MIXTURE if gain.mean() > _BEYOND_DOUBT * gain.std(ddof=1) / np.sqrt(_SPLITS) else COUNT


def _halved(histogram: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Score densities (splits, 2, bins) of random halves, each smoothed by half an item spread over the bins."""
    histogram = np.rint(histogram).astype(np.int64)  # counts are fractional where copies count once
    first = rng.multivariate_hypergeometric(histogram, int(histogram.sum()) // 2, size=_SPLITS)
    halves = np.stack([first, histogram - first], axis=1) + 0.5 / len(histogram)
    return halves / halves.sum(2, keepdims=True)
