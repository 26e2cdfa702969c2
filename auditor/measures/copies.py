"""Near copies: items of a set that differ only slightly from each other or from items of the reference."""

from collections.abc import Sequence

import numpy as np

from auditor.answers import CopyCluster
from auditor.evidence.near_duplicates import design_effect, groups_within
from auditor.statistics.intervals import Measure, wilson_interval
from indexes.search import knn

__all__ = ["clusters_of_copies", "copy_effect", "copy_radius", "share_of_copies"]

_NEARER, _RARE = 0.75, 0.005  # near copies are nearer than 0.75 times the 0.5 % quantile of nearest distances
_MOST_JUDGED = 20_000  # real items whose nearest distances give the quantile
_CLUSTERS, _EXAMPLES = 20, 6  # largest clusters that are listed, and items named for each
_COPIES = 8  # items of a larger cluster are a collapsed mode, not copies,
_MODES = 10  # unless there are more such clusters than this


def copy_radius(rows: np.ndarray, *, device: str = "cpu") -> float:
    """The distance below which two items are near copies, from the nearest distances between distinct real rows (m, d).

    The distance is 0.75 times the 0.5 % quantile of these nearest distances. Among independent items, fewer than one in
    two hundred has a neighbour within this distance.
    """
    rows = rows[:_MOST_JUDGED]
    nearest = np.sqrt(knn(rows, rows, 2, device=device)[0][:, 1])
    return _NEARER * float(np.quantile(nearest, _RARE))


def copy_effect(rows: np.ndarray, radius: float) -> float:
    """The design effect of near copies among rows (n, d): the factor by which they raise the variance of a mean.

    A few large clusters are collapsed modes, which another draw of the set would also show. Their items are counted as
    independent.
    """
    sizes = np.bincount(groups_within(rows, radius))
    large = sizes > _COPIES
    if large.sum() <= _MODES:
        sizes = np.append(sizes[~large], np.ones(int(sizes[large].sum()), dtype=sizes.dtype))
    return design_effect(sizes)


def share_of_copies(
    vectors: np.ndarray, real: np.ndarray, radius: float, *, level: float, device: str = "cpu"
) -> Measure:
    """The share of items (n, d) that are near copies of a real item (m, d): nearer to it than the radius."""
    copies = int((knn(vectors, real, 1, device=device)[0][:, 0] < radius**2).sum())
    low, high = wilson_interval(copies, len(vectors), level=level)
    return Measure(copies / len(vectors), low=low, high=high, n=len(vectors))


def clusters_of_copies(rows: np.ndarray, ids: Sequence[str], radius: float) -> tuple[int, tuple[CopyCluster, ...]]:
    """The number of rows (n, d) that repeat another row of their cluster, and the largest clusters of near copies.

    Rows within the radius of each other are in one cluster, and so are rows that a chain of such rows connects.
    """
    groups = groups_within(rows, radius)
    sizes = np.bincount(groups)
    largest = [group for group in np.argsort(-sizes, kind="stable")[:_CLUSTERS] if sizes[group] > 1]
    clusters = tuple(
        CopyCluster(
            size=int(sizes[group]),
            examples=tuple(ids[row] for row in np.flatnonzero(groups == group)[:_EXAMPLES]),
        )
        for group in largest
    )
    return len(rows) - len(sizes), clusters
