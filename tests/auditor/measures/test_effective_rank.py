"""The effective rank against known spectra."""

import numpy as np
import pytest
from scipy import stats

from auditor.measures.effective_rank import effective_rank, effective_rank_interval
from auditor.statistics.moments import moments_of


def test_the_effective_rank_counts_equal_directions():
    rows = np.concatenate([np.eye(4), -np.eye(4), np.zeros((2, 4))]) + 5
    assert effective_rank(moments_of(rows)) == pytest.approx(4)


def test_the_effective_rank_is_the_exponential_entropy_of_the_spectrum(rng):
    rows = rng.normal(2, [1, 2, 3, 4], (60, 4))
    expected = np.exp(stats.entropy(np.linalg.eigvalsh(np.cov(rows.T))))
    assert effective_rank(moments_of(rows)) == pytest.approx(expected)


@pytest.mark.parametrize("n", [2, 50, 5000])
def test_copies_have_effective_rank_one_whatever_rounding_leaves(n, rng):
    copies = np.repeat(3 * rng.normal(size=(1, 16)).astype(np.float32), n, axis=0)
    assert effective_rank(moments_of(copies)) == 1.0


def test_fewer_items_than_columns_give_the_rank_of_the_same_items_in_their_span(rng):
    rows = rng.normal(size=(30, 5))
    turned = rows @ np.linalg.qr(rng.normal(size=(400, 5)))[0].T
    narrow, wide = effective_rank_interval(rows), effective_rank_interval(turned)
    assert (wide.estimate, wide.low, wide.high) == pytest.approx((narrow.estimate, narrow.low, narrow.high))


@pytest.mark.parametrize(("scale", "offset"), [(2.0**-900, 0.0), (2.0**900, 0.0), (1.0, 2.0**30), (1.0, 1e8)])
def test_the_rank_is_free_of_scale_and_origin(scale, offset, rng):
    rows = rng.integers(-64, 64, (40, 4)) / 16
    here, there = effective_rank_interval(rows), effective_rank_interval(scale * rows + offset)
    assert (there.estimate, there.low, there.high) == pytest.approx((here.estimate, here.low, here.high), rel=1e-9)


def test_copies_of_a_far_item_have_rank_one():
    measure = effective_rank_interval(np.full((20, 3), 1e8 / 3))
    assert (measure.estimate, measure.low, measure.high) == (1, 1, 1)


def test_a_row_that_holds_the_variance_leaves_the_rank_without_an_interval(rng):
    rows = rng.normal(size=(40, 4))
    rows[3] *= 1e6
    measure = effective_rank_interval(rows)
    assert measure.estimate == pytest.approx(1, abs=1e-8)
    assert np.isnan(measure.high)
    assert "holds most of the variance" in measure.reason


def test_a_single_row_has_no_rank():
    assert effective_rank_interval(np.ones((1, 3))).reason == "an effective rank needs at least 2 vectors, got 1"
