"""The result of an audit: it survives JSON, meets its schema, and shows itself."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from auditor import AuditResult, Plan, audit
from auditor.records import record_document
from auditor.reference.reference import Reference
from auditor.results import ForecastResult
from auditor.risk.model import RiskModel
from auditor.statistics.intervals import Measure
from indexes.errors import ArtifactError, InputError

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


@pytest.fixture(scope="module")
def result(references: dict[str, Reference], make: SimpleNamespace) -> AuditResult:
    """With a plan, so that no part is missing."""
    rng = np.random.default_rng(3)
    rows = np.concatenate([make.real_vectors(80, rng), make.fake_vectors(40, rng)])
    return audit(rows, references["vectors"], plan=Plan("fresh", n_real=50, n_synthetic=60, generations=4))


def test_a_result_survives_json(result: AuditResult) -> None:
    text = json.dumps(result.to_dict(), allow_nan=False)
    again = AuditResult.from_dict(json.loads(text))
    assert again.to_dict() == result.to_dict()
    assert again.synthetic_fraction.high == result.synthetic_fraction.high
    assert (
        again.mad_risk.plan
        == result.mad_risk.plan
        == Plan("fresh", n_initial=120, n_real=50, n_synthetic=60, generations=4)
    )


def measures(document: Any) -> list[dict[str, Any]]:
    """Every measure anywhere in a document."""
    parts = list(document.values()) if isinstance(document, dict) else document if isinstance(document, list) else []
    own = [document] if isinstance(document, dict) and "estimate" in document else []
    return own + [found for part in parts for found in measures(part)]


def test_every_measure_has_the_same_six_fields(result: AuditResult) -> None:
    found = measures(result.to_dict())
    assert len(found) > 50
    wanted = {"estimate", "low", "high", "reference", "n", "reason"}
    assert [m for m in found if not wanted <= m.keys()] == []
    assert [m for m in found if m.keys() != wanted and "method" not in m] == []  # the fraction says more


def test_a_number_that_is_missing_has_a_reason(result: AuditResult) -> None:
    without = [m for m in measures(result.to_dict()) if m["estimate"] is None]
    assert [m for m in without if not m["reason"]] == []


@pytest.mark.parametrize("name", ["result.json", "forecast.json"])
def test_the_committed_schema_is_that_of_the_types(name: str) -> None:
    from auditor.results import forecast_schema, result_schema

    made = {"result.json": result_schema, "forecast.json": forecast_schema}[name]()
    assert json.loads((SCHEMAS / name).read_text(encoding="utf-8")) == made, "run python scripts/schemas.py"


def test_results_and_forecasts_meet_their_schemas(result: AuditResult, meets_schema: Any) -> None:
    assert meets_schema("result.json", result.to_dict())
    assert meets_schema("forecast.json", ForecastResult.of(result.mad_risk).to_dict())


@pytest.mark.parametrize(
    "damage",
    [
        lambda document: document.pop("checks"),
        lambda document: document.update(more=1),
        lambda document: document["synthetic_fraction"].update(low="0"),
        lambda document: document["diversity"]["measures"]["vendi"].pop("n"),
    ],
)
def test_a_schema_refuses_what_a_result_never_holds(result: AuditResult, meets_schema: Any, damage: Any) -> None:
    document = result.to_dict()
    damage(document)
    assert not meets_schema("result.json", document)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "has the schema None"),
        ({"schema": "madaudit/result/1"}, "expected 'madaudit/result/2'"),
        ({"schema": "madaudit/result/2"}, "version: "),
    ],
)
def test_what_is_no_result_is_refused_in_one_line(document: Any, said: str) -> None:
    with pytest.raises(ArtifactError, match=said) as refused:
        AuditResult.from_dict(document)
    assert "\n" not in str(refused.value)


def test_a_wrong_field_is_named_with_its_place(result: AuditResult) -> None:
    document = result.to_dict()
    document["unread"]["share"]["low"] = "much"
    with pytest.raises(ArtifactError, match=r"unread\.share\.low"):
        AuditResult.from_dict(document)


def test_a_forecast_survives_json(result: AuditResult) -> None:
    document = ForecastResult.of(result.mad_risk).to_dict()
    assert ForecastResult.from_dict(json.loads(json.dumps(document))).to_dict() == document
    assert document.keys() - {"schema"} == record_document(result.mad_risk).keys()


def test_a_result_shows_its_answers(result: AuditResult) -> None:
    shown = repr(result)
    assert shown.startswith(result.verdict.upper())
    for title in ("synthetic fraction", "diversity loss", "MAD risk"):
        assert title in shown
    assert len(shown.splitlines()) < 15


def test_a_notebook_gets_cards_and_no_markup_from_names(result: AuditResult) -> None:
    page = replace(result, source="<script>")._repr_html_()
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert result.verdict.upper() in page


def test_the_items_of_an_audit_that_left_nothing_on_disk_are_a_table(result: AuditResult) -> None:
    table = result.items()
    assert table.num_rows == result.n_items == 120
    assert {"id", "score", "generator", "nearest_real", "duplicate_of", "keep"} <= set(table.column_names)
    assert table["id"].to_pylist()[:2] == ["row#0", "row#1"]


def test_the_items_of_a_stored_audit_are_read_from_its_folder(
    references: dict[str, Reference], make: SimpleNamespace, rng: np.random.Generator, tmp_path: Path
) -> None:
    rows = make.real_vectors(30, rng)
    kept = audit(rows, references["vectors"], out=tmp_path / "o")
    assert AuditResult.from_dict(kept.to_dict()).items().equals(audit(rows, references["vectors"]).items())
    (tmp_path / "o" / "items").rename(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="holds no items"):
        kept.items()


def test_what_is_declared_must_be_known(references: dict[str, Reference]) -> None:
    with pytest.raises(InputError, match="generators-complete"):
        audit(np.zeros((3, 6)), references["vectors"], declare=["all-is-well"])


def test_a_measure_without_an_interval_prints_its_reason() -> None:
    from auditor.results import in_words

    assert in_words(Measure(math.nan, reason="too few")) == "not determined (too few)"
    assert in_words(Measure(0.25, low=0.2, high=0.3)) == "0.250 (0.200 – 0.300)"
    assert in_words(Measure(math.nan, low=0.0, high=1.0, reason="why"), told="it says why") == "0.000 – 1.000"


def test_the_default_risk_model_is_the_one_that_ships(result: AuditResult) -> None:
    from auditor.risk.model import SHIPPED, risk_model

    model = risk_model()
    assert isinstance(model, RiskModel)
    assert result.mad_risk.model == model.identity
    assert model.identity["file"] == SHIPPED
