import numpy as np
import pytest
import torch

from indexes.errors import InputError
from loops.models.flow import Flow, FlowModel
from loops.samples import Samples, Space

QUICK = Flow(layers=4, hidden=32, steps=150)
COVARIANCE = np.array([[2.0, 1.2], [1.2, 1.0]])


def correlated(n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.multivariate_normal([3.0, -1.0], COVARIANCE, size=n)


def fitted(values: np.ndarray, seed: int = 0, weights: np.ndarray | None = None) -> FlowModel:
    space = Space(values.shape[1])
    return QUICK.fit(Samples(values), space=space, weights=weights, rng=np.random.default_rng(seed))


@pytest.fixture(scope="module")
def model() -> FlowModel:
    return fitted(correlated(4000, np.random.default_rng(1)))


def test_a_flow_reproduces_the_mean_and_covariance_of_a_gaussian(model: FlowModel, rng: np.random.Generator) -> None:
    values = model.sample(20_000, bias=1.0, rng=rng).values
    np.testing.assert_allclose(values.mean(0), [3, -1], atol=0.15)  # a tenth of a deviation
    np.testing.assert_allclose(np.cov(values.T), COVARIANCE, atol=0.25)


def test_the_bias_multiplies_the_covariance_of_a_gaussian(model: FlowModel, rng: np.random.Generator) -> None:
    full, part = (np.cov(model.sample(20_000, bias=bias, rng=rng).values.T) for bias in (1.0, 0.5))
    np.testing.assert_allclose(np.diag(part) / np.diag(full), 0.5, atol=0.07)


def test_samples_of_a_banana_lie_on_it(rng: np.random.Generator) -> None:
    first = rng.standard_normal(4000)
    bent = np.stack([first, rng.normal(first**2, 0.3)], axis=1)
    values = fitted(bent).sample(10_000, bias=1.0, rng=rng).values
    central = np.abs(values[:, 0]) < 1.5
    residuals = values[central, 1] - values[central, 0] ** 2
    assert abs(residuals.mean()) < 0.1
    assert residuals.std() == pytest.approx(0.3, abs=0.15)


def test_a_bias_of_zero_gives_the_image_of_the_latent_mean(model: FlowModel, rng: np.random.Generator) -> None:
    values = model.sample(5, bias=0.0, rng=rng).values
    np.testing.assert_array_equal(values, np.repeat(values[:1], 5, axis=0))
    np.testing.assert_allclose(values[0], [3, -1], atol=0.4)


def test_a_single_column_of_two_modes_is_reproduced(rng: np.random.Generator) -> None:
    column = np.concatenate([rng.normal(-4, 0.5, 1000), rng.normal(4, 0.5, 3000)])[:, None]
    values = fitted(column).sample(10_000, bias=1.0, rng=rng).values[:, 0]
    assert (values > 0).mean() == pytest.approx(0.75, abs=0.04)
    assert (np.abs(values) < 2).mean() < 0.05  # a Gaussian of these moments would have a third there


def test_items_of_weight_zero_are_not_learned(rng: np.random.Generator) -> None:
    near, far = rng.normal(0, 1, (1000, 2)), rng.normal(30, 1, (1000, 2))
    values = fitted(np.concatenate([near, far]), weights=np.repeat([1.0, 0.0], 1000)).sample(2000, bias=1.0, rng=rng)
    assert (values.values.max(1) < 15).all()


def test_items_between_bounds_stay_between_them_and_keep_their_shape(rng: np.random.Generator) -> None:
    pixels = (rng.random((500, 6)) < 0.5).astype(np.float32)  # a density on these has no maximum likelihood
    pixels[:, 0] = 0
    space = Space(6, bounds=(0.0, 1.0))
    values = QUICK.fit(Samples(pixels), space=space, weights=None, rng=rng).sample(9000, bias=1.0, rng=rng).values
    assert values.shape == (9000, 6)
    assert values.dtype == np.float32
    assert values.min() >= 0
    assert values.max() <= 1
    assert values[:, 0].mean() < 0.05


def test_a_seed_determines_the_samples_and_leaves_the_global_generator() -> None:
    values = correlated(300, np.random.default_rng(1))
    before, kept = torch.get_rng_state(), values.copy()
    short = Flow(layers=2, hidden=8, steps=5)

    def drawn(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        made = short.fit(Samples(values), space=Space(2), weights=None, rng=rng)
        return made.sample(50, bias=0.8, rng=rng).values

    np.testing.assert_array_equal(drawn(3), drawn(3))
    assert not np.array_equal(drawn(3), drawn(4))
    np.testing.assert_array_equal(values, kept)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("bias", [-0.1, 1.1, float("nan")])
def test_a_bias_outside_its_range_is_refused(bias: float, model: FlowModel, rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        model.sample(3, bias=bias, rng=rng)


def test_no_samples_are_an_empty_array(model: FlowModel, rng: np.random.Generator) -> None:
    assert model.sample(0, bias=1.0, rng=rng).values.shape == (0, 2)


def test_no_items_are_refused() -> None:
    with pytest.raises(InputError, match="no items"):
        fitted(np.empty((0, 2)))
