"""The U-statistic and its variance against loops, and against the linear kernel, whose moments have closed forms."""

import math

import numpy as np
import pytest

from auditor.measures import mean_discrepancy as module
from auditor.measures.mean_discrepancy import mean_discrepancy


def linear(first, second):
    return first @ second.T


def cubic(first, second):
    return (first @ second.T + 1) ** 3


def variances(real, candidate, kernel):
    within = module._within(real, kernel), module._within(candidate, kernel)
    return module._variances(*within, module._across(real, candidate, kernel))


def test_the_estimate_is_the_mean_over_pairs_of_different_rows(rng):
    real, candidate = rng.normal(size=(7, 3)), rng.normal(1, 1, (5, 3))

    def mean(first, second, is_within):
        pairs = [(a, b) for i, a in enumerate(first) for j, b in enumerate(second) if not (is_within and i == j)]
        return np.mean([(a @ b + 1) ** 3 for a, b in pairs])

    expected = mean(real, real, True) + mean(candidate, candidate, True) - 2 * mean(real, candidate, False)
    measure = mean_discrepancy(real, candidate, cubic, level=None)
    assert measure.estimate == pytest.approx(expected, rel=1e-12)
    assert (measure.n, measure.reason) == (5, None)
    assert math.isnan(measure.low)


def test_the_linear_kernel_gives_the_squared_distance_of_the_means_less_their_errors(rng):
    real, candidate = rng.normal(size=(40, 3)), rng.normal(1, 2, (30, 3))
    gap = real.mean(0) - candidate.mean(0)
    errors = real.var(0, ddof=1).sum() / 40 + candidate.var(0, ddof=1).sum() / 30
    assert mean_discrepancy(real, candidate, linear, level=None).estimate == pytest.approx(gap @ gap - errors)


def residual(table, is_kept):
    """Mean square left over by the least-squares fit of a row effect and a column effect."""
    at, to = np.nonzero(is_kept)
    design = np.zeros((len(at), sum(table.shape)))
    design[np.arange(len(at)), at] = design[np.arange(len(at)), table.shape[0] + to] = 1
    left = table[at, to] - design @ np.linalg.lstsq(design, table[at, to], rcond=None)[0]
    return left @ left


def test_the_variance_is_that_of_the_row_means_less_that_of_the_double_centred_kernel(rng):
    m, n = 14, 11
    real, candidate = rng.normal(size=(m, 3)), rng.normal(1, 1, (n, 3))
    own, theirs, across = cubic(real, real), cubic(candidate, candidate), cubic(real, candidate)
    of_real = (own.sum(1) - np.diag(own)) / (m - 1) - across.mean(1)
    of_candidate = (theirs.sum(1) - np.diag(theirs)) / (n - 1) - across.mean(0)
    first = 4 * of_real.var(ddof=1) / m + 4 * of_candidate.var(ddof=1) / n
    second = 2 * residual(own, ~np.eye(m, dtype=bool)) / (m * (m - 3)) / (m * (m - 1))
    second += 2 * residual(theirs, ~np.eye(n, dtype=bool)) / (n * (n - 3)) / (n * (n - 1))
    second += 4 * residual(across, np.ones((m, n), dtype=bool)) / ((m - 1) * (n - 1)) / (m * n)
    assert variances(real, candidate, cubic) == pytest.approx((max(first - second, second), second))


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_the_variance_is_right_on_average_for_shifted_gaussians(shift, rng):
    m, n, d, found = 60, 40, 5, []
    for _ in range(300):
        real, candidate = rng.normal(size=(m, d)), rng.normal(size=(n, d))
        candidate[:, 0] += shift
        found.append(variances(real, candidate, linear))
    exact_second = 2 * d / (m * (m - 1)) + 2 * d / (n * (n - 1)) + 4 * d / (m * n)
    exact = 4 * shift**2 * (1 / m + 1 / n) + exact_second
    assert np.mean(found, axis=0) == pytest.approx([exact, exact_second], rel=0.06)


def test_the_ends_lie_z_standard_errors_from_the_estimate(rng):
    z = 1.959963984540054
    for value in (-3.0, -0.5, 0.0, 0.7, 2.5, 40.0):
        low, high = module._interval(value, 1.0, 0.8, level=0.95)
        assert low < value < high
        for end in (low, high):
            assert (value - end) ** 2 == pytest.approx(z**2 * (1.0 + 0.8 * max(end, 0.0)))


def test_the_interval_of_equal_distributions_holds_zero(rng):
    found = [
        mean_discrepancy(rng.normal(size=(40, 8)), rng.normal(size=(30, 8)), cubic, level=0.95) for _ in range(200)
    ]
    assert np.mean([measure.low <= 0 <= measure.high for measure in found]) == pytest.approx(0.95, abs=0.05)


def test_blocks_do_not_change_the_result(rng, monkeypatch):
    real, candidate = rng.normal(size=(30, 3)), rng.normal(1, 1, (20, 3))
    whole = mean_discrepancy(real, candidate, cubic, level=0.9)
    monkeypatch.setattr(module, "_BLOCK", 70)
    pieces = mean_discrepancy(real, candidate, cubic, level=0.9)
    assert (pieces.estimate, pieces.low, pieces.high) == pytest.approx((whole.estimate, whole.low, whole.high))


@pytest.mark.parametrize("sizes", [(2, 30), (30, 9)])
def test_too_few_items_have_an_estimate_without_an_interval(sizes, rng):
    real, candidate = (rng.normal(size=(size, 3)) for size in sizes)
    measure = mean_discrepancy(real, candidate, linear, level=0.95)
    assert math.isfinite(measure.estimate)
    assert math.isnan(measure.low)
    assert "at least 10 items on each side" in measure.reason


def test_equal_kernel_values_give_no_interval(rng):
    measure = mean_discrepancy(
        rng.normal(size=(20, 3)), rng.normal(size=(20, 3)), lambda a, b: np.ones((len(a), len(b))), level=0.95
    )
    assert measure.estimate == 0
    assert math.isnan(measure.low)
    assert "all kernel values are equal" in measure.reason
