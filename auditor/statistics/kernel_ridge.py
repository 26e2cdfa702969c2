"""Kernel ridge regression in NumPy; predictions need only the stored training rows and coefficients."""

from dataclasses import dataclass

import numpy as np
from scipy import linalg

__all__ = ["KernelRidge", "fit_kernel_ridge"]


@dataclass(frozen=True, slots=True)
class KernelRidge:
    """Model f(x) = mean + Σ_i k(x, x_i) a_i, where k is a Gaussian kernel plus a weighted linear kernel."""

    rows: np.ndarray  # (m, p) standardised
    dual: np.ndarray  # (m, outputs)
    mean: np.ndarray  # (outputs,)
    length: float  # of the Gaussian, in units of the root mean squared distance of two rows, √(2p)
    linear: float  # weight of the linear kernel x·x'/p

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Predicted outputs (n, outputs) at rows (n, p)."""
        return np.asarray(self.mean + _kernel(rows, self.rows, self.length, self.linear) @ self.dual)


def fit_kernel_ridge(
    rows: np.ndarray, outputs: np.ndarray, *, length: float, ridge: float, linear: float = 0.1
) -> KernelRidge:
    """Fit outputs (m, k) at rows (m, p) with the penalty `ridge` on the model's squared norm (Saunders et al. 1998)."""
    mean = outputs.mean(0)
    gram = _kernel(rows, rows, length, linear) + ridge * np.eye(len(rows))
    dual = linalg.solve(gram, outputs - mean, assume_a="pos")
    return KernelRidge(rows, dual, mean, length, linear)


def _kernel(first: np.ndarray, second: np.ndarray, length: float, linear: float) -> np.ndarray:
    width = first.shape[1]
    squared = (first**2).sum(1)[:, None] + (second**2).sum(1) - 2 * first @ second.T
    return np.asarray(np.exp(-np.maximum(squared, 0) / (2 * width * 2 * length**2)) + linear * first @ second.T / width)
