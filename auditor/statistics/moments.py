"""Sums that determine a mean and a covariance, and that can be added over parts of a dataset."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import linalg

from indexes.errors import InputError

__all__ = ["Moments", "clean_eigh", "lengths_of", "moments_of", "unit_rows"]


@dataclass(frozen=True)
class Moments:
    """Number of items n and the sums Σx and Σxxᵀ, in float64."""

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
        """Unbiased covariance (d, d); raises InputError for fewer than two items."""
        if self.n < 2:
            raise InputError(f"a covariance needs at least 2 items, got {self.n}")
        return (self.outer - np.outer(self.total, self.mean)) / (self.n - 1)

    @cached_property
    def root(self) -> np.ndarray:
        """Symmetric square root of the covariance matrix, (d, d)."""
        values, vectors = clean_eigh(self.covariance)
        return (vectors * np.sqrt(values)) @ vectors.T

    @property
    def second(self) -> np.ndarray:
        """Second moment E[xxᵀ], (d, d), not centred."""
        return self.outer / self.n


def moments_of(vectors: np.ndarray) -> Moments:
    """Moments of the rows of vectors (n, d); raises InputError for other shapes and for sums that are not finite."""
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2:
        raise InputError(f"expected vectors of shape (n, d), got {rows.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        total, outer = rows.sum(0), rows.T @ rows
    if not np.isfinite(outer).all():
        raise InputError(
            "the vectors hold nan, or values whose squares exceed the range of float64: drop or rescale these"
        )
    return Moments(len(rows), total, outer)


def clean_eigh(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors; eigenvalues below rounding error become 0, as their roots would be noise (1e-8)."""
    values, vectors = linalg.eigh((matrix + matrix.T) / 2)
    floor = max(values[-1], 0.0) * len(values) * 1e-14
    return np.asarray(np.where(values > floor, values, 0.0)), vectors


def lengths_of(rows: np.ndarray) -> np.ndarray:
    """Euclidean length (n,) float64 of each row (n, d); squares of very large or small values do not matter."""
    scaled, exponents = _scaled(rows)
    return np.asarray(np.ldexp(np.linalg.norm(scaled, axis=1), exponents[:, 0]))


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Vectors (n, d) with rows scaled to length one, float64; a zero row stays zero."""
    rows, _ = _scaled(np.asarray(vectors, dtype=np.float64))
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)


def _scaled(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each row of (n, d) divided by a power of two, and the exponents (n, 1) of these powers.

    The largest absolute value of a divided row lies in [½, 1).
    """
    if rows.ndim != 2:
        raise InputError(f"expected vectors of shape (n, d), got {rows.shape}")
    exponents = np.frexp(np.abs(rows).max(1, keepdims=True, initial=0.0))[1]
    return np.ldexp(rows, -exponents), exponents
