"""What the detector says of items of known origin, as histograms and moments: all an estimate needs, at any size."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from auditor.detector import Evidence
from auditor.moments import Moments, moments_of

__all__ = ["BINS", "Calibration", "ScoreCounts", "calibration_of", "count_scores"]

BINS = 24


@dataclass(frozen=True, slots=True)
class ScoreCounts:
    """One set's scores: a histogram over fixed edges and the moments of the posterior vectors. Adds over shards."""

    histogram: np.ndarray  # (BINS,) int64
    posteriors: Moments  # of (n, K + 1) posterior vectors

    def __add__(self, other: "ScoreCounts") -> "ScoreCounts":
        return ScoreCounts(self.histogram + other.histogram, self.posteriors + other.posteriors)

    @property
    def n(self) -> int:
        return self.posteriors.n


@dataclass(frozen=True)
class Calibration:
    """Out-of-fold score counts of each component of the reference, real first."""

    labels: tuple[str, ...]  # K + 1, the first is the real part
    edges: np.ndarray  # (BINS - 1,) inner edges on the score axis
    centres: np.ndarray  # (BINS,) median score of the reference's items in each bin, non-decreasing
    components: tuple[ScoreCounts, ...]  # K + 1

    @cached_property
    def densities(self) -> np.ndarray:
        """Share of each component in each bin, (K + 1, BINS)."""
        return np.stack([c.histogram / c.n for c in self.components])

    @cached_property
    def separation(self) -> float:
        """Smallest total-variation distance between the real part's histogram and a generator's; 0 without any."""
        if len(self.components) == 1:
            return 0.0
        return float(np.abs(self.densities[1:] - self.densities[0]).sum(1).min() / 2)


def count_scores(evidence: Evidence, edges: np.ndarray) -> ScoreCounts:
    """The score counts of some items."""
    histogram = np.bincount(np.searchsorted(edges, evidence.scores, side="right"), minlength=BINS)
    return ScoreCounts(histogram.astype(np.int64), moments_of(evidence.posteriors))


def calibration_of(evidence: Evidence, component: np.ndarray, labels: tuple[str, ...]) -> Calibration:
    """Calibration from the reference's own out-of-fold evidence.

    Edges are quantiles of the scores with real and synthetic weighing the same: no bin is empty under both.
    """
    levels = np.arange(1, 2 * BINS) / (2 * BINS)  # bin edges and bin centres in turn
    quantiles = _balanced_quantiles(evidence.scores, component > 0, levels)
    edges, centres = quantiles[1::2], quantiles[0::2]
    counts = tuple(
        count_scores(Evidence(evidence.posteriors[component == k], evidence.nearest[component == k]), edges)
        for k in range(len(labels))
    )
    return Calibration(labels, edges, centres, counts)


def _balanced_quantiles(scores: np.ndarray, is_synthetic: np.ndarray, levels: np.ndarray) -> np.ndarray:
    order = np.argsort(scores, kind="stable")
    weight = np.where(is_synthetic, 0.5 / max(1, is_synthetic.sum()), 0.5 / max(1, (~is_synthetic).sum()))[order]
    return scores[order][np.minimum(np.searchsorted(np.cumsum(weight), levels), len(scores) - 1)]
