"""Sums that determine a mean and a covariance, and that add over parts of a dataset."""

from dataclasses import dataclass

import numpy as np

from indexes.errors import InputError

__all__ = ["Moments", "moments_of", "unit_rows"]


@dataclass(frozen=True, slots=True)
class Moments:
    """n, Σx and Σxxᵀ in float64."""

    n: int
    total: np.ndarray  # (d,)
    outer: np.ndarray  # (d, d)

    def __add__(self, other: "Moments") -> "Moments":
        if self.total.shape != other.total.shape:
            raise InputError(f"cannot add moments of width {len(self.total)} and {len(other.total)}")
        return Moments(self.n + other.n, self.total + other.total, self.outer + other.outer)

    @property
    def mean(self) -> np.ndarray:
        return self.total / self.n

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased covariance (d, d); raises InputError below two items."""
        if self.n < 2:
            raise InputError(f"a covariance needs at least 2 items, got {self.n}")
        return (self.outer - np.outer(self.total, self.mean)) / (self.n - 1)

    @property
    def second(self) -> np.ndarray:
        """E[xxᵀ], (d, d), not centred."""
        return self.outer / self.n


def moments_of(vectors: np.ndarray) -> Moments:
    """Moments of the rows of (n, d)."""
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2:
        raise InputError(f"expected vectors of shape (n, d), got {rows.shape}")
    return Moments(len(rows), rows.sum(0), rows.T @ rows)


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length one, float64; a zero row stays zero."""
    rows = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)
