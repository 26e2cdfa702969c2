import numpy as np
import pytest

from indexes.errors import InputError
from loops.models.categorical import Categorical, CategoricalModel
from loops.samples import Samples, Space, Truth

P = np.array([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]])


def fit(values: np.ndarray, weights: np.ndarray | None = None, vocabulary: int = 3) -> CategoricalModel:
    space = Space(values.shape[2], vocabulary=vocabulary)
    return Categorical().fit(Samples(values), space=space, weights=weights, rng=np.random.default_rng(0))


def test_probabilities_are_each_chains_frequencies(rng: np.random.Generator) -> None:
    values = rng.integers(3, size=(4, 20, 2))
    expected = [np.bincount(chain.ravel(), minlength=3) / 40 for chain in values]
    np.testing.assert_allclose(fit(values).probabilities, expected)


def test_a_weight_counts_like_so_many_copies(rng: np.random.Generator) -> None:
    values, copies = rng.integers(3, size=(2, 10, 2)), np.arange(10)
    weighted, copied = fit(values, copies.astype(float)), fit(np.repeat(values, copies, axis=1))
    np.testing.assert_allclose(weighted.probabilities, copied.probabilities)


@pytest.mark.parametrize("bias", [1.0, 0.5, 0.0])
def test_samples_come_with_tempered_probabilities(bias: float, rng: np.random.Generator) -> None:
    found = CategoricalModel(P, 2).sample(20_000, bias=bias, rng=rng).values
    expected = np.array([[0, 0, 1], [0.5, 0.5, 0]]) if bias == 0 else P ** (1 / bias)
    expected = expected / expected.sum(1, keepdims=True)
    shares = np.array([np.bincount(chain.ravel(), minlength=3) / 40_000 for chain in found])
    assert (np.abs(shares - expected) <= 5 * np.sqrt(expected * (1 - expected) / 40_000)).all()


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("chains", [1, 2])
def test_every_part_of_a_draw_is_like_the_whole(chains: int, width: int, rng: np.random.Generator) -> None:
    found = CategoricalModel(P[:chains], width).sample(20_000, bias=1.0, rng=rng).values
    part = found[0, :2000].ravel()
    assert abs((part == 2).mean() - 0.7) < 5 * np.sqrt(0.21 / len(part))


def test_tokens_of_an_item_are_independent(rng: np.random.Generator) -> None:
    found = CategoricalModel(P, 2).sample(20_000, bias=1.0, rng=rng).values[0]
    assert abs(np.corrcoef(found.T)[0, 1]) < 4 / np.sqrt(20_000)


def test_the_exact_measures_are_the_sums_they_are_called() -> None:
    truth = Truth(np.zeros(3), np.eye(3), np.array([0.2, 0.2, 0.6]))
    found = CategoricalModel(P, 1).exact(truth)
    np.testing.assert_allclose(found["collision"], [0.54, 0.5])
    np.testing.assert_allclose(found["support"], [3, 2])
    np.testing.assert_allclose(found["lost_mass"], [0, 0.6])
    np.testing.assert_allclose(found["total_variation"], [0.1, 0.6])
    np.testing.assert_allclose(found["squared_error"], [0.02, 0.54])


def test_without_true_probabilities_there_are_no_exact_measures() -> None:
    assert CategoricalModel(P, 1).exact(Truth(np.zeros(3), np.eye(3))) == {}


@pytest.mark.parametrize("values", [np.zeros((1, 0, 1), dtype=int), np.full((1, 2, 1), 3), np.full((1, 2, 1), -1)])
def test_tokens_outside_the_vocabulary_and_no_tokens_are_refused(values: np.ndarray) -> None:
    with pytest.raises(InputError, match="all from 0 to 2"):
        fit(values)
