import numpy as np
import pytest

from indexes.errors import InputError
from loops.data.population import Empirical
from loops.samples import Space


def population(n: int, width: int = 2, **fields: object) -> Empirical:
    """n items, normal but for the first column, which is the item's number."""
    values = np.random.default_rng(5).standard_normal((n, width)).astype(np.float32)
    values[:, 0] = np.arange(n)
    return Empirical("items", Space(width), values, np.arange(n), **fields)


def test_items_drawn_once_are_distinct(rng: np.random.Generator) -> None:
    drawn = population(10).draw(10, chains=3, fresh=False, rng=rng).values[:, :, 0]
    np.testing.assert_array_equal(np.sort(drawn, axis=1), np.tile(np.arange(10), (3, 1)))


def test_fresh_items_come_with_replacement(rng: np.random.Generator) -> None:
    drawn = population(10).draw(5000, chains=1, fresh=True, rng=rng).values[0, :, 0]
    counts = np.bincount(drawn.astype(int), minlength=10)
    assert (np.abs(counts - 500) < 5 * np.sqrt(5000 * 0.09)).all()


def test_chains_draw_independently(rng: np.random.Generator) -> None:
    drawn = population(100).draw(50, chains=2, fresh=False, rng=rng).values[:, :, 0]
    assert not np.array_equal(drawn[0], drawn[1])


def test_labels_stay_with_their_items(rng: np.random.Generator) -> None:
    drawn = population(20).draw(8, chains=2, fresh=True, rng=rng)
    np.testing.assert_array_equal(drawn.labels, drawn.values[:, :, 0])


def test_more_items_than_there_are_cannot_be_drawn_once(rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match="items holds 10 items, too few to draw 11"):
        population(10).draw(11, chains=1, fresh=False, rng=rng)


def test_the_truth_is_the_mean_and_unbiased_covariance_of_all_items() -> None:
    found = population(50, 3)
    np.testing.assert_allclose(found.truth.mean, found.values.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.truth.covariance, np.cov(found.values.T.astype(float)), rtol=1e-9)


def test_the_truth_of_tokens_has_their_frequencies() -> None:
    tokens = np.array([[0, 0, 1], [2, 0, 1]])
    found = Empirical("t", Space(3, vocabulary=4), tokens, embedding=lambda rows: rows.astype(float))
    np.testing.assert_allclose(found.truth.probabilities, [3 / 6, 2 / 6, 1 / 6, 0])


def test_typicality_is_minus_the_squared_distance_to_the_fifth_real_item(rng: np.random.Generator) -> None:
    found = population(40)
    queries = rng.standard_normal((6, 2)).astype(np.float32) * 10
    distances = np.sort(((queries[:, None] - found.values) ** 2).sum(-1), axis=1)[:, 4]
    np.testing.assert_allclose(found.typicality(queries), -distances, rtol=1e-4)


def test_the_typical_floor_leaves_each_item_out_of_its_own_neighbours(rng: np.random.Generator) -> None:
    found = population(60)
    squared = ((found.values[:, None] - found.values) ** 2).sum(-1)
    np.fill_diagonal(squared, np.inf)
    expected = np.quantile(-np.sort(squared, axis=1)[:, 4], 0.1)
    assert found.typical_floor(0.1, rng=rng) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("shape", [(1, 2), (5, 3), (5,)])
def test_data_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="expected at least 2 rows of 2"):
        Empirical("items", Space(2), np.zeros(shape))
