"""The whole OpenAPI document, tried by schemathesis with and without a key."""

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import one_of
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

EXAMPLES = int(os.environ.get("MADAUDIT_TEST_EXAMPLES", "10"))  # of every route; 100 take minutes
PATIENCE_S = 120  # for an answer: the first question waits for a worker to start
CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance,
]  # fmt: skip
ENDLESS = re.compile(r"/events$")  # its answers are streams, which tests/service/http/test_app.py reads


def without_lifespan(app: Any) -> Any:
    """The application as others find it: it has begun, and does not end when they are done."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})

    return wrapped


def operations(service: Any) -> Iterator[Any]:
    document = schemathesis.openapi.from_asgi("/openapi.json", without_lifespan(service.admin.app))
    for result in document.get_all_operations():
        operation = result.ok()
        if not ENDLESS.search(operation.path):
            yield operation


def try_all(service: Any, headers: dict[str, str]) -> int:
    tried = 0
    for operation in operations(service):

        @settings(
            max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode)))
        def conforms(case: Any) -> None:
            nonlocal tried
            tried += 1
            case.call_and_validate(headers=headers, checks=CHECKS, timeout=PATIENCE_S)

        conforms()
    return tried


@pytest.mark.parametrize("name", ["admin", "reader"])
def test_with_a_key_every_answer_is_as_the_document_says(service: Any, name: str) -> None:
    assert try_all(service, {"Authorization": f"Bearer {service.tokens[name]}"}) > 100


def test_without_a_key_every_answer_is_as_the_document_says(service: Any) -> None:
    assert try_all(service, {"Authorization": "Bearer none"}) > 100


def test_every_route_of_the_contract_is_in_the_document(service: Any) -> None:
    paths = service.admin.get("/openapi.json").json()["paths"]
    expected = {
        "/v1/references": {"get", "post"}, "/v1/references/{name}": {"get", "delete"}, "/v1/audits": {"get", "post"},
        "/v1/audits/upload": {"post"}, "/v1/audits/{id}": {"get", "delete"}, "/v1/audits/{id}/items": {"get"},
        "/v1/audits/{id}/report": {"get"}, "/v1/audits/{id}/events": {"get"}, "/v1/audits/{id}/cancel": {"post"},
        "/v1/forecasts": {"post"}, "/v1/search": {"post"}, "/healthz": {"get"}, "/readyz": {"get"}, "/metrics": {"get"},
    }  # fmt: skip
    assert {path: expected[path] & set(methods) for path, methods in paths.items() if path in expected} == expected


def test_every_route_says_what_it_answers_to_bytes_and_queries_that_it_cannot_read(service: Any) -> None:
    for path, methods in service.admin.get("/openapi.json").json()["paths"].items():
        for method, told in methods.items():
            assert {"403", "413", "422", "500"} <= set(told["responses"]), (method, path)
            assert ("400" in told["responses"]) is ("requestBody" in told), (method, path)
