"""The space of fidelity and diversity: what a reference keeps of its real part, and the measures of a set in it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from auditor.diversity import diversity_loss, effective_rank, vendi, vendi_of
from auditor.fidelity import coverage_baseline, frechet_interval, frechet_of, neighbour_radii
from auditor.intervals import Measure, normal_interval, wilson_interval
from auditor.moments import Moments, moments_of, unit_rows
from auditor.state import SAMPLE_SIZE, Sample, SemanticSums
from indexes.errors import InputError
from indexes.search import ball_counts, knn

__all__ = ["NEIGHBOURS", "SemanticReference", "diversity_measures", "fidelity_measures", "loss_of"]

NEIGHBOURS = 5  # k of precision, recall, density, coverage
ANCHORS = 10_000  # real points whose balls are used


@dataclass(frozen=True)
class SemanticReference:
    """Real vectors in random order; the first of them anchor the balls and are the real sample compared with."""

    vectors: np.ndarray  # (n, d) float32, ordered by sample key
    device: str = "cpu"

    def __post_init__(self) -> None:
        if len(self.vectors) < 4 * NEIGHBOURS:
            raise InputError(f"the real part has {len(self.vectors)} items, expected at least {4 * NEIGHBOURS}")

    @cached_property
    def anchors(self) -> np.ndarray:
        return np.ascontiguousarray(self.vectors[:ANCHORS])

    @cached_property
    def radii(self) -> np.ndarray:
        return neighbour_radii(self.anchors, NEIGHBOURS, device=self.device)

    @cached_property
    def raw(self) -> Moments:
        return moments_of(self.vectors)

    @cached_property
    def precision_baseline(self) -> float:
        """Share of anchors inside another anchor's ball: that is, among the k nearest of at least one other."""
        nearest = knn(self.anchors, self.anchors, NEIGHBOURS + 1, device=self.device)[1]
        others = nearest[nearest != np.arange(len(nearest))[:, None]]
        return len(np.unique(others)) / len(self.anchors)

    @cached_property
    def frechet_slope(self) -> float:
        """c in E[F] ≈ c·(1/n₁ + 1/n₂) for two real samples, from the two halves of this one."""
        half = len(self.vectors) // 2
        between = frechet_of(moments_of(self.vectors[:half]), moments_of(self.vectors[half : 2 * half]))
        return between * half / 2

    def sums(self, vectors: np.ndarray) -> SemanticSums:
        """What an audit keeps of some items (n, d)."""
        counts, covered = ball_counts(vectors, self.anchors, self.radii, device=self.device)
        return SemanticSums(
            moments_of(vectors),
            moments_of(unit_rows(vectors)),
            int((counts > 0).sum()),
            int(counts.sum()),
            int((counts.astype(np.int64) ** 2).sum()),
            covered,
        )


def fidelity_measures(
    sums: SemanticSums, sample: Sample, reference: SemanticReference, *, level: float
) -> dict[str, Measure]:
    """Fréchet distance, precision and density; `reference` is what a real sample of the same size would give."""
    n = sums.raw.n
    measures = {}
    if n >= 2:
        low, high = frechet_interval(
            reference.raw, sums.raw, reference.vectors[:SAMPLE_SIZE], sample.semantic, level=level
        )
        baseline = reference.frechet_slope * (1 / n + 1 / len(reference.vectors))
        measures["frechet"] = Measure(frechet_of(reference.raw, sums.raw), low, high, n, baseline)
    low, high = wilson_interval(sums.precise, n, level=level)
    measures["precision"] = Measure(sums.precise / n, low, high, n, reference.precision_baseline)
    density = sums.ball_total / n / NEIGHBOURS
    variance = sums.ball_squares / n / NEIGHBOURS**2 - density**2
    low, high = normal_interval(density, (max(variance, 0.0) / n) ** 0.5, level=level)
    # a real point lies in as many balls as it is among the k nearest of: k on average, so its density is exactly 1
    measures["density"] = Measure(density, max(0.0, low), high, n, 1.0)
    return measures


def diversity_measures(
    sums: SemanticSums, sample: Sample, reference: SemanticReference, *, level: float
) -> dict[str, Measure]:
    """Vendi score, effective rank, coverage and recall, each beside that of a real sample of the same size."""
    n, m = sums.raw.n, matched_size(sample, reference)
    ours, real = sample.semantic[:m], reference.vectors[:m]
    measures = {"vendi_all": Measure(vendi_of(sums.unit), n=n)}
    if m >= 2:
        measures["vendi"] = Measure(vendi(ours).value, n=m, reference=vendi(real).value)
        measures["effective_rank"] = Measure(
            effective_rank(moments_of(ours)), n=m, reference=effective_rank(moments_of(real))
        )
    n_anchors = len(reference.anchors)
    low, high = wilson_interval(int(sums.covered.sum()), n_anchors, level=level)
    baseline = coverage_baseline(n_anchors, n, NEIGHBOURS)
    measures["coverage"] = Measure(float(sums.covered.mean()), low, high, n, baseline)
    measures["recall"] = _recall(sample, reference, level)
    return measures


def _recall(sample: Sample, reference: SemanticReference, level: float) -> Measure:
    """Share of held-out real points inside balls of m incoming items, beside the same with balls of m real points."""
    m = min(len(sample.keys), len(reference.anchors) // 2)
    if m <= NEIGHBOURS:
        return Measure(float("nan"), n=m, reason=f"recall needs more than {NEIGHBOURS} items, got {m}")
    tested = reference.anchors[m:]

    def hits(points: np.ndarray) -> int:
        radii = neighbour_radii(points, NEIGHBOURS, device=reference.device)
        return int((ball_counts(tested, points, radii, device=reference.device)[0] > 0).sum())

    found = hits(sample.semantic[:m])
    low, high = wilson_interval(found, len(tested), level=level)
    return Measure(found / len(tested), low, high, m, hits(reference.anchors[:m]) / len(tested))


def loss_of(sample: Sample, reference: SemanticReference, *, level: float) -> Measure:
    """Diversity loss at the largest size that both sides have."""
    m = matched_size(sample, reference)
    if m < 2:
        return Measure(float("nan"), n=m, reason=f"diversity needs at least 2 items, got {m}")
    return diversity_loss(reference.vectors[:m], sample.semantic[:m], level=level)


def matched_size(sample: Sample, reference: SemanticReference) -> int:
    """Size at which incoming and real samples are compared."""
    return min(len(sample.keys), len(reference.vectors), SAMPLE_SIZE)
