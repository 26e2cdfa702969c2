"""`madaudit calibrate` and `madaudit forecast`, from an audit and from figures."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from loops.calibrate import calibrate
from loops.sweep import plan_sweep, run_sweep


@pytest.fixture(scope="module")
def model(make: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A risk model of loops drawn from a law."""
    path = tmp_path_factory.mktemp("model") / "risk.npz"
    calibrate(make.calibration_rows(160, np.random.default_rng(0))).save(path)
    return path


@pytest.fixture
def audited(madaudit: Any, world: Any, make: SimpleNamespace, tmp_path: Path, rng: np.random.Generator) -> Path:
    """An audit of 100 vectors."""
    np.save(tmp_path / "set.npy", make.real_vectors(100, rng))
    assert madaudit("audit", tmp_path / "set.npy", "--reference", "vectors", "--out", tmp_path / "o").code in (0, 1)
    return tmp_path / "o"


def test_an_audit_is_forecast(madaudit: Any, audited: Path, model: Path) -> None:
    found = madaudit(
        "forecast", "--from", audited, "--workflow", "fresh", "--generations", 6, "--risk-model", model, "--json"
    ).json
    assert (found["schema"], found["tier"], found["horizon"]) == ("madaudit/forecast/1", "audit", 6)
    assert len(found["trajectory"]) == 6
    assert found["workflow"] == {
        "name": "fresh", "generations": 6, "n_initial": 100, "n_synthetic": 100, "n_real": 100, "bias": 1.0,
    }  # fmt: skip
    assert found["next_tier"]["tier"] == "model-samples"


def test_samples_of_the_teams_models_raise_the_tier(
    madaudit: Any, audited: Path, model: Path, make: SimpleNamespace, tmp_path: Path, rng: np.random.Generator
) -> None:
    np.save(tmp_path / "first.npy", make.real_vectors(80, rng))
    np.save(tmp_path / "second.npy", 2 * make.real_vectors(80, rng))
    common = ("forecast", "--from", audited, "--workflow", "fresh", "--risk-model", model, "--json", "--model-samples")
    found = madaudit(*common, tmp_path / "first.npy").json
    assert found["tier"] == "model-samples"
    piloted = madaudit(*common, tmp_path / "first.npy", "--pilot", tmp_path / "second.npy").json
    assert (piloted["tier"], piloted["next_tier"]) == ("pilot", None)
    levels = [answer["trajectory"][-1]["frechet_level"]["estimate"] for answer in (found, piloted)]
    assert levels[1] > levels[0]


def test_figures_can_stand_for_an_audit(madaudit: Any, model: Path) -> None:
    figures = ("--synthetic-fraction", 0.3, "--diversity-ratio", 0.9, "--n", 500)
    found = madaudit("forecast", *figures, "--workflow", "augment", "--risk-model", model, "--json").json
    assert (found["tier"], found["workflow"]["n_real"]) == ("audit", 500)


def test_a_forecast_is_printed(madaudit: Any, model: Path) -> None:
    figures = ("--synthetic-fraction", 0.3, "--n", 500, "--workflow", "fresh", "--generations", 3)
    outcome = madaudit("forecast", *figures, "--risk-model", model)
    assert outcome.code == 0
    assert "probability of MAD" in outcome.out
    assert len(outcome.out.splitlines()) >= 6


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--workflow", "fresh"), "give --from DIR"),
        (("--workflow", "fresh", "--synthetic-fraction", "0.1"), "give --from DIR"),
        (("--workflow", "none", "--synthetic-fraction", "0.1", "--n", "50"), "no workflow is called 'none'"),
        (("--workflow", "fresh", "--synthetic-fraction", "1.5", "--n", "50"), "expected one between 0 and 1"),
        (("--workflow", "fresh", "--synthetic-fraction", "0.1", "--n", "50", "--generations", "30"), "8 at most"),
        (("--workflow", "fresh", "--synthetic-fraction", "0.1", "--n", "50", "--bias", "0"), "sampling bias is 0"),
        (
            ("--workflow", "fresh", "--synthetic-fraction", "0.1", "--n", "50", "--event-frechet-ratio", "0.5"),
            "above 1",
        ),
    ],
)
def test_what_cannot_be_forecast_is_one_line(
    madaudit: Any, model: Path, arguments: tuple[str, ...], expected: str
) -> None:
    refused = madaudit("forecast", *arguments, "--risk-model", model)
    assert refused.code == 2
    assert expected in refused.err
    assert len(refused.err.splitlines()) == 1


def test_too_few_samples_and_a_pilot_alone_are_refused(
    madaudit: Any, audited: Path, model: Path, make: SimpleNamespace, tmp_path: Path, rng: np.random.Generator
) -> None:
    np.save(tmp_path / "few.npy", make.real_vectors(10, rng))
    common = ("forecast", "--from", audited, "--workflow", "fresh", "--risk-model", model)
    assert "10 usable vectors, expected 20" in madaudit(*common, "--model-samples", tmp_path / "few.npy").err
    assert "give --model-samples too" in madaudit(*common, "--pilot", tmp_path / "few.npy").err


def test_loops_that_were_run_calibrate_a_model(madaudit: Any, tmp_path: Path) -> None:
    """Three cheap families, short loops: a model comes of it, whatever its skill."""
    document = {
        "observe": True,
        "base": {"generations": 2, "n_initial": 60, "n_real": 60, "n_synthetic": 60, "n_measure": 60, "chains": 1},
        "grid": {"family": ["gaussian", "gmm", "kde"], "data": ["normal:2", "rosenbrock"], "seed": list(range(7))},
        "runs": [{"workflow": "fresh", "settings": {}}],
    }
    assert run_sweep(plan_sweep(document), tmp_path / "s") == {}
    outcome = madaudit("calibrate", tmp_path / "s", "--out", tmp_path / "m.npz", "--json", "--quiet")
    assert outcome.json["rows"] == 42
    assert set(outcome.json["skill"]) == {"audit", "model-samples", "pilot"}
    figures = ("--synthetic-fraction", 0.1, "--n", 60, "--workflow", "fresh", "--generations", 2)
    assert madaudit("forecast", *figures, "--risk-model", tmp_path / "m.npz").code == 0


def test_a_folder_without_observed_loops_is_refused(madaudit: Any, tmp_path: Path) -> None:
    refused = madaudit("calibrate", tmp_path, "--out", tmp_path / "m.npz")
    assert refused.code == 2
    assert "observe: true" in refused.err
