"""Tests of what surrounds every request: refusals, counts, log lines, the audit log, and headers."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from service.http.app import create_app
from service.http.context import Context

LOOPS = "/v1/loops"
LOOP = {"config": {"family": "gaussian", "workflow": "replace", "generations": 2, "n_initial": 20}}


@dataclass(frozen=True)
class Site:
    """A service whose workers were not started: what is asked for waits."""

    context: Context
    client: TestClient  # of a key with the scope write
    key: str  # the id of that key

    def counted(self) -> dict[tuple[str, str, str], float]:
        """Requests by method, route and status, as /metrics tells them."""
        families = text_string_to_metric_families(self.client.get("/metrics").text)
        samples = [sample for family in families for sample in family.samples]
        return {
            (sample.labels["method"], sample.labels["route"], sample.labels["status"]): sample.value
            for sample in samples
            if sample.name == "madaudit_requests_total"
        }

    def written_down(self) -> list[tuple[Any, ...]]:
        """Key, method, path and status of every entry of the audit log, oldest first."""
        with self.context.database.transaction() as connection:
            return connection.execute("SELECT key, method, path, status FROM audit_log ORDER BY moment").fetchall()


def made(context: Context) -> Site:
    key, token = context.keys.create("writer", ["write"])
    return Site(context, TestClient(create_app(context), headers={"Authorization": f"Bearer {token}"}), key.id)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, start_service: Callable[..., Context]) -> Iterator[Site]:
    context = start_service(tmp_path_factory.mktemp("site"), max_body_mb=1, max_upload_mb=1)
    yield made(context)
    context.database.close()


@pytest.fixture(scope="module")
def open_site(tmp_path_factory: pytest.TempPathFactory, start_service: Callable[..., Context]) -> Iterator[Site]:
    """A service without authentication."""
    context = start_service(tmp_path_factory.mktemp("open"), auth=False)
    yield made(context)
    context.database.close()


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:8000", "[::1]", "[::1]:8000"])
def test_without_authentication_a_loopback_address_is_answered(open_site: Site, host: str) -> None:
    assert open_site.client.get("/v1/jobs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example:80", "192.168.0.7:8000",
        "evil.example:localhost", "localhost:8000:80", "", ":8000",
    ],
)  # fmt: skip
def test_without_authentication_any_other_host_is_refused(open_site: Site, host: str) -> None:
    answer = open_site.client.get("/v1/jobs", headers={"Host": host})
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")
    assert "set MADAUDIT_AUTH=on" in answer.json()["detail"]


def test_with_authentication_every_host_is_answered(site: Site) -> None:
    assert site.client.get("/v1/jobs", headers={"Host": "audits.example:8443"}).status_code == 200


def test_a_change_sent_from_a_page_of_this_service_is_accepted(site: Site) -> None:
    headers = {"Host": "audits.example:8443", "Origin": "https://audits.example:8443"}
    assert site.client.post(LOOPS, json=LOOP, headers=headers).status_code == 202


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example", "null", "", "testserver", "http://testserver.evil.example", "http://testserver:81",
        "http://evil.example/http://testserver", "http://testserver@evil.example", "http://testserver/",
    ],
)  # fmt: skip
def test_a_change_sent_from_another_site_starts_no_job(site: Site, origin: str) -> None:
    before = site.context.queue.counts()
    answer = site.client.post(LOOPS, json=LOOP, headers={"Origin": origin})
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")
    assert "another site" in answer.json()["detail"]
    assert site.context.queue.counts() == before


def test_a_reading_request_from_another_site_is_answered(site: Site) -> None:
    assert site.client.get("/v1/jobs", headers={"Origin": "https://evil.example"}).status_code == 200


def test_a_refused_change_is_in_the_audit_log_with_its_key(site: Site) -> None:
    assert site.client.post("/v1/keys", json={"name": "mine", "scopes": ["admin"]}).status_code == 403
    assert site.written_down()[-1] == (site.key, "POST", "/v1/keys", 403)


def test_reading_requests_and_requests_without_a_key_are_not_in_the_audit_log(site: Site) -> None:
    before = site.written_down()
    site.client.get("/v1/jobs")
    site.client.post(LOOPS, json=LOOP, headers={"Authorization": "Bearer none"})
    site.client.post("/login", data={"key": "none"})
    assert site.written_down() == before


def test_the_audit_log_keeps_500_characters_of_a_path(site: Site) -> None:
    path = f"/v1/jobs/{'x' * 900}/cancel"
    assert site.client.post(path).status_code == 422
    assert site.written_down()[-1] == (site.key, "POST", path[:500], 422)


def test_unknown_methods_are_counted_under_one_name(site: Site) -> None:
    for method in ("BREW", "PROPFIND", "x" * 200):
        assert site.client.request(method, "/healthz").status_code == 405
    counted = site.counted()
    assert counted["OTHER", "/healthz", "405"] == 3
    assert {method for method, _, _ in counted} <= {"GET", "POST", "OTHER"}


def test_unknown_paths_are_counted_under_one_name(site: Site) -> None:
    nowhere = ("DELETE", "none", "404")
    before = site.counted().get(nowhere, 0)
    for path in ("/a", "/b/c", "/v1/nothing/0123456789abcdef"):
        assert site.client.delete(path).status_code == 404
    assert site.counted()[nowhere] == before + 3
    assert not any("0123456789abcdef" in route for _, route, _ in site.counted())


def test_a_log_line_names_the_key_and_leaves_out_the_query(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="service.requests"):
        site.client.get("/v1/jobs?cursor=something-private")
    line = vars(caplog.records[-1])
    told = {name: line[name] for name in ("method", "path", "status", "key", "remote")}
    assert told == {"method": "GET", "path": "/v1/jobs", "status": 422, "key": site.key, "remote": "testclient"}
    assert "something-private" not in str(line)


def test_a_fault_is_counted_and_logged_as_500(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise ZeroDivisionError("a fault")

    app = create_app(site.context)
    app.add_api_route("/broken", broken)
    with caplog.at_level(logging.INFO, logger="service.requests"):
        TestClient(app, raise_server_exceptions=False).get("/broken")
    assert vars(caplog.records[-1])["status"] == 500
    assert site.counted()["GET", "/broken", "500"] == 1


@pytest.mark.parametrize("path", [LOOPS, "/v1/audits/upload?reference=vectors", "/login"])
@pytest.mark.parametrize("is_declared", [True, False], ids=["declared", "streamed"])
def test_a_body_over_the_limit_is_answered_by_one_whole_problem(site: Site, path: str, is_declared: bool) -> None:
    pieces = [b"\x93NUMPY" + b"0" * 2**20] * 2
    body: Any = b"".join(pieces) if is_declared else iter(pieces)
    answer = site.client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    assert answer.json()["status"] == 413
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.headers["x-content-type-options"] == "nosniff"
