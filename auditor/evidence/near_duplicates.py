"""Groups of items that are not independent: copies, near copies, and items made from one another."""

import math

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from auditor.statistics.scaling import column_scale, standardise
from indexes.search import knn

__all__ = ["copy_groups", "design_effect", "groups_within", "joined", "kin_groups", "linked_groups"]

_MOST = 64  # most near copies of one item that are searched for
_CHANCE = 0.01  # share of independent items that may pass for near copies
_NEARER = 0.5  # near copies are nearer to each other than to anything else by this factor at least
_KIN = 0.9  # the same factor for an item and the items made from it
_SHARES = (0.1, 0.2)  # shares of the items within the two radii that give the dimension
_JUDGES = 300  # items from which these radii are measured


def copy_groups(vectors: np.ndarray, *, beside: np.ndarray | None = None, most: int = _MOST) -> np.ndarray:
    """Group number (n,) of each vector (n, d); copies and near copies, such as video frames, share a group.

    Items are near copies if their distance is less than r times the distance to any other item. The distance between
    near copies must also be less than r times the median radius of a ball around an item that contains a tenth of all
    items. For independent items in D dimensions, the distances to the c-th and to the (c + 1)-th neighbour have a ratio
    below r with probability r^(cD) (Facco et al. 2017). The factor r is ½, or smaller if independent items would
    otherwise pass as near copies with probability above 1 %. The dimension D of the data is measured at a scale larger
    than the distances between copies. A narrow mode of the data can look like a group of copies. Therefore two items do
    not count as copies if an independent item from `beside` (m, d) is equally near. At most `most` copies of each item
    are searched for. Chains of copies, where each copy differs a little from the one before, are not found.
    """
    n, most = len(vectors), min(most, len(vectors) // 2)
    if most < 2:
        return np.unique(vectors, axis=0, return_inverse=True)[1].reshape(-1)
    scale = column_scale(vectors)
    rows = standardise(vectors, *scale)
    dimension, radius = _scale(rows)
    reach = np.full(n, radius)
    if beside is not None and len(beside):
        reach = np.minimum(reach, np.sqrt(knn(rows, standardise(beside, *scale), 1)[0][:, 0]))
    ratio = min(_NEARER, _CHANCE ** (1 / dimension))
    squared, indices = knn(rows, rows, most + 1)
    others = indices != np.arange(n)[:, None]
    others[others.all(1), -1] = False  # a row with too many exact copies may not find itself
    distances, indices = np.sqrt(squared[others]).reshape(n, most), indices[others].reshape(n, most)
    parted = distances[:, :-1] < ratio * np.minimum(distances[:, 1:], reach[:, None])
    copies = most - 1 - np.argmax(parted[:, ::-1], axis=1)
    copies[~parted.any(1)] = 0
    return linked_groups(indices, (np.arange(most) < copies[:, None]) | (distances == 0))


def groups_within(rows: np.ndarray, radius: float, *, most: int = _MOST) -> np.ndarray:
    """Group number (n,) of each row (n, d); rows within `radius` share a group.

    Each row is compared only with its `most` nearest rows.
    """
    n = len(rows)
    if n < 2:
        return np.arange(n)
    squared, indices = knn(rows, rows, min(n, most + 1))
    return linked_groups(indices, squared < radius**2)


def linked_groups(indices: np.ndarray, linked: np.ndarray) -> np.ndarray:
    """Group number (n,) of each of n rows; a row shares the group of those of its neighbours (n, k) that are linked."""
    return _components(np.repeat(np.arange(len(indices)), linked.sum(1)), indices[linked], len(indices))


def joined(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Merge two groupings: rows that share a group in either grouping share a group in the result, (n,)."""
    n = len(first)
    starts = [np.unique(groups, return_index=True)[1][groups] for groups in (first, second)]
    return _components(np.concatenate(starts), np.concatenate([np.arange(n)] * 2), n)


def _scale(rows: np.ndarray) -> tuple[float, float]:
    """Intrinsic dimension at the scale of a tenth of the rows, and the median radius of a ball that holds a tenth."""
    judges = rows[np.linspace(0, len(rows) - 1, min(len(rows), _JUDGES)).astype(int)]
    counts = [max(1, round(share * len(judges))) for share in _SHARES]
    squared = knn(judges, judges, min(len(judges), counts[1] + 1))[0]
    near, far = (float(np.sqrt(np.median(squared[:, min(c, squared.shape[1] - 1)]))) for c in counts)
    dimension = math.log(_SHARES[1] / _SHARES[0]) / math.log(far / near) if 0 < near < far else math.inf
    return dimension, near


def kin_groups(rows: np.ndarray, component: np.ndarray, groups: np.ndarray, n_real: int) -> np.ndarray:
    """Group number (n,) of each row; extends `groups` so that a real item and the items made from it share a group.

    A synthetic item counts as made from a real item (for example a paraphrase) if the two items are mutual nearest
    neighbours between the generator and the real part. For each of the two items, the second nearest neighbour must
    also be further away than the nearest by more than chance explains. If a real item and its synthetic version were in
    different folds, a probe would learn the wrong origin for both.
    """
    real = np.flatnonzero(component < n_real)
    ratio = min(_KIN, _CHANCE ** (1 / _scale(rows[real])[0]))
    sources, targets = [np.unique(groups, return_index=True)[1][groups]], [np.arange(len(rows))]
    for k in range(n_real, int(component.max()) + 1):
        made = np.flatnonzero(component == k)
        origin, is_near = _nearest_by_far(rows[made], rows[real], ratio)
        back, is_near_back = _nearest_by_far(rows[real], rows[made], ratio)
        mutual = (back[origin] == np.arange(len(made))) & is_near & is_near_back[origin]
        sources.append(real[origin[mutual]])
        targets.append(made[mutual])
    return _components(np.concatenate(sources), np.concatenate(targets), len(rows))


def _nearest_by_far(rows: np.ndarray, others: np.ndarray, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """Index of the nearest of `others` to each row, and whether it is nearer than `ratio` times the second nearest."""
    squared, indices = knn(rows, others, min(2, len(others)))
    return indices[:, 0], squared[:, 0] < ratio**2 * squared[:, -1]


def design_effect(counts: np.ndarray) -> float:
    """Factor by which copies raise the variance of a mean: Σm²/Σm over distinct items with m copies each."""
    return float((counts.astype(np.float64) ** 2).sum() / counts.sum())


def _components(sources: np.ndarray, targets: np.ndarray, n: int) -> np.ndarray:
    links = coo_array((np.ones(len(sources), dtype=bool), (sources, targets)), shape=(n, n))
    groups: np.ndarray = connected_components(links, directed=False)[1]
    return groups
