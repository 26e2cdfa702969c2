"""Cells: every item is in the nearest one, and merged cells are nested."""

import numpy as np
import pytest

from auditor.measures.cells import Cells, cell_count, fit_cells
from auditor.statistics.frame import Frame
from indexes.errors import InputError


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(size=(500, 6)) + 3


@pytest.fixture(scope="module")
def cells(rows):
    return fit_cells(rows, 20, seed=1)


def test_an_item_is_in_the_cell_with_the_nearest_centre_less_its_error(cells, rows):
    placed = cells.frame.place(rows)
    distances = ((placed[:, None] - cells.centres[None]) ** 2).sum(2) - cells.errors
    chosen = distances[np.arange(len(rows)), cells.assign(rows)]
    assert chosen == pytest.approx(distances.min(1), rel=1e-5)


@pytest.mark.parametrize("width", [64, 512, 2048])
def test_new_items_without_modes_do_not_crowd_into_few_cells(width, rng):
    cells = fit_cells(rng.normal(size=(800, width)), 80, seed=0)
    shares = np.bincount(cells.assign(rng.normal(size=(4000, width))), minlength=80) / 4000
    filled = shares[shares > 0]
    assert (
        np.exp(-filled @ np.log(filled)) > 12
    )  # cells of equal size with the same entropy; 8 or fewer by the centres alone


def test_no_items_have_no_cells(cells):
    assert cells.assign(np.empty((0, 6))).tolist() == []


@pytest.mark.parametrize("count", [2, 3, 7, 19, 20, 50])
def test_merged_cells_are_numbered_without_gaps(count, cells):
    groups = cells.merged(count)
    assert sorted(set(groups.tolist())) == list(range(min(count, 20)))


def test_fewer_cells_are_unions_of_more_cells(cells):
    fine, coarse = cells.merged(12), cells.merged(5)
    for group in range(12):
        assert len(set(coarse[fine == group].tolist())) == 1


def test_the_same_vectors_and_seed_give_the_same_cells(cells, rows):
    assert np.array_equal(fit_cells(rows, 20, seed=1).centres, cells.centres)


def test_centres_of_another_width_are_refused():
    with pytest.raises(InputError, match="cell centres of shape"):
        Cells(Frame(np.zeros(3), 1.0), np.zeros((4, 2), dtype=np.float32), np.zeros(4, dtype=np.float32))


@pytest.mark.parametrize(
    ("n_real", "n_set", "count"),
    [(1000, 800, 50), (10_000, 4096, 200), (50, 1000, 5), (500, 15, 0), (500, 16, 2), (500, 50, 3)],
)
def test_cells_hold_ten_real_items_and_sixteen_of_the_set_on_average(n_real, n_set, count):
    assert cell_count(n_real, n_set) == count
