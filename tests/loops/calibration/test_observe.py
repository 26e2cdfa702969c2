"""What is observed before a loop ran: an audit that knows nothing of the truth, and models of another seed."""

import json
from pathlib import Path

import pytest

from loops.calibration.observe import OBSERVED, observe
from loops.config import LoopConfig
from loops.run import prepare_loop, run_loop
from loops.sweep import plan_sweep, run_sweep

CONFIG = LoopConfig(
    family="gaussian", data="normal:4", workflow="augment", n_initial=200, n_real=200, n_synthetic=200, n_measure=200,
    generations=3, chains=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def observed():
    return observe(prepare_loop(CONFIG))


def test_the_same_loop_is_observed_alike(observed):
    assert observe(prepare_loop(CONFIG)) == observed


def test_clean_data_measure_as_real(observed):
    assert observed["training"]["variance"] == pytest.approx(1, abs=0.2)
    assert observed["real"]["recall"] > 0.9
    assert observed["audit"]["fraction_low"] < 0.05


def test_the_floor_is_what_independent_real_samples_measure(observed):
    """Of n items in d dimensions d/n for the mean and d(d + 1)/(4n) for the covariance; eight draws."""
    assert observed["floor"] == pytest.approx(4 / 200 + 20 / 800, rel=0.4)
    assert observed["total_variance"] == pytest.approx(4)


def test_the_models_are_not_those_of_the_loop(observed):
    first = next(iter(run_loop(CONFIG)))
    assert observed["model_samples"]["recall"] != first.chains["recall"][0]
    assert observed["model_samples"] != observed["pilot"]


def test_contamination_shows_in_the_audit():
    contaminated = LoopConfig(
        family="gmm", data="rosenbrock", workflow="augment", n_initial=400, n_real=400, n_synthetic=400, n_measure=400,
        generations=2, chains=1, contamination=0.5, contaminant="gaussian", seed=2,
    )  # fmt: skip
    figures = observe(prepare_loop(contaminated))["audit"]
    assert figures["fraction_low"] > 0.1
    assert figures["fraction_low"] <= 0.5 <= figures["fraction_high"]


def test_a_sweep_keeps_what_was_observed_and_does_not_do_it_twice(tmp_path: Path):
    planned = plan_sweep({"observe": True, "base": {**CONFIG.as_json(), "n_measure": 50}})
    assert run_sweep(planned, tmp_path / "s") == {}
    file = tmp_path / "s" / "runs" / planned[0].key / OBSERVED
    assert json.loads(file.read_text())["schema"] == "madaudit/observed/2"
    file.write_text("{}")
    assert run_sweep(planned, tmp_path / "s") == {}
    assert file.read_text() == "{}"


def test_a_sweep_that_does_not_ask_observes_nothing(tmp_path: Path):
    planned = plan_sweep({"base": {**CONFIG.as_json(), "n_measure": 50}})
    run_sweep(planned, tmp_path / "s")
    assert not list(tmp_path.rglob(OBSERVED))
