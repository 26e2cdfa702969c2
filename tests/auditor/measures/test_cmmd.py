"""CMMD against loops and the closed form for two Gaussians; its interval by simulation."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist

from auditor.measures.cmmd import cmmd, median_distance
from indexes.errors import InputError


def brute_force(real, candidate):
    sigma = np.median(pdist(real))
    own, theirs, across = (
        np.exp(-(cdist(a, b) ** 2) / (2 * sigma**2))
        for a, b in ((real, real), (candidate, candidate), (real, candidate))
    )
    m, n = across.shape
    return (own.sum() - m) / (m * (m - 1)) + (theirs.sum() - n) / (n * (n - 1)) - 2 * across.mean()


@pytest.mark.parametrize("width", [1, 4, 100])
def test_the_estimate_agrees_with_brute_force(width, rng):
    real, candidate = rng.normal(size=(40, width)), rng.normal(0.5, 0.8, (25, width))
    assert cmmd(real, candidate).estimate == pytest.approx(brute_force(real, candidate), rel=1e-9, abs=1e-13)


@pytest.mark.parametrize(("shift", "spread"), [(0.0, 1.0), (0.5, 1.0), (0.0, 0.5), (1.0, 2.0)])
def test_the_interval_holds_the_closed_form_of_two_gaussians(shift, spread, rng):
    d = 3
    real, candidate = rng.normal(size=(1500, d)), shift + spread * rng.normal(size=(1200, d))
    square = median_distance(real) ** 2

    def mean_kernel(variances, gap):  # of N(0, s²) and N(gap, t²), with variances s² + t²
        return (square / (square + variances)) ** (d / 2) * math.exp(-d * gap**2 / (2 * (square + variances)))

    truth = mean_kernel(2, 0) + mean_kernel(2 * spread**2, 0) - 2 * mean_kernel(1 + spread**2, shift)
    measure = cmmd(real, candidate, level=0.999)
    assert measure.low <= truth <= measure.high
    assert measure.high - measure.low < 0.12


def drawn(n, rng, *, modes=5, spread=1.0):
    centres = 2 * np.eye(6)[:5]
    return centres[rng.integers(0, modes, n)] + spread * rng.normal(size=(n, 6))


def population_value(modes, spread, sigma):
    """Of `drawn` against all modes, in closed form for each pair of modes."""

    def mean_kernel(first, second):
        variance = sigma**2 + first[1] ** 2 + second[1] ** 2
        squares = cdist(2 * np.eye(6)[: first[0]], 2 * np.eye(6)[: second[0]]) ** 2
        return (sigma**2 / variance) ** 3 * np.exp(-squares / (2 * variance)).mean()

    real, other = (5, 1.0), (modes, spread)
    return mean_kernel(real, real) + mean_kernel(other, other) - 2 * mean_kernel(real, other)


@pytest.mark.parametrize(("modes", "spread"), [(5, 1.0), (4, 1.0), (3, 1.0), (5, 0.6)])
def test_the_interval_holds_the_population_value(modes, spread, rng):
    truth = population_value(modes, spread, median_distance(drawn(2000, rng)))
    found = [cmmd(drawn(150, rng), drawn(100, rng, modes=modes, spread=spread), level=0.95) for _ in range(80)]
    assert np.mean([measure.low <= truth <= measure.high for measure in found]) >= 0.88  # nominal 0.95
    wide = np.mean([measure.high - measure.low for measure in found])
    assert wide < 2.1 * 3.92 * np.std([measure.estimate for measure in found])


@pytest.mark.parametrize(("scale", "offset"), [(1e-30, 0.0), (1e30, 0.0), (1.0, 1e6), (1.0, -1e6)])
def test_the_measure_is_free_of_scale_and_origin(scale, offset, rng):
    real, candidate = rng.normal(size=(60, 4)), rng.normal(0.5, 0.8, (40, 4))
    here, there = cmmd(real, candidate, level=0.95), cmmd(scale * real + offset, scale * candidate + offset, level=0.95)
    expected = pytest.approx((here.estimate, here.low, here.high), rel=1e-7)
    assert (there.estimate, there.low, there.high) == expected


def test_fewer_items_than_dimensions_are_compared(rng):
    real, candidate = rng.normal(size=(30, 4096)), rng.normal(0.5, 1, (20, 4096))
    measure = cmmd(real, candidate, level=0.95)
    assert measure.estimate == pytest.approx(brute_force(real, candidate), rel=1e-9)
    assert measure.low > 0.05


def test_a_tight_set_far_away_keeps_its_digits(rng):
    real, tight = rng.normal(size=(40, 3)), rng.normal(size=(40, 3))
    apart = cmmd(real, tight + 1e3).estimate
    assert cmmd(real, tight + 2.0**30).estimate == pytest.approx(apart, rel=1e-6)


@pytest.mark.parametrize("side", [0, 1])
def test_an_outlier_counts_as_one_item_however_far_it_is(side, rng):
    sets = rng.normal(size=(2, 60, 3))
    sets[side, 3] = 1e3
    expected = cmmd(*sets, level=0.95)
    sets[side, 3] = 1e10
    measure = cmmd(*sets, level=0.95)
    assert (measure.estimate, measure.low) == pytest.approx((expected.estimate, expected.low), rel=1e-3)


def test_copies_of_one_candidate_item_are_compared(rng):
    real = rng.normal(size=(40, 3))
    candidate = np.zeros((20, 3))
    measure = cmmd(real, candidate, level=0.95)
    assert measure.estimate == pytest.approx(brute_force(real, candidate))
    assert measure.low < measure.estimate < measure.high


def test_equal_real_items_have_no_bandwidth(rng):
    measure = cmmd(np.ones((30, 3)), rng.normal(size=(20, 3)), level=0.95)
    assert math.isnan(measure.estimate)
    assert (measure.n, measure.reason) == (20, "all real vectors are equal")


def test_mostly_equal_real_items_have_no_bandwidth(rng):
    real = np.concatenate([np.ones((30, 3)), rng.normal(size=(5, 3))])
    measure = cmmd(real, rng.normal(size=(20, 3)))
    assert math.isnan(measure.estimate)
    assert "median distance is 0" in measure.reason


def test_a_single_item_is_a_stated_reason(rng):
    assert "at least 2 items" in cmmd(rng.normal(size=(30, 3)), np.ones((1, 3))).reason


def test_other_shapes_are_refused(rng):
    with pytest.raises(InputError, match="expected"):
        cmmd(rng.normal(size=30), rng.normal(size=30))
