import numpy as np
import pytest

from indexes.errors import InputError
from loops.models.linear_regression import LinearRegression, LinearRegressionModel
from loops.samples import Samples, Space, Truth


def data(rng: np.random.Generator, n: int = 40, d: int = 3) -> np.ndarray:
    return rng.standard_normal((2, n, d + 1))


def fit(values: np.ndarray, weights: np.ndarray | None = None, noise: float = 1.0) -> LinearRegressionModel:
    family = LinearRegression(noise=noise)
    return family.fit(Samples(values), space=Space(values.shape[2]), weights=weights, rng=np.random.default_rng(0))


def test_coefficients_are_those_of_least_squares_in_every_chain(rng: np.random.Generator) -> None:
    values = data(rng)
    expected = [np.linalg.lstsq(chain[:, :-1], chain[:, -1], rcond=None)[0] for chain in values]
    np.testing.assert_allclose(fit(values).coefficients, expected)


def test_a_weight_counts_like_so_many_copies(rng: np.random.Generator) -> None:
    values, copies = data(rng), np.arange(40) % 3
    copied = fit(np.repeat(values, copies, axis=1))
    np.testing.assert_allclose(fit(values, copies.astype(float)).coefficients, copied.coefficients)


def test_samples_stand_at_the_training_inputs_in_their_order(rng: np.random.Generator) -> None:
    values = data(rng, n=5)
    found = fit(values).sample(7, bias=1.0, rng=rng).values
    np.testing.assert_array_equal(found[:, :, :-1], values[:, [0, 1, 2, 3, 4, 0, 1], :-1])


@pytest.mark.parametrize("bias", [1.0, 0.25, 0.0])
def test_the_sampling_bias_scales_the_variance_of_the_noise(bias: float, rng: np.random.Generator) -> None:
    model = fit(data(rng), noise=2.0)
    found = model.sample(40_000, bias=bias, rng=rng).values
    residuals = found[..., -1] - np.einsum("cnd,cd->cn", found[..., :-1], model.coefficients)
    assert residuals.var() == pytest.approx(4 * bias, rel=0.03, abs=1e-20)


def test_the_test_error_is_the_squared_distance_of_the_coefficients(rng: np.random.Generator) -> None:
    model = fit(data(rng))
    truth = Truth(np.zeros(4), np.eye(4), None, np.array([1.0, 2.0, 3.0]))
    expected = [((row - [1, 2, 3]) ** 2).sum() for row in model.coefficients]
    np.testing.assert_allclose(model.exact(truth)["test_error"], expected)


def test_without_true_coefficients_there_is_no_test_error(rng: np.random.Generator) -> None:
    assert fit(data(rng)).exact(Truth(np.zeros(4), np.eye(4))) == {}


@pytest.mark.parametrize("shape", [(1, 2, 4), (1, 5, 1)])
def test_fewer_items_than_inputs_and_no_inputs_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="as many items as inputs"):
        fit(np.ones(shape))


def test_dependent_inputs_are_refused() -> None:
    with pytest.raises(InputError, match="linearly dependent"):
        fit(np.zeros((1, 9, 3)))
