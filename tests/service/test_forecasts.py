"""`madaudit calibrate` and `madaudit forecast`, from an audit and from figures."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from loops.sweep import plan_sweep, run_sweep


@pytest.fixture(scope="module")
def model(law_model: Path) -> Path:
    return law_model


@pytest.fixture
def audited(madaudit: Any, world: Any, make: SimpleNamespace, tmp_path: Path, rng: np.random.Generator) -> Path:
    """An audit of 100 vectors."""
    np.save(tmp_path / "set.npy", make.real_vectors(100, rng))
    assert madaudit("audit", tmp_path / "set.npy", "--reference", "vectors", "--out", tmp_path / "o").code == 4
    return tmp_path / "o"


def test_an_audit_is_forecast(madaudit: Any, audited: Path, model: Path) -> None:
    found = madaudit(
        "forecast", "--from", audited, "--workflow", "fresh", "--generations", 6, "--risk-model", model, "--json"
    ).json
    assert (found["schema"], found["tier"]) == ("madaudit/forecast/2", "audit")
    assert len(found["trajectory"]) == 6
    assert found["plan"] == {
        "workflow": "fresh", "generations": 6, "n_initial": 100, "n_synthetic": 100, "n_real": 100, "bias": 1.0,
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
    assert levels[1] != levels[0]


def test_figures_can_stand_for_an_audit(madaudit: Any, model: Path) -> None:
    figures = ("--synthetic-fraction", 0.3, "--diversity-ratio", 0.9, "--n-initial", 500)
    found = madaudit("forecast", *figures, "--workflow", "augment", "--risk-model", model, "--json").json
    assert (found["tier"], found["plan"]["n_real"]) == ("audit", 500)
    assert found["status"] in ("undetermined", "extrapolated")  # the scale of the data is not known


def test_a_forecast_is_printed(madaudit: Any, model: Path) -> None:
    figures = ("--synthetic-fraction", 0.3, "--n-initial", 500, "--workflow", "fresh", "--generations", 3)
    outcome = madaudit("forecast", *figures, "--risk-model", model)
    assert outcome.code == 0
    assert "probability of MAD" in outcome.out
    assert len(outcome.out.splitlines()) >= 6


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--workflow", "fresh"), "give --from DIR"),
        (("--workflow", "fresh", "--synthetic-fraction", "0.1"), "give --from DIR"),
        (("--workflow", "none", "--synthetic-fraction", "0.1", "--n-initial", "50"), "no workflow is called 'none'"),
        (("--workflow", "fresh", "--synthetic-fraction", "1.5", "--n-initial", "50"), "expected one between 0 and 1"),
        (
            ("--workflow", "fresh", "--synthetic-fraction", "0.1", "--n-initial", "50", "--generations", "30"),
            "at most 8",
        ),
        (
            ("--workflow", "fresh", "--synthetic-fraction", "0.1", "--n-initial", "50", "--bias", "0"),
            "sampling bias is 0",
        ),
        (
            ("--workflow", "fresh", "--synthetic-fraction", "0.1", "--n-initial", "50", "--event-frechet-ratio", "0.5"),
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
    figures = ("--synthetic-fraction", 0.1, "--n-initial", 60, "--workflow", "fresh", "--generations", 2)
    assert madaudit("forecast", *figures, "--risk-model", tmp_path / "m.npz").code == 0


def test_a_folder_without_observed_loops_is_refused(madaudit: Any, tmp_path: Path) -> None:
    refused = madaudit("calibrate", tmp_path, "--out", tmp_path / "m.npz")
    assert refused.code == 2
    assert "observe: true" in refused.err


PLANNED = ("--workflow", "fresh", "--generations", 5, "--n-real", 60, "--n-synthetic", 40, "--bias", 0.9)


def test_an_audit_with_a_workflow_answers_the_risk_and_is_judged_by_it(
    madaudit: Any, world: Any, model: Path, make: SimpleNamespace, tmp_path: Path, rng: np.random.Generator
) -> None:
    np.save(tmp_path / "set.npy", make.real_vectors(100, rng))
    np.save(tmp_path / "first.npy", make.real_vectors(80, rng))
    (tmp_path / "policy.yaml").write_text("mad_risk: {warn: 0.0, fail: 0.0}\nmad_event: {when: ever}\n")
    found = madaudit(
        "audit", tmp_path / "set.npy", "--reference", "vectors", "--out", tmp_path / "o", *PLANNED, "--json",
        "--risk-model", model, "--model-samples", tmp_path / "first.npy", "--policy", tmp_path / "policy.yaml",
    )  # fmt: skip
    risk = found.json["mad_risk"]
    assert (risk["tier"], len(risk["trajectory"])) == ("model-samples", 5)
    assert risk["event"] == {"frechet_ratio": 2.0, "diversity_ratio": 0.8, "when": "ever"}
    assert risk["plan"] == {
        "workflow": "fresh", "generations": 5, "n_initial": 100, "n_synthetic": 40, "n_real": 60, "bias": 0.9,
    }  # fmt: skip
    assert risk["known"]["model_samples"]["n"] == 80
    check = found.json["checks"][2]
    assert "mad_risk" in found.json["policy"]["required"]
    if risk["status"] == "determined":
        assert (check["status"], found.code) == ("fail", 1)
    else:
        assert check["status"] == "undetermined"
    page = (tmp_path / "o" / "report.html").read_text()
    assert "MAD risk</h2>" in page
    assert "accumulate" in page
    again = madaudit(
        "forecast", "--from", tmp_path / "o", *PLANNED, "--risk-model", model, "--event-when", "ever", "--json"
    )
    assert again.json["probability"] == risk["probability"]
    assert again.json["tier"] == "model-samples"


def test_without_a_workflow_the_risk_is_not_asked_for_and_decides_nothing(madaudit: Any, audited: Path) -> None:
    result = json.loads((audited / "result.json").read_text())
    assert result["mad_risk"]["status"] == "undetermined"
    assert "give --workflow" in result["mad_risk"]["reason"]
    assert result["policy"]["required"] == ["synthetic_fraction", "diversity_loss", "unread"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--workflow", "other"), "no workflow is called 'other'"),
        (("--workflow", "fresh", "--generations", 30), "expected at most 8"),
        (("--workflow", "replace", "--n-synthetic", 0), "nothing to train on"),
        (("--simulate-forecast", "gmm"), "give --workflow"),
        (("--n-real", 5), "n_real was given and no workflow"),
        (("--workflow", "fresh", "--simulate-forecast", "none"), "none"),
        (("--workflow", "fresh", "--pilot", "x.npy"), "give --model-samples too"),
    ],
)
def test_a_risk_that_cannot_be_asked_is_one_line_before_anything_is_read(
    madaudit: Any, model: Path, tmp_path: Path, arguments: tuple[object, ...], expected: str
) -> None:
    given = arguments if arguments[0] != "--workflow" else (*arguments, "--risk-model", model)
    refused = madaudit("audit", tmp_path / "absent.npy", "--reference", "vectors", "--out", tmp_path / "o", *given)
    assert refused.code == 2
    assert expected in refused.err
    assert len(refused.err.splitlines()) == 1


def test_a_forecast_is_also_simulated_on_the_audited_vectors(madaudit: Any, audited: Path, model: Path) -> None:
    common = (
        "forecast",
        "--from",
        audited,
        "--workflow",
        "replace",
        "--generations",
        3,
        "--risk-model",
        model,
        "--json",
    )
    ran = madaudit(*common, "--simulate-forecast", "gaussian").json["simulation"]
    assert (ran["family"], ran["chains"], len(ran["trajectory"])) == ("gaussian", 4, 3)
    assert (ran["n_initial"], ran["n_synthetic"], ran["n_real"]) == (100, 100, 0)
    levels = [entry["frechet_level"]["estimate"] for entry in ran["trajectory"]]
    assert levels[-1] > levels[0]
    assert madaudit(*common, "--simulate-forecast", "gaussian").json["simulation"] == ran


def test_a_review_answers_the_risk_again(
    madaudit: Any, world: Any, model: Path, make: SimpleNamespace, tmp_path: Path, rng: np.random.Generator
) -> None:
    """Labels move the fraction, and the forecast starts from it."""
    np.save(tmp_path / "set.npy", make.real_vectors(100, rng))
    out = tmp_path / "o"
    madaudit("audit", tmp_path / "set.npy", "--reference", "vectors", "--out", out, *PLANNED, "--risk-model", model)
    before = json.loads((out / "result.json").read_text())
    drawn = madaudit("review", out, "--n", 30, "--json").json
    with Path(drawn["table"]).open() as file:
        items = list(csv.DictReader(file))
    with (tmp_path / "labels.csv").open("w") as file:
        writer = csv.DictWriter(file, list(items[0]))
        writer.writeheader()
        writer.writerows({**item, "label": "synthetic"} for item in items)
    after = madaudit("review", out, "--labels", tmp_path / "labels.csv", "--json").json
    assert after["synthetic_fraction"]["low"] > before["synthetic_fraction"]["if_both"]["high"]
    assert after["mad_risk"]["trajectory"] != before["mad_risk"]["trajectory"]
    assert after["mad_risk"]["plan"] == before["mad_risk"]["plan"]


def test_an_audit_without_distances_is_not_forecast(madaudit: Any, audited: Path, model: Path) -> None:
    """As one by traces alone, or by an older version."""
    result = json.loads((audited / "result.json").read_text())
    result["fidelity"]["scale"] = None
    (audited / "result.json").write_text(json.dumps(result))
    refused = madaudit("forecast", "--from", audited, "--workflow", "fresh", "--risk-model", model)
    assert refused.code == 2
    assert "audit the set again" in refused.err
