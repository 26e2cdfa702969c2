"""The distinct rows of a set, and the distances from each row to its nearest other rows."""

import numpy as np

from auditor.measures.checked_rows import outlier
from indexes.search import knn

__all__ = ["distinct_rows", "nearest_rows"]


def distinct_rows(rows: np.ndarray, *, name: str, fewest: int) -> tuple[np.ndarray, str | None]:
    """The distinct rows of (n, d) in the order of their first copies, and the reason why they cannot be used or None.

    The reason is set if there are fewer than `fewest` distinct rows, or if a row is an `outlier`.
    """
    first = np.sort(np.unique(rows, axis=0, return_index=True)[1])
    if len(first) < fewest:
        reason = f"nearest neighbours need at least {fewest} different {name} vectors, got {len(first)}"
        return rows[first], reason
    return rows[first], outlier(rows[first], name)


def nearest_rows(rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances (n, k) float64 and row numbers (n, k) of the k nearest other rows, nearest first; needs n > k.

    `rows` are from `distinct_rows`. The search uses float32; the distances to the rows found are computed in float64.
    """
    middle = rows - np.median(rows, axis=0)
    lengths = np.linalg.norm(middle, axis=1)
    middle = middle / np.median(lengths)  # the search squares in float32, up to 1e18
    found = knn(middle, middle, k + 1)[1]
    is_other = found != np.arange(len(rows))[:, None]
    is_other[is_other.all(1), -1] = False  # more than k other rows are equal to this one in float32
    neighbours = found[is_other].reshape(len(rows), k)
    distances = np.stack([np.linalg.norm(rows - rows[column], axis=1) for column in neighbours.T], axis=1)
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(distances, order, 1), np.take_along_axis(neighbours, order, 1)
