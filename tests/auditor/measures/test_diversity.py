"""Vendi scores against known inputs and brute-force kernels; the interval of the loss by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from auditor.measures.diversity import (
    diversity_loss,
    duplicates,
    effective_rank,
    effective_rank_interval,
    vendi,
    vendi_of,
)
from auditor.statistics.moments import moments_of, unit_rows
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


def test_the_score_from_moments_is_that_of_the_rows(rng):
    rows = rng.normal(1, 1, (30, 6))
    assert vendi_of(moments_of(unit_rows(rows))) == pytest.approx(vendi(rows).estimate)


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


def test_the_loss_is_the_share_of_the_real_score_that_is_missing(rng):
    real, candidate = rng.normal(size=(50, 6)), rng.normal(size=(50, 6)) * [1, 1, 1, 0.1, 0.1, 0.1]
    loss = diversity_loss(real, candidate)
    assert loss.estimate == pytest.approx(1 - vendi(candidate).estimate / vendi(real).estimate)
    assert loss.low < loss.estimate < loss.high < 1


@pytest.mark.parametrize("zeros", [1, 25, 50])
def test_the_loss_counts_zero_rows_as_the_score_does(zeros, rng):
    real, candidate = rng.normal(size=(50, 6)), rng.normal(size=(50, 6))
    candidate[:zeros] = 0
    assert diversity_loss(real, candidate).estimate == pytest.approx(
        1 - vendi(candidate).estimate / vendi(real).estimate
    )


def test_copies_lose_all_but_one_item(rng):
    real = rng.normal(size=(50, 6))
    assert diversity_loss(real, np.ones((50, 6))).estimate == pytest.approx(1 - 1 / vendi(real).estimate)


def test_the_loss_of_a_more_varied_set_is_negative(rng):
    assert diversity_loss(rng.normal(size=(60, 8)) + 2, rng.normal(size=(60, 8))).high < 0


def test_a_loss_between_unequal_sizes_is_refused(rng):
    with pytest.raises(InputError, match="got 4 real and 5"):
        diversity_loss(rng.normal(size=(4, 3)), rng.normal(size=(5, 3)))


def test_a_loss_between_single_items_is_refused():
    with pytest.raises(InputError, match="≥ 2"):
        diversity_loss(np.ones((1, 3)), np.ones((1, 3)))


def losses(n, width, narrowing, draws, rng):
    """Loss, low and high of pairs of samples; half the candidate's dimensions are `narrowing` times as wide."""
    spread = np.linspace(1, 0.2, width)
    narrow = np.where(np.arange(width) < width // 2, 1, narrowing) * spread
    pairs = ((rng.normal(size=(n, width)) * spread, rng.normal(size=(n, width)) * narrow) for _ in range(draws))
    found = [diversity_loss(real + 0.5, candidate + 0.5) for real, candidate in pairs]
    return np.array([(m.estimate, m.low, m.high) for m in found]).T


SIZES = [(10, 16), (50, 16), (200, 16), (30, 64), (200, 64), (1000, 32)]  # (n, width), n < width too


@pytest.mark.parametrize(("n", "width"), SIZES)
def test_a_second_real_sample_loses_nothing(n, width, rng):
    value, low, high = losses(n, width, 1.0, 150, rng)
    assert abs(value.mean()) < 4 * value.std() / math.sqrt(150)
    assert np.mean((low <= 0) & (high >= 0)) >= 0.88  # nominal 0.95; standard error 0.018


@pytest.mark.parametrize(("n", "width"), SIZES)
def test_the_interval_of_the_loss_holds_its_expectation_at_that_size(n, width, rng):
    value, low, high = losses(n, width, 0.3, 150, rng)
    expected = -np.expm1(np.log1p(-value).mean())  # the interval is one of log ratios
    assert np.mean((low <= expected) & (expected <= high)) >= 0.88


def test_with_many_items_the_interval_holds_the_loss_of_the_whole_population(rng):
    whole = losses(20_000, 16, 0.3, 2, rng)[0].mean()
    _, low, high = losses(1000, 16, 0.3, 60, rng)
    assert np.mean((low <= whole) & (whole <= high)) >= 0.86  # nominal 0.95; standard error 0.028


def test_each_copy_points_to_the_first_of_its_kind(rng):
    kinds = rng.integers(0, 256, (4, 16)).astype(np.uint8)
    assert duplicates(kinds[[2, 0, 2, 1, 0, 0]]).tolist() == [0, 1, 0, 3, 1, 1]


def test_nothing_has_no_copies():
    assert duplicates(np.empty((0, 16), dtype=np.uint8)).tolist() == []


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
