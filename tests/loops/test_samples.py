import numpy as np
import pytest

from indexes.errors import InputError
from loops.samples import Samples, concatenate


def many() -> Samples:
    """Two chains of three items of width two, each value telling where it stands."""
    return Samples(np.arange(12.0).reshape(2, 3, 2), np.arange(6).reshape(2, 3))


def test_n_counts_the_items_of_a_chain() -> None:
    assert (many().n, many().chain(0).n) == (3, 3)


def test_rows_are_taken_with_their_labels_in_every_chain() -> None:
    taken = many().take(np.array([2, 0]))
    np.testing.assert_array_equal(taken.values[1], [[10, 11], [6, 7]])
    np.testing.assert_array_equal(taken.labels, [[2, 0], [5, 3]])


def test_a_chain_is_taken_with_its_labels() -> None:
    one = many().chain(1)
    np.testing.assert_array_equal(one.values, [[6, 7], [8, 9], [10, 11]])
    np.testing.assert_array_equal(one.labels, [3, 4, 5])


@pytest.mark.parametrize("shape", [(3,), (1, 2, 3, 4)])
def test_values_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="expected \\(n, width\\)"):
        Samples(np.zeros(shape))


def test_labels_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match="labels of shape"):
        Samples(np.zeros((3, 2)), np.zeros(2, dtype=int))


def test_parts_follow_each_other_within_every_chain() -> None:
    whole = concatenate([many(), many().take(slice(1))])
    np.testing.assert_array_equal(whole.values[1, 3], [6, 7])
    np.testing.assert_array_equal(whole.labels, [[0, 1, 2, 0], [3, 4, 5, 3]])


def test_parts_become_chains_along_the_first_axis() -> None:
    assert concatenate([many(), many()], axis=0).values.shape == (4, 3, 2)


def test_labels_are_lost_where_a_part_has_none() -> None:
    assert concatenate([many(), Samples(np.zeros((2, 1, 2)))]).labels is None
