"""A mixture of Gaussians fitted by expectation maximisation."""

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn import mixture
from sklearn.exceptions import ConvergenceWarning

from indexes.errors import InputError
from loops.models.bias import check_bias
from loops.samples import Samples, Space

__all__ = ["GaussianMixture", "GaussianMixtureModel"]


@dataclass(frozen=True, slots=True)
class GaussianMixtureModel:
    """Weights, means and covariance factors of the components."""

    weights: np.ndarray  # (k,)
    means: np.ndarray  # (k, d)
    factors: np.ndarray  # (k, d, d), lower Cholesky factors of the covariances

    def sample(self, n: int, *, bias: float = 1.0, rng: np.random.Generator) -> Samples:
        """Draw n samples; the sampling bias λ multiplies the covariances of the components."""
        check_bias(bias)
        component = rng.choice(len(self.weights), size=n, p=self.weights)
        values = rng.standard_normal((n, self.means.shape[1]))
        for k in range(len(self.weights)):
            rows = component == k
            values[rows] = self.means[k] + np.sqrt(bias) * values[rows] @ self.factors[k].T
        return Samples(values)


@dataclass(frozen=True)
class GaussianMixture:
    """A mixture of full-covariance Gaussians, fitted by expectation maximisation."""

    reads: ClassVar[str] = "vectors"
    vectorised: ClassVar[bool] = False
    conditional: ClassVar[bool] = False
    bias_means: ClassVar[str] = "the components' covariances are multiplied by λ"
    components: int = 10
    regularisation: float = 1e-6  # added to every variance, as a share of the data's mean variance
    iterations: int = 100

    def fit(
        self, data: Samples, *, space: Space, weights: np.ndarray | None, rng: np.random.Generator
    ) -> GaussianMixtureModel:
        """Fit a mixture, starting from k-means; InputError unless there are more items than components."""
        rows = np.asarray(data.values, dtype=np.float64)
        if self.components < 1 or self.iterations < 1 or self.regularisation < 0:
            raise InputError(f"got {self}, expected components >= 1, iterations >= 1 and regularisation >= 0")
        if rows.ndim != 2 or len(rows) <= self.components:
            raise InputError(
                f"got data of shape {rows.shape}, expected more than {self.components} rows to fit the mixture"
            )
        added = max(self.regularisation * float(rows.var(0).mean()), 1e-12)
        fitted = _Weighted(
            self.components, reg_covar=added, max_iter=self.iterations, random_state=int(rng.integers(2**31))
        )
        fitted.item_weights = None if weights is None else weights * len(rows) / weights.sum()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the last iterate is an acceptable model
            fitted.fit(rows)
        return GaussianMixtureModel(fitted.weights_, fitted.means_, np.linalg.cholesky(fitted.covariances_))


class _Weighted(mixture.GaussianMixture):  # type: ignore[misc]  # scikit-learn has no types
    """scikit-learn's Gaussian mixture with item weights, which multiply the items' responsibilities."""

    item_weights: np.ndarray | None = None

    def _m_step(self, X: np.ndarray, log_resp: np.ndarray, **array_namespace: object) -> None:
        if self.item_weights is not None:
            with np.errstate(divide="ignore"):
                log_resp = log_resp + np.log(self.item_weights)[:, None]
        super()._m_step(X, log_resp, **array_namespace)
