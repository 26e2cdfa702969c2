import numpy as np
import pytest
from scipy import special

from auditor.evidence.calibration import calibration_of, count_scores
from auditor.evidence.detector import Evidence
from auditor.fraction.composition import composition_of

CENTRES = 4.0 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])  # two real sources, two generators


def evidence(sizes, rng):
    rows = np.repeat(CENTRES, sizes, axis=0) + rng.normal(size=(sum(sizes), 3))
    posteriors = special.softmax(-((rows[:, None] - CENTRES) ** 2).sum(2) / 2, axis=1)
    return Evidence(posteriors, np.zeros(posteriors.shape, dtype=np.float32), n_real=2)


def found(sizes, rng, reference=400):
    own = evidence([reference] * 4, rng)
    calibration = calibration_of(own, np.repeat(range(4), reference), ("a", "b", "g", "h"))
    return composition_of(calibration, count_scores(evidence(sizes, rng), calibration.edges), rng=rng)


def test_each_side_is_split_into_its_components(rng):
    composition = found((600, 200, 50, 150), rng)
    assert composition.real == pytest.approx([0.75, 0.25], abs=0.04)
    assert composition.synthetic == pytest.approx([0.25, 0.75], abs=0.08)
    assert composition.shares(0.2) == pytest.approx([0.6, 0.2, 0.05, 0.15], abs=0.05)


def test_the_draws_spread_as_the_shares_err(rng):
    shares = [found((300, 100, 50, 50), rng, reference=100) for _ in range(60)]
    error = np.std([s.real[1] for s in shares])
    assert np.mean([s.real_draws[:, 1].std() for s in shares]) == pytest.approx(error, rel=0.5)


def test_a_side_that_is_absent_is_split_evenly(rng):
    composition = found((0, 0, 500, 0), rng)
    assert composition.real.sum() == pytest.approx(1)
    assert composition.synthetic == pytest.approx([1, 0], abs=0.02)


def test_the_error_of_a_part_s_mean_is_that_of_repeated_sets(rng):
    """Of a part in ten, in shares of the whole set: not knowing who made little matters little."""
    means = np.array([0.0, 0.2, 0.6, 1.0])
    shares = [found((300, 150, 30, 20), rng, reference=100) for _ in range(80)]
    seen = np.std([0.1 * s.synthetic @ means[2:] for s in shares])
    assert np.mean([np.sqrt(s.errors(means)[1]) for s in shares]) == pytest.approx(seen, rel=0.5)
    few = [found((1980, 0, 20, 0), rng, reference=100).errors(means)[1] for _ in range(5)]
    assert max(few) < 0.01**2


def test_sides_of_one_component_err_in_nothing(rng):
    own = Evidence(np.tile([[0.9, 0.1], [0.1, 0.9]], (50, 1)), np.zeros((100, 2), dtype=np.float32))
    calibration = calibration_of(own, np.tile([0, 1], 50), ("a", "g"))
    assert composition_of(calibration, calibration.components[0], rng=rng).errors(np.array([0.0, 1.0])) == (0, 0)
