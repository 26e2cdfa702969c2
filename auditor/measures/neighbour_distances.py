"""The distinct rows of a set, and the distances from each row to its nearest other rows."""

import numpy as np

from auditor.measures.checked_rows import frame_around, outlier
from auditor.statistics.distinct import first_of_each
from auditor.statistics.moments import lengths_of
from indexes.search import knn

__all__ = ["distinct_rows", "nearest_rows"]

_RESOLVED = 1e-3  # distance in units of a row's length, above which rounding to float32 hardly changes the order
_TINY = 1e-30  # length near the smallest number of float32, where rounding is no longer relative


def distinct_rows(rows: np.ndarray, *, name: str, fewest: int) -> tuple[np.ndarray, str | None]:
    """The distinct rows of (n, d) in the order of their first copies, and the reason why they cannot be used or None.

    The reason is set if there are fewer than `fewest` distinct rows, or if a row is an `outlier`.
    """
    first = first_of_each(rows + 0.0)  # −0 and 0 are one value
    if len(first) < fewest:
        reason = f"nearest neighbours need at least {fewest} different {name} vectors, got {len(first)}"
        return rows[first], reason
    return rows[first], outlier(rows[first], name)


def nearest_rows(rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances (n, k) float64 and row numbers (n, k) of the k nearest other rows, nearest first; needs n > k.

    `rows` are from `distinct_rows`. The search uses float32; the distances to the rows found are computed in float64.
    Rows whose neighbours are too near for float32 are compared with every row in float64.
    """
    frame = frame_around(rows)
    placed = frame.place(rows)
    found = knn(placed, placed, k + 1)[1]
    is_other = found != np.arange(len(rows))[:, None]
    is_other[is_other.all(1), -1] = False  # more than k other rows are equal to this one in float32
    neighbours = found[is_other].reshape(len(rows), k)
    distances = np.stack([lengths_of(rows - rows[column]) for column in neighbours.T], axis=1)
    resolved = _RESOLVED * np.maximum(lengths_of(placed), _TINY) * frame.scale
    for row in np.flatnonzero(distances.max(1) < resolved):
        every = lengths_of(rows - rows[row])
        every[row] = np.inf
        neighbours[row] = np.argsort(every, kind="stable")[:k]
        distances[row] = every[neighbours[row]]
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(distances, order, 1), np.take_along_axis(neighbours, order, 1)
