"""Distinct rows and their copies."""

import numpy as np

from auditor.statistics.distinct import distinct_rows, duplicates, first_of_each


def test_each_copy_points_to_the_first_of_its_kind(rng):
    kinds = rng.integers(0, 256, (4, 16)).astype(np.uint8)
    assert duplicates(kinds[[2, 0, 2, 1, 0, 0]]).tolist() == [0, 1, 0, 3, 1, 1]


def test_nothing_has_no_copies():
    assert duplicates(np.empty((0, 16), dtype=np.uint8)).tolist() == []


def test_distinct_rows_are_those_of_numpy_in_their_order(rng):
    rows = rng.integers(0, 3, (200, 3)).astype(np.float32)
    found = distinct_rows(rows)
    assert np.array_equal(np.unique(found, axis=0), np.unique(rows, axis=0))
    assert len(found) == len(np.unique(rows, axis=0))
    assert np.array_equal(found, rows[first_of_each(rows)])


def test_negative_zero_is_zero():
    assert len(distinct_rows(np.array([[0.0, 1.0], [-0.0, 1.0]]))) == 1


def test_nothing_is_distinct():
    assert len(distinct_rows(np.empty((0, 4)))) == 0
