import numpy as np
import pytest

from auditor.measures.frechet import frechet_of
from auditor.statistics.moments import Moments, moments_of
from indexes.errors import InputError
from loops.models.gaussian import Gaussian, GaussianModel
from loops.samples import Samples, Space, Truth

MODEL = GaussianModel(np.array([[1.0, -1.0]] * 2), np.array([[[2.0, 0.6], [0.6, 0.5]]] * 2))
COVARIANCE = MODEL.covariance[0]


def fit(values: np.ndarray, weights: np.ndarray | None = None, ddof: int = 1) -> GaussianModel:
    rng = np.random.default_rng(0)
    return Gaussian(ddof=ddof).fit(Samples(values), space=Space(values.shape[2]), weights=weights, rng=rng)


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("width", [1, 3])
def test_every_chain_is_fitted_by_its_own_moments(ddof: int, width: int, rng: np.random.Generator) -> None:
    values = rng.standard_normal((2, 30, width))
    found = fit(values, ddof=ddof)
    for chain in range(2):
        np.testing.assert_allclose(found.mean[chain], values[chain].mean(0))
        np.testing.assert_allclose(found.covariance[chain], np.atleast_2d(np.cov(values[chain].T, ddof=ddof)))


@pytest.mark.parametrize("width", [1, 3])
def test_weights_are_numpys_reliability_weights(width: int, rng: np.random.Generator) -> None:
    values, weights = rng.standard_normal((1, 30, width)), rng.random(30)
    found = fit(values, weights)
    np.testing.assert_allclose(found.mean[0], np.average(values[0], axis=0, weights=weights))
    np.testing.assert_allclose(found.covariance[0], np.atleast_2d(np.cov(values[0].T, aweights=weights)))


def test_equal_weights_are_no_weights(rng: np.random.Generator) -> None:
    values = rng.standard_normal((2, 30, 2))
    np.testing.assert_allclose(fit(values, np.full(30, 1.0)).covariance, fit(values).covariance)


@pytest.mark.parametrize("bias", [1.0, 0.25, 0.0])
def test_the_sampling_bias_scales_the_covariance(bias: float, rng: np.random.Generator) -> None:
    found = MODEL.sample(50_000, bias=bias, rng=rng).values
    np.testing.assert_allclose(np.cov(found[1].T), bias * COVARIANCE, atol=0.08 * bias + 1e-12)
    np.testing.assert_allclose(found[1].mean(0), [1, -1], atol=0.04 * np.sqrt(bias) + 1e-12)


def test_chains_are_sampled_independently(rng: np.random.Generator) -> None:
    found = MODEL.sample(5000, bias=1.0, rng=rng).values[:, :, 0]
    assert abs(np.corrcoef(found)[0, 1]) < 4 / np.sqrt(5000)


@pytest.mark.parametrize("bias", [-0.5, 1.5, float("nan")])
def test_a_bias_outside_its_range_is_refused(bias: float, rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        MODEL.sample(2, bias=bias, rng=rng)


@pytest.mark.parametrize("width", [1, 4])
def test_the_exact_distance_is_the_auditors(width: int, rng: np.random.Generator) -> None:
    real, other = rng.standard_normal((50, width)), 2 * rng.standard_normal((1, 40, width)) + 1
    moments, model = moments_of(real), fit(other)
    n = 2
    mean, covariance = model.mean[0], model.covariance[0]
    as_moments = Moments(n, n * mean, (n - 1) * covariance + n * np.outer(mean, mean))
    found = model.exact(Truth(moments.mean, moments.covariance))["frechet"][0]
    assert found == pytest.approx(frechet_of(moments, as_moments))


@pytest.mark.parametrize("width", [1, 4])
def test_the_exact_log_determinant_is_numpys(width: int, rng: np.random.Generator) -> None:
    model = fit(rng.standard_normal((3, 40, width)))
    found = model.exact(Truth(np.zeros(width), np.eye(width)))["log_det"]
    np.testing.assert_allclose(found, np.linalg.slogdet(model.covariance)[1])


def test_a_chain_that_lost_a_direction_has_no_finite_log_determinant(rng: np.random.Generator) -> None:
    few = fit(rng.standard_normal((2, 8, 20)))  # of rank 7
    np.testing.assert_array_equal(few.exact(Truth(np.zeros(20), np.eye(20)))["log_det"], -np.inf)


def test_the_standard_deviation_is_the_mean_of_the_roots() -> None:
    found = MODEL.exact(Truth(np.zeros(2), np.eye(2)))["standard_deviation"]
    np.testing.assert_allclose(found, np.sqrt(np.linalg.eigvalsh(COVARIANCE)).sum() / 2)


def test_the_mean_error_is_the_squared_distance_of_the_means() -> None:
    np.testing.assert_allclose(MODEL.exact(Truth(np.array([0.0, 1.0]), np.eye(2)))["mean_error"], 5)


def test_the_first_chains_keep_their_parameters(rng: np.random.Generator) -> None:
    whole = fit(rng.standard_normal((3, 10, 2)))
    np.testing.assert_array_equal(whole.first(2).covariance, whole.covariance[:2])


def test_a_single_item_has_no_covariance() -> None:
    with pytest.raises(InputError, match="got 1 items, expected more than 1"):
        fit(np.zeros((2, 1, 3)))


def test_the_data_are_not_changed(rng: np.random.Generator) -> None:
    values = rng.standard_normal((2, 10, 2))
    values.setflags(write=False)
    before = values.copy()
    fit(values)
    np.testing.assert_array_equal(values, before)
