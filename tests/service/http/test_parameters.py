"""Query parameters that a route does not know, or that come twice, on every route."""

from typing import Any

import pytest
from starlette.testclient import TestClient

PAGES = ("/", "/login", "/docs", "/new", "/trends", "/references")


def operations(service: Any) -> list[tuple[str, str, dict[str, Any]]]:
    paths = service.admin.get("/openapi.json").json()["paths"]
    return [(method, path, found) for path, methods in paths.items() for method, found in methods.items()]


def named(path: str) -> str:
    return path.replace("{id}", "0" * 12 if "keys" in path else "0" * 32).replace("{name}", "vectors")


def declared(operation: dict[str, Any]) -> list[str]:
    return sorted(p["name"] for p in operation.get("parameters", []) if p["in"] == "query")


def test_every_route_refuses_an_unknown_parameter_and_names_those_it_knows(service: Any) -> None:
    tried = 0
    for method, path, operation in operations(service):
        answer = service.admin.request(method, f"{named(path)}?limt=5")
        assert answer.status_code == 422, (method, path)
        detail = answer.json()["detail"]
        assert "'limt'" in detail
        expected = declared(operation)
        assert (", ".join(expected) if expected else "accepts none") in detail, detail
        tried += 1
    assert tried >= 28


def test_every_route_refuses_a_parameter_that_comes_twice(service: Any) -> None:
    tried = 0
    for method, path, operation in operations(service):
        for name in declared(operation):
            answer = service.admin.request(method, f"{named(path)}?{name}=a&{name}=b")
            assert answer.status_code == 422, (method, path, name)
            assert f"'{name}' is given more than once" in answer.json()["detail"]
            tried += 1
    assert tried >= 15


@pytest.mark.parametrize("path", PAGES)
def test_pages_of_the_dashboard_refuse_them_too(service: Any, path: str) -> None:
    assert service.admin.get(path).status_code == 200
    answer = service.admin.get(f"{path}?sorce=x")
    assert answer.status_code == 422
    assert "'sorce'" in answer.json()["detail"]


@pytest.mark.parametrize("query", ["?Limit=5", "?limit%20=5", "?limit[]=5", "?x", "?=1", "?limit=5&key=k", "?%00=1"])
def test_spellings_of_a_known_parameter_are_not_taken_for_it(service: Any, query: str) -> None:
    assert service.admin.get(f"/v1/audits{query}").status_code == 422


@pytest.mark.parametrize("query", ["?", "?&", "?limit=5", "?limit=5&"])
def test_what_names_nothing_more_is_answered(service: Any, query: str) -> None:
    assert service.admin.get(f"/v1/audits{query}").status_code == 200


def test_a_stranger_learns_nothing_of_parameters(service: Any) -> None:
    client = TestClient(service.admin.app)
    assert client.get("/v1/audits?limt=5").status_code == 401
    assert client.get("/?limt=5", follow_redirects=False).status_code == 303
    assert service.client("reader").post("/v1/audits?limt=5", json={}).status_code == 403


def test_very_many_parameters_are_told_in_a_short_line(service: Any) -> None:
    query = "&".join(f"{'x' * 500}{i}=1" for i in range(50))
    assert len(service.admin.get(f"/v1/audits?{query}").json()["detail"]) < 600
