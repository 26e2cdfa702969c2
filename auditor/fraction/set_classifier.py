"""A classifier trained for a single audit, which finds items of the audited set that are unlike the reference."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from auditor.evidence.detector import FOLDS
from auditor.evidence.near_duplicates import copy_groups, design_effect
from auditor.statistics.scaling import column_scale, standardise
from indexes.hashing import content_keys, fold_of

__all__ = ["Contrast", "contrast_with", "rows_of_components"]

_MOST = 4096  # items of the real part, of all generators together, and of the incoming set
_STRENGTH = 4.0  # ridge penalty divided by the mean squared length of the centred rows


@dataclass(frozen=True, slots=True)
class Contrast:
    """Out-of-fold scores of one set's classifier; a high score means that an item is unlike the reference's real items.

    In training, the audited items of the other folds are treated as not real. Therefore the classifier also separates
    items of unknown generators from real items. Real items of the audited set have the same score distribution as the
    reference's real items.
    """

    real: tuple[np.ndarray, ...]  # of each real source
    known: tuple[np.ndarray, ...]  # of each generator
    incoming: np.ndarray  # (n,) ascending
    sizes: np.ndarray  # (m + K,) effective number of items of each component, copies counted once
    departure: float  # how many standard errors the incoming items are away from the fitted mixture
    copies: float = 1.0  # design effect of copies among the incoming items

    @property
    def n(self) -> int:
        """Number of audited items."""
        return len(self.incoming)

    @property
    def effective_n(self) -> float:
        """Effective number of audited items, copies counted once."""
        return self.n / self.copies


def rows_of_components(component: np.ndarray, *, n_real: int = 1, seed: int) -> list[np.ndarray]:
    """Row numbers of each component, real sources first, randomly subsampled to a maximum size that bounds the cost."""
    rng, count = np.random.default_rng(seed), int(component.max()) + 1
    most = [_MOST] * n_real + [math.ceil(_MOST / max(1, count - n_real))] * (count - n_real)
    members = [np.flatnonzero(component == k) for k in range(count)]
    return [
        rows if len(rows) <= size else np.sort(rng.choice(rows, size, replace=False))
        for rows, size in zip(members, most, strict=True)
    ]


def contrast_with(
    components: Sequence[np.ndarray],
    incoming: np.ndarray,
    shares: np.ndarray,
    *,
    seed: int,
    n_real: int = 1,
    folds: Sequence[np.ndarray] | None = None,
    effects: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> Contrast:
    """Train a classifier on sampled audited vectors (n, d) and on reference components (n_k, d), real sources first.

    `shares` (m + K,) are the shares of the m real sources and K generators fitted to the audited set. `folds` (n_k,)
    are the cross-validation folds of each component's items, with derived items in one fold; by default, a fold is a
    hash of the vector. An audited item gets the fold of an equal reference item; without one, its fold is a hash of its
    vector. Near copies get the fold of the first item in their group. `effects` (m + K,) are the design effects of
    copies within each of the m real sources and K generators. `groups` (n,) are the groups of near copies among the
    audited items; by default, near copies are searched for. Only the first 4,096 audited items are used, because the
    computing time grows with the number of items.
    """
    order = np.argsort(content_keys(incoming[:_MOST], seed=seed), kind="stable")
    parts = [*components, incoming[order]]
    component = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    vectors = np.concatenate(parts)
    rows = standardise(vectors, *column_scale(vectors)).astype(np.float64)
    exemplars = vectors[: -len(order)]
    if groups is None:
        groups = copy_groups(parts[-1], beside=exemplars)
    else:
        groups = np.unique(groups[order], return_inverse=True)[1].reshape(-1)
    known = fold_of(exemplars, seed=seed, folds=FOLDS) if folds is None else np.concatenate(folds)
    fold = np.concatenate([known, _folds_beside(exemplars, known, parts[-1], groups, seed=seed)])
    copies = design_effect(np.bincount(groups))
    sizes = np.array([len(part) for part in components]) / (1.0 if effects is None else effects)
    unlike_real = -_out_of_fold(rows, fold, component < n_real, _even_weights(component, shares[:n_real]))
    of_component = [unlike_real[component == k] for k in range(len(parts))]
    return Contrast(
        tuple(of_component[:n_real]),
        tuple(of_component[n_real:-1]),
        np.sort(of_component[-1]),
        sizes,
        _departure(rows, fold, component, shares, sizes, copies),
        copies,
    )


def _folds_beside(
    vectors: np.ndarray, folds: np.ndarray, incoming: np.ndarray, groups: np.ndarray, *, seed: int
) -> np.ndarray:
    """Folds of audited items; a group gets the fold of a reference item equal to its first item, or else a hash."""
    first = incoming[np.unique(groups, return_index=True)[1]]
    known = {row.tobytes(): fold for row, fold in zip(vectors, folds.tolist(), strict=True)}
    hashed = fold_of(first, seed=seed, folds=FOLDS).tolist()
    return np.array([known.get(row.tobytes(), fold) for row, fold in zip(first, hashed, strict=True)])[groups]


def _even_weights(component: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Item weights with equal sums for the real part, for all generators together, and for the audited set.

    Within the real part, the sources are weighted by their shares (m,) of the audited set, or equally if all shares are
    0.
    """
    counts, m = np.bincount(component), len(real)
    share = np.ones(len(counts))
    share[:m] = real / real.sum() if real.sum() > 0 else 1 / m
    share[m:-1] = 1 / max(1, len(counts) - 1 - m)
    weights: np.ndarray = (share / counts)[component]
    return weights


def _departure(
    rows: np.ndarray, folds: np.ndarray, component: np.ndarray, shares: np.ndarray, sizes: np.ndarray, copies: float
) -> float:
    """Classifier two-sample test (Lopez-Paz & Oquab 2017) between the audited items and the fitted mixture.

    The test statistic is the mean score of audited items minus that of the fitted mixture, divided by the standard
    error of the difference. Because the folds are not independent, the standard deviation of the statistic under the
    null hypothesis is about 1.3 instead of 1.
    """
    last = len(shares)
    weights = np.append(shares, 1.0)[component] / np.bincount(component)[component]
    scores = _out_of_fold(rows, folds, component == last, weights)
    parts = [scores[component == k] for k in range(last + 1)]
    incoming, mixture = parts[-1], parts[:-1]
    expected = float(shares @ [part.mean() for part in mixture])
    spread = np.array([part.var() for part in mixture])
    variance = copies * (shares @ spread) / len(incoming) + shares**2 @ (spread / sizes)
    return float((incoming.mean() - expected) / math.sqrt(variance)) if variance > 0 else 0.0


def _out_of_fold(rows: np.ndarray, folds: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Out-of-fold scores of a ridge regression on `target` (a regularised Fisher discriminant).

    The sums of each fold are computed once; a fold's model is fitted to the total of all sums minus the fold's own
    sums.
    """
    members = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
    parts = [_sums(rows[inside], target[inside], weights[inside]) for inside in members]
    total = sum(parts[1:], start=parts[0])
    scores = np.zeros(len(rows))  # they stay 0 if all items are copies in one fold: there is nothing to learn from
    for inside, part in zip(members, parts, strict=True):
        train = total - part
        if train.n:
            scores[inside] = train.scores(rows[inside])
    return scores


@dataclass(frozen=True, slots=True)
class _Sums:
    """Weighted sums over rows and targets that determine a ridge regression; sums can be added and subtracted."""

    n: int  # rows of positive weight
    weight: float
    rows: np.ndarray  # (d,)
    targets: float
    products: np.ndarray  # (d, d) of the rows with themselves
    towards: np.ndarray  # (d,) of the rows with the targets

    def __add__(self, other: "_Sums") -> "_Sums":
        return _Sums(*(getattr(self, field) + getattr(other, field) for field in self.__slots__))

    def __sub__(self, other: "_Sums") -> "_Sums":
        return _Sums(*(getattr(self, field) - getattr(other, field) for field in self.__slots__))

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """Predictions of the ridge regression for rows (n, d); the intercept is not penalised."""
        centre, level = self.rows / self.weight, self.targets / self.weight
        products = self.products - self.weight * np.outer(centre, centre)
        length = float(np.trace(products)) / self.weight
        products[np.diag_indices_from(products)] += max(_STRENGTH * length, 1e-9) * self.weight / self.n
        factor = linalg.cho_factor(products.T, overwrite_a=True)
        coefficients = linalg.cho_solve(factor, self.towards - self.targets * centre)
        predicted: np.ndarray = level + (rows - centre) @ coefficients
        return predicted


def _sums(rows: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> _Sums:
    scaled = rows * np.sqrt(weights)[:, None]
    return _Sums(
        n=int((weights > 0).sum()),
        weight=float(weights.sum()),
        rows=weights @ rows,
        targets=float(weights @ targets),
        products=scaled.T @ scaled,
        towards=(weights * targets) @ rows,
    )
