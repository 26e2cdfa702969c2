"""The requests and answers of both clients, and when to retry."""

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

BUSY = (429, 503)  # come again later
_HOPELESS = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)
_PIECE = 2**20


class ClientError(Exception):
    """The service refused, with the status and the detail of its problem; status 0 where it could not be reached."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}" if status else detail)
        self.status, self.detail = status, detail


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job, as the service last described it."""

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
        """The result of an audit that succeeded; raises InputError for any other job."""
        if self.kind != "audit" or self.result is None:
            raise InputError(
                f"the {self.kind} {self.id} is {self.state}, expected an audit with its result: wait for it"
            )
        return AuditResult.from_dict(self.result, where=f"the answer of the service for {self.id}")


@dataclass(frozen=True, slots=True)
class Call:
    """One request. A POST that creates a job carries an idempotency key, so that it may be sent again."""

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    file: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    is_sent_once: bool = False  # a lost answer is an error: a second request would make a second thing

    @property
    def arguments(self) -> dict[str, Any]:
        given = {"params": {k: v for k, v in self.params.items() if v is not None}, "headers": dict(self.headers)}
        return {**given, "json": self.json} if self.json is not None else given


def is_hopeless(call: Call, error: httpx.TransportError) -> bool:
    """Whether a failed call must not be retried: it cannot succeed, or it may have created something already."""
    return isinstance(error, _HOPELESS) or (call.is_sent_once and not isinstance(error, httpx.ConnectError))


def creation(path: str, body: Mapping[str, Any]) -> Call:
    """A request for a new job, without the fields that are None."""
    given = {name: value for name, value in body.items() if value is not None}
    return Call("POST", path, json=given, headers={"Idempotency-Key": secrets.token_hex(16)})


def upload(file: Path, reference: str, options: Mapping[str, Any]) -> Call:
    """An upload; its options are query parameters."""
    params = {"reference": reference, "name": file.stem, **options}
    return Call(
        "POST", "/v1/audits/upload", params=params, file=file, headers={"Idempotency-Key": secrets.token_hex(16)}
    )


def question(workflow: str, asked: Mapping[str, Any]) -> Call:
    """A forecast; a job may be given in place of its id."""
    given = {name: value.id if isinstance(value, JobStatus) else value for name, value in asked.items()}
    return Call("POST", "/v1/forecasts", json={"workflow": workflow, **given})


def key_request(name: str, scopes: Sequence[str], sees: Sequence[str] | Literal["all"]) -> Call:
    """A new API key, which has no idempotency key: its token is answered once."""
    view = sees if isinstance(sees, str) else list(sees)
    return Call("POST", "/v1/keys", json={"name": name, "scopes": list(scopes), "sees": view}, is_sent_once=True)


def job_of(answer: Mapping[str, Any]) -> JobStatus:
    """The job in an answer of the service."""
    progress = answer["progress"]
    return JobStatus(
        answer["id"], answer["kind"], answer["state"], progress["done"], progress["total"], answer["result"],
        answer["error"], answer["links"]["self"], answer.get("verdict"),
    )  # fmt: skip


def checked(response: httpx.Response) -> httpx.Response:
    """The response; raises ClientError for a refusal."""
    if response.is_success:
        return response
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = response.reason_phrase
    raise ClientError(response.status_code, str(detail))


def settled(call: Call, response: httpx.Response, attempt: int) -> httpx.Response | None:
    """The response unless it says to come again; what is gone at a second DELETE was deleted by the first."""
    if call.method == "DELETE" and attempt and response.status_code == 404:
        return response
    return None if response.status_code in BUSY else checked(response)


def pause_before(response: httpx.Response | None, attempt: int) -> float:
    """Seconds to wait before asking again: what the service said, else twice as long every time."""
    said = "" if response is None else response.headers.get("Retry-After", "")
    return float(said) if said.isdigit() else min(0.5 * 2**attempt, 30.0)


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """The content of an open file."""
    while piece := file.read(_PIECE):
        yield piece


async def async_pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    """The content of an open file, read in another thread."""
    while piece := await asyncio.to_thread(file.read, _PIECE):
        yield piece


def connection_options(key: str | None, url: str, timeout: float) -> dict[str, Any]:
    """The arguments of an HTTP client."""
    headers = {} if not key else {"Authorization": f"Bearer {key}"}
    return {"base_url": url, "headers": headers, "timeout": timeout}


def unreached(error: httpx.TransportError) -> ClientError:
    """The error of a service that gives no answer."""
    return ClientError(0, f"the service cannot be reached ({error or type(error).__name__})")
