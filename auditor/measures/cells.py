"""Divides the space of the real items into cells of similar items, so that kinds of items can be counted."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from auditor.statistics.distinct import distinct_rows
from auditor.statistics.frame import Frame, frame_of
from indexes.errors import InputError

__all__ = ["MOST_CELLS", "Cells", "cell_count", "fit_cells"]

MOST_CELLS = 200
_ITEMS_OF_REAL, _ITEMS_OF_SET = 10, 16  # least mean number of real items, and of the set's items, in a cell
_FEWEST_OF_SET = 16  # items of a set that fill two cells; fewer than 2 · _ITEMS_OF_SET, which gives wide intervals
_OUTLIER = 1e3
_BLOCK = 8192  # rows that are compared with the centres at once


@dataclass(frozen=True)
class Cells:
    """The centres of K cells; an item belongs to the cell with the nearest centre, allowing for the centres' errors.

    A centre is a mean of few items, so its squared distance to an item is too large by its own squared error. The error
    is subtracted. Otherwise, in many dimensions, the centres with most items would be nearest to almost all new items.
    Neighbouring cells can be merged, because a small set can only fill a few cells.
    """

    frame: Frame  # of the items that made the cells
    centres: np.ndarray  # (K, d) float32, in coordinates of the frame
    errors: np.ndarray  # (K,) float32 squared standard error of each centre, summed over the columns

    def __post_init__(self) -> None:
        shape, width = self.centres.shape, self.frame.origin.shape
        if len(shape) != 2 or shape[0] < 2 or shape[1:] != width or self.errors.shape != shape[:1]:
            raise InputError(
                f"got cell centres of shape {shape} with errors of shape {self.errors.shape} in a frame of shape "
                f"{width}, expected (K ≥ 2, d), (K,), (d,)"
            )
        if not (np.isfinite(self.centres).all() and np.isfinite(self.errors).all()):
            raise InputError("got cell centres or errors with nan or infinite values, expected finite numbers")

    def assign(self, vectors: np.ndarray) -> np.ndarray:
        """The cell (n,) int64 of each vector (n, d)."""
        offsets = (np.einsum("kd,kd->k", self.centres, self.centres) - self.errors) / 2
        found = [np.zeros(0, dtype=np.int64)]
        for start in range(0, len(vectors), _BLOCK):
            rows = self.frame.place(vectors[start : start + _BLOCK]).astype(np.float32)
            found.append(np.argmin(offsets - rows @ self.centres.T, axis=1))
        return np.concatenate(found)

    def merged(self, count: int) -> np.ndarray:
        """Number (K,) of the merged cell to which each cell belongs, for at most `count` merged cells.

        Ward's method (1963) merges the two cells whose union adds least to the variance within cells.
        """
        if count >= len(self.centres):
            return np.arange(len(self.centres))
        groups = fcluster(self._tree, count, "maxclust")
        first = np.unique(groups, return_index=True)[1]
        return np.argsort(np.argsort(first))[groups - 1]  # numbered by their first cell

    @cached_property
    def _tree(self) -> np.ndarray:
        return np.asarray(linkage(self.centres.astype(np.float64), "ward"))


def fit_cells(vectors: np.ndarray, count: int, *, seed: int) -> Cells:
    """Fit `count` cells to vectors (n, d) by k-means; the number of cores does not change the result.

    Vectors further from the median than a thousand times the median distance are not used. The vectors must not be all
    equal.
    """
    kept = vectors[_is_near(vectors)]
    frame = frame_of(kept)
    rows = distinct_rows(frame.place(kept).astype(np.float32))
    with threadpool_limits(1):
        fitted = KMeans(min(count, len(rows)), n_init=1, max_iter=50, random_state=seed).fit(rows)
    sizes = np.bincount(fitted.labels_, minlength=fitted.n_clusters)
    variance = fitted.inertia_ / max(1, len(rows) - fitted.n_clusters)  # within cells, summed over the columns
    errors = (variance / np.maximum(sizes, 1)).astype(np.float32)
    return Cells(frame, np.ascontiguousarray(fitted.cluster_centers_, dtype=np.float32), errors)


def _is_near(vectors: np.ndarray) -> np.ndarray:
    rows = np.asarray(vectors, dtype=np.float64)
    rows = np.abs(rows - np.median(rows, axis=0))
    furthest = rows.max(1)  # the largest difference in a column: its square cannot vanish
    return np.asarray(furthest <= _OUTLIER * max(float(np.median(furthest)), np.finfo(np.float64).tiny))


def cell_count(n_real: int, n_set: float) -> int:
    """Number of cells that `n_real` held-out real items and `n_set` items of the set can fill; 0 or 1: too few."""
    of_set = max(n_set // _ITEMS_OF_SET, 2 if n_set >= _FEWEST_OF_SET else 0)
    return int(min(MOST_CELLS, n_real // _ITEMS_OF_REAL, of_set))
