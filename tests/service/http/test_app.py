"""The routes of the service, on real audits by real workers."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor import audit
from auditor.reference.reference import load_reference
from indexes.search import knn

AUDITS = "/v1/audits"


def start(service: Any, **fields: Any) -> dict[str, Any]:
    asked = {"source": f"{service.data}/incoming.npy", "reference": "vectors", **fields}
    answer = service.admin.post(AUDITS, json=asked)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"{AUDITS}/{answer.json()['id']}"
    assert int(answer.headers["retry-after"]) > 0
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture(scope="module")
def done(service: Any) -> dict[str, Any]:
    found: dict[str, Any] = service.finished(f"{AUDITS}/{start(service)['id']}")
    assert found["state"] == "succeeded", found["error"]
    return found


def test_an_audit_over_http_finds_what_the_library_finds(service: Any, done: dict[str, Any]) -> None:
    reference = load_reference(service.context.home.references / "vectors")
    direct = audit(f"{service.data}/incoming.npy", reference).to_dict()
    for name in ("synthetic_fraction", "diversity", "fidelity", "verdict", "n_items", "checks"):
        assert done["result"][name] == direct[name], name


def test_an_audit_with_a_workflow_has_a_risk(service: Any) -> None:
    started = start(service, workflow="fresh", generations=4, n_real=60, n_synthetic=60)
    found = service.finished(f"{AUDITS}/{started['id']}")
    risk = found["result"]["mad_risk"]
    assert risk["plan"]["generations"] == 4
    assert [row["generation"] for row in risk["trajectory"]] == [1, 2, 3, 4] or len(risk["trajectory"]) >= 3
    assert 0 <= risk["probability"]["low"] <= risk["probability"]["high"] <= 1


def test_items_come_in_pages_that_hold_each_once(service: Any, done: dict[str, Any]) -> None:
    found: list[str] = []
    cursor = ""
    while cursor is not None:
        page = service.admin.get(f"{AUDITS}/{done['id']}/items?limit=50{cursor and f'&cursor={cursor}'}").json()
        found += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert len(found) == len(set(found)) == 120


def test_the_report_is_a_page_that_may_run_nothing(service: Any, done: dict[str, Any]) -> None:
    answer = service.admin.get(f"{AUDITS}/{done['id']}/report")
    assert answer.headers["content-type"].startswith("text/html")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "Synthetic fraction" in answer.text
    markdown = service.admin.get(f"{AUDITS}/{done['id']}/report?format=md")
    assert markdown.text.startswith("# ")


def test_an_audit_s_page_links_to_its_parts(service: Any, done: dict[str, Any]) -> None:
    page = service.admin.get(f"/audits/{done['id']}").text
    for part in ("items", "report"):
        assert f'href="{AUDITS}/{done["id"]}/{part}"' in page


def test_a_list_tells_verdicts_and_leaves_results_to_the_one_audit(service: Any, done: dict[str, Any]) -> None:
    listed = {audit["id"]: audit for audit in service.admin.get(f"{AUDITS}?limit=200").json()["items"]}
    assert listed[done["id"]]["verdict"] == done["verdict"] == done["result"]["verdict"]
    assert listed[done["id"]]["result"] is None


def test_an_upload_may_say_how_it_will_be_used(service: Any) -> None:
    query = "reference=vectors&workflow=fresh&generations=3&n_real=30&n_synthetic=60"
    answer = service.admin.post(f"{AUDITS}/upload?{query}", content=body("npy"))
    found = service.finished(f"{AUDITS}/{answer.json()['id']}")["result"]["mad_risk"]
    assert found["plan"] == {
        "workflow": "fresh",
        "generations": 3,
        "n_initial": 60,
        "n_real": 30,
        "n_synthetic": 60,
        "bias": 1.0,
    }


def test_an_unfinished_audit_has_no_items_and_no_report(service: Any) -> None:
    job, _ = service.context.queue.submit("audit", {"source": "x", "reference": "vectors"}, owner="local")
    service.context.queue.cancel(job.id)
    for part in ("items", "report"):
        assert service.admin.get(f"{AUDITS}/{job.id}/{part}").status_code == 409


def test_events_end_with_the_end_of_the_job(service: Any, done: dict[str, Any]) -> None:
    answer = service.admin.get(f"{AUDITS}/{done['id']}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line[5:]) for line in answer.text.splitlines() if line.startswith("data:")]
    assert events[-1]["state"] == "succeeded"


def test_pages_of_audits_are_newest_first(service: Any, done: dict[str, Any]) -> None:
    first = service.admin.get(f"{AUDITS}?limit=1").json()
    rest = service.admin.get(f"{AUDITS}?limit=200&cursor={first['next_cursor']}").json()
    created = [audit["created"] for audit in first["items"] + rest["items"]]
    assert created == sorted(created, reverse=True)
    assert done["id"] in {audit["id"] for audit in first["items"] + rest["items"]}


def test_the_same_idempotency_key_makes_one_audit(service: Any) -> None:
    asked = {"source": f"{service.data}/incoming.npy", "reference": "vectors"}
    headers = {"Idempotency-Key": "once"}
    one, two = (service.admin.post(AUDITS, json=asked, headers=headers).json()["id"] for _ in range(2))
    assert one == two
    other = service.admin.post(AUDITS, json={**asked, "seed": 1}, headers=headers)
    assert other.status_code == 422


def body(kind: str) -> bytes:
    rows = np.random.default_rng(4).normal(size=(60, 8)).astype(np.float32)
    buffer = io.BytesIO()
    np.save(buffer, rows)
    return buffer.getvalue() if kind == "npy" else b""


def test_an_upload_is_audited_and_deleted_with_its_audit(service: Any) -> None:
    answer = service.admin.post(f"{AUDITS}/upload?reference=vectors", content=body("npy"))
    assert answer.status_code == 202, answer.text
    assert answer.json()["request"]["source"] == "upload"
    id = answer.json()["id"]
    found = service.finished(f"{AUDITS}/{id}")
    assert found["result"]["n_items"] == 60
    assert (service.context.home.uploads / id).is_dir()
    assert service.admin.delete(f"{AUDITS}/{id}").status_code == 204
    assert not (service.context.home.uploads / id).exists()
    assert not (service.context.home.jobs / id).exists()
    assert service.admin.get(f"{AUDITS}/{id}").status_code == 404


def test_an_upload_sent_twice_under_one_key_is_one_audit_and_is_kept_once(service: Any) -> None:
    before = set(service.context.home.uploads.iterdir())
    answers = [
        service.admin.post(
            f"{AUDITS}/upload?reference=vectors", content=body("npy"), headers={"Idempotency-Key": "upload"}
        )
        for _ in range(2)
    ]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert len(set(service.context.home.uploads.iterdir()) - before) == 1


def test_a_cancelled_audit_stays_cancelled_and_can_be_deleted(service: Any) -> None:
    id = start(service, limit=100)["id"]
    state = service.admin.post(f"{AUDITS}/{id}/cancel").json()["state"]
    assert state in ("cancelled", "succeeded")
    assert service.admin.get(f"{AUDITS}/{id}").json()["state"] == state
    assert service.admin.delete(f"{AUDITS}/{id}").status_code == 204


def test_an_audit_that_cannot_be_done_says_why(service: Any) -> None:
    id = start(service, source=f"{service.data}/not-there.npy")["id"]
    found = service.finished(f"{AUDITS}/{id}")
    assert found["state"] == "failed"
    assert "no such file" in found["error"]


def test_a_reference_is_built_shown_searched_and_deleted(service: Any) -> None:
    asked = {
        "name": "built", "real": f"{service.data}/real.npy",
        "synthetic": [{"label": "fake", "source": f"{service.data}/fake.npy"}], "encoder": "embeddings",
    }  # fmt: skip
    answer = service.admin.post("/v1/references", json=asked)
    assert answer.status_code == 202, answer.text
    assert service.admin.post("/v1/references", json=asked).status_code == 409
    found = service.finished(answer.headers["location"])
    assert found["state"] == "succeeded", found["error"]
    assert set(service.admin.get("/v1/references/built").json()["items"]) == {"real", "fake"}
    names = [r["name"] for r in service.admin.get("/v1/references").json()["items"]]
    assert names == ["built", "vectors"]
    page = service.admin.get("/v1/references?limit=1").json()
    following = service.admin.get(f"/v1/references?limit=1&cursor={page['next_cursor']}").json()
    assert [r["name"] for r in page["items"] + following["items"]] == names
    assert service.admin.delete("/v1/references/built").status_code == 204
    assert service.admin.get("/v1/references/built").status_code == 404
    assert not (service.context.home.references / "built").exists()


def test_a_search_finds_the_nearest_items_by_brute_force(service: Any) -> None:
    queries = np.random.default_rng(5).normal(size=(3, 8)).astype(np.float32)
    answer = service.admin.post("/v1/search", json={"reference": "vectors", "vectors": queries.tolist(), "k": 4})
    assert answer.status_code == 200, answer.text
    everything = np.concatenate([np.load(service.data / name) for name in ("real.npy", "fake.npy")])
    distances = np.sqrt(((queries[:, None] - everything) ** 2).sum(2))
    expected = np.sort(distances, axis=1)[:, :4]
    found = [[n["distance"] for n in row] for row in answer.json()["neighbours"]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    own = service.admin.post(
        "/v1/search", json={"reference": "vectors", "vectors": everything[[0, 199, 200, 399]].tolist(), "k": 1}
    ).json()["neighbours"]
    assert [(row[0]["label"], row[0]["distance"]) for row in own] == [
        (n, 0.0) for n in ("real", "real", "fake", "fake")
    ]
    nearest = distances.argmin(1)
    origins = [row[0]["origin"] for row in answer.json()["neighbours"]]
    assert origins == ["real" if row < 200 else "synthetic" for row in nearest]
    assert knn(queries, everything, 1)[1][:, 0].tolist() == nearest.tolist()


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({"vectors": [[0.0, 1.0]]}, "expected 8"),
        ({"image": base64.b64encode(b"no image").decode()}, "the query is an image"),
        ({"image": "%%%"}, "not valid base64"),
        ({}, "expected exactly one of"),
        ({"vectors": [[0.0] * 8], "k": 0}, "greater than or equal to 1"),
    ],
)
def test_a_search_that_cannot_be_answered_says_why(service: Any, question: dict[str, Any], said: str) -> None:
    answer = service.admin.post("/v1/search", json={"reference": "vectors", **question})
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_forecasts_are_answered_from_figures_and_from_an_audit(service: Any, done: dict[str, Any]) -> None:
    figures = {"workflow": "augment", "generations": 4, "synthetic_fraction": 0.3, "n_initial": 500}
    found = service.admin.post("/v1/forecasts", json=figures)
    assert found.status_code == 200, found.text
    assert found.json()["status"] == "extrapolated"
    from_audit = {"workflow": "augment", "audit": done["id"]}
    answer = service.admin.post("/v1/forecasts", json=from_audit).json()
    assert answer["plan"]["workflow"] == "augment"
    assert service.admin.post("/v1/forecasts", json={**from_audit, "audit": "0" * 32}).status_code == 404
    assert service.admin.post("/v1/forecasts", json={"workflow": "augment"}).status_code == 422


def test_a_loop_and_a_sweep_are_jobs(service: Any) -> None:
    config = {"family": "gaussian", "workflow": "replace", "generations": 3, "n_initial": 50, "chains": 8}
    loop = service.admin.post("/v1/loops", json={"config": config})
    sweep = service.admin.post("/v1/sweeps", json={"sweep": {"base": config, "grid": {"bias": [1.0, 0.8]}}})
    found = service.finished(loop.headers["location"])
    assert [g["generation"] for g in found["result"]["generations"]] == [1, 2, 3]
    swept = service.finished(sweep.headers["location"])
    assert (swept["state"], swept["result"]) == ("succeeded", {"failed": {}})
    calibration = service.admin.post("/v1/calibrations", json={"sweeps": [sweep.json()["id"]]})
    failed = service.finished(calibration.headers["location"])
    assert failed["state"] == "failed"
    assert "observe: true" in failed["error"]


def test_health_readiness_and_metrics_tell_of_the_service(service: Any, done: dict[str, Any]) -> None:
    assert service.admin.get("/healthz").json() == {"status": "ok"}
    assert service.admin.get("/readyz").json()["status"] == "ready"
    text = service.admin.get("/metrics").text
    assert 'madaudit_jobs{state="succeeded"}' in text
    assert f'route="{AUDITS}/{{id}}"' in text
    assert done["id"] not in text


def test_a_service_whose_threads_are_gone_is_not_ready(tmp_path: Path, start_service: Callable[..., Any]) -> None:
    from starlette.testclient import TestClient

    from service.http.app import create_app

    context = start_service(tmp_path / "home", auth=False)
    client = TestClient(create_app(context))  # not entered: nothing was started
    assert client.get("/readyz").status_code == 503
    context.database.close()


def test_every_request_that_changes_something_is_in_the_audit_log(service: Any) -> None:
    id = start(service)["id"]
    service.admin.get(f"{AUDITS}/{id}")
    with service.context.database.transaction() as connection:
        rows = connection.execute("SELECT method, path, status FROM audit_log ORDER BY moment DESC LIMIT 1").fetchall()
        keys = connection.execute("SELECT DISTINCT key FROM audit_log WHERE status = 202").fetchall()
    assert rows == [("POST", AUDITS, 202)]
    assert len(keys) == 1
    assert keys[0][0] is not None
