"""Checks at the door of the measures: shapes, values, and sets that cannot be compared."""

import numpy as np
import pytest

from auditor.measures.checked_rows import are_equal, centred_pair, checked_rows, frame_around
from indexes.errors import InputError


def test_both_sets_are_moved_by_the_real_median_and_divided_by_a_power_of_two(rng):
    real, candidate = rng.normal(3, 1, (31, 4)), rng.normal(size=(20, 4))
    pair = centred_pair(real, candidate)
    assert pair.real * pair.unit == pytest.approx(real - np.median(real, axis=0))
    assert pair.candidate * pair.unit == pytest.approx(candidate - np.median(real, axis=0))
    assert pair.origin == pytest.approx(np.median(real, axis=0))
    assert np.frexp(pair.unit)[0] == 0.5
    assert pair.reason is None


@pytest.mark.parametrize("scale", [2.0**-900, 2.0**900])
def test_the_scale_of_both_sets_only_changes_the_unit(scale, rng):
    real, candidate = rng.normal(size=(30, 4)), rng.normal(size=(20, 4))
    here, there = centred_pair(real, candidate), centred_pair(scale * real, scale * candidate)
    assert (here.real == there.real).all()
    assert (here.candidate == there.candidate).all()
    assert there.unit == scale * here.unit


def test_a_large_common_offset_costs_only_the_digits_of_the_input(rng):
    real, candidate = rng.integers(-8, 8, (32, 3)) / 16, rng.integers(-8, 8, (20, 3)) / 16
    near, far = centred_pair(real, candidate), centred_pair(real + 2.0**40, candidate + 2.0**40)
    assert (near.real == far.real).all()
    assert (near.candidate == far.candidate).all()


def test_a_far_row_does_not_cost_the_digits_of_the_others(rng):
    rows = rng.integers(-8, 8, (32, 3)).astype(np.float64)
    rows[3] = 1e9
    frame = frame_around(rows)
    assert np.array_equal(frame.place(rows) * frame.scale + frame.origin, rows)
    assert frame.scale < 100


def test_equal_rows_are_placed_at_exactly_zero():
    assert (frame_around(np.full((7, 3), 0.1)).place(np.full((7, 3), 0.1)) == 0).all()


def test_a_column_that_varies_less_than_another_is_large_is_not_equal():
    rows = np.stack([np.full(9, 1e20), np.arange(9.0)], axis=1)
    assert not are_equal(rows)
    assert centred_pair(rows, rows).reason is None


def test_real_rows_that_hardly_spread_beside_the_candidate_are_a_stated_reason(rng):
    reason = centred_pair(1e-200 * rng.normal(size=(9, 3)), rng.normal(size=(9, 3))).reason
    assert reason is not None
    assert "1e+70 times as far away" in reason


@pytest.mark.parametrize(
    "rows", [np.full((9, 3), 1e6 / 3), 0.1 + 1e-17 * np.arange(27).reshape(9, 3), np.zeros((9, 3))]
)
def test_equal_real_rows_are_a_stated_reason(rows, rng):
    assert centred_pair(rows, rng.normal(size=(9, 3))).reason == "all real vectors are equal"


@pytest.mark.parametrize("sizes", [(1, 9), (9, 1)])
def test_a_single_row_is_a_stated_reason(sizes, rng):
    real, candidate = (rng.normal(size=(size, 3)) for size in sizes)
    assert "at least 2 items on each side" in centred_pair(real, candidate).reason


@pytest.mark.parametrize(
    "rows", [np.zeros(3), np.zeros((3, 0)), np.zeros((0, 3)), np.zeros((2, 2, 2)), np.float64(1), []]
)
def test_another_shape_is_refused(rows):
    with pytest.raises(InputError, match="expected"):
        checked_rows(rows, "vectors")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e305])
def test_values_that_cannot_be_added_are_refused(value):
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


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ma.masked_less(np.arange(6.0).reshape(3, 2), 1), "hold masked entries"),
        ([np.ma.masked_less(np.arange(2.0), 1), np.ones(2)], "hold masked entries"),
        ([[1.0, 2.0], [3.0]], "not an array of numbers"),
        ([[1.0, object()]], "not an array of numbers"),
        ([[1.0, None]], "hold nan"),
        ([[10**400, 1]], "not an array of numbers"),
        (np.array([["1", "2"]]), "expected real numbers"),
        (np.ones((2, 2)) * 1j, "expected real numbers"),
        (np.ones((2, 2), dtype="datetime64[s]"), "expected real numbers"),
    ],
)
def test_anything_but_an_array_of_real_numbers_is_refused_in_one_line(vectors, message):
    with pytest.raises(InputError, match=message) as caught:
        checked_rows(vectors, "vectors")
    assert "\n" not in str(caught.value)


def test_a_masked_array_without_masked_entries_is_read():
    assert (checked_rows(np.ma.masked_less(np.ones((3, 2)), 0), "vectors") == 1).all()


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.longdouble, np.int8, np.uint64, object])
def test_numbers_of_every_type_and_order_are_read_as_float64(kind):
    expected = np.arange(6.0).reshape(3, 2)
    for vectors in (expected.astype(kind), np.asfortranarray(expected.astype(kind)), expected.astype(kind).tolist()):
        rows = checked_rows(vectors, "vectors")
        assert rows.dtype == np.float64
        assert rows.flags.c_contiguous
        assert (rows == expected).all()
