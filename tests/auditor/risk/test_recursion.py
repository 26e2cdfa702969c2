"""The recursion against closed forms and against a scalar loop simulated item by item."""

import numpy as np
import pytest

from auditor.plan import Plan
from auditor.risk.recursion import (
    Mechanism,
    growth,
    impulse_response,
    origin_shares,
    solve_coherence,
    training_sizes,
)
from indexes.errors import InputError


def plan(workflow, generations=8, n_initial=100, n_synthetic=100, n_real=100, bias=1.0):
    return Plan(
        workflow, generations=generations, n_initial=n_initial, n_synthetic=n_synthetic, n_real=n_real, bias=bias
    )


def response(workflow, **changes):
    return impulse_response(origin_shares(plan(workflow, **changes)))


@pytest.mark.parametrize("workflow", ["replace", "augment", "augment-accumulate", "fresh", "accumulate", "weighted"])
def test_every_training_set_is_made_of_real_items_and_earlier_generations(workflow):
    shares = origin_shares(plan(workflow))
    np.testing.assert_allclose(shares[1:].sum(1), 1)
    assert (np.triu(shares[1:, 1:]) == 0).all()


def test_without_real_data_errors_persist_and_add_up():
    """Independent errors grow as t, coherent ones as t²."""
    t = np.arange(1, 9)
    np.testing.assert_allclose(growth(response("replace"), 0.5), t)
    np.testing.assert_allclose(growth(response("replace"), 1.0), t**2)


@pytest.mark.parametrize("synthetic", [50, 100, 300])
def test_beside_real_data_errors_form_a_geometric_series(synthetic):
    """With the share s: S_t(½) = (1 − s^2t)/(1 − s²), S_t(1) = ((1 − s^t)/(1 − s))²."""
    s, t = synthetic / (synthetic + 100), np.arange(1, 9)
    found = response("fresh", n_synthetic=synthetic)
    np.testing.assert_allclose(growth(found, 0.5), (1 - s ** (2 * t)) / (1 - s**2))
    np.testing.assert_allclose(growth(found, 1.0), ((1 - s**t) / (1 - s)) ** 2)


def test_accumulated_errors_add_up_to_the_series_of_inverse_squares():
    """Keeping all data: Σ 1/i² up to the share of each error that is left (Gerstgrasser et al. 2024)."""
    found = response("accumulate", generations=200)
    left = found[1:, -1]
    np.testing.assert_allclose(left[:-1], 1 / np.arange(2, 201), rtol=1e-9)
    assert growth(found, 0.5)[-1] - 1 == pytest.approx(np.pi**2 / 6 - 1, abs=0.006)


@pytest.mark.parametrize("workflow", ["replace", "augment", "augment-accumulate", "accumulate", "fresh"])
def test_the_variance_of_a_mean_is_that_of_simulated_loops(workflow):
    """Each model is the mean of its training set, off by an error of its own: 20,000 loops, 5 standard errors."""
    rng, runs, last = np.random.default_rng(0), 20_000, 6
    shares = origin_shares(plan(workflow, generations=last, n_synthetic=150))
    models = np.zeros((runs, last + 1))
    for t in range(1, last + 1):
        models[:, t] = models[:, 1:t] @ shares[t, 1:t] + rng.normal(size=runs)
    expected = growth(impulse_response(shares), 0.5)
    np.testing.assert_allclose(models[:, 1:].var(0), expected, rtol=5 * np.sqrt(2 / runs))


@pytest.mark.parametrize("coherence", [0.5, 0.7, 1.0])
def test_more_real_data_never_raises_the_forecast(coherence):
    mechanism = Mechanism(0.01, 0.02, 0.03, 0.0, coherence)
    levels = [mechanism.forecast(response("fresh", n_real=n)) for n in (10, 50, 100, 400, 1600)]
    assert (np.diff(levels, axis=0) <= 1e-12).all()


def test_no_synthetic_data_add_nothing_to_the_first_generation():
    found = Mechanism(0.01, 0.02, 0.03, 0.05, 0.8).forecast(response("fresh", n_synthetic=0))
    np.testing.assert_allclose(found, found[0])


def test_the_distance_levels_off():
    found = Mechanism(0.01, 0.0, 1.0, 0.0, 1.0).forecast(response("replace", generations=60))
    assert found[-1] == pytest.approx(0.01 + 1.3, abs=1e-6)
    assert (np.diff(found) >= 0).all()


@pytest.mark.parametrize("truth", [0.55, 0.75, 0.95])
def test_the_coherence_that_made_a_pilot_is_found_again(truth):
    shares = response("augment")
    made = Mechanism(0.01, 0.002, 0.05, 0.01, truth).forecast(shares)
    assert solve_coherence(made[1] / made[0], Mechanism(0.01, 0.002, 0.05, 0.01), shares) == pytest.approx(truth)


def test_a_pilot_beyond_what_errors_can_do_gives_the_nearest_coherence():
    mechanism, shares = Mechanism(0.01, 0.002, 0.05, 0.01), response("augment")
    assert solve_coherence(0.5, mechanism, shares) == 0.5
    assert solve_coherence(50.0, mechanism, shares) == 1.0


@pytest.mark.parametrize(
    "changes", [{"generations": 1}, {"n_initial": 0}, {"n_synthetic": -1}, {"bias": 0.0}, {"bias": 1.2}, {"n_real": -1}]
)
def test_what_no_loop_can_be_is_refused(changes):
    with pytest.raises(InputError, match="expected"):
        plan("augment", **changes)


def test_a_loop_without_items_is_refused():
    with pytest.raises(InputError, match="nothing to train on"):
        origin_shares(plan("replace", n_synthetic=0))


@pytest.mark.parametrize(
    ("workflow", "expected"),
    [("replace", [100, 40, 40, 40]), ("augment", [100, 70, 70, 70]), ("fresh", [100, 70, 70, 70]),
     ("accumulate", [100, 140, 180, 220]), ("augment-accumulate", [100, 70, 110, 150]),
     ("accumulate-subsample", [100, 100, 100, 100])],
)  # fmt: skip
def test_training_sets_grow_as_the_workflow_says(workflow, expected):
    n_real = 30 if workflow.startswith(("augment", "fresh")) else 0
    assert (
        training_sizes(Plan(workflow, generations=4, n_initial=100, n_synthetic=40, n_real=n_real)).tolist() == expected
    )


def test_unequal_errors_add_up_as_equal_ones_do():
    found = response("fresh")
    np.testing.assert_allclose(growth(found, 0.8, np.full(found.shape[0] - 1, 4.0)), 4 * growth(found, 0.8))
    only_first = np.array([1.0, *np.zeros(found.shape[0] - 2)])
    np.testing.assert_allclose(growth(found, 0.8, only_first), found[1, 1:] ** 2)


def test_a_weight_of_real_data_that_are_not_there_is_nothing():
    shares = origin_shares(plan("weighted", n_real=0))
    assert shares[2:, 0].tolist() == [0.0] * 7
    assert shares[2, 1] == 1.0
