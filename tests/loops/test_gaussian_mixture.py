import numpy as np
import pytest

from indexes.errors import InputError
from loops.models.gaussian_mixture import GaussianMixture, GaussianMixtureModel
from loops.samples import Samples, Space


def fit(data: np.ndarray, rng: np.random.Generator, **settings: float) -> GaussianMixtureModel:
    space = Space(data.shape[-1])
    return GaussianMixture(**settings).fit(Samples(data), space=space, weights=None, rng=rng)


TWO = GaussianMixtureModel(
    weights=np.array([0.25, 0.75]),
    means=np.array([[-10.0, 0.0], [10.0, 1.0]]),
    factors=np.linalg.cholesky(np.array([[[1.0, 0.5], [0.5, 2.0]], [[0.5, 0.0], [0.0, 0.5]]])),
)


def parts(sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return sample[sample[:, 0] < 0], sample[sample[:, 0] >= 0]


def test_samples_have_the_weights_means_and_covariances_of_the_model(rng: np.random.Generator) -> None:
    left, right = parts(TWO.sample(40_000, rng=rng).values)
    assert len(left) / 40_000 == pytest.approx(0.25, abs=0.01)  # four standard errors
    np.testing.assert_allclose(left.mean(0), [-10, 0], atol=0.06)
    np.testing.assert_allclose(np.cov(left.T), [[1.0, 0.5], [0.5, 2.0]], atol=0.12)
    np.testing.assert_allclose(np.cov(right.T), np.eye(2) / 2, atol=0.03)


def test_the_sampling_bias_multiplies_covariances_and_leaves_means(rng: np.random.Generator) -> None:
    left, _ = parts(TWO.sample(40_000, bias=0.25, rng=rng).values)
    np.testing.assert_allclose(np.cov(left.T), np.array([[1.0, 0.5], [0.5, 2.0]]) / 4, atol=0.03)
    np.testing.assert_allclose(left.mean(0), [-10, 0], atol=0.03)


@pytest.mark.parametrize("bias", [-0.1, -1.0, 1.01, float("nan")])
def test_a_bias_outside_its_range_is_refused(bias: float, rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        TWO.sample(3, bias=bias, rng=rng)


def test_no_samples_are_an_empty_array(rng: np.random.Generator) -> None:
    assert TWO.sample(0, rng=rng).values.shape == (0, 2)


def test_a_fit_recovers_the_mixture_it_was_drawn_from(rng: np.random.Generator) -> None:
    fitted = fit(TWO.sample(20_000, rng=rng).values, rng, components=2)
    order = np.argsort(fitted.means[:, 0])
    np.testing.assert_allclose(fitted.weights[order], TWO.weights, atol=0.015)
    np.testing.assert_allclose(fitted.means[order], TWO.means, atol=0.1)
    covariances = fitted.factors @ fitted.factors.transpose(0, 2, 1)
    np.testing.assert_allclose(covariances[order], TWO.factors @ TWO.factors.transpose(0, 2, 1), atol=0.15)


def test_one_component_is_the_mean_and_the_maximum_likelihood_covariance(rng: np.random.Generator) -> None:
    data = rng.standard_normal((500, 3)) @ rng.standard_normal((3, 3))
    fitted = fit(data, rng, components=1, regularisation=0.0)
    np.testing.assert_allclose(fitted.means[0], data.mean(0), atol=1e-10)
    np.testing.assert_allclose(fitted.factors[0] @ fitted.factors[0].T, np.cov(data.T, ddof=0), atol=1e-10)


def test_regularisation_adds_a_share_of_the_mean_variance_to_every_variance() -> None:
    data = np.repeat(np.arange(20.0)[:, None], 3, axis=1)  # of rank one
    fitted = fit(data, np.random.default_rng(0), components=1, regularisation=0.5)
    covariance = fitted.factors[0] @ fitted.factors[0].T
    np.testing.assert_allclose(covariance, np.cov(data.T, ddof=0) + 0.5 * data.var() * np.eye(3), atol=1e-10)


def test_the_same_seed_gives_the_same_fit_and_the_same_samples() -> None:
    def drawn() -> np.ndarray:
        rng = np.random.default_rng(7)
        data = rng.standard_normal((200, 4))
        return fit(data, rng, components=3).sample(50, rng=rng).values

    np.testing.assert_array_equal(drawn(), drawn())


@pytest.mark.parametrize("shape", [(3, 2), (10, 2)])
def test_too_few_rows_or_another_shape_are_refused(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match="more than 10 rows"):
        fit(np.ones(shape), rng, components=10)


def test_a_weight_counts_like_so_many_copies() -> None:
    data = np.random.default_rng(3).standard_normal((60, 2))
    weights = np.arange(60) % 3 + 1.0
    space, copies = Space(2), np.repeat(data, weights.astype(int), axis=0)
    family = GaussianMixture(components=1, regularisation=0.0)
    weighted = family.fit(Samples(data), space=space, weights=weights, rng=np.random.default_rng(0))
    copied = family.fit(Samples(copies), space=space, weights=None, rng=np.random.default_rng(0))
    np.testing.assert_allclose(weighted.means, copied.means, atol=1e-9)
    np.testing.assert_allclose(weighted.factors, copied.factors, atol=1e-9)
