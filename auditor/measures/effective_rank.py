"""Effective rank: the effective number of directions in which vectors vary."""

import numpy as np
from scipy import linalg

from auditor.measures.vendi import number_interval, renyi_number
from auditor.statistics.intervals import Measure
from auditor.statistics.moments import Moments

__all__ = ["effective_rank", "effective_rank_interval"]


def effective_rank(raw: Moments) -> float:
    """Exponential of the entropy of the covariance's normalised eigenvalues (Roy & Vetterli 2007)."""
    values = linalg.eigvalsh(raw.covariance)
    rounding = 1e-13 * float(np.trace(raw.second))  # what is left of copies when the mean is subtracted
    return renyi_number(np.where(values > rounding, values, 0.0), 1.0)


def effective_rank_interval(vectors: np.ndarray, *, level: float = 0.95) -> Measure:
    """Effective rank of the rows of (n, d), with a confidence interval of its expectation at this n."""
    rows = np.asarray(vectors, dtype=np.float64)
    centred = rows - rows.mean(0)
    if (centred**2).sum() <= 1e-13 * (rows**2).sum():  # copies of one item: only rounding is left
        return Measure(1.0, low=1.0, high=1.0, n=len(rows))
    return number_interval(centred, level)
