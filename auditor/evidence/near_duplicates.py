"""Groups of items that are not independent: copies, near copies, and items made from one another."""

import math

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from auditor.statistics.scaling import column_scale, standardise
from indexes.search import knn

__all__ = ["copy_groups", "design_effect", "groups_within", "joined", "kin_groups"]

_MOST = 64  # near copies of one item that are looked for
_CHANCE = 0.01  # share of independent items that may pass for near copies
_NEARER = 0.5  # near copies are nearer to each other than to anything else by this factor at least
_KIN = 0.9  # the same of an item and what was made from it
_SHARES = (0.1, 0.2)  # of the items within the radii that give the dimension
_JUDGES = 300  # items from which these radii are measured


def copy_groups(vectors: np.ndarray, *, beside: np.ndarray | None = None, most: int = _MOST) -> np.ndarray:
    """Group number (n,) of each vector (n, d): copies and near copies, such as frames or re-encodings, share one.

    Near copies are nearer to each other than to any other, and than most items are to a tenth of all, by a factor r. In
    D dimensions the distances to the c-th and the next neighbour of independent items have a ratio under r with
    probability r^(cD) (Facco et al. 2017): r is ½ or what keeps that under one in a hundred, D being measured at a
    scale that copies do not reach. What looks like copies may be a narrow mode: items among which independent ones,
    `beside` (m, d), lie as near are no copies, and without these no more than `most` are looked for. Copies that drift,
    each a little from the last, are not found.
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
    others[others.all(1), -1] = False  # so many exact copies that a row did not find itself
    distances, indices = np.sqrt(squared[others]).reshape(n, most), indices[others].reshape(n, most)
    parted = distances[:, :-1] < ratio * np.minimum(distances[:, 1:], reach[:, None])
    copies = most - 1 - np.argmax(parted[:, ::-1], axis=1)
    copies[~parted.any(1)] = 0
    linked = (np.arange(most) < copies[:, None]) | (distances == 0)
    return _components(np.repeat(np.arange(n), linked.sum(1)), indices[linked], n)


def groups_within(rows: np.ndarray, radius: float, *, most: int = _MOST) -> np.ndarray:
    """Group number (n,) of each row (n, d): rows within a radius of each other share one, by their `most` nearest."""
    n = len(rows)
    if n < 2:
        return np.arange(n)
    squared, indices = knn(rows, rows, min(n, most + 1))
    linked = squared < radius**2
    return _components(np.repeat(np.arange(n), linked.sum(1)), indices[linked], n)


def joined(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Group number (n,) of each row where those that share a group in either partition share one."""
    n = len(first)
    starts = [np.unique(groups, return_index=True)[1][groups] for groups in (first, second)]
    return _components(np.concatenate(starts), np.concatenate([np.arange(n)] * 2), n)


def _scale(rows: np.ndarray) -> tuple[float, float]:
    """The dimension at the scale of a tenth of the items, and the median radius around a row that holds so many."""
    judges = rows[np.linspace(0, len(rows) - 1, min(len(rows), _JUDGES)).astype(int)]
    counts = [max(1, round(share * len(judges))) for share in _SHARES]
    squared = knn(judges, judges, min(len(judges), counts[1] + 1))[0]
    near, far = (float(np.sqrt(np.median(squared[:, min(c, squared.shape[1] - 1)]))) for c in counts)
    dimension = math.log(_SHARES[1] / _SHARES[0]) / math.log(far / near) if 0 < near < far else math.inf
    return dimension, near


def kin_groups(rows: np.ndarray, component: np.ndarray, groups: np.ndarray, n_real: int) -> np.ndarray:
    """Group number (n,) of each row: those of a group, and a real item and the synthetic ones made from it, share one.

    Made from it (paraphrases, reconstructions, variations) are those of a generator that are nearest to it among their
    kind, as it is to them among the real ones, if either's second nearest is further than by chance; parted over folds
    they would make a probe learn each item's opposite.
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
    """The nearest of the others to each row, and whether it is nearer than that ratio of the second one's distance."""
    squared, indices = knn(rows, others, min(2, len(others)))
    return indices[:, 0], squared[:, 0] < ratio**2 * squared[:, -1]


def design_effect(counts: np.ndarray) -> float:
    """By how much copies raise the variance of a mean: Σm²/Σm of the numbers m of copies of each distinct item."""
    return float((counts.astype(np.float64) ** 2).sum() / counts.sum())


def _components(sources: np.ndarray, targets: np.ndarray, n: int) -> np.ndarray:
    links = coo_array((np.ones(len(sources), dtype=bool), (sources, targets)), shape=(n, n))
    groups: np.ndarray = connected_components(links, directed=False)[1]
    return groups
