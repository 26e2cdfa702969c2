import math
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

import service.storage.database
from auditor.policy import Check, Threshold
from auditor.results import AuditResult
from auditor.statistics.intervals import Measure
from indexes.errors import ResourceError
from service.storage.ledger import Ledger, leave_audit


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "home" / "madaudit.duckdb")


@pytest.fixture
def a_result(some_result: AuditResult) -> Callable[..., AuditResult]:
    """Makes results without an estimate of the fraction, with one warning."""

    def made(**changes: Any) -> AuditResult:
        check = Check(
            name="mad_risk", status="warn", value=0.3, threshold=Threshold(0.2, 0.5, "estimate"),
            reason="estimate 0.3 is at or above 0.2",
        )  # fmt: skip
        fields = {
            "verdict": "pass", "source": "crawl/", "checks": (check,),
            "synthetic_fraction": replace(some_result.synthetic_fraction, estimate=math.nan, low=0.0, high=0.5),
            "mad_risk": replace(some_result.mad_risk, probability=Measure(0.3)),
        }  # fmt: skip
        return replace(some_result, **{**fields, **changes})

    return made


def test_a_new_ledger_is_empty(ledger: Ledger) -> None:
    assert (ledger.references(), ledger.audits()) == ([], [])


def test_references_are_listed_by_name_with_their_summary(ledger: Ledger) -> None:
    ledger.record_reference("b", "1", {"items": {"real": 5}})
    ledger.record_reference("a", "2", {"items": {"real": 6}})
    assert [(r["name"], r["items"]["real"]) for r in ledger.references()] == [("a", 6), ("b", 5)]


def test_a_reference_recorded_again_replaces_its_entry(ledger: Ledger) -> None:
    ledger.record_reference("a", "1", {"items": {"real": 5}})
    ledger.record_reference("a", "2", {"items": {"real": 6}})
    assert [r["items"]["real"] for r in ledger.references()] == [6]


def test_a_forgotten_reference_is_gone_and_forgetting_twice_is_harmless(ledger: Ledger) -> None:
    ledger.record_reference("a", "1", {})
    ledger.forget_reference("a")
    ledger.forget_reference("a")
    assert ledger.references() == []


def test_audits_are_listed_newest_first_one_a_folder(ledger: Ledger, tmp_path: Path, a_result: Any) -> None:
    ledger.record_audit(tmp_path / "x", a_result())
    ledger.record_audit(tmp_path / "y", a_result(verdict="warn"))
    ledger.record_audit(tmp_path / "x", a_result(verdict="fail"))
    assert [(Path(a["folder"]).name, a["verdict"]) for a in ledger.audits()] == [("x", "fail"), ("y", "warn")]


def test_a_number_that_could_not_be_had_is_null(ledger: Ledger, tmp_path: Path, a_result: Any) -> None:
    ledger.record_audit(tmp_path, a_result())
    assert ledger.audits()[0]["synthetic_estimate"] is None
    assert ledger.audits()[0]["synthetic_high"] == 0.5


def test_an_audit_stands_with_its_source_risk_and_checks_once(ledger: Ledger, tmp_path: Path, a_result: Any) -> None:
    path = tmp_path / "home" / "madaudit.duckdb"
    for _ in range(2):
        ledger.record_audit(tmp_path, a_result())
    with duckdb.connect(str(path)) as connection:
        joined = "SELECT source, mad_risk, name, status FROM audits JOIN checks USING (folder)"
        assert connection.execute(joined).fetchall() == [("crawl/", 0.3, "mad_risk", "warn")]
        leave_audit(connection, tmp_path)
        assert connection.execute("SELECT count(*) FROM checks").fetchall() == [(0,)]
    assert ledger.audits() == []


def test_sources_and_histories_hold_what_was_asked_for(ledger: Ledger, tmp_path: Path, a_result: Any) -> None:
    for name, source in (("x", "b/"), ("y", "a/"), ("z", "b/")):
        ledger.record_audit(tmp_path / "jobs" / name, a_result(source=source))
    with duckdb.connect(str(tmp_path / "home" / "madaudit.duckdb")) as connection:
        for name, owner in (("x", "me"), ("y", "me"), ("z", "you")):
            connection.execute(
                "INSERT INTO jobs (id, kind, state, owner, request, created) VALUES (?, 'audit', 'succeeded', ?, '{}', "
                "now()::TIMESTAMP)", [name, owner],
            )  # fmt: skip
    jobs = tmp_path / "jobs"
    assert ledger.sources(jobs, owners=None) == ledger.sources(jobs, owners=["me"]) == ["a/", "b/"]
    assert ledger.sources(jobs, owners=["you"]) == ["b/"]
    assert ledger.sources(jobs, owners=[]) == []

    def found(**asked: Any) -> list[str]:
        return [row["job"] for row in ledger.history(jobs, **{"owners": None, **asked})]

    assert found() == ["x", "y", "z"]
    assert found(owners=["me"], source="b/") == ["x"]
    assert found(owners=["me", "you"]) == ["x", "y", "z"]
    assert found(ids=["z", "y"]) == ["y", "z"]
    assert found(owners=["me"], ids=["z"]) == found(ids=[]) == []


def _hold(path: Path, seconds: float) -> "subprocess.Popen[str]":
    code = f"import duckdb, time; c = duckdb.connect({str(path)!r}); print('held', flush=True); time.sleep({seconds})"
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_file_held_by_another_process_is_waited_for(ledger: Ledger, tmp_path: Path) -> None:
    ledger.record_reference("a", "1", {})
    with _hold(tmp_path / "home" / "madaudit.duckdb", 0.7) as holder:
        assert [r["name"] for r in ledger.references()] == ["a"]
        assert holder.wait() == 0


def test_a_file_held_for_too_long_is_a_resource_error_that_names_it(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.storage.database, "_PATIENCE_S", 0.2)
    ledger.references()
    with _hold(tmp_path / "home" / "madaudit.duckdb", 60) as holder:
        with pytest.raises(ResourceError, match=r"madaudit\.duckdb cannot be opened"):
            ledger.references()
        holder.kill()


@pytest.mark.parametrize("folder", ["home", "blocked"])  # the second name holds the word that tells of a lock
def test_a_damaged_file_is_refused_at_once(tmp_path: Path, folder: str) -> None:
    path = tmp_path / folder / "madaudit.duckdb"
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 1000)
    began = time.monotonic()
    with pytest.raises(ResourceError, match="cannot be opened"):
        Ledger(path).references()
    assert time.monotonic() - began < 5


def test_a_home_that_cannot_be_made_is_a_resource_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="use another --home"):
        Ledger(tmp_path / "file" / "madaudit.duckdb").references()
