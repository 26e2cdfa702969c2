"""Vendi scores against known inputs and brute-force kernels; their intervals by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from auditor.measures.effective_rank import effective_rank, effective_rank_interval
from auditor.measures.vendi import vendi
from auditor.statistics.moments import moments_of
from indexes.errors import InputError

ORDERS = [0.5, 1.0, 2.0, math.inf]


@pytest.mark.parametrize("order", ORDERS)
def test_orthogonal_items_count_each(order):
    assert vendi(3 * np.eye(7), order=order).estimate == pytest.approx(7)


@pytest.mark.parametrize("order", ORDERS)
def test_copies_count_once(order):
    assert vendi(np.tile([1.0, 2.0, 3.0], (9, 1)), order=order).estimate == pytest.approx(1)


def test_repeating_every_item_leaves_the_score(rng):
    rows = rng.normal(size=(6, 10))
    assert vendi(np.tile(rows, (3, 1))).estimate == pytest.approx(vendi(rows).estimate)


@pytest.mark.parametrize("shape", [(40, 5), (5, 40)])
@pytest.mark.parametrize("order", ORDERS)
def test_the_score_is_the_renyi_number_of_the_cosine_kernel(shape, order, rng):
    rows = rng.normal(1, 1, shape)
    kernel = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in rows] for a in rows]) / len(rows)
    shares = np.linalg.eigvalsh(kernel)
    shares = shares[shares > 1e-12]
    expected = {
        1.0: np.exp(stats.entropy(shares)),
        math.inf: 1 / shares.max(),
    }.get(order) or (shares**order).sum() ** (1 / (1 - order))
    assert vendi(rows, order=order).estimate == pytest.approx(expected)


def test_the_score_falls_with_the_order(rng):
    rows = rng.normal(1, 1, (30, 6))
    scores = [vendi(rows, order=order).estimate for order in ORDERS]
    assert scores == sorted(scores, reverse=True)


def test_the_score_does_not_depend_on_lengths(rng):
    rows = rng.normal(size=(12, 4))
    assert vendi(rows * rng.uniform(0.1, 9, (12, 1))).estimate == pytest.approx(vendi(rows).estimate)


def test_items_that_are_all_zero_are_of_one_kind():
    assert vendi(np.zeros((5, 3))).estimate == 1.0


def test_a_score_of_nothing_is_refused():
    with pytest.raises(InputError, match="n ≥ 1"):
        vendi(np.empty((0, 3)))


def test_an_order_of_zero_is_refused():
    with pytest.raises(InputError, match="positive"):
        vendi(np.eye(3), order=0)


def vendi_with_interval(rows):
    return vendi(rows, level=0.95)


@pytest.mark.parametrize("interval", [vendi_with_interval, effective_rank_interval])
@pytest.mark.parametrize(("n", "width"), [(200, 16), (200, 64)])
def test_intervals_hold_the_expectation_of_the_number_of_kinds_at_that_size(interval, n, width):
    rng = np.random.default_rng(width)
    spread = np.arange(1, width + 1.0) ** -0.35
    found = [interval(rng.standard_normal((n, width)) * spread + 0.5) for _ in range(300)]
    expected = math.exp(np.mean([math.log(m.estimate) for m in found]))
    assert np.mean([m.low <= expected <= m.high for m in found]) > 0.90


def test_the_interval_functions_give_the_values_of_the_plain_ones():
    rows = np.random.default_rng(0).standard_normal((50, 8)) + 1
    assert vendi(rows, level=0.95).estimate == pytest.approx(vendi(rows).estimate)
    assert effective_rank_interval(rows).estimate == pytest.approx(effective_rank(moments_of(rows)))


@pytest.mark.parametrize("order", [0.5, 1.0, 2.0, math.inf])
@pytest.mark.parametrize(("n", "width"), [(100, 8), (300, 40)])
def test_the_interval_of_a_vendi_score_of_any_order_holds_its_expectation(order, n, width):
    rng = np.random.default_rng(n)
    spread = np.arange(1, width + 1.0) ** -0.4
    found = [vendi(rng.standard_normal((n, width)) * spread + 0.4, order=order, level=0.95) for _ in range(300)]
    expected = math.exp(np.mean([math.log(m.estimate) for m in found]))
    assert np.mean([m.low <= expected <= m.high for m in found]) > 0.90


@pytest.mark.parametrize("order", [0.5, 1.0, 2.0, math.inf])
def test_a_level_changes_no_estimate_and_a_higher_one_widens_the_interval(order, rng):
    rows = rng.normal(size=(40, 6)) + 1
    found = [vendi(rows, order=order, level=level) for level in (0.5, 0.9, 0.99)]
    assert [m.estimate for m in found] == pytest.approx([vendi(rows, order=order).estimate] * 3)
    assert found[0].high - found[0].low < found[1].high - found[1].low < found[2].high - found[2].low


def test_an_interval_of_one_vector_is_refused():
    with pytest.raises(InputError, match="at least 2 vectors"):
        vendi(np.ones((1, 3)), level=0.95)


@pytest.mark.parametrize("order", [0.25, 0.5])
@pytest.mark.parametrize("offset", [1e4, 1e8])
def test_two_directions_that_hardly_differ_have_the_closed_form(order, offset):
    rows = np.array([[offset, 1.0], [offset, -1.0]])
    small = 1 / (offset**2 + 1)  # the second eigenvalue, (1 − cosine) / 2
    expected = ((1 - small) ** order + small**order) ** (1 / (1 - order))
    assert vendi(rows, order=order).estimate - 1 == pytest.approx(expected - 1, rel=1e-6)


@pytest.mark.parametrize("scale", [2.0**-1000, 1e-30, 1e30, 2.0**990])
def test_the_score_does_not_depend_on_the_scale(scale, rng):
    rows = rng.normal(size=(30, 4))
    here, there = vendi(rows, level=0.95), vendi(scale * rows, level=0.95)
    assert (there.estimate, there.low, there.high) == pytest.approx((here.estimate, here.low, here.high), rel=1e-12)


@pytest.mark.parametrize("shape", [(9, 3), (9, 40)])
def test_fewer_than_ten_vectors_have_a_score_without_an_interval(shape, rng):
    rows = rng.normal(size=shape)
    measure = vendi(rows, level=0.95)
    assert measure.estimate == pytest.approx(vendi(rows).estimate)
    assert math.isnan(measure.low)
    assert "at least 10" in measure.reason
