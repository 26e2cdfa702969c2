"""Closed forms against scipy and against a search over a grid; levels by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from auditor.records import record_document
from auditor.statistics.intervals import Measure, fieller, normal_interval, wilson_interval


def test_a_measure_without_interval_writes_null_and_no_reason():
    assert record_document(Measure(1.5, n=3)) == {
        "estimate": 1.5,
        "low": None,
        "high": None,
        "reference": None,
        "n": 3,
        "reason": None,
    }


def test_a_measure_that_cannot_be_had_keeps_its_reason():
    assert record_document(Measure(math.nan, n=1, reason="too few"))["reason"] == "too few"


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (3, 10), (10, 10), (17, 400), (10**8 - 5, 10**8)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_wilson_interval_agrees_with_scipy(hits, n, level):
    expected = stats.binomtest(hits, n).proportion_ci(level, method="wilson")
    assert wilson_interval(hits, n, level=level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_wilson_interval_of_nothing_is_everything():
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("n", [1, 5, 30, 266, 10**6])
def test_the_wilson_interval_holds_a_share_of_none_and_of_all(n):
    assert wilson_interval(0, n)[0] == 0.0
    assert wilson_interval(n, n)[1] == 1.0


def test_the_normal_interval_agrees_with_scipy():
    assert normal_interval(2.0, 0.5, level=0.9) == pytest.approx(stats.norm.interval(0.9, 2.0, 0.5))


@pytest.mark.parametrize(
    ("observed", "incoming", "calibration"),
    [
        (0.3, (1e-4, 2e-4), (1e-4, 1e-3)),
        (0.21, (1e-3, 1e-3), (1e-4, 1e-4)),
        (0.9, (1e-4, 1e-6), (1e-2, 1e-3)),
        (0.5, (0.1, 0.1), (0.1, 0.1)),
    ],
)
def test_fieller_encloses_the_fractions_that_a_grid_accepts(observed, incoming, calibration):
    a, b = 0.2, 0.85
    fractions = np.linspace(0, 1, 200_001)
    gap = (observed - (1 - fractions) * a - fractions * b) ** 2
    variance = (1 - fractions) * incoming[0] + fractions * incoming[1]
    variance += (1 - fractions) ** 2 * calibration[0] + fractions**2 * calibration[1]
    accepted = fractions[gap <= stats.norm.ppf(0.975) ** 2 * variance]
    found = fieller(observed, (a, b), incoming=incoming, calibration=calibration)
    assert found == pytest.approx((accepted.min(), accepted.max()), abs=2e-5)


def test_fieller_without_error_is_the_exact_fraction():
    assert fieller(0.3, (0.0, 1.0), incoming=(0, 0), calibration=(0, 0)) == pytest.approx((0.3, 0.3))


def test_fieller_beyond_both_means_is_the_nearer_end():
    assert fieller(1.3, (0.0, 1.0), incoming=(1e-6, 1e-6), calibration=(0, 0)) == (1.0, 1.0)


@pytest.mark.parametrize("observed", [0.5, 0.9])
def test_fieller_with_equal_means_tells_nothing(observed):
    assert fieller(observed, (0.5, 0.5), incoming=(1e-4, 1e-4), calibration=(0, 0)) == (0.0, 1.0)


@pytest.mark.parametrize("scale", [1e-7, 1e-3, 1e4])
def test_fieller_does_not_depend_on_the_scale_of_the_score(scale):
    expected = fieller(0.3, (0.0, 1.0), incoming=(1e-4, 2e-4), calibration=(1e-4, 1e-5))
    square = scale**2
    found = fieller(
        0.3 * scale,
        (0.0, scale),
        incoming=(1e-4 * square, 2e-4 * square),
        calibration=(1e-4 * square, 1e-5 * square),
    )
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.6, 1.0])
@pytest.mark.parametrize("separation", [0.3, 1.0, 4.0])
def test_fieller_holds_its_level_with_few_calibration_items(fraction, separation, rng):
    n, n0, n1, covered, draws = 200, 40, 60, 0, 600
    synthetic = round(n * fraction)
    for _ in range(draws):
        m = (rng.normal(0, 1, n - synthetic).sum() + rng.normal(separation, 1, synthetic).sum()) / n
        means = (rng.normal(0, 1 / math.sqrt(n0)), rng.normal(separation, 1 / math.sqrt(n1)))
        low, high = fieller(m, means, incoming=(1 / n, 1 / n), calibration=(1 / n0, 1 / n1))
        covered += low <= fraction <= high
    assert covered / draws > 0.92  # nominal 0.95; standard error 0.009
