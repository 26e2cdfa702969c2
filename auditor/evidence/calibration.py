"""Detector scores of the reference's items, whose origin is known, stored as histograms and moments of fixed size."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats

from auditor.evidence.detector import Evidence
from auditor.statistics.moments import Moments, moments_of

__all__ = ["Calibration", "ScoreCounts", "calibration_of", "count_scores"]

_DOUBT, _STEP = 4.0, 0.5  # log odds
_LEVELS = (0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95)


@dataclass(frozen=True, slots=True)
class ScoreCounts:
    """Scores of one set: a histogram with fixed bin edges, and the moments of the posterior vectors.

    Score counts of several shards can be added.
    """

    histogram: np.ndarray  # (bins,) int64
    posteriors: Moments  # of (n, m + K) posterior vectors

    def __add__(self, other: "ScoreCounts") -> "ScoreCounts":
        return ScoreCounts(self.histogram + other.histogram, self.posteriors + other.posteriors)

    @property
    def n(self) -> int:
        return self.posteriors.n

    def thinned(self, factor: float) -> "ScoreCounts":
        """Counts scaled to the effective sample size n / factor, where factor is a design effect; may be fractional."""
        if factor == 1:
            return self
        n = max(1, round(self.n / factor))
        scale = n / self.n
        moments = Moments(n, self.posteriors.total * scale, self.posteriors.outer * scale)
        return ScoreCounts(self.histogram * scale, moments)


@dataclass(frozen=True)
class Calibration:
    """Out-of-fold score counts of each reference component: first the m real sources, then the K generators."""

    labels: tuple[str, ...]  # m + K
    edges: np.ndarray  # (bins - 1,) inner edges on the score axis
    components: tuple[ScoreCounts, ...]  # m + K
    n_real: int = 1  # m
    simulated: frozenset[str] = frozenset()  # labels of generators that are stand-ins fitted to the real part

    @cached_property
    def is_simulated(self) -> np.ndarray:
        """Whether each of the K generators is a stand-in, simulated from the real part, (K,) bool."""
        return np.array([label in self.simulated for label in self.labels[self.n_real :]], dtype=bool)

    @property
    def n_generators(self) -> int:
        """Number of generators, K."""
        return len(self.components) - self.n_real

    @cached_property
    def sizes(self) -> np.ndarray:
        """Effective number of items in each component, (m + K,)."""
        return np.array([c.n for c in self.components])

    @cached_property
    def densities(self) -> np.ndarray:
        """Share of each component's items whose score falls in each bin, (m + K, bins)."""
        return np.stack([c.histogram / c.n for c in self.components])

    @cached_property
    def centres(self) -> np.ndarray:
        """Log odds that represent each bin, (bins,): its middle, or the inner edge of an open bin at either end."""
        closed = np.concatenate([self.edges[:1], self.edges, self.edges[-1:]])
        return (closed[1:] + closed[:-1]) / 2

    @cached_property
    def separation(self) -> float:
        """Smallest total variation between the histograms of any real source and any generator; 0 without generators.

        The smallest value is used, because an audited set may contain any real source, even the one most like a
        generator.
        """
        if self.n_generators == 0:
            return 0.0
        return float(self.separations.min())

    @cached_property
    def separations(self) -> np.ndarray:
        """Total variation between the score histograms of each real source and each generator, (m, K)."""
        return self._of_pairs(_variation)

    @cached_property
    def separation_errors(self) -> np.ndarray:
        """Standard errors of `separations`, (m, K)."""
        return self._of_pairs(_variation_error)

    def separation_low(self, *, level: float) -> float:
        """Lower confidence limit of `separation`: the smallest over all pairs of source and generator, or 0.

        Comparing this lower limit, not `separation`, with a threshold rejects references that would pass by chance.
        """
        if self.n_generators == 0:
            return 0.0
        z = float(stats.norm.ppf(level))
        return max(0.0, float((self.separations - z * self.separation_errors).min()))

    def _of_pairs(self, function: Callable[[np.ndarray, np.ndarray], float]) -> np.ndarray:
        sides = self.components[: self.n_real], self.components[self.n_real :]
        return np.array(
            [[function(real.histogram, synthetic.histogram) for synthetic in sides[1]] for real in sides[0]]
        )


def _variation(first: np.ndarray, second: np.ndarray) -> float:
    """Total variation between the distributions behind two histograms, corrected for sampling noise.

    Two samples of sizes n and m from one distribution with bin probabilities p have the expected total variation c = ½
    Σ √(2/π · p(1 − p)(1/n + 1/m)). From the observed total variation v and its chance level c, the corrected value is
    √((v² − c²)/(1 − c²)). The correction matters only for similar distributions; distributions without overlap keep a
    total variation of 1.
    """
    n, m = first.sum(), second.sum()
    pooled = (first + second) / (n + m)
    chance = np.sqrt(2 / np.pi * pooled * (1 - pooled) * (1 / n + 1 / m)).sum() / 2
    observed = np.abs(first / n - second / m).sum() / 2
    return float(np.sqrt(max(0.0, (observed**2 - chance**2) / (1 - chance**2)))) if chance < 1 else 0.0


def _variation_error(first: np.ndarray, second: np.ndarray) -> float:
    """Standard error of a total variation ½ Σ sᵢ(pᵢ − qᵢ) with fixed signs sᵢ; at least the error of one item."""
    p, q = (counts / counts.sum() for counts in (first, second))
    signs = np.sign(p - q)
    variances = [max(1 - float(signs @ law) ** 2, 1 / counts.sum()) for law, counts in ((p, first), (q, second))]
    return math.sqrt(variances[0] / first.sum() + variances[1] / second.sum()) / 2


def count_scores(evidence: Evidence, edges: np.ndarray) -> ScoreCounts:
    """Count scores in bins with the given edges, and sum the posterior vectors."""
    histogram = np.bincount(np.searchsorted(edges, evidence.scores, side="right"), minlength=len(edges) + 1)
    return ScoreCounts(histogram.astype(np.int64), moments_of(evidence.posteriors))


def calibration_of(
    evidence: Evidence,
    component: np.ndarray,
    labels: tuple[str, ...],
    simulated: frozenset[str] = frozenset(),
    *,
    effects: np.ndarray | None = None,
) -> Calibration:
    """Calibration from out-of-fold evidence of the reference's items; copies within a component count as one item.

    `effects` (m + K,) are the design effects of copies within each of the m real sources and K generators.
    """
    n_real = evidence.n_real
    edges = _edges(evidence.scores, component >= n_real)
    counts = tuple(
        count_scores(Evidence(evidence.posteriors[component == k], evidence.nearest[component == k], n_real), edges)
        for k in range(len(labels))
    )
    if effects is not None:
        counts = tuple(c.thinned(float(effect)) for c, effect in zip(counts, effects, strict=True))
    return Calibration(labels, edges, counts, n_real, simulated)


def _edges(scores: np.ndarray, is_synthetic: np.ndarray) -> np.ndarray:
    """Inner bin edges: an even grid of log odds from −4 to 4, and quantiles of the real and of the synthetic scores.

    The quantiles give narrow bins where most real and most synthetic scores lie. Without the grid, well separated
    scores would have a bin edge between the highest real and the lowest synthetic score of the reference. New items
    with less extreme scores would then lie on the wrong side of that bin edge. Without the grid, the 95 % interval
    contained the true fraction in only 88 % of audits with 300 real and 300 synthetic essays as reference.
    """
    grid = np.arange(-_DOUBT, _DOUBT + _STEP / 2, _STEP)
    sides = [side for side in (scores[~is_synthetic], scores[is_synthetic]) if len(side)]
    quantiles = np.concatenate([np.quantile(side, _LEVELS) for side in sides])
    return np.unique(np.concatenate([grid, quantiles]))
