"""Sums against numpy on the whole."""

import numpy as np
import pytest

from auditor.statistics.moments import lengths_of, moments_of, unit_rows
from indexes.errors import InputError


def test_mean_and_covariance_agree_with_numpy(rng):
    rows = rng.normal(3, 2, (50, 4))
    moments = moments_of(rows)
    np.testing.assert_allclose(moments.mean, rows.mean(0))
    np.testing.assert_allclose(moments.covariance, np.cov(rows.T), atol=1e-12)


def test_the_second_moment_is_not_centred(rng):
    rows = rng.normal(3, 2, (50, 4))
    np.testing.assert_allclose(moments_of(rows).second, np.mean([np.outer(r, r) for r in rows], axis=0))


def test_moments_of_parts_add_to_those_of_the_whole(rng):
    rows = rng.normal(size=(50, 4))
    parts, whole = moments_of(rows[:13]) + moments_of(rows[13:]), moments_of(rows)
    assert parts.n == 50
    np.testing.assert_allclose(parts.total, whole.total)
    np.testing.assert_allclose(parts.outer, whole.outer)


def test_moments_of_integers_add_exactly(rng):
    rows = rng.integers(-100, 100, (64, 5))
    parts, whole = moments_of(rows[:20]) + moments_of(rows[20:]), moments_of(rows)
    assert np.array_equal(parts.outer, whole.outer)


def test_float32_rows_are_summed_in_float64():
    rows = np.full((3, 1), 16_777_216.0, dtype=np.float32)
    rows[1] = 1.0
    assert moments_of(rows).total[0] == 33_554_433.0


def test_no_rows_are_the_neutral_element(rng):
    rows = rng.normal(size=(5, 3))
    assert np.array_equal((moments_of(rows) + moments_of(rows[:0])).outer, moments_of(rows).outer)


def test_a_covariance_of_one_item_is_refused():
    with pytest.raises(InputError, match="at least 2 items, got 1"):
        _ = moments_of(np.ones((1, 3))).covariance


def test_moments_of_different_widths_do_not_add():
    with pytest.raises(InputError, match="width 3 and 4"):
        _ = moments_of(np.ones((2, 3))) + moments_of(np.ones((2, 4)))


def test_a_vector_is_no_set_of_rows():
    with pytest.raises(InputError, match=r"\(n, d\)"):
        moments_of(np.ones(3))


def test_unit_rows_have_length_one_and_zero_stays_zero(rng):
    rows = unit_rows(np.concatenate([rng.normal(size=(4, 3)), np.zeros((1, 3))]).astype(np.float32))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), [1, 1, 1, 1, 0], atol=1e-15)
    assert rows.dtype == np.float64


@pytest.mark.parametrize("scale", [2.0**-1000, 2.0**1000])
def test_lengths_and_unit_rows_neither_vanish_nor_overflow(scale, rng):
    rows = rng.normal(size=(5, 3))
    assert (lengths_of(scale * rows) == scale * np.linalg.norm(rows, axis=1)).all()
    assert (unit_rows(scale * rows) == unit_rows(rows)).all()


def test_a_row_of_very_different_values_has_the_length_of_the_largest():
    assert lengths_of(np.array([[1e-300, 3e200, 4e200], [0, 0, 0]])) == pytest.approx([5e200, 0])


def test_unit_rows_of_a_vector_are_refused():
    with pytest.raises(InputError, match=r"\(n, d\)"):
        unit_rows(np.ones(3))


@pytest.mark.parametrize("value", [1e200, np.inf, np.nan])
def test_sums_that_are_not_finite_are_refused(value):
    with pytest.raises(InputError, match="nan, or values whose squares exceed the range"):
        moments_of(np.array([[0.0, value]]))
