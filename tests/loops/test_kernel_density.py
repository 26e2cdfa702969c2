import numpy as np
import pytest
from scipy import stats

from indexes.errors import InputError
from loops.models.kernel_density import KernelDensity, KernelDensityModel
from loops.samples import Samples, Space


def fit(values: np.ndarray, weights: np.ndarray | None = None, bandwidth: float = 1.0) -> KernelDensityModel:
    family = KernelDensity(bandwidth=bandwidth)
    return family.fit(Samples(values), space=Space(values.shape[1]), weights=weights, rng=np.random.default_rng(0))


def rows(rng: np.random.Generator, n: int = 60, width: int = 2) -> np.ndarray:
    return rng.standard_normal((n, width)) @ (np.eye(width) + np.arange(1, width + 1) / width)


@pytest.mark.parametrize("width", [1, 2, 5])
def test_the_kernels_covariance_is_scipys(width: int, rng: np.random.Generator) -> None:
    values = rows(rng, width=width)
    model = fit(values)
    np.testing.assert_allclose(model.factor @ model.factor.T, stats.gaussian_kde(values.T).covariance, atol=1e-9)


def test_the_weighted_kernels_covariance_is_scipys(rng: np.random.Generator) -> None:
    values, weights = rows(rng), rng.random(60)
    model = fit(values, weights)
    expected = stats.gaussian_kde(values.T, weights=weights).covariance
    np.testing.assert_allclose(model.factor @ model.factor.T, expected)


def test_the_bandwidth_multiplies_the_standard_deviation(rng: np.random.Generator) -> None:
    values = rows(rng)
    one, three = fit(values), fit(values, bandwidth=3.0)
    np.testing.assert_allclose(three.factor @ three.factor.T, 9 * one.factor @ one.factor.T)


@pytest.mark.parametrize("bias", [1.0, 0.3])
def test_samples_have_the_data_covariance_and_the_biased_kernels(bias: float, rng: np.random.Generator) -> None:
    values = rows(rng)
    model = fit(values)
    found = np.cov(model.sample(100_000, bias=bias, rng=rng).values.T)
    expected = np.cov(values.T, ddof=0) + bias * model.factor @ model.factor.T
    np.testing.assert_allclose(found, expected, rtol=0.03)


def test_without_kernel_noise_samples_are_training_items(rng: np.random.Generator) -> None:
    values = rows(rng)
    found = fit(values).sample(50, bias=0.0, rng=rng).values
    assert {tuple(row) for row in found} <= {tuple(row) for row in values}


def test_items_without_weight_are_never_drawn(rng: np.random.Generator) -> None:
    values, weights = rows(rng), np.repeat([0.0, 1.0], 30)
    found = fit(values, weights).sample(200, bias=0.0, rng=rng).values
    assert {tuple(row) for row in found} <= {tuple(row) for row in values[30:]}


def test_a_single_item_has_no_density() -> None:
    with pytest.raises(InputError, match="expected at least 2"):
        fit(np.zeros((1, 2)))


@pytest.mark.parametrize("bias", [-0.1, 1.1])
def test_a_bias_outside_its_range_is_refused(bias: float, rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        fit(rows(rng)).sample(1, bias=bias, rng=rng)
