"""The Vendi family: effective numbers of different items, with intervals."""

import math

import numpy as np
from scipy import linalg, special

from auditor.measures.checked_rows import FEWEST, checked_rows
from auditor.statistics.intervals import Measure, normal_interval
from auditor.statistics.moments import unit_rows
from indexes.errors import InputError

__all__ = ["number_interval", "renyi_number", "vendi"]


def vendi(vectors: np.ndarray, *, order: float = 1.0, level: float | None = None) -> Measure:
    """Vendi score of the rows of (n, d): exp of the Rényi entropy of the cosine kernel's eigenvalues.

    The score is defined by Friedman & Dieng (2023), its order q by Pasarkar & Dieng (2024). The non-zero eigenvalues of
    the kernel are the squared singular values of the rows scaled to length one, divided by n. The score lies between 1
    (n copies) and min(n, d). If `level` is given, the interval is a confidence interval of the score's expectation at
    this n, by its influence function; it needs at least 10 rows. Raises InputError for arrays that are not finite and
    two-dimensional, and for orders that are not positive.
    """
    rows = unit_rows(checked_rows(vectors, "vectors"))
    if level is None:
        return Measure(renyi_number(_eigenvalues(linalg.svdvals(_triangle(rows)), rows), order), n=len(rows))
    if len(rows) < 2:
        raise InputError("the interval of a Vendi score needs at least 2 vectors, got 1")
    return number_interval(rows, level, order)


def renyi_number(eigenvalues: np.ndarray, order: float) -> float:
    """Exponential of the Rényi entropy of eigenvalues (k,), divided by their sum; 0 stands for rounding errors."""
    if not order > 0:
        raise InputError(f"the order of a Vendi score must be positive, got {order}")
    values = eigenvalues[eigenvalues > 0]
    if len(values) == 0:
        return 1.0  # all vectors are zero: one kind of item
    shares = values / values.sum()
    if math.isinf(order):
        return float(1 / shares.max())
    if order == 1:
        return max(1.0, float(np.exp(special.entr(shares).sum())))
    return max(1.0, float(np.exp(special.logsumexp(order * np.log(shares)) / (1 - order))))


def number_interval(rows: np.ndarray, level: float, order: float = 1.0) -> Measure:
    """Exponential of the Rényi entropy of the eigenvalues of rowsᵀ·rows / n, for rows (n ≥ 2, d), with its interval.

    There is no interval for fewer than 10 rows.
    """
    entropy, variance = _log_number(rows, order)
    if len(rows) < FEWEST:
        reason = f"an interval needs at least {FEWEST} items, got {len(rows)}"
        return Measure(math.exp(entropy), n=len(rows), reason=reason)
    low, high = normal_interval(entropy, math.sqrt(variance), level=level)
    return Measure(math.exp(entropy), low=max(1.0, math.exp(low)), high=math.exp(high), n=len(rows))


def _log_number(rows: np.ndarray, order: float = 1.0) -> tuple[float, float]:
    """Rényi entropy of order q of the eigenvalues of Σ = rowsᵀ·rows divided by its trace, and its variance.

    The variance of the entropy is that of its influence function. For Σ of trace one, the influence function at a row x
    is q/(1 − q)·(xᵀ Σ^(q−1) x / tr Σ^q − |x|²). Its limits are −xᵀ log Σ x − H·|x|² at q = 1, and |x|² − (x·v)² / λ at
    q = ∞, where v is the first eigenvector and λ its eigenvalue. If n is not large compared with the score V, this
    variance is too small: by a third of the standard error at n = V. The factor 1 + V/n corrects this (simulated for 16
    to 512 dimensions and n from V upwards).
    """
    size = (rows**2).sum(1)  # what a row adds to the trace: 1 if it has length one, 0 if it is a zero row
    if not size.any():
        return 0.0, 0.0
    share = size.mean()
    values, squares = _spectrum(rows)
    kept = values > 0
    values, squares = values[kept] / share, squares[:, kept]
    if order == 1:
        surprise = -squares @ np.log(values)
        entropy = max(0.0, float(surprise.mean() / share))
        influence = surprise - entropy * size
    else:
        entropy = math.log(renyi_number(values, order))
        at_row = squares[:, -1] / values[-1]
        if math.isfinite(order):
            at_row = squares @ values ** (order - 1) / (values**order).sum()
        influence = (size - at_row) if math.isinf(order) else order / (1 - order) * (at_row - size)
    variance = float((influence / share).var(ddof=1)) / len(rows)
    return entropy, variance * (1 + math.exp(entropy) / len(rows))


def _spectrum(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (k,) of rowsᵀ·rows / n in ascending order, and each row's squared components along them, (n, k)."""
    n, d = rows.shape
    _, sizes, directions = linalg.svd(_triangle(rows))
    values = _eigenvalues(sizes, rows)
    return values[::-1], ((rows @ directions.T) ** 2 if d <= n else directions.T**2 * values * n)[:, ::-1]


def _triangle(rows: np.ndarray) -> np.ndarray:
    """A small square matrix with the singular values of rows (n, d)."""
    return np.asarray(np.linalg.qr(rows if len(rows.T) <= len(rows) else rows.T, mode="r"))


def _eigenvalues(sizes: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Eigenvalues (k,) of rowsᵀ·rows / n from singular values in descending order; rounding errors become 0.

    Eigenvalues of the product would have errors of 1e-16, which is much for small orders; these have errors of 1e-32.
    """
    floor = sizes[0] * max(rows.shape) * np.finfo(np.float64).eps
    return np.asarray(np.where(sizes > floor, sizes, 0.0) ** 2 / len(rows))
