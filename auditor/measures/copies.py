"""Near copies: items of a set that differ only slightly from each other or from items of the reference."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auditor.answers import CopyCluster
from auditor.evidence.near_duplicates import design_effect, linked_groups
from auditor.statistics.intervals import Measure, wilson_interval
from indexes.search import knn

__all__ = [
    "CopyScale",
    "clusters_of",
    "copy_effect",
    "copy_groups_beside",
    "copy_scale",
    "nearest_two",
    "share_of_copies",
]

_RARE = 0.005  # share of independent items that may pass for near copies by either rule
_NEARER = 0.5  # near copies of real items are nearer than this, in units of the rare quantile of nearest distances
_WITHIN = 0.5  # the same factor within the set, in units of the former: it may be a set of less spread
_BESIDE = 0.75  # near copies within the set are nearer to each other than to real items by this factor at least
_LARGE = 8  # a larger group of near copies is a collapsed mode,
_MODES = 10  # unless there are more such groups than this
_MOST = 64  # near copies of an item that are searched for
_MOST_JUDGED = 20_000  # real items whose nearest distances give the scale
_CLUSTERS, _EXAMPLES = 20, 6  # largest clusters that are listed, and items named for each


@dataclass(frozen=True, slots=True)
class CopyScale:
    """Limits that tell near copies from independent items, measured on distinct real items.

    An item is a near copy of its nearest real item if their distance is below `radius`. It is also a near copy if this
    distance is below `ratio` times its distance to the second nearest real item. About one in two hundred independent
    items has a distance ratio below `ratio`; far fewer have a distance below `radius`.
    """

    radius: float
    ratio: float


def copy_scale(rows: np.ndarray, *, device: str = "cpu") -> CopyScale:
    """The limits for near copies, from the distances of distinct real rows (m, d) to their two nearest other rows."""
    rows = rows[:_MOST_JUDGED]
    nearest, second = np.sqrt(knn(rows, rows, 3, device=device)[0][:, 1:]).T
    ratios = np.divide(nearest, second, out=np.ones_like(nearest), where=second > 0)
    return CopyScale(_NEARER * float(np.quantile(nearest, _RARE)), float(np.quantile(ratios, _RARE)))


def nearest_two(rows: np.ndarray, real: np.ndarray, *, device: str = "cpu") -> np.ndarray:
    """The distances (n, 2) of each row (n, d) to its two nearest real items (m, d)."""
    return np.asarray(np.sqrt(knn(rows, real, 2, device=device)[0]))


def share_of_copies(to_real: np.ndarray, scale: CopyScale, *, level: float) -> Measure:
    """The share of items that are near copies of a real item, from their distances to real items (`nearest_two`)."""
    nearest, second = to_real.T
    copies = int(((nearest < scale.radius) | (nearest < scale.ratio * second)).sum())
    low, high = wilson_interval(copies, len(to_real), level=level)
    return Measure(copies / len(to_real), low=low, high=high, n=len(to_real))


def copy_groups_beside(rows: np.ndarray, to_real: np.ndarray, scale: CopyScale, *, device: str = "cpu") -> np.ndarray:
    """Group number (n,) of each distinct row (n, d) of a set; near copies, and chains of them, share a group.

    The c nearest neighbours of an item are its near copies if there is a gap behind them: if the distance to the c-th
    is below `scale.ratio` times the distance to the next, and also clearly below the distance to the second nearest
    real item (`to_real` is from `nearest_two`; the nearest real item may be what the item is a copy of). A set of less
    spread, or with few items of a kind, has no such gaps. Items that are almost equal are near copies without a gap.
    """
    n = len(rows)
    if n < 2:
        return np.arange(n)
    squared, indices = knn(rows, rows, min(n, _MOST + 1), device=device)
    distances = np.sqrt(squared[:, 1:])  # the first neighbour is the row itself or an equal row
    linked = squared < (_WITHIN * scale.radius) ** 2
    linked[:, 0] = True
    gaps = distances.shape[1] - 1
    if gaps > 0:
        limit = np.minimum(scale.ratio * distances[:, 1:], min(scale.ratio, _BESIDE) * to_real[:, 1:])
        is_gap = distances[:, :-1] < limit
        copies = np.where(is_gap.any(1), gaps - np.argmax(is_gap[:, ::-1], axis=1), 0)
        linked[:, 1:-1] |= np.arange(gaps) < copies[:, None]
    return linked_groups(indices, linked)


def copy_effect(groups: np.ndarray) -> float:
    """The design effect of near copies in groups (n,): the factor by which they raise the variance of a mean.

    A few large groups are collapsed modes, which another draw of the set would also show. Their items are counted as
    independent.
    """
    sizes = np.bincount(groups)
    large = sizes > _LARGE
    if large.sum() <= _MODES:
        sizes = np.append(sizes[~large], np.ones(int(sizes[large].sum()), dtype=sizes.dtype))
    return design_effect(sizes)


def clusters_of(groups: np.ndarray, ids: Sequence[str]) -> tuple[int, tuple[CopyCluster, ...]]:
    """The number of items that repeat another item of their group (n,), and the largest groups of near copies."""
    sizes = np.bincount(groups)
    largest = [group for group in np.argsort(-sizes, kind="stable")[:_CLUSTERS] if sizes[group] > 1]
    clusters = tuple(
        CopyCluster(
            size=int(sizes[group]),
            examples=tuple(ids[row] for row in np.flatnonzero(groups == group)[:_EXAMPLES]),
        )
        for group in largest
    )
    return len(groups) - len(sizes), clusters
