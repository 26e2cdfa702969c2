"""The neighbour entropy against brute force, scaling and Gaussian entropies; its interval by simulation."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from auditor.measures.neighbour_entropy import neighbour_entropy
from indexes.errors import InputError


def mean_log(rows):
    return np.log(np.sort(cdist(rows, rows), axis=1)[:, 5]).mean()


@pytest.mark.parametrize("width", [1, 4, 80])
def test_at_equal_sizes_it_is_the_difference_of_mean_log_distances(width, rng):
    real, candidate = rng.normal(size=(50, width)), rng.normal(0.5, 1.7, (50, width))
    found = neighbour_entropy(real, candidate).estimate
    assert found == pytest.approx(mean_log(candidate) - mean_log(real), abs=1e-9)


@pytest.mark.parametrize("factor", [0.5, 3.0, 1e-12])
def test_scaling_gives_its_logarithm_exactly(factor, rng):
    rows = rng.normal(size=(60, 5))
    assert neighbour_entropy(rows, factor * rows).estimate == pytest.approx(math.log(factor))


def test_it_is_the_difference_of_gaussian_entropies_per_dimension(rng):
    spreads = np.array([0.3, 1.0, 2.5])
    real, candidate = rng.normal(size=(4000, 3)), spreads * rng.normal(size=(4000, 3))
    measure = neighbour_entropy(real, candidate, level=0.99)
    truth = np.log(spreads).mean()
    assert measure.low < truth < measure.high
    assert measure.estimate == pytest.approx(truth, abs=0.03)


def test_unequal_sizes_have_no_bias(rng):
    found = [neighbour_entropy(rng.normal(size=(180, 3)), rng.normal(size=(60, 3))).estimate for _ in range(40)]
    assert abs(np.mean(found)) < 4 * np.std(found) / math.sqrt(40)


def test_more_real_items_narrow_the_interval(rng):
    real, candidate = rng.normal(size=(600, 3)), rng.normal(size=(60, 3))
    few, many = (neighbour_entropy(rows, candidate, level=0.95) for rows in (real[:60], real))
    assert many.high - many.low < 0.85 * (few.high - few.low)


def test_copies_change_nothing(rng):
    real, candidate = rng.normal(size=(40, 3)), rng.normal(size=(40, 3))
    copied = neighbour_entropy(real, np.tile(candidate, (3, 1)), level=0.95)
    once = neighbour_entropy(real, candidate, level=0.95)
    assert (copied.estimate, copied.low) == pytest.approx((once.estimate, once.low))
    assert copied.n == 120


def test_the_variance_is_that_of_the_leave_one_out_values(rng):
    real, candidate = rng.normal(size=(25, 3)), rng.normal(size=(25, 3))

    def jackknife(rows):
        values = np.array([mean_log(np.delete(rows, i, axis=0)) for i in range(25)])
        return 24 / 25 * ((values - values.mean()) ** 2).sum()

    measure = neighbour_entropy(real, candidate, level=0.95)
    expected = 1.959963984540054 * math.sqrt(jackknife(real) + jackknife(candidate))
    assert measure.high - measure.estimate == pytest.approx(expected)


def drawn(n, rng, *, modes=5, spread=1.0, width=16):
    centres = 2 * np.eye(width)[:5]
    return centres[rng.integers(0, modes, n)] + spread * rng.normal(size=(n, width))


@pytest.mark.parametrize(("modes", "spread", "width"), [(5, 1.0, 16), (3, 1.0, 16), (5, 0.6, 16), (5, 1.0, 64)])
def test_the_interval_holds_the_expectation(modes, spread, width, rng):
    found = [
        neighbour_entropy(
            drawn(130, rng, width=width), drawn(100, rng, modes=modes, spread=spread, width=width), level=0.95
        )
        for _ in range(50)
    ]
    truth = np.mean([measure.estimate for measure in found]) if (modes, spread) != (5, 1.0) else 0.0
    assert np.mean([measure.low <= truth <= measure.high for measure in found]) >= 0.88  # nominal 0.95
    wide = np.mean([measure.high - measure.low for measure in found])
    assert wide < 1.6 * 3.92 * np.std([measure.estimate for measure in found])


@pytest.mark.parametrize(("scale", "offset"), [(1e-30, 0.0), (1e30, 0.0), (1.0, 1e6), (1.0, -1e6)])
def test_the_measure_is_free_of_scale_and_origin(scale, offset, rng):
    real, candidate = rng.normal(size=(60, 4)), rng.normal(0.5, 0.8, (40, 4))
    here = neighbour_entropy(real, candidate, level=0.95)
    there = neighbour_entropy(scale * real + offset, scale * candidate + offset, level=0.95)
    expected = pytest.approx((here.estimate, here.low, here.high), abs=1e-7)
    assert (there.estimate, there.low, there.high) == expected


def test_fewer_items_than_dimensions_are_compared(rng):
    real, candidate = rng.normal(size=(30, 4096)), 0.5 * rng.normal(size=(20, 4096))
    assert neighbour_entropy(real, candidate, level=0.95).estimate == pytest.approx(math.log(0.5), abs=0.02)


def test_copies_of_few_items_are_a_stated_reason(rng):
    measure = neighbour_entropy(rng.normal(size=(30, 3)), np.tile(rng.normal(size=(9, 3)), (5, 1)), level=0.95)
    assert math.isnan(measure.estimate)
    assert measure.reason == "nearest neighbours need at least 10 different candidate vectors, got 9"
    assert measure.n == 45


@pytest.mark.parametrize("is_real", [True, False])
def test_equal_items_are_a_stated_reason(is_real, rng):
    equal, varied = np.ones((30, 3)), rng.normal(size=(30, 3))
    measure = neighbour_entropy(*((equal, varied) if is_real else (varied, equal)))
    assert math.isnan(measure.estimate)
    assert measure.reason


def test_other_shapes_are_refused(rng):
    with pytest.raises(InputError, match="expected"):
        neighbour_entropy(rng.normal(size=30), rng.normal(size=30))
