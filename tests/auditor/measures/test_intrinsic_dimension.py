"""The intrinsic dimension against brute force and sets of known dimension; its interval by simulation."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from auditor.measures.intrinsic_dimension import intrinsic_dimension
from indexes.errors import InputError


@pytest.mark.parametrize("width", [1, 4, 80])
def test_it_is_the_inverse_of_the_mean_log_ratio_of_the_two_nearest_distances(width, rng):
    rows = rng.normal(size=(50, width))
    ordered = np.sort(cdist(rows, rows), axis=1)
    expected = 1 / np.log(ordered[:, 2] / ordered[:, 1]).mean()
    assert intrinsic_dimension(rows).estimate == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_a_gaussian_in_more_columns_has_its_own_dimension(dimension, rng):
    rows = rng.normal(size=(4000, dimension)) @ np.linalg.qr(rng.normal(size=(40, dimension)))[0].T
    measure = intrinsic_dimension(rows, level=0.99)
    assert measure.estimate == pytest.approx(dimension, rel=0.06)
    assert measure.low < measure.estimate < measure.high


def test_a_curved_surface_has_two_dimensions(rng):
    a, b = rng.uniform(0, 6, (2, 3000))
    rows = np.stack([np.sin(a), np.cos(a), np.sin(b), np.cos(b), a * b / 9], axis=1)
    assert intrinsic_dimension(rows).estimate == pytest.approx(2, rel=0.07)


@pytest.mark.parametrize("make", ["plane", "modes", "cauchy"])
def test_the_interval_holds_the_expectation(make, rng):
    makers = {
        "plane": lambda: rng.uniform(size=(60, 2)),
        "modes": lambda: 3 * np.eye(32)[rng.integers(0, 5, 60)] + rng.normal(size=(60, 32)),
        "cauchy": lambda: rng.standard_cauchy(size=(60, 6)),
    }
    found = [intrinsic_dimension(makers[make](), level=0.95) for _ in range(200)]
    truth = np.exp(np.mean([math.log(measure.estimate) for measure in found]))
    assert (
        np.mean([measure.low <= truth <= measure.high for measure in found]) >= 0.88
    )  # nominal 0.95; standard error 0.017
    wide = np.mean([math.log(measure.high / measure.low) for measure in found])
    assert wide < 1.3 * 3.92 * np.std([math.log(measure.estimate) for measure in found])


@pytest.mark.parametrize(("scale", "offset"), [(1e-30, 0.0), (1e30, 0.0), (1.0, 1e6), (1.0, -1e6)])
def test_the_measure_is_free_of_scale_and_origin(scale, offset, rng):
    rows = rng.normal(size=(60, 4))
    here, there = intrinsic_dimension(rows, level=0.95), intrinsic_dimension(scale * rows + offset, level=0.95)
    expected = pytest.approx((here.estimate, here.low, here.high), rel=1e-7)
    assert (there.estimate, there.low, there.high) == expected


def test_copies_change_nothing(rng):
    rows = rng.normal(size=(40, 3))
    copied, once = intrinsic_dimension(np.tile(rows, (3, 1))), intrinsic_dimension(rows)
    assert copied.estimate == pytest.approx(once.estimate)
    assert (copied.n, once.n) == (120, 40)


def test_fewer_items_than_dimensions_have_a_dimension(rng):
    assert intrinsic_dimension(rng.normal(size=(20, 4096)), level=0.95).low > 10


def test_equal_items_are_a_stated_reason():
    measure = intrinsic_dimension(np.ones((30, 3)), level=0.95)
    assert math.isnan(measure.estimate)
    assert (measure.n, measure.reason) == (30, "nearest neighbours need at least 10 different candidate vectors, got 1")


def test_a_regular_grid_is_a_stated_reason():
    measure = intrinsic_dimension(np.stack(np.meshgrid(range(6), range(6)), axis=-1).reshape(36, 2))
    assert math.isnan(measure.estimate)
    assert "equally far" in measure.reason


def test_other_shapes_are_refused(rng):
    with pytest.raises(InputError, match="expected"):
        intrinsic_dimension(rng.normal(size=30))
