"""Different rows and their nearest others against brute force."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from auditor.measures.neighbour_distances import distinct_rows, nearest_rows


def test_copies_are_removed_and_the_order_is_kept():
    rows = np.array([[3.0, 1], [1, 2], [3, 1], [0, 0], [1, 2]])
    kept, reason = distinct_rows(rows, name="real", fewest=3)
    assert kept.tolist() == [[3, 1], [1, 2], [0, 0]]
    assert reason is None


def test_too_few_different_rows_are_a_stated_reason():
    _, reason = distinct_rows(np.ones((30, 2)), name="real", fewest=3)
    assert reason == "nearest neighbours need at least 3 different real vectors, got 1"


def test_a_row_beyond_the_search_is_a_stated_reason(rng):
    rows = rng.normal(size=(30, 2))
    rows[3] *= 1e14
    assert "times as far from the median" in distinct_rows(rows, name="candidate", fewest=3)[1]


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1e-200, 0.0), (1e-30, 0.0), (1e30, 0.0), (1.0, 1e6)])
@pytest.mark.parametrize("width", [1, 5, 50])
def test_the_nearest_others_agree_with_brute_force(scale, offset, width, rng):
    rows = scale * rng.normal(size=(40, width)) + offset
    every = cdist(rows / scale, rows / scale)
    np.fill_diagonal(every, np.inf)
    distances, neighbours = nearest_rows(rows, 3)
    assert distances / scale == pytest.approx(np.sort(every, axis=1)[:, :3])
    assert (neighbours == np.argsort(every, axis=1)[:, :3]).all()


def test_rows_that_are_equal_in_float32_have_distances_above_zero(rng):
    rows = np.concatenate([rng.normal(size=(20, 3)), 1 + 1e-12 * rng.normal(size=(9, 3))])
    distances, neighbours = nearest_rows(rows, 3)
    assert (distances > 0).all()
    assert (neighbours != np.arange(29)[:, None]).all()


@pytest.mark.parametrize("tight", [1e-5, 1e-9, 1e-200])
def test_a_cluster_too_tight_for_float32_has_its_own_nearest_others(tight, rng):
    rows = np.concatenate([rng.normal(size=(20, 3)), tight * rng.normal(size=(9, 3))])
    every = cdist(rows[20:] / tight, rows[20:] / tight)
    np.fill_diagonal(every, np.inf)
    distances, neighbours = nearest_rows(rows, 3)
    assert distances[20:] / tight == pytest.approx(np.sort(every, axis=1)[:, :3])
    assert (neighbours[20:] - 20 == np.argsort(every, axis=1)[:, :3]).all()


def test_zeros_of_either_sign_are_copies():
    rows = np.array([[0.0, 1.0], [-0.0, 1.0], [2.0, 3.0]])
    assert len(distinct_rows(rows, name="real", fewest=2)[0]) == 2
