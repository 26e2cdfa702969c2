"""All measures of an audited set against the real part of a reference, each with its value for a real sample."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from scipy import stats

from auditor.answers import Comparison, CopyCluster, Diversity, Fidelity, Region
from auditor.measures.cmmd import cmmd
from auditor.measures.copies import clusters_of, copy_effect, copy_groups_beside, nearest_two, share_of_copies
from auditor.measures.effective_rank import effective_rank_interval
from auditor.measures.frechet import frechet_interval, frechet_of
from auditor.measures.intrinsic_dimension import intrinsic_dimension
from auditor.measures.kid import kid
from auditor.measures.kinds import DiversityLoss, kinds_and_spread, splits_of
from auditor.measures.neighbour_entropy import neighbour_entropy
from auditor.measures.prdc import coverage_baseline, growth_of, neighbour_radii, proportion
from auditor.measures.real_part import NEIGHBOURS, SAMPLE_SIZE, RealPart
from auditor.measures.regions import regions_of
from auditor.measures.set_sums import SetSums
from auditor.measures.sliced_wasserstein import sliced_wasserstein
from auditor.measures.vendi import vendi
from auditor.statistics.frame import frame_of
from auditor.statistics.intervals import Measure
from indexes.search import membership

__all__ = ["DIVERSITY", "FIDELITY", "AuditedSpace", "Beside", "measured", "unmeasured"]

_FEWEST = 10  # distinct items from which the intervals hold
_PAIRED = 2000  # items of each side for the measures that compare all pairs
_EXAMPLES = 6  # items of either side that are named for a region

Pair = Callable[..., Measure]  # (real (m, d), candidate (n, d), level=) → Measure
Single = Callable[..., Measure]  # (vectors (n, d), level=) → Measure

_PAIRS: Mapping[str, Pair] = {  # to add a measure of a set against real items: one file, and one line here
    "cmmd": cmmd,
    "sliced_wasserstein": sliced_wasserstein,
    "kid": kid,
    "neighbour_entropy": neighbour_entropy,
}
_SINGLES: Mapping[str, Single] = {  # to add a measure of a set alone: one file, and one line here
    "vendi": vendi,
    "vendi_order_half": partial(vendi, order=0.5),
    "vendi_order_2": partial(vendi, order=2.0),
    "vendi_order_infinity": partial(vendi, order=math.inf),
    "effective_rank": effective_rank_interval,
    "intrinsic_dimension": intrinsic_dimension,
}
FIDELITY = ("frechet", "precision", "density", "cmmd", "sliced_wasserstein", "kid")
COPIES = ("near_duplicates", "near_copies_of_reference")
DIVERSITY = ("kinds", "spread", "coverage", "recall", "neighbour_entropy", *_SINGLES, *COPIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedSpace:
    """Data that an audit has gathered about the audited set in the semantic space."""

    sums: SetSums  # over all items
    vectors: np.ndarray  # (n, d) a random sample of the distinct items
    ids: tuple[str, ...]  # of the sample
    counts: tuple[np.ndarray, ...]  # (K,) distinct items of the whole set in each cell, for the cells of each half
    copies: float  # design effect of copies among all items


def unmeasured(reason: str) -> tuple[Fidelity, Diversity]:
    """Result in which all measures are unknown, with the reason."""
    missing = Measure(math.nan, reason=reason)
    fidelity = Fidelity(measures=dict.fromkeys(FIDELITY, missing), scale=None)
    return fidelity, Diversity(loss=missing, measures=dict.fromkeys(DIVERSITY, missing))


def measured(audited: AuditedSpace, real: RealPart, *, level: float) -> tuple[Fidelity, Diversity]:
    """Fidelity and diversity of the set; all measures except those from `audited.sums` use distinct items only."""
    items = real.place(audited.vectors)
    to_real = nearest_two(items, real.placed, device=real.device)
    groups = copy_groups_beside(items, to_real, real.copy_scale, device=real.device)
    copies = copy_effect(groups)
    lost = kinds_and_spread(
        splits_of(real.vectors, real.cells, audited.counts), audited.vectors, copies=copies, n_offered=audited.sums.n,
        level=level,
    )  # fmt: skip
    repeated, clusters = _repeated(audited, groups)
    sums, all_copies = audited.sums, max(copies, audited.copies)
    found = {
        "frechet": _frechet(audited, real, all_copies, level),
        "precision": Beside(sums.precision(copies=all_copies, level=level), real.precision_baseline(level=level)),
        "density": Beside(_density(audited, real, all_copies, level), _exactly(1.0)),
        "coverage": Beside(
            sums.coverage(copies=all_copies, level=level),
            _exactly(coverage_baseline(len(real.anchors), sums.n, NEIGHBOURS)),
        ),
        "recall": _recall(audited.vectors, real, copies, level),
        "kinds": Beside(lost.kinds, _exactly(0.0)),
        "spread": Beside(lost.spread, _exactly(0.0)),
        **{name: _paired(measure, audited.vectors, real, level) for name, measure in _PAIRS.items()},
        "near_duplicates": Beside(repeated, Measure(math.nan, reason="copies within a real sample are not measured")),
        "near_copies_of_reference": _copies_of_reference(to_real, real, level),
        **{name: _single(measure, audited.vectors, real, level) for name, measure in _SINGLES.items()},
    }
    answers = {name: (pair.set, pair.comparison(level)) for name, pair in found.items()}
    fidelity = Fidelity(**_of(answers, FIDELITY), scale=real.scale)
    diversity = Diversity(
        loss=replace(lost.loss, reference=0.0),
        **_of(answers, DIVERSITY),
        regions=() if lost.cells == 0 else _regions(audited, real, lost, copies, level),
        cells=lost.cells,
        clusters=clusters,
    )
    return fidelity, diversity


def _of(answers: Mapping[str, tuple[Measure, Comparison]], names: Sequence[str]) -> dict[str, Any]:
    measures, comparisons = ({name: answers[name][k] for name in names} for k in (0, 1))
    return {"measures": measures, "comparisons": comparisons}


@dataclass(frozen=True, slots=True)
class Beside:
    """A measure of the audited set, and the same measure of a real sample."""

    ours: Measure
    real: Measure

    @property
    def set(self) -> Measure:
        """The measure of the audited set, with the value of the real sample as its `reference`."""
        return replace(self.ours, reference=self.real.estimate)

    def comparison(self, level: float) -> Comparison:
        """Test of the difference between set and real sample, with normal errors derived from the two intervals."""
        z = float(stats.norm.ppf((1 + level) / 2))
        error = math.hypot(_half_width(self.ours) / z, _half_width(self.real) / z)
        difference, p_value = self.ours.estimate - self.real.estimate, math.nan
        if math.isfinite(difference) and math.isfinite(error):
            p_value = 2 * float(stats.norm.sf(abs(difference) / error)) if error > 0 else float(difference == 0)
        return Comparison(reference=self.real, p_value=p_value)


def _half_width(measure: Measure) -> float:
    return (measure.high - measure.low) / 2


def _exactly(value: float) -> Measure:
    """A value of a real sample that follows from theory, as a measure without uncertainty."""
    return Measure(value, low=value, high=value)


def _frechet(audited: AuditedSpace, real: RealPart, copies: float, level: float) -> Beside:
    n = audited.sums.n
    if n < 2 or len(audited.vectors) < 2:
        reason = "a covariance needs at least 2 distinct items, got 1"
        return Beside(Measure(math.nan, n=n, reason=reason), Measure(math.nan, reason=reason))
    ours = Measure(frechet_of(real.raw, audited.sums.raw), n=n)
    low, high = frechet_interval(
        real.raw, audited.sums.raw, real.vectors[:SAMPLE_SIZE], audited.vectors, copies=copies, level=level
    )
    return Beside(Measure(ours.estimate, low=low, high=high, n=n), real.frechet_baseline(n, level=level))


def _density(audited: AuditedSpace, real: RealPart, copies: float, level: float) -> Measure:
    """Density over all items; how much the balls grow towards their next neighbours is measured on the sample."""
    items = real.place(audited.vectors)
    within, larger = (
        membership(items, real.anchors, radii, device=real.device).totals
        for radii in (real.balls.radii, real.balls.next_radii)
    )
    return audited.sums.density(real.balls, growth_of(within, larger), copies=copies, level=level)


def _repeated(audited: AuditedSpace, groups: np.ndarray) -> tuple[Measure, tuple[CopyCluster, ...]]:
    """The share of distinct items that are near copies of another item of the set, and the largest clusters."""
    n = len(audited.vectors)
    repeats, clusters = clusters_of(groups, audited.ids)
    everything = int(audited.counts[0].sum()) if audited.counts else audited.sums.n
    if everything > n:
        reason = f"only a random sample of {n} of {everything} distinct items was compared, which misses most copies"
        return Measure(math.nan, n=n, reason=reason), clusters
    return Measure(repeats / n, low=repeats / n, high=repeats / n, n=n), clusters


def _copies_of_reference(to_real: np.ndarray, real: RealPart, level: float) -> Beside:
    """Share of near copies of real items, in the set, and in one half of the real items against the other half."""
    half = len(real.placed) // 2
    between = nearest_two(real.placed[:half], real.placed[half:], device=real.device)
    return Beside(*(share_of_copies(distances, real.copy_scale, level=level) for distances in (to_real, between)))


def _recall(vectors: np.ndarray, real: RealPart, copies: float, level: float) -> Beside:
    """Share of held-out real points inside balls around m items of the set, and inside balls around m real points."""
    m = min(len(vectors), len(real.anchors) // 2)
    if m <= NEIGHBOURS:
        reason = f"recall needs more than {NEIGHBOURS} distinct items, got {m}"
        return Beside(Measure(math.nan, n=m, reason=reason), Measure(math.nan, reason=reason))
    tested = real.anchors[m:]

    def recall(points: np.ndarray, copies: float) -> Measure:
        radii = neighbour_radii(points, NEIGHBOURS, device=real.device)
        held = membership(tested, points, radii, device=real.device)
        alone = math.sqrt(copies) * held.sole_queries / len(tested)
        return proportion(int((held.counts > 0).sum()), len(tested), alone, level=level)

    ours, theirs = recall(real.place(vectors[:m]), copies), recall(real.anchors[:m], 1.0)
    return Beside(Measure(ours.estimate, low=ours.low, high=ours.high, n=m), theirs)


def _paired(measure: Pair, vectors: np.ndarray, real: RealPart, level: float) -> Beside:
    """A measure of the set, and of the second half of the real items, each against the first half of the real items."""
    m = min(len(vectors), len(real.held_out), _PAIRED)
    if m < _FEWEST:
        return _too_few(m)
    first = real.vectors[: len(real.vectors) // 2][:_PAIRED]
    return Beside(measure(first, vectors[:m], level=level), measure(first, real.held_out[:m], level=level))


def _single(measure: Single, vectors: np.ndarray, real: RealPart, level: float) -> Beside:
    m = min(len(vectors), len(real.vectors), SAMPLE_SIZE)
    if m < _FEWEST:
        return _too_few(m)
    return Beside(measure(vectors[:m], level=level), measure(real.vectors[:m], level=level))


def _too_few(m: int) -> Beside:
    reason = f"diversity needs at least {_FEWEST} distinct items, got {m}"
    return Beside(Measure(math.nan, n=m, reason=reason), Measure(math.nan, reason=reason))


def _regions(
    audited: AuditedSpace, real: RealPart, lost: DiversityLoss, copies: float, level: float
) -> tuple[Region, ...]:
    cells = real.cells[0]
    groups = cells.merged(lost.cells)
    held_out, ids = real.held_out, real.ids[len(real.ids) - len(real.held_out) :]
    of_real, of_set = (groups[cells.assign(rows)] for rows in (held_out, audited.vectors))
    return regions_of(
        np.bincount(groups, weights=audited.counts[0], minlength=lost.cells),
        np.bincount(of_real, minlength=lost.cells),
        copies=copies,
        examples=lambda region: (
            _typical(held_out[of_real == region], [ids[row] for row in np.flatnonzero(of_real == region)]),
            _typical(audited.vectors[of_set == region], [audited.ids[row] for row in np.flatnonzero(of_set == region)]),
        ),
        level=level,
    )


def _typical(vectors: np.ndarray, ids: Sequence[str]) -> tuple[str, ...]:
    """The ids of the items nearest to the mean of the vectors (n, d), nearest first."""
    if len(vectors) == 0:
        return ()
    squared = (frame_of(vectors).place(vectors) ** 2).sum(1)
    return tuple(ids[row] for row in np.argsort(squared, kind="stable")[:_EXAMPLES])
