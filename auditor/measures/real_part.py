"""Fidelity and diversity of a set against the real part of a reference."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from auditor.answers import Scale
from auditor.measures.diversity import diversity_loss, effective_rank_interval, vendi, vendi_of
from auditor.measures.fidelity import coverage_baseline, frechet_interval, frechet_of, neighbour_radii
from auditor.statistics.intervals import Measure, normal_interval, wilson_interval
from auditor.statistics.moments import Moments, moments_of, unit_rows
from indexes.errors import InputError
from indexes.search import ball_counts, knn

__all__ = [
    "LEVEL_SIZE",
    "NEIGHBOURS",
    "SAMPLE_SIZE",
    "SemanticReference",
    "SemanticSums",
    "diversity_measures",
    "fidelity_measures",
    "loss_of",
]

SAMPLE_SIZE = 4096  # items of a set whose vectors are kept
NEIGHBOURS = 5  # k of precision, recall, density, coverage
ANCHORS = 10_000  # real points whose balls are used
LEVEL_SIZE = 2000  # items at which a risk forecast states its Fréchet levels
_FEWEST = 10  # items from which the interval of the diversity loss holds


@dataclass(frozen=True, slots=True)
class SemanticSums:
    """Sums over a set's vectors from which its fidelity and diversity are computed."""

    raw: Moments
    unit: Moments  # of rows scaled to length one
    precise: int  # items inside at least one real ball
    ball_total: int  # Σ number of real balls around an item
    ball_squares: int  # Σ of its square
    covered: np.ndarray  # (anchors,) bool, real balls that hold at least one item

    def __add__(self, other: "SemanticSums") -> "SemanticSums":
        return SemanticSums(
            self.raw + other.raw,
            self.unit + other.unit,
            self.precise + other.precise,
            self.ball_total + other.ball_total,
            self.ball_squares + other.ball_squares,
            self.covered | other.covered,
        )


@dataclass(frozen=True)
class SemanticReference:
    """Real vectors in random order; the first ones are the centres of the balls and the real sample for comparison."""

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

    def frechet_baseline(self, n: int) -> float:
        """Expected distance between this real part and another real sample of n ≥ 2 items.

        The distance is measured between n of the real part's items, or half of them, and the rest, and then scaled to
        the requested sizes. In simulations with 32 to 512 dimensions it is within 10 % up to half the real part, and
        within 20 % beyond.
        """
        size, everything = min(n, len(self.vectors) // 2), len(self.vectors)
        if size not in self._measured:
            self._measured[size] = frechet_of(moments_of(self.vectors[:size]), moments_of(self.vectors[size:]))
        between = self._measured[size]
        smaller = (1 / n + 1 / everything) / (1 / size + 1 / (everything - size))
        return between * smaller**self._frechet_rate

    @cached_property
    def _measured(self) -> dict[int, float]:
        """Number of items → distance between this many items and the rest; filled on request."""
        return {}

    @cached_property
    def _frechet_rate(self) -> float:
        """p in E[F] ∝ (1/n₁ + 1/n₂)^p beyond the sizes that can be measured: 1 where n ≫ d, less below.

        Halfway between the rate that is measured from quarters to halves of the real part, and the limit 1.
        """
        half = len(self.vectors) // 2
        quarter = half // 2
        rows = self.vectors
        if quarter >= 2 * rows.shape[1]:
            return 1.0
        halves = frechet_of(moments_of(rows[:half]), moments_of(rows[half:]))
        quarters = frechet_of(moments_of(rows[:quarter]), moments_of(rows[half : half + quarter]))
        seen = np.log2(quarters / halves) if halves > 0 and quarters > 0 else 1.0
        return float((1 + np.clip(seen, 0, 1)) / 2)

    @property
    def scale(self) -> Scale:
        """The unit of a risk forecast's distances, and the real total variance.

        The unit is F between a real sample of `n` items and the distribution itself. The real part is a sample too, so
        the unit is only that share of the expected distance to the real part which is due to the n items' own error.
        """
        own, theirs = 1 / LEVEL_SIZE, 1 / len(self.vectors)
        unit = self.frechet_baseline(LEVEL_SIZE) * (own / (own + theirs)) ** self._frechet_rate
        variance = float(np.trace(self.raw.covariance))
        return Scale(n=LEVEL_SIZE, frechet=unit, total_variance=variance, width=self.vectors.shape[1])

    def sums(self, vectors: np.ndarray) -> SemanticSums:
        """The sums that an audit keeps for some items (n, d)."""
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
    sums: SemanticSums, sample: np.ndarray, reference: SemanticReference, *, level: float
) -> dict[str, Measure]:
    """Fréchet distance, precision and density, each with the value that a real sample of the same size would have."""
    n = sums.raw.n
    measures = {"frechet": Measure(float("nan"), n=n, reason="a covariance needs at least 2 items, got 1")}
    if n >= 2:
        low, high = frechet_interval(reference.raw, sums.raw, reference.vectors[:SAMPLE_SIZE], sample, level=level)
        distance = frechet_of(reference.raw, sums.raw)
        measures["frechet"] = Measure(distance, low=low, high=high, n=n, reference=reference.frechet_baseline(n))
    low, high = wilson_interval(sums.precise, n, level=level)
    measures["precision"] = Measure(sums.precise / n, low=low, high=high, n=n, reference=reference.precision_baseline)
    density = sums.ball_total / n / NEIGHBOURS
    low, high = float("nan"), float("nan")  # one item does not show the error
    if n >= 2:
        variance = (sums.ball_squares / NEIGHBOURS**2 - n * density**2) / (n - 1)
        low, high = normal_interval(density, (max(variance, 0.0) / n) ** 0.5, level=level)
    # a real point is among the k nearest of k other points on average, so it lies in k balls: its density is exactly 1
    measures["density"] = Measure(density, low=low if low > 0 or n < 2 else 0.0, high=high, n=n, reference=1.0)
    return measures


def diversity_measures(
    sums: SemanticSums, sample: np.ndarray, reference: SemanticReference, *, level: float
) -> dict[str, Measure]:
    """Vendi score, effective rank, coverage and recall, each with the value of a real sample of the same size."""
    n, m = sums.raw.n, matched_size(sample, reference)
    ours, real = sample[:m], reference.vectors[:m]
    measures = {
        "vendi": _beside(vendi, ours, real, level),
        "effective_rank": _beside(effective_rank_interval, ours, real, level),
    }
    if n > m >= _FEWEST:
        measures["vendi_all"] = _vendi_of_all(sums, measures["vendi"])
    measures["coverage"] = _coverage(sums, level)
    measures["recall"] = _recall(sample, reference, level)
    return measures


def _vendi_of_all(sums: SemanticSums, of_sample: Measure) -> Measure:
    """Vendi score of all items, with the sample's relative error scaled to their number; no real sample is as large."""
    value, scale = vendi_of(sums.unit), ((of_sample.n or 0) / sums.unit.n) ** 0.5
    low, high = (value * (end / of_sample.estimate) ** scale for end in (of_sample.low, of_sample.high))
    return Measure(value, low=low, high=high, n=sums.unit.n)


def _beside(measure: Callable[..., Measure], ours: np.ndarray, real: np.ndarray, level: float) -> Measure:
    """A measure of our sample, with that of the real sample of the same size as its reference."""
    if len(ours) < _FEWEST:
        return Measure(float("nan"), n=len(ours), reason=f"diversity needs at least {_FEWEST} items, got {len(ours)}")
    return replace(measure(ours, level=level), reference=measure(real, level=level).estimate)


def _coverage(sums: SemanticSums, level: float) -> Measure:
    """Share of real balls that hold an incoming item.

    The error has two parts: that of the balls, and that of the items, Σ (balls that item i alone covers)² / balls²
    (Efron & Stein 1981). An item alone covers about the share 1 − coverage of the balls it lies in.
    """
    n, balls, value = sums.raw.n, len(sums.covered), float(sums.covered.mean())
    effective = balls / (1 + sums.ball_squares * (1 - value) / value / balls) if value > 0 else balls
    low, high = wilson_interval(value * effective, effective, level=level)
    return Measure(value, low=low, high=high, n=n, reference=coverage_baseline(balls, n, NEIGHBOURS))


def _recall(sample: np.ndarray, reference: SemanticReference, level: float) -> Measure:
    """Share of held-out real points inside balls of m incoming items; `reference` uses balls of m real points instead.

    Points and balls are both random, so the interval counts each as a trial (cautious by about two fifths in
    simulation).
    """
    m = min(len(sample), len(reference.anchors) // 2)
    if m <= NEIGHBOURS:
        return Measure(float("nan"), n=m, reason=f"recall needs more than {NEIGHBOURS} items, got {m}")
    tested = reference.anchors[m:]

    def hits(points: np.ndarray) -> int:
        radii = neighbour_radii(points, NEIGHBOURS, device=reference.device)
        return int((ball_counts(tested, points, radii, device=reference.device)[0] > 0).sum())

    found = hits(sample[:m])
    effective = 1 / (1 / len(tested) + 1 / m)
    low, high = wilson_interval(found / len(tested) * effective, effective, level=level)
    return Measure(found / len(tested), low=low, high=high, n=m, reference=hits(reference.anchors[:m]) / len(tested))


def loss_of(sample: np.ndarray, reference: SemanticReference, *, level: float) -> Measure:
    """Diversity loss at the largest size that both sides have."""
    m = matched_size(sample, reference)
    if m < _FEWEST:
        return Measure(float("nan"), n=m, reason=f"diversity needs at least {_FEWEST} items, got {m}")
    return diversity_loss(reference.vectors[:m], sample[:m], level=level)


def matched_size(sample: np.ndarray, reference: SemanticReference) -> int:
    """Size at which incoming and real samples are compared."""
    return min(len(sample), len(reference.vectors), SAMPLE_SIZE)
