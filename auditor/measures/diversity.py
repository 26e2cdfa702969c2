"""How varied a set is: the Vendi family, effective rank, and the loss against a real sample of the same size."""

import math

import numpy as np
from scipy import linalg, special

from auditor.statistics.intervals import Measure, normal_interval
from auditor.statistics.moments import Moments, moments_of, unit_rows
from indexes.errors import InputError

__all__ = [
    "diversity_loss",
    "duplicates",
    "effective_rank",
    "effective_rank_interval",
    "vendi",
    "vendi_of",
]


def vendi(vectors: np.ndarray, *, order: float = 1.0, level: float | None = None) -> Measure:
    """Vendi score of the rows of (n, d): exp of the Rényi entropy of the cosine kernel's eigenvalues.

    Friedman & Dieng (2023), order q from Pasarkar & Dieng (2024). The non-zero eigenvalues of the kernel are those
    of the d × d second-moment matrix, which is used when d < n. The score lies between 1 (n copies) and min(n, d). With
    a `level` the interval is that of the score's expectation at this n, by its influence function. Raises InputError
    for arrays of another shape, and for orders that are not positive.
    """
    rows = unit_rows(vectors)
    if len(rows) == 0 or rows.ndim != 2:
        raise InputError(f"a Vendi score needs vectors of shape (n ≥ 1, d), got {np.shape(vectors)}")
    n, d = rows.shape
    matrix = rows.T @ rows / n if d < n else rows @ rows.T / n
    if level is None:
        return Measure(_renyi_number(linalg.eigvalsh(matrix), order), n=n)
    if n < 2:
        raise InputError("the interval of a Vendi score needs at least 2 vectors, got 1")
    return _number_interval(rows, level, order)


def vendi_of(unit: Moments, *, order: float = 1.0) -> float:
    """Vendi score from the moments of length-one rows."""
    return _renyi_number(linalg.eigvalsh(unit.second), order)


def effective_rank(raw: Moments) -> float:
    """Exponential of the entropy of the covariance's normalised eigenvalues (Roy & Vetterli 2007)."""
    values = linalg.eigvalsh(raw.covariance)
    rounding = 1e-13 * float(np.trace(raw.second))  # what is left of copies when the mean is subtracted
    return _renyi_number(np.where(values > rounding, values, 0.0), 1.0)


def _renyi_number(eigenvalues: np.ndarray, order: float) -> float:
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


def diversity_loss(real: np.ndarray, candidate: np.ndarray, *, level: float = 0.95) -> Measure:
    """1 − V(candidate)/V(real) with V the Vendi score of order 1; both samples must have the same size.

    At equal size the finite-sample bias of V cancels between like sets. The interval is that of log V(candidate)
    − log V(real) from both sides' influence functions: the derivative of −tr(Σ log Σ) at a unit vector x is
    −xᵀ log Σ x minus its mean. Bounded above by 1, near 0 for a second real sample.
    """
    if len(real) != len(candidate) or len(real) < 2:
        raise InputError(f"diversity loss compares equal sizes ≥ 2, got {len(real)} real and {len(candidate)} vectors")
    (entropy_real, variance_real), (entropy, variance) = (_log_number(unit_rows(rows)) for rows in (real, candidate))
    difference = entropy - entropy_real
    low, high = normal_interval(difference, math.sqrt(variance_real + variance), level=level)
    return Measure(-math.expm1(difference), low=-math.expm1(high), high=-math.expm1(low), n=len(candidate))


def effective_rank_interval(vectors: np.ndarray, *, level: float = 0.95) -> Measure:
    """Effective rank of the rows of (n, d) with the interval of its expectation at this n."""
    rows = np.asarray(vectors, dtype=np.float64)
    centred = rows - rows.mean(0)
    if (centred**2).sum() <= 1e-13 * (rows**2).sum():  # copies of one item: only rounding is left
        return Measure(1.0, low=1.0, high=1.0, n=len(rows))
    return _number_interval(centred, level)


def _number_interval(rows: np.ndarray, level: float, order: float = 1.0) -> Measure:
    entropy, variance = _log_number(rows, order)
    low, high = normal_interval(entropy, math.sqrt(variance), level=level)
    return Measure(math.exp(entropy), low=max(1.0, math.exp(low)), high=math.exp(high), n=len(rows))


def _log_number(rows: np.ndarray, order: float = 1.0) -> tuple[float, float]:
    """Rényi entropy of order q of the eigenvalues of Σ = rowsᵀ·rows divided by its trace, and its variance.

    The variance is that of the influence function. For Σ of trace one, the influence function at a row x is
    q/(1 − q)·(xᵀ Σ^(q−1) x / tr Σ^q − |x|²). Its limits are −xᵀ log Σ x − H·|x|² at q = 1, and |x|² − (x·v)² / λ at
    q = ∞, where v is the first eigenvector and λ its value. If n is not large compared with the score V, this variance
    is too small: by a third of the standard error at n = V. The factor 1 + V/n corrects it (simulated for 16 to 512
    dimensions and n from V upwards).
    """
    size = (rows**2).sum(1)  # what a row adds to the trace: 1 if it has length one, 0 if it is a zero row
    if not size.any():
        return 0.0, 0.0
    share = size.mean()
    values, directions = linalg.eigh(moments_of(rows).second)
    kept = values > max(values[-1], 0.0) * len(values) * 1e-14
    values, squares = values[kept] / share, (rows @ directions[:, kept]) ** 2
    if order == 1:
        surprise = -squares @ np.log(values)
        entropy = float(surprise.mean() / share)
        influence = surprise - entropy * size
    else:
        entropy = math.log(_renyi_number(values, order))
        at_row = squares[:, -1] / values[-1]
        if math.isfinite(order):
            at_row = squares @ values ** (order - 1) / (values**order).sum()
        influence = (size - at_row) if math.isinf(order) else order / (1 - order) * (at_row - size)
    variance = float((influence / share).var(ddof=1)) / len(rows)
    return entropy, variance * (1 + math.exp(entropy) / len(rows))


def duplicates(digests: np.ndarray) -> np.ndarray:
    """For each item the row of the first item with the same digest (n, 16) uint8; its own row if it is the first."""
    keys = np.ascontiguousarray(digests).view("V16").ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return first[inverse]
