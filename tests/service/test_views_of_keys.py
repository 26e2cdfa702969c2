"""What a key of scope read sees when it was given the jobs of other keys, and that it changes nothing."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.http.app import create_app
from service.http.auth import COOKIE

AUDITS = "/v1/audits"
ANSWERS_ONLY = {("post", "/v1/search"), ("post", "/v1/forecasts")}  # they change nothing


@dataclass
class Keyring:
    """A service of which two keys have run an audit each, and readers with different views of them."""

    service: Any
    jobs: dict[str, str]  # name of the key → id of its audit
    clients: dict[str, TestClient]

    def page(self, reader: str, path: str) -> str:
        """A page of the dashboard, in the browser of a reader who has logged in."""
        browser = TestClient(self.service.admin.app)
        token = self.clients[reader].headers["Authorization"].removeprefix("Bearer ")
        browser.post("/login", data={"key": token})
        assert browser.cookies.get(COOKIE)
        answer = browser.get(path)
        return f"{answer.status_code} {answer.text}"


@pytest.fixture(scope="module")
def ring(service: Any) -> Keyring:
    clients = {name: service.client(name) for name in ("writer", "other")}
    asked = {"source": f"{service.data}/incoming.npy", "reference": "vectors"}
    jobs = {name: client.post(AUDITS, json=asked).json()["id"] for name, client in clients.items()}
    for id in jobs.values():
        assert service.finished(f"{AUDITS}/{id}")["state"] == "succeeded"
    ids = {key["name"]: key["id"] for key in service.admin.get("/v1/keys").json()}
    views: dict[str, Any] = {"of writer": [ids["writer"]], "of all": "all", "of none": []}
    for name, view in views.items():
        answer = service.admin.post("/v1/keys", json={"name": name, "scopes": ["read"], "sees": view})
        assert answer.status_code == 201, answer.text
        assert answer.json()["sees"] == view
        header = {"Authorization": f"Bearer {answer.json()['token']}"}
        clients[name] = TestClient(service.admin.app, headers=header)
    return Keyring(service, jobs, clients)


SEEN = [
    ("of writer", "writer", True), ("of writer", "other", False), ("of all", "writer", True),
    ("of all", "other", True), ("of none", "writer", False), ("of none", "other", False),
]  # fmt: skip


@pytest.mark.parametrize(("reader", "owner", "is_seen"), SEEN)
def test_every_route_to_a_job_answers_those_who_were_given_its_owner(
    ring: Keyring, reader: str, owner: str, is_seen: bool
) -> None:
    client, id = ring.clients[reader], ring.jobs[owner]
    paths = [path for path in operations(ring, "get") if "{id}" in path]
    assert len(paths) == 6
    for path in paths:
        answer = client.get(path.replace("{id}", id))
        if is_seen:
            assert answer.status_code == 200, path
        else:
            assert answer.status_code == 404, path
            assert answer.text == client.get(path.replace("{id}", "0" * 32)).text


def operations(ring: Keyring, *methods: str) -> list[str]:
    """The paths that have one of these methods."""
    paths = ring.service.admin.get("/openapi.json").json()["paths"]
    return [path for path, found in paths.items() if set(found) & set(methods)]


@pytest.mark.parametrize(("reader", "owner", "is_seen"), SEEN)
def test_lists_hold_the_jobs_of_those_whom_a_key_sees(ring: Keyring, reader: str, owner: str, is_seen: bool) -> None:
    client, id = ring.clients[reader], ring.jobs[owner]
    for path in (AUDITS, "/v1/jobs", "/v1/jobs?kind=audit"):
        listed = client.get(f"{path}{'&' if '?' in path else '?'}limit=200").json()["items"]
        assert (id in {job["id"] for job in listed}) is is_seen, path


def test_pages_of_a_view_hold_each_job_once(ring: Keyring) -> None:
    client, found, cursor = ring.clients["of all"], [], ""
    while cursor is not None:
        page = client.get(f"{AUDITS}?limit=1{cursor and f'&cursor={cursor}'}").json()
        found += [audit["id"] for audit in page["items"]]
        cursor = page["next_cursor"]
    assert len(found) == len(set(found))
    assert set(found) >= set(ring.jobs.values())


@pytest.mark.parametrize(("reader", "owner", "is_seen"), SEEN)
def test_a_forecast_from_an_audit_needs_a_view_of_it(ring: Keyring, reader: str, owner: str, is_seen: bool) -> None:
    answer = ring.clients[reader].post("/v1/forecasts", json={"workflow": "augment", "audit": ring.jobs[owner]})
    assert answer.status_code == (200 if is_seen else 404), answer.text


def test_a_reader_may_search_a_reference_which_all_share(ring: Keyring) -> None:
    asked = {"reference": "vectors", "vectors": [[0.0] * 8], "k": 2}
    assert ring.clients["of none"].post("/v1/search", json=asked).status_code == 200


@pytest.mark.parametrize("reader", ["of writer", "of all", "of none"])
def test_no_route_lets_a_reader_change_anything(ring: Keyring, reader: str) -> None:
    client, id = ring.clients[reader], ring.jobs["writer"]
    counts, references = ring.service.context.queue.counts(), ring.service.admin.get("/v1/references").json()
    paths, tried = ring.service.admin.get("/openapi.json").json()["paths"], 0
    for path, methods in paths.items():
        for method in set(methods) - {"get"}:
            if (method, path) in ANSWERS_ONLY:
                continue
            named = path.replace("{id}", "0" * 12 if "keys" in path else id).replace("{name}", "vectors")
            answer = client.request(method, named, json={})
            hidden = 404 if reader == "of none" and "{id}" in path and "keys" not in path else 403
            assert answer.status_code == hidden, (method, path, answer.text)
            tried += 1
    assert tried >= 12
    assert ring.service.context.queue.counts() == counts
    assert ring.service.admin.get("/v1/references").json() == references
    assert client.get("/v1/keys").status_code == 403


@pytest.mark.parametrize(("reader", "owner", "is_seen"), SEEN)
def test_the_dashboard_shows_what_a_key_sees(ring: Keyring, reader: str, owner: str, is_seen: bool) -> None:
    id = ring.jobs[owner]
    assert (f"/audits/{id}" in ring.page(reader, "/")) is is_seen
    assert ring.page(reader, f"/audits/{id}").startswith("200" if is_seen else "404")
    source = f"{ring.service.data}/incoming.npy"
    shown = f"/audits/{id}" in ring.page(reader, f"/trends?source={source}")
    assert shown is is_seen
    assert (f">{source}</option>" in ring.page(reader, "/trends")) is (reader != "of none")


@pytest.mark.parametrize("reader", ["of writer", "of all", "of none"])
def test_no_page_offers_a_reader_a_form_that_it_may_not_send(ring: Keyring, reader: str) -> None:
    pages = ["/", f"/audits/{ring.jobs['writer']}", "/references", "/trends", "/new"]
    for path in pages:
        page = ring.page(reader, path)
        assert 'href="/new' not in page, path
        assert "<button>Start</button>" not in page
        assert "/cancel" not in page
    token = ring.clients[reader].headers["Authorization"].removeprefix("Bearer ")
    browser = TestClient(ring.service.admin.app)
    browser.post("/login", data={"key": token})
    asked = {"source": f"{ring.service.data}/incoming.npy", "reference": "vectors"}
    assert browser.post("/new", data=asked).status_code == 403
    for id in (ring.jobs["writer"], "0" * 32):
        assert browser.post(f"/audits/{id}/cancel").status_code == 403


def test_every_form_of_the_dashboard_is_among_those_that_were_tried(ring: Keyring) -> None:
    routes = [
        (method, route.path)
        for router in ring.service.admin.app.routes
        for route in getattr(getattr(router, "original_router", None), "routes", [router])
        for method in getattr(route, "methods", None) or ()
        if not route.path.startswith(("/v1", "/static"))
    ]
    changing = {path for method, path in routes if method not in ("GET", "HEAD")}
    assert changing == {"/login", "/logout", "/new", "/audits/{id}/cancel"}


def test_a_view_outlives_the_key_that_it_shows(ring: Keyring) -> None:
    admin = ring.service.admin
    made = admin.post("/v1/keys", json={"name": "left", "scopes": ["write"]}).json()
    job, _ = ring.service.context.queue.submit("audit", {"source": "x", "reference": "vectors"}, owner=made["id"])
    ring.service.context.queue.cancel(job.id)
    viewer = admin.post("/v1/keys", json={"name": "v", "scopes": ["read"], "sees": [made["id"]]}).json()
    admin.delete(f"/v1/keys/{made['id']}")
    client = TestClient(admin.app, headers={"Authorization": f"Bearer {viewer['token']}"})
    assert client.get(f"{AUDITS}/{job.id}").json()["state"] == "cancelled"
    late = admin.post("/v1/keys", json={"name": "w", "scopes": ["read"], "sees": [made["id"]]})
    assert late.status_code == 201  # its jobs are there still


def test_a_view_does_not_lead_on_to_what_another_reader_sees(ring: Keyring) -> None:
    admin = ring.service.admin
    ids = {key["name"]: key["id"] for key in admin.get("/v1/keys").json()}
    asked = {"name": "of a reader", "scopes": ["read"], "sees": [ids["of all"], ids["of writer"]]}
    token = admin.post("/v1/keys", json=asked).json()["token"]
    client = TestClient(admin.app, headers={"Authorization": f"Bearer {token}"})
    assert client.get(f"{AUDITS}/{ring.jobs['writer']}").status_code == 404


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"scopes": ["read"], "sees": ["0" * 12]}, "000000000000"),
        ({"scopes": ["read"], "sees": ["nobody"]}, "sees"),
        ({"scopes": ["read"], "sees": "some"}, "sees"),
        ({"scopes": ["read", "write"], "sees": "all"}, "only the scope read"),
        ({"scopes": ["admin"], "sees": "all"}, "only the scope read"),
    ],
)
def test_a_view_that_cannot_be_is_refused_with_its_reason(ring: Keyring, asked: dict[str, Any], said: str) -> None:
    answer = ring.service.admin.post("/v1/keys", json={"name": "odd", **asked})
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_pending_references_of_others_are_not_named(tmp_path: Path, start_service: Callable[..., Any]) -> None:
    context = start_service(tmp_path / "home")
    (mine, token), (other, _) = (context.keys.create(name, ["read"]) for name in ("mine", "other"))
    for name, owner in (("ours", mine.id), ("secret", other.id)):
        context.queue.submit("reference", {"name": name}, owner=owner)
    client = TestClient(create_app(context), headers={"Authorization": f"Bearer {token}"})  # no worker runs
    page = client.get("/references").text
    context.database.close()
    assert re.search(r"\bours:", page)
    assert "secret" not in page
