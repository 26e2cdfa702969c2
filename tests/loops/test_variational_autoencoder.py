import numpy as np
import pytest
import torch

from indexes.errors import InputError
from loops.models.variational_autoencoder import VariationalAutoencoder, VariationalAutoencoderModel
from loops.samples import Samples, Space

QUICK = VariationalAutoencoder(latent=2, hidden=32, steps=300, noise=True)
LOADING = np.array([1.5, 1.5, -1.5, 1.5])
COVARIANCE = np.outer(LOADING, LOADING) + 0.25 * np.eye(4)  # probabilistic PCA, which is a linear Gaussian decoder


def of_one_factor(n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.multivariate_normal([1.0, 2.0, 3.0, 4.0], COVARIANCE, size=n)


def fitted(
    values: np.ndarray, family: VariationalAutoencoder = QUICK, weights: np.ndarray | None = None
) -> VariationalAutoencoderModel:
    space = Space(values.shape[1])
    return family.fit(Samples(values), space=space, weights=weights, rng=np.random.default_rng(0))


@pytest.fixture(scope="module")
def model() -> VariationalAutoencoderModel:
    return fitted(of_one_factor(4000, np.random.default_rng(1)))


def test_samples_with_noise_have_the_mean_and_covariance_of_the_data(
    model: VariationalAutoencoderModel, rng: np.random.Generator
) -> None:
    values = model.sample(20_000, bias=1.0, rng=rng).values
    np.testing.assert_allclose(values.mean(0), [1, 2, 3, 4], atol=0.25)
    np.testing.assert_allclose(np.cov(values.T), COVARIANCE, atol=0.4)  # of variances of 2.5


def test_samples_without_noise_lie_near_the_curve_of_one_factor(rng: np.random.Generator) -> None:
    plain = VariationalAutoencoder(latent=1, hidden=32, steps=300, noise=False)
    values = fitted(of_one_factor(4000, rng), plain).sample(5000, bias=1.0, rng=rng).values
    spectrum = np.linalg.eigvalsh(np.cov(values.T))
    assert spectrum[:-1].sum() < 0.05 * spectrum[-1]
    assert spectrum[-1] == pytest.approx(LOADING @ LOADING, rel=0.25)


def test_the_bias_multiplies_the_variance_of_a_gaussian(
    model: VariationalAutoencoderModel, rng: np.random.Generator
) -> None:
    full, part = (model.sample(20_000, bias=bias, rng=rng).values.var(0) for bias in (1.0, 0.5))
    np.testing.assert_allclose(part / full, 0.5, atol=0.1)


def test_a_bias_of_zero_gives_one_item_near_the_mean(
    model: VariationalAutoencoderModel, rng: np.random.Generator
) -> None:
    values = model.sample(5, bias=0.0, rng=rng).values
    np.testing.assert_array_equal(values, np.repeat(values[:1], 5, axis=0))
    np.testing.assert_allclose(values[0], [1, 2, 3, 4], atol=0.5)


def test_items_of_weight_zero_are_not_learned(rng: np.random.Generator) -> None:
    near, far = rng.normal(0, 1, (1000, 2)), rng.normal(30, 1, (1000, 2))
    model = fitted(np.concatenate([near, far]), weights=np.repeat([1.0, 0.0], 1000))
    assert (model.sample(2000, bias=1.0, rng=rng).values.max(1) < 15).all()


def test_items_between_bounds_stay_between_them(rng: np.random.Generator) -> None:
    pixels = (rng.random((500, 6)) < 0.5).astype(np.float32)
    model = QUICK.fit(Samples(pixels), space=Space(6, bounds=(0.0, 1.0)), weights=None, rng=rng)
    values = model.sample(9000, bias=1.0, rng=rng).values
    assert values.shape == (9000, 6)
    assert values.dtype == np.float32
    assert values.min() >= 0
    assert values.max() <= 1


def test_a_seed_determines_the_samples_and_leaves_the_global_generator() -> None:
    values = of_one_factor(300, np.random.default_rng(1))
    before, kept = torch.get_rng_state(), values.copy()
    short = VariationalAutoencoder(hidden=8, steps=5, noise=True)

    def drawn(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        made = short.fit(Samples(values), space=Space(4), weights=None, rng=rng)
        return made.sample(50, bias=0.8, rng=rng).values

    np.testing.assert_array_equal(drawn(3), drawn(3))
    assert not np.array_equal(drawn(3), drawn(4))
    np.testing.assert_array_equal(values, kept)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("bias", [-0.1, 1.1, float("nan")])
def test_a_bias_outside_its_range_is_refused(
    bias: float, model: VariationalAutoencoderModel, rng: np.random.Generator
) -> None:
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        model.sample(3, bias=bias, rng=rng)


def test_no_samples_are_an_empty_array(model: VariationalAutoencoderModel, rng: np.random.Generator) -> None:
    assert model.sample(0, bias=1.0, rng=rng).values.shape == (0, 4)


def test_no_items_are_refused() -> None:
    with pytest.raises(InputError, match="no items"):
        fitted(np.empty((0, 2)))
