"""Checks at the door of the measures: shapes, values, and sets that cannot be compared."""

import numpy as np
import pytest

from auditor.measures.checked_rows import centred, centred_pair, checked_rows
from indexes.errors import InputError


def test_both_sets_are_moved_by_the_real_mean(rng):
    real, candidate = rng.normal(3, 1, (30, 4)), rng.normal(size=(20, 4))
    pair = centred_pair(real, candidate)
    assert pair.real == pytest.approx(real - real.mean(0))
    assert pair.candidate == pytest.approx(candidate - real.mean(0))
    assert pair.centre == pytest.approx(real.mean(0))
    assert pair.reason is None


def test_a_large_common_offset_costs_only_the_digits_of_the_input(rng):
    real, candidate = rng.integers(-8, 8, (32, 3)) / 16, rng.integers(-8, 8, (20, 3)) / 16
    near, far = centred_pair(real, candidate), centred_pair(real + 2.0**40, candidate + 2.0**40)
    assert (near.real == far.real).all()
    assert (near.candidate == far.candidate).all()


def test_equal_rows_become_exactly_zero():
    assert (centred(np.full((7, 3), 0.1))[0] == 0).all()


@pytest.mark.parametrize(
    "rows", [np.full((9, 3), 1e6 / 3), 0.1 + 1e-17 * np.arange(27).reshape(9, 3), np.zeros((9, 3))]
)
def test_equal_real_rows_are_a_stated_reason(rows, rng):
    assert centred_pair(rows, rng.normal(size=(9, 3))).reason == "all real vectors are equal"


@pytest.mark.parametrize("sizes", [(1, 9), (9, 1)])
def test_a_single_row_is_a_stated_reason(sizes, rng):
    real, candidate = (rng.normal(size=(size, 3)) for size in sizes)
    assert "at least 2 items on each side" in centred_pair(real, candidate).reason


@pytest.mark.parametrize("rows", [np.zeros(3), np.zeros((3, 0)), np.zeros((2, 2, 2))])
def test_another_shape_is_refused(rows):
    with pytest.raises(InputError, match="expected"):
        checked_rows(rows, "vectors")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e80])
def test_values_that_cannot_be_squared_are_refused(value):
    with pytest.raises(InputError, match="nan or values beyond"):
        checked_rows(np.array([[0.0, value]]), "vectors")


def test_sets_of_different_widths_are_refused():
    with pytest.raises(InputError, match="width 3 and candidate vectors of width 2"):
        centred_pair(np.eye(3), np.eye(2))


@pytest.mark.parametrize("side", ["real", "candidate"])
def test_a_row_so_far_away_that_the_others_lose_their_digits_is_a_stated_reason(side, rng):
    sets = {"real": rng.normal(size=(30, 3)), "candidate": rng.normal(size=(30, 3))}
    sets[side][4] *= 1e14
    assert centred_pair(**sets).reason.startswith(f"a {side} vector is more than 1e+12 times as far")


def test_copies_with_one_other_row_are_no_outlier(rng):
    candidate = np.concatenate([np.ones((20, 3)), np.zeros((1, 3))])
    assert centred_pair(rng.normal(size=(30, 3)), candidate).reason is None
