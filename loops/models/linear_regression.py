"""Linear regression with fixed inputs, for many chains at once; the last column of an item is the response."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from indexes.errors import InputError
from loops.models.bias import check_bias
from loops.samples import Samples, Space, Truth

__all__ = ["LinearRegression", "LinearRegressionModel"]


@dataclass(frozen=True, slots=True)
class LinearRegressionModel:
    """Fitted coefficients (chains, d), and the training inputs for which new responses are drawn."""

    coefficients: np.ndarray
    inputs: np.ndarray  # (chains, n, d)
    noise: float

    def sample(self, n: int, *, bias: float, rng: np.random.Generator) -> Samples:
        """Draw new responses for n training inputs; inputs are repeated from the first on if there are fewer than n."""
        rows = np.arange(n) % self.inputs.shape[1]
        inputs = self.inputs[:, rows]
        noise = np.sqrt(check_bias(bias)) * self.noise * rng.standard_normal((len(inputs), n, 1))
        response = inputs @ self.coefficients[:, :, None] + noise
        return Samples(np.concatenate([inputs, response], axis=2))

    def exact(self, truth: Truth) -> dict[str, np.ndarray]:
        """Excess test error of each chain for unit input covariance: squared error of the fitted coefficients."""
        if truth.coefficients is None:
            return {}
        return {"test_error": ((self.coefficients - truth.coefficients) ** 2).sum(1)}

    def first(self, chains: int) -> "LinearRegressionModel":
        """The models of only the first `chains` chains."""
        return LinearRegressionModel(self.coefficients[:chains], self.inputs[:chains], self.noise)


@dataclass(frozen=True)
class LinearRegression:
    """Linear least squares without an intercept; synthetic items are new responses to the training inputs.

    As in Gerstgrasser et al. (2024), the label noise is known, and responses are drawn for the model's own training
    inputs. In most workflows the training inputs are those of generation 1; accumulate-subsample uses a random part of
    those inputs.
    """

    reads: ClassVar[str] = "vectors"
    vectorised: ClassVar[bool] = True
    conditional: ClassVar[bool] = False
    bias_means: ClassVar[str] = "the variance of the label noise is multiplied by λ"
    noise: float = 1.0  # standard deviation of the label noise

    def fit(
        self, data: Samples, *, space: Space, weights: np.ndarray | None, rng: np.random.Generator
    ) -> LinearRegressionModel:
        """Fit by (weighted) least squares; InputError if there are fewer items than input columns."""
        inputs, response = data.values[..., :-1], data.values[..., -1:]
        if inputs.shape[2] == 0 or inputs.shape[1] < inputs.shape[2]:
            raise InputError(
                f"got {inputs.shape[1]} items of {inputs.shape[2]} inputs and a response, expected at least one input "
                "and at least as many items as inputs"
            )
        weighted = inputs if weights is None else inputs * weights[:, None]
        gram = weighted.transpose(0, 2, 1) @ inputs
        try:
            found = np.linalg.solve(gram, weighted.transpose(0, 2, 1) @ response)
        except np.linalg.LinAlgError:
            raise InputError(
                "the inputs of a linear regression are linearly dependent, expected inputs of full rank"
            ) from None
        return LinearRegressionModel(found[:, :, 0], inputs, self.noise)
