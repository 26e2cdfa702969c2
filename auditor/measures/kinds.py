"""Kinds lost and spread lost: how much of the real items' variety a set lacks, and the diversity loss from both."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.special import digamma

from auditor.measures.cells import Cells, cell_count, fit_cells
from auditor.measures.checked_rows import unmasked
from auditor.measures.copies import copy_effect, copy_groups_beside, copy_scale, nearest_two
from auditor.measures.foreign import foreign
from auditor.statistics.distinct import distinct_rows
from auditor.statistics.intervals import Measure, normal_interval
from indexes.errors import InputError

__all__ = [
    "FEWEST",
    "DiversityLoss",
    "Split",
    "cells_of_halves",
    "diversity_loss",
    "kinds",
    "kinds_and_spread",
    "splits_of",
    "spread",
]

FEWEST = 16  # distinct items of a set, from which two cells can be filled
_DOMINANT = 0.5  # share of the spread that a single item may hold
_SEED = 0
_NOT_FINITE = "some vectors hold infinite values or nan"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiversityLoss:
    """The shares of the real items' variety that a set lacks, as stated in `docs/diversity.md`."""

    kinds: Measure
    spread: Measure
    loss: Measure
    cells: int  # the cells in which the kinds were counted; 0 if they could not be counted

    @classmethod
    def unknown(cls, n: int, reason: str, *, low: float = math.nan) -> "DiversityLoss":
        """Result without estimates, with the reason; if `low` is given, at least this share of the kinds is lost."""
        missing = Measure(math.nan, n=n, reason=reason)
        at_least = missing if not low > 0 else Measure(low, low=low, high=1.0, n=n, reason=reason)
        return cls(kinds=at_least, spread=missing, loss=at_least, cells=0)


def kinds(real: np.ndarray, candidate: np.ndarray, *, level: float | None = None) -> Measure:
    """The share of the kinds of items in `real` (m, d) that `candidate` (n, d) lacks, by cells of similar items.

    The share is 1 − exp(−KL(p‖q)), where p and q are the shares of the candidate and of the real items in each cell. KL
    is the Kullback–Leibler divergence (1951), estimated by digamma functions of the counts (Grassberger 2003), which
    removes the bias at finite sizes. A candidate that shows a share s of the real kinds, in the real proportions, has
    lost 1 − s. Kinds that are over-represented also count, because they displace others. Half of the real items make
    the cells by k-means and the other half are counted in them; then the halves are swapped, and the two divergences
    are averaged. Copies of an item count once. If `level` is given, the interval includes the sampling errors of both
    sides. The estimate is nan, with a reason, for too few items and for sets that lie outside the real items. Raises
    InputError for arrays of other shapes.
    """
    return _of_arrays(real, candidate, level).kinds


def spread(real: np.ndarray, candidate: np.ndarray, *, level: float | None = None) -> Measure:
    """The share of the spread of similar items in `real` (m, d) that `candidate` (n, d) lacks; negative if it has more.

    The share is 1 − √(v/w), where v is the candidate's variance within cells, and w is the real variance within the
    same cells, weighted by the candidate's items. If the candidate's deviations from each mode are
    multiplied by √λ, the share is 1 − √λ. See `kinds` for the cells, copies, `level`, reasons and errors.
    """
    return _of_arrays(real, candidate, level).spread


def diversity_loss(real: np.ndarray, candidate: np.ndarray, *, level: float | None = 0.95) -> Measure:
    """The share of the variety of `real` (m, d) that `candidate` (n, d) lacks: 1 − (1 − kinds)·min(1, 1 − spread).

    Additional spread, such as noise, does not make up for lost kinds. The loss does not change if all vectors are
    scaled or a constant is added. The loss is at most 1. The loss of a second real sample is near 0, and may be
    slightly negative by chance. See `kinds` for the cells, copies, `level`, reasons and errors.
    """
    return _of_arrays(real, candidate, level).loss


def _of_arrays(real: np.ndarray, candidate: np.ndarray, level: float | None) -> DiversityLoss:
    real, candidate = unmasked(real, "real vectors"), unmasked(candidate, "candidate vectors")
    if real.ndim != 2 or candidate.ndim != 2 or real.shape[1] != candidate.shape[1]:
        raise InputError(f"expected vectors of shapes (m, d) and (n, d), got {real.shape} and {candidate.shape}")
    if not (np.isfinite(real).all() and np.isfinite(candidate).all()):
        return DiversityLoss.unknown(len(candidate), _NOT_FINITE)
    distinct, items = distinct_rows(real), distinct_rows(candidate)
    rows = distinct[np.random.default_rng(_SEED).permutation(len(distinct))]
    splits = splits_of(rows, cells_of_halves(rows, seed=_SEED))
    copies = 1.0
    if splits and len(items) >= FEWEST:
        ours, theirs = (splits[0].cells.frame.place(array).astype(np.float32) for array in (items, rows))
        copies = copy_effect(copy_groups_beside(ours, nearest_two(ours, theirs), copy_scale(theirs)))
    return kinds_and_spread(splits, items, copies=copies, n_offered=len(candidate), level=level)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Cells, the real items that are counted in the cells, and the number of the set's items in each cell."""

    cells: Cells
    held_out: np.ndarray  # (m, d) distinct real items that did not make the cells
    counts: np.ndarray | None = None  # (K,) distinct items of the set; None: the items at hand are all items


def cells_of_halves(vectors: np.ndarray, *, seed: int) -> tuple[Cells, ...]:
    """Cells from the first half of distinct real items (n, d), and cells from the second half; empty if too few."""
    half = len(vectors) // 2
    count = cell_count(half, math.inf)
    return () if count < 2 else tuple(fit_cells(part, count, seed=seed) for part in (vectors[:half], vectors[half:]))


def splits_of(
    vectors: np.ndarray, cells: Sequence[Cells], counts: Sequence[np.ndarray] | None = None
) -> tuple[Split, ...]:
    """One split for the cells of each half of the real items (n, d); the other half is counted in the cells."""
    half = len(vectors) // 2
    others = (vectors[half:], vectors[:half])
    of_set: Sequence[np.ndarray | None] = counts if counts is not None else [None] * len(cells)
    return tuple(Split(cells=c, held_out=o, counts=k) for c, o, k in zip(cells, others, of_set, strict=False))


def kinds_and_spread(
    splits: Sequence[Split],
    candidate: np.ndarray,
    *,
    copies: float = 1.0,
    n_offered: int | None = None,
    level: float | None,
) -> DiversityLoss:
    """Kinds and spread lost by distinct items `candidate` (n, d), averaged over the splits of the real items.

    Real items from which the cells were made are not counted, because they lie nearer to the centres. With one split
    for each half, every real item is counted once. `copies` is the design effect of near copies in the set. `n_offered`
    is the number of the set's items, including copies.
    """
    n = len(candidate) if not splits or splits[0].counts is None else int(splits[0].counts.sum())
    if not splits:
        return DiversityLoss.unknown(n, "the real part has too few distinct items, expected at least 40")
    if not all(np.isfinite(rows).all() for rows in (candidate, *(split.held_out for split in splits))):
        return DiversityLoss.unknown(n, _NOT_FINITE)
    count = min(cell_count(len(split.held_out), n / copies) for split in splits)
    if count < 2:
        return _too_few(splits[0], n, n / copies, n_offered or n)
    found = [_Compared(split, candidate, count, copies) for split in splits]
    place = splits[0].cells.frame.place
    outside = foreign(*(place(rows).astype(np.float32) for rows in (*(s.held_out for s in splits), candidate)))
    if reason := outside or next((one.reason for one in found if one.reason), None):
        return replace(DiversityLoss.unknown(n, reason), cells=count)
    lost, within = _kinds_over(found, n / copies), _spread_over(found, copies)
    shares = np.mean([one.shares for one in found], axis=0)
    influence = np.mean([one.spread.influence for one in found], axis=0)
    covariance = -copies * float((influence * (shares - shares.mean())).sum()) / n
    both = (lost[0] + within[0], max(lost[1] + within[1] + 2 * covariance, 0.0))
    return DiversityLoss(
        kinds=_at_least_none(_lost([lost], n, level)),
        spread=_lost([within], n, level),
        loss=_at_least_none(_lost([lost, both], n, level)),
        cells=count,
    )


def _kinds_over(found: Sequence["_Compared"], n: float) -> tuple[float, float]:
    """Negative mean divergence over the splits, and its variance, for an effective number n of the set's items.

    The first-order variance comes from the influence functions of the set's items, which all splits share, and of the
    real items, which differ between the splits. The plug-in value of the first-order variance is too large by the noise
    of the cell shares, so this noise is subtracted. If the set's shares equal the real shares, only the second-order
    variance remains.
    """
    splits = len(found)
    shares = np.mean([one.shares for one in found], axis=0)
    noise = float(np.mean([one.kinds.noise for one in found]))
    of_set = (float(shares.var()) - noise / splits) / n
    of_real = sum(one.kinds.real_variance for one in found) / splits**2
    free, spread = (float(np.mean([getattr(one.kinds, name) for one in found])) for name in ("free", "error"))
    second = free / 2 * (spread**2 + (splits - 1) / n**2) / splits
    return -float(np.mean([one.kinds.divergence for one in found])), max(0.0, of_set + of_real) + second


def _spread_over(found: Sequence["_Compared"], copies: float) -> tuple[float, float]:
    """The mean log ratio of the spreads over the splits, and its variance by the jackknife."""
    influence = np.mean([one.spread.influence for one in found], axis=0)
    of_real = sum(one.spread.real_variance for one in found) / len(found) ** 2
    value = float(np.mean([one.spread.log_ratio for one in found]))
    return value, copies * float(influence @ influence) + of_real


def _too_few(split: Split, n: int, effective: float, n_offered: int) -> DiversityLoss:
    """Result without an estimate; if the set holds copies, its few distinct items give a lower bound of the loss."""
    reason = f"the set has too few distinct items ({effective:.3g}), expected at least {FEWEST}"
    if n_offered < FEWEST or n == n_offered:
        return DiversityLoss.unknown(n, reason)
    shares = np.bincount(split.cells.assign(split.held_out)) / len(split.held_out)
    shown = math.exp(-float(shares[shares > 0] @ np.log(shares[shares > 0])))  # kinds that many real items show
    return DiversityLoss.unknown(n, reason, low=max(0.0, 1 - n / min(shown, n_offered)))


def _lost(parts: list[tuple[float, float]], n: int, level: float | None) -> Measure:
    """1 − exp(x) with its interval, where x is the smallest of several numbers, each given with its variance.

    The low end of x is the smallest low end of the numbers' intervals, and the high end of x the smallest high end. So
    the interval is valid whichever number is the smallest.
    """
    estimate = -math.expm1(min(value for value, _ in parts))
    if level is None:
        return Measure(estimate, n=n)
    ends = [normal_interval(value, math.sqrt(variance), level=level) for value, variance in parts]
    low, high = (-math.expm1(min(end[side] for end in ends)) for side in (1, 0))
    return Measure(estimate, low=low, high=high, n=n)


def _at_least_none(measure: Measure) -> Measure:
    """A measure whose interval includes 0 if it would lie below 0, because a divergence is never negative.

    Such intervals arise if the set holds items of the reference, because the two samples are then not independent.
    """
    return replace(measure, high=max(measure.high, 0.0)) if measure.high < 0 else measure


class _Counted:
    """Number of the items in each cell, and squared distance of each item from the mean of its cell."""

    def __init__(self, labels: np.ndarray, vectors: np.ndarray, cells: Cells, count: int, copies: float) -> None:
        rows = cells.frame.place(vectors)
        self.labels = labels  # (n,)
        self.counts = np.bincount(labels, minlength=count).astype(np.float64)  # (K,)
        member = sparse.csr_array((np.ones(len(labels)), (labels, np.arange(len(labels)))), (count, len(labels)))
        means = (member @ rows) / np.maximum(self.counts, 1)[:, None]  # (K, d)
        self.free = np.maximum(self.counts - copies, 0)  # (K,) degrees of freedom, times the copies of an item
        bessel = np.divide(self.counts, self.free, out=np.ones(count), where=self.free > 0)
        self.deviations = ((rows - means[labels]) ** 2).sum(1) * bessel[labels]  # (n,)
        self.scatter = np.bincount(labels, weights=self.deviations / bessel[labels], minlength=count)  # (K,)

    @cached_property
    def variances(self) -> np.ndarray:
        """Unbiased variance (K,) within each cell, summed over the columns; 0 for cells with fewer than two items."""
        return self.scatter / np.maximum(self.free, 1)


class _Compared:
    """The set and the held-out real items of one split, counted in merged cells."""

    def __init__(self, split: Split, candidate: np.ndarray, count: int, copies: float) -> None:
        groups = split.cells.merged(count)
        of_real, of_set = (
            _Counted(groups[split.cells.assign(rows)], rows, split.cells, count, effect)
            for rows, effect in ((split.held_out, 1.0), (candidate, copies))
        )
        counts: np.ndarray = of_set.counts
        if split.counts is not None:
            counts = np.bincount(groups, weights=split.counts.astype(np.float64), minlength=count)
        self.kinds = _Kinds(counts, of_real.counts, copies)
        self.shares = self.kinds.log_ratio[of_set.labels]  # (n,) log ratio of shares in the cell of each item
        self.spread = _Spread(of_set, of_real)
        self.reason = self.spread.reason


class _Kinds:
    """The divergence of the set's cell shares p from the real shares q, without bias (digamma of the counts)."""

    def __init__(self, counts: np.ndarray, real_counts: np.ndarray, copies: float) -> None:
        ours, n, m = counts / copies, counts.sum() / copies, real_counts.sum()
        p, q = ours / n, (real_counts + 0.5) / (m + 0.5)
        filled = p > 0
        self.log_ratio = np.zeros(len(counts))
        logs = digamma(ours[filled]) - digamma(n), digamma(real_counts[filled] + 1) - digamma(m + 1)
        self.log_ratio[filled] = logs[0] - logs[1]
        self.free = int(filled.sum()) - 1
        self.error = 1 / n + 1 / m
        self.noise = self.free * self.error  # of the squared log ratio of an item, from the errors of p and q
        self.divergence = float(p @ self.log_ratio)
        self.real_variance = (float((p**2 / q).sum()) - 1 - self.noise) / m  # may be negative by chance


class _Spread:
    """Half the log of the set's variance within cells divided by the real variance, and the influence of each item."""

    def __init__(self, of_set: _Counted, of_real: _Counted) -> None:
        used = (of_set.free > 0) & (of_real.counts > 2)
        weights = np.where(used, of_set.free, 0.0)
        ours, theirs = float(of_set.scatter[used].sum()), float(weights @ of_real.variances)
        self.reason = _no_spread(of_set, of_real, ours, theirs)
        if self.reason is not None:
            return
        ratio, expected = ours / theirs, of_real.variances
        self.log_ratio = math.log(ratio) / 2
        deviations = of_set.deviations - ratio * expected[of_set.labels]
        self.influence = np.where(used[of_set.labels], deviations / (2 * ours), 0.0)  # (n,)
        at_cell = weights / np.maximum(of_real.counts - 2, 1)
        real_deviations = of_real.deviations - expected[of_real.labels]
        of_items = np.where(used[of_real.labels], at_cell[of_real.labels] * real_deviations / (2 * theirs), 0.0)
        self.real_variance = float(of_items @ of_items)


def _no_spread(of_set: _Counted, of_real: _Counted, ours: float, theirs: float) -> str | None:
    """Why the spreads of the set and of the real items cannot be compared; None if they can be compared."""
    if theirs <= 0:
        return "the real items within a cell are all equal, so that no spread can be lost"
    if ours <= 0:
        return "too few of the set's items share a cell to measure their spread"
    if of_set.deviations.max() > _DOMINANT * ours and len(of_set.labels) > 2 * FEWEST:
        return "a single item of the set holds most of its spread: look at the item and leave it out"
    if of_real.deviations.max() > _DOMINANT * of_real.scatter.sum():
        return "a single real item holds most of the real spread: leave it out of the reference"
    return None
