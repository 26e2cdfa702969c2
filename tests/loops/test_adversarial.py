import numpy as np
import pytest
import torch

from indexes.errors import InputError
from loops.models.adversarial import Adversarial, AdversarialModel
from loops.samples import Samples, Space

QUICK = Adversarial(latent=4, hidden=48, steps=300, rate=1e-3, penalty=0.1)  # the penalty of the paper's toy code
COVARIANCE = np.array([[2.0, 1.2], [1.2, 1.0]])


def correlated(n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.multivariate_normal([3.0, -1.0], COVARIANCE, size=n)


def fitted(values: np.ndarray, weights: np.ndarray | None = None) -> AdversarialModel:
    space = Space(values.shape[1])
    return QUICK.fit(Samples(values), space=space, weights=weights, rng=np.random.default_rng(0))


@pytest.fixture(scope="module")
def model() -> AdversarialModel:
    return fitted(correlated(4000, np.random.default_rng(1)))


def test_samples_have_about_the_mean_and_covariance_of_the_data(
    model: AdversarialModel, rng: np.random.Generator
) -> None:
    values = model.sample(20_000, bias=1.0, rng=rng).values
    np.testing.assert_allclose(values.mean(0), [3, -1], atol=0.4)
    np.testing.assert_allclose(np.cov(values.T), COVARIANCE, atol=0.7)


def test_truncation_narrows_the_samples(model: AdversarialModel, rng: np.random.Generator) -> None:
    variances = [model.sample(20_000, bias=bias, rng=rng).values.var(0).sum() for bias in (1.0, 0.7, 0.4, 0.0)]
    assert variances == sorted(variances, reverse=True)
    assert variances[1] < 0.8 * variances[0]  # a linear generator would give 0.49
    assert variances[-1] == pytest.approx(0, abs=1e-5)  # rounding


def test_items_of_weight_zero_are_not_learned(rng: np.random.Generator) -> None:
    near, far = rng.normal(0, 1, (1000, 2)), rng.normal(30, 1, (1000, 2))
    values = fitted(np.concatenate([near, far]), weights=np.repeat([1.0, 0.0], 1000)).sample(2000, bias=1.0, rng=rng)
    assert (values.values.max(1) < 15).all()


def test_items_between_bounds_stay_between_them(rng: np.random.Generator) -> None:
    pixels = (rng.random((500, 6)) < 0.5).astype(np.float32)
    short = Adversarial(hidden=16, steps=20)
    model = short.fit(Samples(pixels), space=Space(6, bounds=(0.0, 1.0)), weights=None, rng=rng)
    values = model.sample(9000, bias=1.0, rng=rng).values
    assert values.shape == (9000, 6)
    assert values.dtype == np.float32
    assert values.min() >= 0
    assert values.max() <= 1


def test_a_seed_determines_the_samples_and_leaves_the_global_generator() -> None:
    values = correlated(300, np.random.default_rng(1))
    before, kept = torch.get_rng_state(), values.copy()
    short = Adversarial(hidden=8, steps=5)

    def drawn(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        made = short.fit(Samples(values), space=Space(2), weights=None, rng=rng)
        return made.sample(50, bias=0.8, rng=rng).values

    np.testing.assert_array_equal(drawn(3), drawn(3))
    assert not np.array_equal(drawn(3), drawn(4))
    np.testing.assert_array_equal(values, kept)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("bias", [-0.1, 1.1, float("nan")])
def test_a_bias_outside_its_range_is_refused(bias: float, model: AdversarialModel, rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        model.sample(3, bias=bias, rng=rng)


def test_a_diverged_generator_is_refused(rng: np.random.Generator) -> None:
    values = correlated(300, rng)
    wild = Adversarial(hidden=8, steps=5, rate=float("inf"))
    model = wild.fit(Samples(values), space=Space(2), weights=None, rng=rng)
    with pytest.raises(InputError, match="not finite"):
        model.sample(3, bias=1.0, rng=rng)


def test_no_samples_are_an_empty_array(model: AdversarialModel, rng: np.random.Generator) -> None:
    assert model.sample(0, bias=1.0, rng=rng).values.shape == (0, 2)


def test_no_items_are_refused() -> None:
    with pytest.raises(InputError, match="no items"):
        fitted(np.empty((0, 2)))
