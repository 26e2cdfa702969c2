"""Multivariate Gaussians, for many chains at once."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from indexes.errors import InputError
from loops.models.bias import check_bias
from loops.samples import Samples, Space, Truth

__all__ = ["Gaussian", "GaussianModel"]


@dataclass(frozen=True)
class GaussianModel:
    """Fitted Gaussians with means (chains, d) and covariances (chains, d, d)."""

    mean: np.ndarray
    covariance: np.ndarray

    def sample(self, n: int, *, bias: float, rng: np.random.Generator) -> Samples:
        """Draw n items per chain from N(μ, λΣ): the sampling bias λ multiplies standard deviations by √λ."""
        noise = rng.standard_normal((len(self.mean), n, self.mean.shape[1]))
        scaled = np.sqrt(check_bias(bias)) * self._root
        moved = noise * scaled if self.mean.shape[1] == 1 else noise @ scaled.transpose(0, 2, 1)
        return Samples(np.add(moved, self.mean[:, None, :], out=moved))

    def exact(self, truth: Truth) -> dict[str, np.ndarray]:
        """Squared 2-Wasserstein distance to the real distribution, and its components, from the model parameters."""
        gap = ((self.mean - truth.mean) ** 2).sum(1)
        width = len(truth.mean)
        if width == 1:
            variance, root = self.covariance[:, 0, 0], np.sqrt(self.covariance[:, 0, 0])
            distance = gap + (root - np.sqrt(truth.covariance[0, 0])) ** 2
            with np.errstate(divide="ignore"):
                return {
                    "frechet": distance, "log_det": np.log(variance), "variance": variance,
                    "standard_deviation": root, "mean_error": gap,
                }  # fmt: skip
        real_root = _roots(truth.covariance[None])[0]
        cross = np.linalg.eigvalsh(real_root @ self.covariance @ real_root)
        trace = np.trace(self.covariance, axis1=1, axis2=2)
        distance = gap + np.trace(truth.covariance) + trace - 2 * np.sqrt(np.maximum(cross, 0)).sum(1)
        return {
            "frechet": np.maximum(distance, 0), "log_det": _log_determinants(self.covariance, truth.covariance),
            "variance": trace / width, "standard_deviation": np.trace(self._root, axis1=1, axis2=2) / width,
            "mean_error": gap,
        }  # fmt: skip

    def first(self, chains: int) -> "GaussianModel":
        """The models of only the first `chains` chains."""
        return GaussianModel(self.mean[:chains], self.covariance[:chains])

    @cached_property
    def _root(self) -> np.ndarray:
        """Symmetric square roots (chains, d, d) of the covariances."""
        return np.sqrt(self.covariance) if self.mean.shape[1] == 1 else _roots(self.covariance)


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian with full covariance, fitted to the mean and covariance of the data."""

    reads: ClassVar[str] = "vectors"
    vectorised: ClassVar[bool] = True
    conditional: ClassVar[bool] = False
    bias_means: ClassVar[str] = "the covariance is multiplied by λ"
    ddof: int = 1  # 1: unbiased covariance; 0: maximum likelihood

    def fit(
        self, data: Samples, *, space: Space, weights: np.ndarray | None, rng: np.random.Generator
    ) -> GaussianModel:
        """Fit weighted means and covariances; with ddof = 1 covariances are divided by 1 − Σw² (weights w sum to 1)."""
        values = np.asarray(data.values, dtype=np.float64)  # (chains, n, d)
        n = values.shape[1]
        if n <= self.ddof:
            raise InputError(f"got {n} items, expected more than {self.ddof} to fit a Gaussian")
        share = np.full(n, 1 / n) if weights is None else weights / weights.sum()
        mean = np.einsum("n,cnd->cd", share, values)
        centred = values - mean[:, None, :]
        lost = 1 - self.ddof * float((share**2).sum())
        if values.shape[2] == 1:
            return GaussianModel(mean, np.einsum("n,cnd,cnd->cd", share, centred, centred)[:, :, None] / lost)
        weighted = centred * (share / lost)[:, None]
        return GaussianModel(mean, weighted.transpose(0, 2, 1) @ centred)


def _roots(covariances: np.ndarray) -> np.ndarray:
    values, directions = np.linalg.eigh(covariances)
    return (directions * np.sqrt(np.maximum(values, 0))[:, None, :]) @ directions.transpose(0, 2, 1)


def _log_determinants(covariances: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Log determinants (chains,) of the covariances in the span of the real one; −∞ if a direction has no variance."""
    values, directions = np.linalg.eigh(real)
    basis = directions[:, values > 1e-10 * values[-1]]
    found = np.linalg.eigvalsh(basis.T @ covariances @ basis)  # (chains, r)
    floor = found[:, -1:] * found.shape[1] * 1e-15  # rounding
    with np.errstate(divide="ignore"):
        return np.log(np.where(found > floor, found, 0.0)).sum(1)
