"""A mixture of Gaussians fitted by expectation maximisation."""

from dataclasses import dataclass

import numpy as np
from sklearn.mixture import GaussianMixture

from indexes.errors import InputError

__all__ = ["GaussianMixtureModel", "fit_gaussian_mixture"]


@dataclass(frozen=True, slots=True)
class GaussianMixtureModel:
    """Weights, means and covariance factors of the components."""

    weights: np.ndarray  # (k,)
    means: np.ndarray  # (k, d)
    factors: np.ndarray  # (k, d, d), lower Cholesky factors of the covariances

    def sample(self, n: int, *, bias: float = 1.0, rng: np.random.Generator) -> np.ndarray:
        """n samples (n, d); the sampling bias λ in (0, 1] multiplies the covariances (Alemohammad et al. 2024)."""
        if not 0 < bias <= 1:
            raise InputError(f"the sampling bias is {bias}, expected a number in (0, 1]")
        component = rng.choice(len(self.weights), size=n, p=self.weights)
        noise = rng.standard_normal((n, self.means.shape[1]))
        moved = np.einsum("nij,nj->ni", self.factors[component], noise)
        return self.means[component] + np.sqrt(bias) * moved


def fit_gaussian_mixture(
    data: np.ndarray, *, components: int = 10, regularisation: float = 1e-3, rng: np.random.Generator
) -> GaussianMixtureModel:
    """A mixture of full-covariance Gaussians fitted to (n, d); `regularisation` is added to every variance."""
    if data.ndim != 2 or len(data) <= components:
        raise InputError(f"got data of shape {data.shape}, expected more than {components} rows to fit the mixture")
    seed = int(rng.integers(2**31))
    fitted = GaussianMixture(components, reg_covar=regularisation, random_state=seed).fit(data)
    return GaussianMixtureModel(fitted.weights_, fitted.means_, np.linalg.cholesky(fitted.covariances_))
