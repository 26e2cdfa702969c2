"""Error responses of the service, all in the format application/problem+json (RFC 9457)."""

import http
import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from indexes.errors import AuditError, InputError
from service.allowed_roots import Forbidden
from service.http.schemas import Problem
from service.jobs.supervisor import Busy, Refusal
from service.references.shelf import UnknownReferenceError
from service.storage.job_queue import KeyReused, QueueFull

__all__ = ["MEDIA", "TOO_LARGE", "ProblemError", "install", "problem", "responses"]

MEDIA = "application/problem+json"
TOO_LARGE = "the request body is too large: send less data, or put the data under an allowed root"
_LEFT = 499  # in logs and figures: the client closed the connection before its request was whole
_MOST_SAID = 200  # characters of a parser's words
_log = logging.getLogger(__name__)


class ProblemError(Exception):
    """Ends a request with a status and a one-line message: what was found, what was expected, and what to do."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """The problem+json response for an error."""
    body = {"type": "about:blank", "title": http.HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    return Response(json.dumps(body), status, dict(headers or {}), media_type=MEDIA)  # in ASCII, whatever was sent


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Entries of the OpenAPI document for error responses with the given statuses."""
    content = {MEDIA: {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}}
    return {status: {"description": http.HTTPStatus(status).phrase, "content": content} for status in statuses}


def install(app: FastAPI) -> None:
    """Register handlers that turn every error of the app into a problem+json response."""
    app.exception_handler(ProblemError)(_of_problem)
    app.exception_handler(RequestValidationError)(_of_validation)
    app.exception_handler(HTTPException)(_of_http)
    app.exception_handler(ClientDisconnect)(_of_departure)
    app.exception_handler(AuditError)(_of_audit_error)
    app.exception_handler(Exception)(_of_fault)


async def _of_problem(request: Request, error: ProblemError) -> Response:
    return problem(error.status, error.detail, error.headers)


async def _of_departure(request: Request, error: ClientDisconnect) -> Response:
    """A response that only the log and the metrics record, because the client has disconnected."""
    return Response(status_code=_LEFT)


async def _of_validation(request: Request, error: RequestValidationError) -> Response:
    malformed = [one for one in error.errors() if one["type"] == "json_invalid"]
    if malformed:
        place, said = malformed[0]["loc"][-1], malformed[0].get("ctx", {}).get("error", "no JSON")
        return _unreadable(f"{said} at character {place}")
    found = [
        {"field": ".".join(str(part) for part in one["loc"]), "message": one["msg"]} for one in error.errors()[:20]
    ]
    said = "; ".join(f"{one['field']}: {one['message']}" for one in found)
    return problem(422, f"the request is invalid: {said}"[:2000], errors=found)


def _unreadable(said: str) -> Response:
    found = " ".join(said.split())[:_MOST_SAID]
    return problem(400, f"the body cannot be read as JSON ({found}): send one JSON object in UTF-8")


async def _of_http(request: Request, error: HTTPException) -> Response:
    if isinstance(error.__cause__, ClientDisconnect):
        return Response(status_code=_LEFT)
    if error.status_code == 400 and error.__cause__ is not None:  # FastAPI's, for a body that it cannot parse
        return _unreadable(str(error.__cause__) or type(error.__cause__).__name__)
    said = TOO_LARGE if error.status_code == 413 else str(error.detail)
    return problem(error.status_code, said, error.headers)


async def _of_audit_error(request: Request, error: AuditError) -> Response:
    detail = " ".join(str(error).split())
    if isinstance(error, QueueFull):
        return problem(429, detail, {"Retry-After": str(error.retry_after)})
    if isinstance(error, Busy):
        return problem(503, detail, {"Retry-After": "5"})
    if isinstance(error, Forbidden):
        return problem(403, detail)
    if isinstance(error, UnknownReferenceError):
        return problem(404, detail)
    if isinstance(error, KeyReused | InputError | Refusal):
        return problem(422, detail)
    _log.error("a request failed because of a problem on this machine: %s", detail)
    return problem(500, detail)


async def _of_fault(request: Request, error: Exception) -> Response:
    return problem(500, "internal error, a bug in madaudit: see the log of the service")
