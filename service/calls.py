"""Requests, responses and retry rules that the synchronous and the asynchronous client share."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import httpx2 as httpx

from auditor.results import AuditResult
from indexes.errors import InputError

__all__ = [
    "BUSY",
    "Call",
    "ClientError",
    "JobStatus",
    "async_pieces",
    "checked",
    "connection_options",
    "creation",
    "is_hopeless",
    "job_of",
    "key_request",
    "pause_before",
    "pieces",
    "question",
    "settled",
    "unreached",
    "upload",
]

BUSY = (429, 503)  # status codes after which the client retries
_HOPELESS = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)
_PIECE = 2**20


class ClientError(Exception):
    """An error response of the service, with its status and detail; status 0 if the service cannot be reached."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}" if status else detail)
        self.status, self.detail = status, detail


@dataclass(frozen=True, slots=True)
class JobStatus:
    """State of a job, according to the latest response of the service."""

    id: str
    kind: str
    state: str  # queued, running, succeeded, failed, cancelled
    done: int
    total: int
    result: Mapping[str, Any] | None = field(repr=False)
    error: str | None
    place: str  # path on the service
    verdict: str | None = None  # of an audit that succeeded: pass, undetermined, warn or fail

    @property
    def is_finished(self) -> bool:
        return self.state in ("succeeded", "failed", "cancelled")

    @property
    def audit(self) -> AuditResult:
        """The result of a succeeded audit; raises InputError for any other job."""
        if self.kind != "audit" or self.result is None:
            raise InputError(
                f"the {self.kind} {self.id} is {self.state} and has no audit result: wait until an audit has succeeded"
            )
        return AuditResult.from_dict(self.result, where=f"the service's response for the job {self.id}")


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request. A POST that creates a job has an idempotency key, so it is safe to retry the request."""

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    file: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    is_sent_once: bool = False  # no retry after a lost response: a second request would create a second object

    @property
    def arguments(self) -> dict[str, Any]:
        given = {"params": {k: v for k, v in self.params.items() if v is not None}, "headers": dict(self.headers)}
        return {**given, "json": self.json} if self.json is not None else given


def is_hopeless(call: Call, error: httpx.TransportError) -> bool:
    """Whether a failed request must not be retried: it cannot succeed, or it may already have created something."""
    return isinstance(error, _HOPELESS) or (call.is_sent_once and not isinstance(error, httpx.ConnectError))


def creation(path: str, body: Mapping[str, Any]) -> Call:
    """Request that creates a job; body fields with the value None are left out."""
    given = {name: value for name, value in body.items() if value is not None}
    return Call("POST", path, json=given, headers={"Idempotency-Key": secrets.token_hex(16)})


def upload(file: Path, reference: str, options: Mapping[str, Any]) -> Call:
    """Request that uploads a file for an audit; the options become query parameters."""
    params = {"reference": reference, "name": file.stem, **options}
    return Call(
        "POST", "/v1/audits/upload", params=params, file=file, headers={"Idempotency-Key": secrets.token_hex(16)}
    )


def question(workflow: str, asked: Mapping[str, Any]) -> Call:
    """Request for a forecast; options that take a job id also accept a `JobStatus`."""
    given = {name: value.id if isinstance(value, JobStatus) else value for name, value in asked.items()}
    return Call("POST", "/v1/forecasts", json={"workflow": workflow, **given})


def key_request(name: str, scopes: Sequence[str], sees: Sequence[str] | Literal["all"]) -> Call:
    """Request that creates an API key; it is sent only once, because a retry would create a second key."""
    view = sees if isinstance(sees, str) else list(sees)
    return Call("POST", "/v1/keys", json={"name": name, "scopes": list(scopes), "sees": view}, is_sent_once=True)


def job_of(answer: Mapping[str, Any]) -> JobStatus:
    """The job that a response of the service describes."""
    progress = answer["progress"]
    return JobStatus(
        answer["id"], answer["kind"], answer["state"], progress["done"], progress["total"], answer["result"],
        answer["error"], answer["links"]["self"], answer.get("verdict"),
    )  # fmt: skip


def checked(response: httpx.Response) -> httpx.Response:
    """Return a successful response; raise ClientError for any other response."""
    if response.is_success:
        return response
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = response.reason_phrase
    raise ClientError(response.status_code, str(detail))


def settled(call: Call, response: httpx.Response, attempt: int) -> httpx.Response | None:
    """The response, or None if the client must retry; status 404 after a retried DELETE counts as success."""
    if call.method == "DELETE" and attempt and response.status_code == 404:
        return response
    return None if response.status_code in BUSY else checked(response)


def pause_before(response: httpx.Response | None, attempt: int) -> float:
    """Seconds before the next retry: the Retry-After header, or else a delay that doubles with every attempt."""
    said = "" if response is None else response.headers.get("Retry-After", "")
    return float(said) if said.isdigit() else min(0.5 * 2**attempt, 30.0)


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """The content of an open file, in chunks."""
    while piece := file.read(_PIECE):
        yield piece


async def async_pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    """The content of an open file, in chunks that are read in another thread."""
    while piece := await asyncio.to_thread(file.read, _PIECE):
        yield piece


def connection_options(key: str | None, url: str, timeout: float) -> dict[str, Any]:
    """Keyword arguments for the constructor of the HTTP client."""
    headers = {} if not key else {"Authorization": f"Bearer {key}"}
    return {"base_url": url, "headers": headers, "timeout": timeout}


def unreached(error: httpx.TransportError) -> ClientError:
    """The error to raise if the service cannot be reached."""
    return ClientError(0, f"the service cannot be reached ({error or type(error).__name__})")
