"""The kernel inception distance against the published formula; its interval by simulation."""

import math
from fractions import Fraction

import numpy as np
import pytest

from auditor.measures.kid import kid
from indexes.errors import InputError


def published(real, candidate):
    """`mmd2` with `kernel_poly` as in torch-fidelity 0.4 (estimator "unbiased"), for any two sizes."""

    def kernel(x, y):
        return (x @ y.T / x.shape[1] + 1.0) ** 3

    own, theirs, across = kernel(real, real), kernel(candidate, candidate), kernel(real, candidate)
    m, n = across.shape
    value = (own.sum() - np.trace(own)) / (m * (m - 1)) + (theirs.sum() - np.trace(theirs)) / (n * (n - 1))
    return value - 2 * across.sum() / (m * n)


@pytest.mark.parametrize("width", [1, 8, 100])
@pytest.mark.parametrize("centre", [0.0, 2.0])
def test_the_estimate_is_the_published_formula(width, centre, rng):
    real, candidate = rng.normal(centre, 1, (60, width)), rng.normal(centre + 0.3, 1.2, (40, width))
    expected = published(real, candidate)
    assert kid(real, candidate).estimate == pytest.approx(expected, rel=1e-12, abs=1e-12 * (1 + centre**2) ** 3)


def test_the_value_depends_on_the_origin(rng):
    real, candidate = rng.normal(size=(60, 4)), rng.normal(0.3, 1, (40, 4))
    assert kid(real + 1, candidate + 1).estimate > 1.5 * kid(real, candidate).estimate


def test_far_from_the_origin_it_is_the_leading_order_in_the_offset(rng):
    real, candidate, offset = rng.normal(size=(60, 4)), rng.normal(0.3, 1, (40, 4)), 1e6
    shifted = [rows.mean(1) for rows in (real, candidate)]  # x·y/d ≈ c² + c (x̄ + ȳ) + …, where x̄ is a row's mean

    def unbiased_gap(x, y):  # of the linear kernel
        gap = x.mean(0) - y.mean(0)
        return gap @ gap - x.var(0, ddof=1).sum() / len(x) - y.var(0, ddof=1).sum() / len(y)

    linear = unbiased_gap(real, candidate) / 4
    along = unbiased_gap(shifted[0][:, None], shifted[1][:, None])
    expected = 3 * offset**4 * linear + 6 * offset**4 * along
    measure = kid(real + offset, candidate + offset, level=0.95)
    assert measure.estimate == pytest.approx(expected, rel=1e-5)
    assert measure.low < measure.estimate < measure.high


def test_at_a_tiny_scale_it_is_three_times_the_linear_kernel(rng):
    real, candidate = rng.normal(size=(60, 4)), rng.normal(0.3, 1, (40, 4))
    gap = real.mean(0) - candidate.mean(0)
    linear = gap @ gap - real.var(0, ddof=1).sum() / 60 - candidate.var(0, ddof=1).sum() / 40
    measure = kid(1e-30 * real, 1e-30 * candidate, level=0.95)
    assert measure.estimate == pytest.approx(1e-60 * 3 * linear / 4, rel=1e-9)
    assert measure.low < measure.estimate < measure.high


def drawn(n, rng, *, modes=5, spread=1.0):
    centres = 2 * np.eye(6)[:5]
    return centres[rng.integers(0, modes, n)] + spread * rng.normal(size=(n, 6))


def population_value(modes, spread):
    """Of `drawn` against all modes: moments of the mixtures by quadrature over modes, exact for a cubic kernel."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(4)
    weights = weights / weights.sum()

    def mean_kernel(first, second):
        total = 0.0
        for a in 2 * np.eye(6)[: first[0]]:
            for b in 2 * np.eye(6)[: second[0]]:
                # given x, x·y is normal: E (x·y/6 + 1)³ needs moments of x·b and |x|² only; sum over a grid of x·(a, b)
                total += _pair_moment(a, b, first[1], second[1], nodes, weights)
        return total / first[0] / second[0]

    real, other = (5, 1.0), (modes, spread)
    return mean_kernel(real, real) + mean_kernel(other, other) - 2 * mean_kernel(real, other)


def _pair_moment(a, b, s, t, nodes, weights):
    """E (x·y/6 + 1)³ for x ~ N(a, s²I) and y ~ N(b, t²I): with u = x·b/6 + 1, it is E u³ + 3 E u t²|x|²/36."""
    length = np.linalg.norm(b)
    along = a @ b / length + s * nodes  # x along b
    u = along * length / 6 + 1
    across = a @ a - (a @ b / length) ** 2 + 5 * s**2  # E of |x|² across b
    return weights @ (u**3 + 3 * u * t**2 * (along**2 + across) / 36)


@pytest.mark.parametrize(("modes", "spread"), [(5, 1.0), (4, 1.0), (5, 0.6), (5, 1.5)])
def test_the_interval_holds_the_population_value(modes, spread, rng):
    truth = population_value(modes, spread)
    found = [kid(drawn(150, rng), drawn(100, rng, modes=modes, spread=spread), level=0.95) for _ in range(100)]
    assert np.mean([measure.low <= truth <= measure.high for measure in found]) >= 0.88  # nominal 0.95
    values = np.array([measure.estimate for measure in found])
    assert abs(values.mean() - truth) < 4 * values.std() / 10
    assert np.mean([measure.high - measure.low for measure in found]) < 2.1 * 3.92 * values.std()


def test_fewer_items_than_dimensions_are_compared(rng):
    real, candidate = rng.normal(size=(30, 4096)), rng.normal(0.5, 1, (20, 4096))
    measure = kid(real, candidate, level=0.95)
    assert measure.estimate == pytest.approx(published(real, candidate), rel=1e-10)
    assert measure.low > 0


def test_values_that_cannot_be_cubed_are_a_stated_reason(rng):
    measure = kid(1e60 * rng.normal(size=(30, 3)), 1e60 * rng.normal(size=(30, 3)), level=0.95)
    assert math.isnan(measure.estimate)
    assert "beyond the range of float64" in measure.reason


def test_equal_real_items_are_a_stated_reason(rng):
    measure = kid(np.ones((30, 3)), rng.normal(size=(20, 3)))
    assert math.isnan(measure.estimate)
    assert (measure.n, measure.reason) == (20, "all real vectors are equal")


def test_too_few_items_have_no_interval(rng):
    measure = kid(rng.normal(size=(30, 3)), rng.normal(size=(5, 3)), level=0.95)
    assert math.isfinite(measure.estimate)
    assert math.isnan(measure.high)
    assert "at least 10" in measure.reason


def test_other_shapes_are_refused(rng):
    with pytest.raises(InputError, match="expected"):
        kid(rng.normal(size=30), rng.normal(size=30))


def in_fractions(real, candidate):
    """The unbiased estimate without any rounding."""
    first, second = ([[Fraction(float(value)) for value in row] for row in rows] for rows in (real, candidate))

    def kernel(x, y):
        return (sum(a * b for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3

    def within(rows):
        pairs = [kernel(x, y) for i, x in enumerate(rows) for y in rows[:i]]
        return sum(pairs) / len(pairs)

    across = [kernel(x, y) for x in first for y in second]
    return float(within(first) + within(second) - 2 * sum(across) / len(across))


@pytest.mark.parametrize("factor", [1e3, 1e6, 1e11])
@pytest.mark.parametrize("side", [0, 1])
def test_one_huge_row_leaves_the_exact_estimate_and_an_interval_that_holds_zero_or_a_reason(factor, side, rng):
    sets = [rng.normal(size=(30, 3)), rng.normal(0.3, 1, (20, 3))]
    sets[side][4] *= factor
    measure = kid(*sets, level=0.95)
    assert measure.estimate == pytest.approx(in_fractions(*sets), rel=1e-12)
    assert measure.low <= 0 <= measure.high or "one item holds most of the variance" in measure.reason


@pytest.mark.parametrize(("scale", "offset"), [(2.0**-300, 0.0), (2.0**80, 0.0), (1.0, 2.0**33)])
def test_the_estimate_is_exact_at_any_scale_and_offset(scale, offset, rng):
    real, candidate = (scale * rng.integers(-9, 9, (size, 3)) + offset for size in (30, 20))
    assert kid(real, candidate).estimate == pytest.approx(in_fractions(real, candidate), rel=1e-12)


def test_the_interval_of_a_set_and_itself_holds_zero(rng):
    rows = rng.normal(size=(60, 4))
    measure = kid(rows, rows, level=0.95)
    assert measure.low < 0 <= measure.high
