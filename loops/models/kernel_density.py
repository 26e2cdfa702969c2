"""A Gaussian kernel density estimate."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from indexes.errors import InputError
from loops.models.bias import check_bias
from loops.samples import Samples, Space

__all__ = ["KernelDensity", "KernelDensityModel"]


@dataclass(frozen=True, slots=True)
class KernelDensityModel:
    """The training data, and a matrix factor of the kernel's covariance."""

    data: np.ndarray  # (n, d)
    weights: np.ndarray | None  # (n,), summing to 1
    factor: np.ndarray  # (d, d): kernel covariance = factor · factorᵀ

    def sample(self, n: int, *, bias: float, rng: np.random.Generator) -> Samples:
        """Draw n training rows, and add Gaussian noise with the kernel's covariance times the sampling bias λ."""
        check_bias(bias)
        centres = self.data[rng.choice(len(self.data), size=n, p=self.weights)]
        noise = rng.standard_normal(centres.shape) @ self.factor.T
        return Samples(centres + np.sqrt(bias) * noise)


@dataclass(frozen=True)
class KernelDensity:
    """A Gaussian kernel density estimate with `bandwidth` times the bandwidth of Scott (1992)."""

    reads: ClassVar[str] = "vectors"
    vectorised: ClassVar[bool] = False
    conditional: ClassVar[bool] = False
    bias_means: ClassVar[str] = "the kernel's covariance is multiplied by λ; 0 resamples the training data"
    bandwidth: float = 1.0  # factor on Scott's n^(−1/(d+4)) standard deviations

    def fit(
        self, data: Samples, *, space: Space, weights: np.ndarray | None, rng: np.random.Generator
    ) -> KernelDensityModel:
        """Fit the kernel: data covariance times squared bandwidth; Scott's rule uses Kish's effective sample size."""
        rows = np.asarray(data.values, dtype=np.float64)
        if len(rows) < 2:
            raise InputError(f"got {len(rows)} items, expected at least 2 for a kernel density estimate")
        share = None if weights is None else weights / weights.sum()
        effective = len(rows) if share is None else 1 / (share**2).sum()
        covariance = np.atleast_2d(np.cov(rows.T, aweights=share))
        values, directions = np.linalg.eigh(covariance)
        scale = self.bandwidth * effective ** (-1 / (space.width + 4))
        return KernelDensityModel(rows, share, scale * directions * np.sqrt(np.maximum(values, 0)))
