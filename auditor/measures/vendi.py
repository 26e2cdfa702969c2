"""The Vendi family: effective numbers of different items, with intervals."""

import math

import numpy as np
from scipy import linalg, special

from auditor.statistics.intervals import Measure, normal_interval
from auditor.statistics.moments import moments_of, unit_rows
from indexes.errors import InputError

__all__ = ["number_interval", "renyi_number", "vendi"]


def vendi(vectors: np.ndarray, *, order: float = 1.0, level: float | None = None) -> Measure:
    """Vendi score of the rows of (n, d): exp of the Rényi entropy of the cosine kernel's eigenvalues.

    The score is defined by Friedman & Dieng (2023), its order q by Pasarkar & Dieng (2024). The non-zero eigenvalues of
    the kernel are those of the d × d second-moment matrix, which is used when d < n. The score lies between 1 (n
    copies) and min(n, d). If `level` is given, the interval is a confidence interval of the score's expectation at this
    n, by its influence function. Raises InputError for arrays of another shape, and for orders that are not positive.
    """
    rows = unit_rows(vectors)
    if len(rows) == 0 or rows.ndim != 2:
        raise InputError(f"a Vendi score needs vectors of shape (n ≥ 1, d), got {np.shape(vectors)}")
    n, d = rows.shape
    matrix = rows.T @ rows / n if d < n else rows @ rows.T / n
    if level is None:
        return Measure(renyi_number(linalg.eigvalsh(matrix), order), n=n)
    if n < 2:
        raise InputError("the interval of a Vendi score needs at least 2 vectors, got 1")
    return number_interval(rows, level, order)


def renyi_number(eigenvalues: np.ndarray, order: float) -> float:
    """Exponential of the Rényi entropy of eigenvalues (k,), given in ascending order and divided by their sum."""
    if not order > 0:
        raise InputError(f"the order of a Vendi score must be positive, got {order}")
    floor = max(float(eigenvalues[-1]), 0.0) * len(eigenvalues) * 1e-14
    values = eigenvalues[eigenvalues > floor]
    if len(values) == 0:
        return 1.0  # all vectors are zero: one kind of item
    shares = values / values.sum()
    if math.isinf(order):
        return float(1 / shares.max())
    if order == 1:
        return float(np.exp(special.entr(shares).sum()))
    return float(np.exp(special.logsumexp(order * np.log(shares)) / (1 - order)))


def number_interval(rows: np.ndarray, level: float, order: float = 1.0) -> Measure:
    """Exponential of the Rényi entropy of the eigenvalues of rowsᵀ·rows / n, for rows (n, d), with its interval."""
    entropy, variance = _log_number(rows, order)
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
    kept = values > max(values[-1], 0.0) * len(values) * 1e-14
    values, squares = values[kept] / share, squares[:, kept]
    if order == 1:
        surprise = -squares @ np.log(values)
        entropy = float(surprise.mean() / share)
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
    if d <= n:
        values, directions = linalg.eigh(moments_of(rows).second)
        return values, (rows @ directions) ** 2
    values, directions = linalg.eigh(rows @ rows.T / n)  # (n, n): the same eigenvalues
    return values, directions**2 * np.maximum(values, 0.0) * n
