"""Simulated forecasts against what is known of the loops they run."""

import numpy as np
import pytest

from auditor.event import Event
from auditor.plan import Plan
from indexes.errors import InputError
from loops.calibration.simulated_forecast import simulate_forecast


def simulated(plan, training=None, real=None, family="gaussian"):
    rng = np.random.default_rng(0)
    real = rng.normal(size=(1000, 3)) if real is None else real
    training = rng.normal(size=(200, 3)) if training is None else training
    return simulate_forecast(family, plan, real, training, event=Event(), seed=0)


def test_a_gaussian_beside_fixed_real_data_stays_and_alone_drifts():
    """Alemohammad et al. (2024): a fixed real set bounds the drift of what is well specified."""
    beside = simulated(Plan("augment", generations=8, n_initial=200, n_synthetic=100, n_real=200))
    alone = simulated(Plan("replace", generations=8, n_initial=200, n_synthetic=200, bias=0.7))
    assert beside.event_in == 0
    assert alone.event_in == 4
    assert alone.trajectory[-1].diversity_ratio.high < 0.8


def test_contamination_of_the_audited_set_is_in_the_level():
    rng = np.random.default_rng(1)
    shifted = rng.normal(size=(200, 3)) + 1.0
    plan = Plan("augment", generations=3, n_initial=200, n_synthetic=100, n_real=200)
    clean, contaminated = (found.trajectory[0].frechet_level.estimate
                           for found in (simulated(plan), simulated(plan, training=shifted)))  # fmt: skip
    assert contaminated > 20 * clean


def test_a_set_larger_than_its_sample_is_scaled_down():
    found = simulated(Plan("fresh", generations=2, n_initial=10_000, n_synthetic=5000, n_real=2000))
    assert (found.n_initial, found.n_synthetic, found.n_real) == (200, 100, 40)


def test_what_cannot_be_simulated_is_refused():
    plan = Plan("replace", generations=3, n_initial=200, n_synthetic=200)
    with pytest.raises(InputError, match="reads tokens"):
        simulated(plan, family="ngram")
    with pytest.raises(InputError, match="at least 50 training and 50 real items"):
        simulated(plan, training=np.zeros((10, 3)))
