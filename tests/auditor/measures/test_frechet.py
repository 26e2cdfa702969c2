"""The Fréchet distance against Gaussian formulas and scipy; its interval by simulation."""

import math

import numpy as np
import pytest
from scipy import linalg

from auditor.measures.frechet import frechet, frechet_interval, frechet_of
from auditor.statistics.moments import Moments, moments_of
from indexes.errors import InputError


def exact_moments(mean, covariance, n=10**6):
    """Moments whose mean and unbiased covariance are exactly these."""
    mean = np.asarray(mean, dtype=np.float64)
    return Moments(n, n * mean, (n - 1) * np.asarray(covariance) + n * np.outer(mean, mean))


def test_the_distance_between_axis_aligned_gaussians_is_the_closed_form():
    real = exact_moments([0, 0, 1], np.diag([1.0, 4.0, 9.0]))
    candidate = exact_moments([1, 0, 3], np.diag([4.0, 4.0, 1.0]))
    assert frechet_of(real, candidate) == pytest.approx(1 + 4 + (1 - 2) ** 2 + 0 + (3 - 1) ** 2)


def test_the_distance_between_correlated_gaussians_agrees_with_scipy(rng):
    first, second = (x @ x.T for x in rng.normal(size=(2, 6, 9)))
    gap = rng.normal(size=6)
    root = linalg.sqrtm(first)
    expected = gap @ gap + np.trace(first + second - 2 * linalg.sqrtm(root @ second @ root))
    assert frechet_of(exact_moments(np.zeros(6), first), exact_moments(gap, second)) == pytest.approx(expected)


def test_the_plug_in_is_the_formula_on_numpy_covariances(rng):
    real, candidate = rng.normal(size=(60, 4)), rng.normal(0.5, 2, (40, 4))
    a, b = np.cov(real.T), np.cov(candidate.T)
    gap = real.mean(0) - candidate.mean(0)
    expected = gap @ gap + np.trace(a) + np.trace(b) - 2 * np.trace(linalg.sqrtm(a @ b).real)
    measure = frechet(real, candidate)
    assert measure.estimate == pytest.approx(expected)
    assert measure.n == 40


def test_the_distance_is_symmetric_with_fewer_items_than_dimensions(rng):
    a, b = rng.normal(size=(10, 30)), rng.normal(size=(12, 30))
    assert frechet(a, b).estimate == pytest.approx(frechet(b, a).estimate)


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_a_set_lies_at_distance_zero_from_itself(offset, rng):
    rows = rng.normal(size=(50, 6)) + offset
    assert frechet(rows, rows).estimate == pytest.approx(0, abs=1e-7)


def test_copies_of_one_item_lie_as_far_as_the_mean_and_the_spread(rng):
    rows = rng.normal(size=(80, 3))
    expected = ((rows.mean(0) - 1) ** 2).sum() + np.trace(np.cov(rows.T))
    assert frechet(rows, np.ones((9, 3))).estimate == pytest.approx(expected)


def test_the_distance_to_a_single_item_is_refused(rng):
    with pytest.raises(InputError, match="at least 2"):
        frechet(rng.normal(size=(9, 3)), np.ones((1, 3)))


@pytest.mark.parametrize(
    ("n", "width", "scale", "shift"),
    [(200, 4, 1.2, 0.1), (200, 16, 0.7, 0.5), (100, 16, 1.0, 0.0), (40, 64, 1.2, 0.1)],
)
def test_the_interval_holds_the_expectation_of_the_plug_in(n, width, scale, shift, rng):
    spread, found = np.linspace(1, 0.2, width), []
    for _ in range(150):
        real, candidate = rng.normal(size=(n, width)) * spread, rng.normal(size=(n, width)) * spread * scale + shift
        a, b = moments_of(real), moments_of(candidate)
        found.append((frechet_of(a, b), *frechet_interval(a, b, real, candidate)))
    value, low, high = np.array(found).T
    expected = value.mean()
    assert np.mean((low <= expected) & (expected <= high)) >= 0.89  # nominal 0.95; standard error 0.018
    assert (high - low).mean() < 2.5 * 3.92 * value.std()  # and it is not so by being useless


@pytest.mark.parametrize("offset", [1e6, 2.0**33, 2.0**44])
def test_a_common_offset_changes_nothing(offset, rng):
    real, candidate = rng.integers(-64, 64, (50, 4)) / 16, rng.integers(-32, 64, (40, 4)) / 16
    here, there = frechet(real, candidate, level=0.95), frechet(real + offset, candidate + offset, level=0.95)
    assert (there.estimate, there.low, there.high) == pytest.approx((here.estimate, here.low, here.high), rel=1e-12)


@pytest.mark.parametrize("scale", [2.0**-500, 1e-30, 1e30, 2.0**500])
def test_the_distance_grows_with_the_square_of_the_scale(scale, rng):
    real, candidate = rng.normal(size=(50, 4)), rng.normal(0.3, 0.8, (40, 4))
    here, there = frechet(real, candidate, level=0.95), frechet(scale * real, scale * candidate, level=0.95)
    expected = pytest.approx([number * scale**2 for number in (here.estimate, here.low, here.high)], rel=1e-12)
    assert [there.estimate, there.low, there.high] == expected


def test_a_distance_beyond_float64_is_a_stated_reason(rng):
    measure = frechet(1e200 * rng.normal(size=(20, 3)), 1e200 * rng.normal(size=(20, 3)), level=0.95)
    assert math.isnan(measure.estimate)
    assert "beyond the range of float64" in measure.reason


def test_a_set_with_one_huge_row_lies_at_distance_zero_from_itself(rng):
    rows = rng.normal(size=(60, 4))
    rows[3] *= 1e6
    measure = frechet(rows, rows, level=0.95)
    assert (measure.estimate, measure.low) == (0, 0)


def test_a_row_that_hides_the_others_is_a_stated_reason(rng):
    rows = rng.normal(size=(30, 3))
    rows[3] *= 1e14
    assert "1e+12 times as far" in frechet(rng.normal(size=(30, 3)), rows).reason


@pytest.mark.parametrize("candidate", [np.zeros((20, 3)), np.eye(3)])
def test_equal_or_few_vectors_have_a_distance_without_an_interval(candidate):
    measure = frechet(np.ones((20, 3)), candidate, level=0.95)
    gap = 1 - candidate.mean(0)
    assert measure.estimate == pytest.approx(gap @ gap + np.trace(np.cov(candidate.T)))
    assert math.isnan(measure.low)
    assert measure.reason
