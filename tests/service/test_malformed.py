"""Bodies that cannot be read, on every route that reads one, and clients that leave before theirs is whole."""

import gzip
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from service.http.app import create_app

MALFORMED = {
    "invalid UTF-8": b'{"name": "\xff\xfe"}',
    "UTF-8 cut short": b'{"name": "\xe2\x82',
    "no JSON": b"name=x&scopes=read",
    "JSON cut short": b'{"name": "x"',
    "more after the JSON": b'{"name": "x"} {"name": "y"}',
    "a bare word": b"nothing",
    "NUL bytes": b"\x00\x00\x00\x00\x00",
    "NUL after the JSON": b'{"name": "x"}\x00',
    "a NUL inside a string": b'{"name": "x\x00y"}',
    "a line break inside a string": b'{"name": "x\ny"}',
    "two byte order marks": b'\xef\xbb\xbf\xef\xbb\xbf{"name": "x"}',
    "UTF-16 cut short": '{"name": "x"}'.encode("utf-16")[:-1],
    "nested very deep": b'{"name": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a number of very many digits": b'{"name": ' + b"1" * 10_000 + b"}",
    "compressed": gzip.compress(b'{"name": "x"}'),
    "random": bytes(range(256)),
}
REFUSED = {
    "a byte order mark": b'\xef\xbb\xbf{"nmae": "x"}',
    "UTF-16": '{"nmae": "x"}'.encode("utf-16"),
    "nothing": b"",
    "a list": b"[]",
    "null": b"null",
    "a number": b"1e999",
    "no number": b'{"nmae": NaN}',
    "an infinite number": b'{"nmae": -1e999}',
    "half of a surrogate pair": b'{"nmae": "\\ud800"}',
    "half of a surrogate pair in bytes": b'{"nmae": "\xed\xa0\x80"}',
    "half of a surrogate pair as a name": b'{"\\udfff": "x"}',
    "an escaped NUL": b'{"nmae": "\\u0000"}',
    "an escaped NUL as a name": b'{"\\u0000": 1}',
    "nested": b'{"nmae": ' + b"[" * 400 + b"]" * 400 + b"}",
}
TYPES = [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "image/png",
    "json",
    "\x7f",
]
FIELDS: dict[str, Any] = {  # of requests that are refused for what they name, so that nothing is begun
    "/v1/audits": {"reference": "vectors", "source": "@"},
    "/v1/calibrations": {"sweeps": ["0" * 32]},
    "/v1/forecasts": {"workflow": "augment", "audit": "0" * 32},
    "/v1/keys": {"name": "n", "scopes": ["read"]},
    "/v1/loops": {"config": {"family": "none"}},
    "/v1/references": {"name": "n", "real": "@", "encoder": "embeddings"},
    "/v1/search": {"reference": "none", "vectors": [[0.0] * 8]},
    "/v1/sweeps": {"sweep": {"base": {"family": "none"}}},
}
VALUES = [
    "\0",
    "a\0b",
    "\ud800",
    "\ufeff",
    10**400,
    -(10**400),
    1e308,
    True,
    None,
    [],
    {},
    [[]],
    {"\0": "\0"},
    "x" * 9999,
]


def readers_of_bodies(service: Any) -> dict[str, dict[str, Any]]:
    """The routes that read JSON, with what the document says of them."""
    paths = service.admin.get("/openapi.json").json()["paths"]
    found = {path: methods["post"] for path, methods in paths.items() if "requestBody" in methods.get("post", {})}
    return {path: told for path, told in found.items() if not path.endswith("/upload")}


def send(service: Any, path: str, content: bytes, kind: str = "application/json") -> Any:
    return service.admin.post(path, content=content, headers={b"Content-Type": kind.encode("latin-1")})


def test_the_routes_tried_here_are_those_there_are(service: Any) -> None:
    assert set(readers_of_bodies(service)) == set(FIELDS)


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_body_that_is_no_json_answers_400_on_every_route_which_the_document_says(service: Any, kind: str) -> None:
    for path, told in readers_of_bodies(service).items():
        answer = send(service, path, MALFORMED[kind])
        assert answer.status_code == 400, (path, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"].startswith("the body cannot be read as JSON (")
        assert len(answer.json()["detail"]) < 400
        assert {"400", "422"} <= set(told["responses"])


@pytest.mark.parametrize("kind", REFUSED)
def test_json_that_is_no_request_answers_422_on_every_route(service: Any, kind: str) -> None:
    for path in readers_of_bodies(service):
        answer = send(service, path, REFUSED[kind])
        assert answer.status_code == 422, (path, answer.text)
        assert answer.json()["detail"]


@pytest.mark.parametrize("kind", TYPES)
def test_a_body_of_another_content_type_answers_422_on_every_route(service: Any, kind: str) -> None:
    for path, fields in FIELDS.items():
        answer = send(service, path, json.dumps(fields).encode(), kind)
        assert answer.status_code == 422, (path, answer.text)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
def test_an_odd_value_in_any_field_answers_what_the_document_says(service: Any, value: Any) -> None:
    schemas = service.admin.get("/openapi.json").json()["components"]["schemas"]
    for path, told in readers_of_bodies(service).items():
        name = told["requestBody"]["content"]["application/json"]["schema"]["$ref"].split("/")[-1]
        for field in schemas[name]["properties"]:
            body = json.dumps({**FIELDS[path], field: value}).encode()
            answer = send(service, path, body)
            assert str(answer.status_code) in told["responses"], (path, field, answer.text)
            assert answer.status_code < 500, (path, field, answer.text)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\x00" * 99, b"key=%00%ff", b"%", b"=" * 9, b"key=" + b"x" * 9999])
def test_forms_of_odd_bytes_are_refused_or_shown_again(service: Any, content: bytes) -> None:
    for path in ("/login", "/new"):
        assert service.admin.post(path, content=content).status_code in (401, 422)


def test_malformed_bytes_without_a_key_or_a_scope_are_refused_as_such(service: Any) -> None:
    reader = service.client("reader")
    answer = reader.post("/v1/audits", content=b"\xff", headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 403)


@pytest.fixture
def served(tmp_path: Path, start_service: Callable[..., Any]) -> Iterator[tuple[Any, int]]:
    """A service on a real port, without authentication."""
    context = start_service(tmp_path / "home", auth=False)
    config = uvicorn.Config(create_app(context), host="127.0.0.1", port=0, log_config=None, timeout_graceful_shutdown=3)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield context, server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


HEADS = {
    "with a length": b"Content-Length: 100000\r\n\r\n\x93NUMPY\x01\x00" + b"x" * 5000,
    "in pieces": b"Transfer-Encoding: chunked\r\n\r\n1000\r\n" + b"x" * 0x1000 + b"\r\n800\r\nxx",
    "before the first byte": b"Content-Length: 100000\r\n\r\n",
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("path", ["/v1/audits/upload?reference=vectors", "/v1/audits", "/login"])
def test_a_client_that_leaves_is_no_fault_and_leaves_nothing(
    served: tuple[Any, int], path: str, head: str, caplog: pytest.LogCaptureFixture
) -> None:
    context, port = served
    line = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    with caplog.at_level(logging.INFO):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(line.encode() + HEADS[head])
            if "upload" in path:
                until(lambda: list(context.home.uploads.glob("*/received")))
            else:
                time.sleep(0.1)
        until(lambda: answered(caplog))
    assert answered(caplog) == [499]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert all(record.exc_info is None for record in caplog.records)
    assert list(context.home.uploads.glob("*")) == []
    assert context.queue.counts() == {}


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def answered(caplog: pytest.LogCaptureFixture) -> list[int]:
    return [record.status for record in caplog.records if record.getMessage() == "answered"]  # type: ignore[attr-defined]
