"""The sliced Wasserstein distance against scipy, optimal assignments and closed forms; its interval by simulation."""

import math

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from auditor.measures import sliced_wasserstein as module
from auditor.measures.sliced_wasserstein import _directions, _transport, sliced_wasserstein
from indexes.errors import InputError


def matched(x, y):
    """Squared Wasserstein distance of two samples on a line by an optimal assignment of repeated items."""
    x, y = np.repeat(x, len(y)), np.repeat(y, len(x))
    cost = (x[:, None] - y) ** 2
    return cost[linear_sum_assignment(cost)].mean()


@pytest.mark.parametrize(("m", "n"), [(12, 12), (12, 8), (7, 10), (2, 9)])
def test_the_distance_on_a_line_is_that_of_the_optimal_assignment(m, n, rng):
    real, candidate = rng.normal(size=m), rng.normal(0.5, 2, n)
    found = sliced_wasserstein(real[:, None], candidate[:, None]).estimate
    assert found == pytest.approx(matched(real, candidate) / real.var(ddof=1))


def test_the_distance_is_the_mean_over_the_directions(rng):
    real, candidate = rng.normal(size=(9, 5)), rng.normal(0.5, 2, (6, 5))
    directions = _directions(5)
    expected = np.mean([matched(real @ direction, candidate @ direction) for direction in directions.T])
    unit = real.var(0, ddof=1).mean()
    assert sliced_wasserstein(real, candidate).estimate == pytest.approx(expected / unit)


@pytest.mark.parametrize("width", [1, 3, 200, 300])
def test_the_directions_are_orthonormal_bases(width):
    directions = _directions(width)
    first = directions[:, : min(width, 256)]
    assert first.T @ first == pytest.approx(np.eye(first.shape[1]), abs=1e-12)
    assert directions.shape[1] <= 256


@pytest.mark.parametrize("width", [1, 8, 100])
def test_a_shift_gives_its_squared_length_exactly(width, rng):
    real, shift = rng.normal(size=(50, width)), rng.normal(size=width)
    unit = real.var(0, ddof=1).sum() / width
    assert sliced_wasserstein(real, real + shift).estimate == pytest.approx(shift @ shift / width / unit)


def test_a_scaled_and_shifted_gaussian_gives_the_closed_form(rng):
    d, spread = 6, 0.6
    shift = np.array([0.8, 0, 0, -0.4, 0, 0])
    real, candidate = rng.normal(size=(4000, d)), shift + spread * rng.normal(size=(3000, d))
    measure = sliced_wasserstein(real, candidate, level=0.99)
    truth = shift @ shift / d + (1 - spread) ** 2
    assert measure.estimate == pytest.approx(truth, abs=0.02)
    assert measure.low < truth < measure.high


def test_a_potential_is_the_derivative_in_an_items_weight(rng):
    """The distance is linear in a small weight: compare with samples in which all items but one are repeated less."""
    m, n, times = 6, 5, 500
    real, candidate = rng.normal(size=(m, 1)), rng.normal(1, 2, (n, 1))
    here, of_real, of_candidate = _transport(real, candidate)
    for first, second, potentials in ((real, candidate, of_real), (candidate, real, of_candidate)):
        for item, potential in enumerate(potentials):
            size = len(first)
            more = np.concatenate([np.repeat(first, times, axis=0), np.repeat(first[item : item + 1], size, axis=0)])
            assert (_transport(more, second)[0] - here) * (times + 1) == pytest.approx(potential)


def drawn(n, rng, *, modes=5, spread=1.0):
    centres = 2 * np.eye(6)[:5]
    return centres[rng.integers(0, modes, n)] + spread * rng.normal(size=(n, 6))


@pytest.mark.parametrize(("modes", "spread"), [(5, 1.0), (4, 1.0), (5, 0.6)])
def test_the_interval_holds_the_expectation(modes, spread, rng, monkeypatch):
    monkeypatch.setattr(module, "_DIRECTIONS", 36)  # for speed
    found = [
        sliced_wasserstein(drawn(80, rng), drawn(60, rng, modes=modes, spread=spread), level=0.95) for _ in range(60)
    ]
    truth = np.mean([measure.estimate for measure in found])
    assert np.mean([measure.low <= truth <= measure.high for measure in found]) >= 0.88  # nominal 0.95
    wide = np.mean([measure.high - measure.low for measure in found])
    assert wide < 2 * 3.92 * np.std([measure.estimate for measure in found])


@pytest.mark.parametrize(("scale", "offset"), [(1e-30, 0.0), (1e30, 0.0), (1.0, 1e6), (1.0, -1e6)])
def test_the_measure_is_free_of_scale_and_origin(scale, offset, rng):
    real, candidate = rng.normal(size=(60, 4)), rng.normal(0.5, 0.8, (40, 4))
    here = sliced_wasserstein(real, candidate, level=0.95)
    there = sliced_wasserstein(scale * real + offset, scale * candidate + offset, level=0.95)
    expected = pytest.approx((here.estimate, here.low, here.high), rel=1e-7)
    assert (there.estimate, there.low, there.high) == expected


def test_fewer_items_than_dimensions_are_compared(rng):
    real, candidate = rng.normal(size=(30, 4096)), rng.normal(0.5, 1, (20, 4096))
    assert sliced_wasserstein(real, candidate, level=0.95).low > 0.1


def test_a_set_lies_at_distance_zero_from_itself(rng):
    rows = rng.normal(size=(30, 4))
    assert sliced_wasserstein(rows, rows).estimate == pytest.approx(0, abs=1e-12)


def test_copies_of_the_real_mean_lie_at_the_real_variance(rng):
    real = rng.normal(size=(30, 4))
    measure = sliced_wasserstein(real, np.tile(real.mean(0), (12, 1)), level=0.95)
    assert measure.estimate == pytest.approx(29 / 30)
    assert measure.low < measure.estimate < measure.high


def test_equal_real_items_have_no_unit(rng):
    measure = sliced_wasserstein(np.ones((30, 3)), rng.normal(size=(20, 3)))
    assert math.isnan(measure.estimate)
    assert (measure.n, measure.reason) == (20, "all real vectors are equal")


def test_too_few_items_have_no_interval(rng):
    measure = sliced_wasserstein(rng.normal(size=(30, 3)), rng.normal(size=(5, 3)), level=0.95)
    assert math.isfinite(measure.estimate)
    assert math.isnan(measure.high)
    assert "at least 10" in measure.reason


def test_other_shapes_are_refused(rng):
    with pytest.raises(InputError, match="expected"):
        sliced_wasserstein(rng.normal(size=30), rng.normal(size=30))


def test_a_real_row_that_holds_the_unit_leaves_the_distance_without_an_interval(rng):
    real, candidate = rng.normal(size=(12, 1)), rng.normal(0.5, 2, (12, 1))
    real[3] *= 1e6
    measure = sliced_wasserstein(real, candidate, level=0.95)
    assert measure.estimate == pytest.approx(matched(real[:, 0], candidate[:, 0]) / real.var(ddof=1))
    assert math.isnan(measure.high)
    assert "one real item holds most of the real variance" in measure.reason
