"""A client of the service, sync and async: it waits where it is told to, and asks again where that is safe."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import httpx2 as httpx

__all__ = ["AsyncClient", "Client", "ClientError", "JobStatus"]

_BUSY = (429, 503)  # come again later
_HOPELESS = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)
_PIECE = 2**20
_Shown = Callable[["JobStatus"], None]


class ClientError(Exception):
    """The service refused, with the status and the detail of its problem; status 0 where it could not be reached."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}" if status else detail)
        self.status, self.detail = status, detail


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job as the service last told of it."""

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


@dataclass(frozen=True, slots=True)
class _Call:
    """One request. A POST that creates carries an idempotency key, so that it may be sent again."""

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    file: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def arguments(self) -> dict[str, Any]:
        given = {"params": {k: v for k, v in self.params.items() if v is not None}, "headers": dict(self.headers)}
        return {**given, "json": self.json} if self.json is not None else given


def _create(path: str, body: Mapping[str, Any]) -> _Call:
    given = {name: value for name, value in body.items() if value is not None}
    return _Call("POST", path, json=given, headers={"Idempotency-Key": secrets.token_hex(16)})


def _upload(file: Path, reference: str, options: Mapping[str, Any]) -> _Call:
    flow = options.get("workflow")
    named = {**flow, "workflow": flow["name"]} if isinstance(flow, Mapping) else {}
    params = {"reference": reference, "name": file.stem, **options, **named}
    if named:
        params["name"] = options.get("name", file.stem)
    return _Call(
        "POST", "/v1/audits/upload", params=params, file=file, headers={"Idempotency-Key": secrets.token_hex(16)}
    )


def _question(workflow: str, asked: Mapping[str, Any]) -> _Call:
    """A forecast; a job stands for its id."""
    given = {name: value.id if isinstance(value, JobStatus) else value for name, value in asked.items()}
    return _Call("POST", "/v1/forecasts", json={"workflow": workflow, **given})


def _job(answer: Mapping[str, Any]) -> JobStatus:
    progress = answer["progress"]
    return JobStatus(
        answer["id"], answer["kind"], answer["state"], progress["done"], progress["total"], answer["result"],
        answer["error"], answer["links"]["self"], answer.get("verdict"),
    )  # fmt: skip


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = response.reason_phrase
    raise ClientError(response.status_code, str(detail))


def _settled(call: _Call, response: httpx.Response, attempt: int) -> httpx.Response | None:
    """The response unless it says to come again; what is gone at a second DELETE was deleted by the first."""
    if call.method == "DELETE" and attempt and response.status_code == 404:
        return response
    return None if response.status_code in _BUSY else _checked(response)


def _pause(response: httpx.Response | None, attempt: int) -> float:
    """Seconds to wait before asking again: what the service said, else twice as long every time."""
    said = "" if response is None else response.headers.get("Retry-After", "")
    return float(said) if said.isdigit() else min(0.5 * 2**attempt, 30.0)


def _bodies(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece


async def _async_bodies(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, _PIECE):
        yield piece


def _options(key: str | None, url: str, timeout: float) -> dict[str, Any]:
    headers = {} if not key else {"Authorization": f"Bearer {key}"}
    return {"base_url": url, "headers": headers, "timeout": timeout}


def _unreached(error: httpx.TransportError) -> ClientError:
    return ClientError(0, f"the service cannot be reached ({error or type(error).__name__})")


class Client:
    """Calls the service at a URL with an API key; a context manager, which closes its connections.

    A full queue is waited for, for `patience` seconds in all, and so is a service that is being restarted: every
    request that creates something carries an idempotency key, so that sending it again makes nothing twice. Methods
    raise ClientError for what the service refuses.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8350",
        key: str | None = None,
        *,
        patience: float = 600.0,
        timeout: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._patience = patience
        self._http = httpx.Client(transport=transport, **_options(key, url, timeout))

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def start_audit(self, source: str, reference: str, **options: Any) -> JobStatus:
        """Ask for an audit of a source that the service can open; `options` as in the API: workflow, policy, …"""
        return _job(self._json(_create("/v1/audits", {"source": source, "reference": reference, **options})))

    def upload_audit(self, file: str | Path, reference: str, **options: Any) -> JobStatus:
        """Ask for an audit of a file here: zip, tar, parquet, npy or jsonl; `options`: workflow, column, name."""
        return _job(self._json(_upload(Path(file), reference, options)))

    def audit(self, source: str, reference: str, *, shown: _Shown | None = None, **options: Any) -> JobStatus:
        """Audit a source and wait for the result; `shown` is called with every progress."""
        return self.wait(self.start_audit(source, reference, **options), shown=shown)

    def build_reference(self, name: str, *, real: Any, encoder: str, **options: Any) -> JobStatus:
        """Ask for a reference, from a real source or several, each perhaps with a label."""
        return _job(self._json(_create("/v1/references", {"name": name, "real": real, "encoder": encoder, **options})))

    def run_loop(self, **config: Any) -> JobStatus:
        """Ask for an autophagy loop."""
        return _job(self._json(_create("/v1/loops", {"config": config})))

    def job(self, job: JobStatus, *, patience: float | None = None) -> JobStatus:
        """The job as it is now."""
        return _job(self._sent(_Call("GET", job.place), patience).json())

    def wait(
        self, job: JobStatus, *, timeout: float | None = None, every: float = 0.5, shown: _Shown | None = None
    ) -> JobStatus:
        """The job once it is finished; raises TimeoutError after so many seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not job.is_finished:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"the {job.kind} {job.id} is {job.state} after {timeout} s")
            time.sleep(every)
            try:
                job = self.job(job, patience=None if deadline is None else max(deadline - time.monotonic(), 0.0))
            except ClientError as error:
                if deadline is None or error.status not in (0, *_BUSY):
                    raise
            if shown is not None:
                shown(job)
        return job if job.result is not None or job.state != "succeeded" else self.job(job)

    def audits(self) -> Iterator[JobStatus]:
        """All audits that the key may see, newest first, without their results."""
        return map(_job, self._pages(_Call("GET", "/v1/audits", params={"limit": 200})))

    def items(self, job: JobStatus) -> Iterator[dict[str, Any]]:
        """The items of a finished audit."""
        return self._pages(_Call("GET", f"{job.place}/items", params={"limit": 1000}))

    def report(self, job: JobStatus, *, form: str = "html") -> str:
        """The report of a finished audit, as `html` or `md`."""
        return self._sent(_Call("GET", f"{job.place}/report", params={"format": form})).text

    def references(self) -> Iterator[dict[str, Any]]:
        """The references."""
        return self._pages(_Call("GET", "/v1/references", params={"limit": 200}))

    def forecast(self, workflow: str, **asked: Any) -> dict[str, Any]:
        """A forecast of MAD risk, from `audit=`, a job or its id, or from `synthetic_fraction` and `n`."""
        return self._json(_question(workflow, asked))

    def search(self, reference: str, vectors: Sequence[Sequence[float]], *, k: int = 10) -> list[list[dict[str, Any]]]:
        """The items of a reference nearest to each vector, nearest first."""
        asked = {"reference": reference, "vectors": [list(map(float, row)) for row in vectors], "k": k}
        found: list[list[dict[str, Any]]] = self._json(_Call("POST", "/v1/search", json=asked))["neighbours"]
        return found

    def cancel(self, job: JobStatus) -> JobStatus:
        """End a job that waits or runs."""
        return _job(self._json(_Call("POST", f"{job.place}/cancel")))

    def delete(self, job: JobStatus) -> None:
        """Delete a finished job with all that it left."""
        self._sent(_Call("DELETE", job.place))

    def delete_reference(self, name: str) -> None:
        """Delete a reference."""
        self._sent(_Call("DELETE", f"/v1/references/{name}"))

    def _json(self, call: _Call) -> dict[str, Any]:
        found: dict[str, Any] = self._sent(call).json()
        return found

    def _pages(self, call: _Call) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            page = self._json(_Call(call.method, call.path, {**call.params, "cursor": cursor}))
            yield from page["items"]
            if (cursor := page["next_cursor"]) is None:
                return

    def _sent(self, call: _Call, patience: float | None = None) -> httpx.Response:
        deadline, attempt = time.monotonic() + (self._patience if patience is None else patience), 0
        while True:
            response: httpx.Response | None = None
            try:
                response = self._once(call)
            except httpx.TransportError as error:  # every call may be sent twice: no POST without a key creates
                if isinstance(error, _HOPELESS) or time.monotonic() + _pause(None, attempt) > deadline:
                    raise _unreached(error) from error
            if response is not None and (found := _settled(call, response, attempt)):
                return found
            pause = _pause(response, attempt)
            if response is not None and time.monotonic() + pause > deadline:
                return _checked(response)
            time.sleep(pause)
            attempt += 1

    def _once(self, call: _Call) -> httpx.Response:
        if call.file is None:
            return self._http.request(call.method, call.path, **call.arguments)
        with call.file.open("rb") as file:
            return self._http.request(call.method, call.path, content=_bodies(file), **call.arguments)


class AsyncClient:
    """The same for asyncio: the methods of `Client`, awaited, or iterated with `async for`."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8350",
        key: str | None = None,
        *,
        patience: float = 600.0,
        timeout: float = 60.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._patience = patience
        self._http = httpx.AsyncClient(transport=transport, **_options(key, url, timeout))

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def start_audit(self, source: str, reference: str, **options: Any) -> JobStatus:
        """As Client.start_audit."""
        return _job(await self._json(_create("/v1/audits", {"source": source, "reference": reference, **options})))

    async def upload_audit(self, file: str | Path, reference: str, **options: Any) -> JobStatus:
        """As Client.upload_audit."""
        return _job(await self._json(_upload(Path(file), reference, options)))

    async def audit(self, source: str, reference: str, *, shown: _Shown | None = None, **options: Any) -> JobStatus:
        """As Client.audit."""
        return await self.wait(await self.start_audit(source, reference, **options), shown=shown)

    async def build_reference(self, name: str, *, real: Any, encoder: str, **options: Any) -> JobStatus:
        """As Client.build_reference."""
        asked = {"name": name, "real": real, "encoder": encoder, **options}
        return _job(await self._json(_create("/v1/references", asked)))

    async def run_loop(self, **config: Any) -> JobStatus:
        """As Client.run_loop."""
        return _job(await self._json(_create("/v1/loops", {"config": config})))

    async def job(self, job: JobStatus) -> JobStatus:
        """As Client.job."""
        return _job(await self._json(_Call("GET", job.place)))

    async def wait(
        self, job: JobStatus, *, timeout: float | None = None, every: float = 0.5, shown: _Shown | None = None
    ) -> JobStatus:
        """As Client.wait."""
        async with asyncio.timeout(timeout):
            while not job.is_finished:
                await asyncio.sleep(every)
                job = await self.job(job)
                if shown is not None:
                    shown(job)
        return job if job.result is not None or job.state != "succeeded" else await self.job(job)

    async def audits(self) -> AsyncIterator[JobStatus]:
        """As Client.audits."""
        async for found in self._pages(_Call("GET", "/v1/audits", params={"limit": 200})):
            yield _job(found)

    async def items(self, job: JobStatus) -> AsyncIterator[dict[str, Any]]:
        """As Client.items."""
        async for found in self._pages(_Call("GET", f"{job.place}/items", params={"limit": 1000})):
            yield found

    async def report(self, job: JobStatus, *, form: str = "html") -> str:
        """As Client.report."""
        return (await self._sent(_Call("GET", f"{job.place}/report", params={"format": form}))).text

    async def references(self) -> AsyncIterator[dict[str, Any]]:
        """As Client.references."""
        async for found in self._pages(_Call("GET", "/v1/references", params={"limit": 200})):
            yield found

    async def forecast(self, workflow: str, **asked: Any) -> dict[str, Any]:
        """As Client.forecast."""
        return await self._json(_question(workflow, asked))

    async def search(
        self, reference: str, vectors: Sequence[Sequence[float]], *, k: int = 10
    ) -> list[list[dict[str, Any]]]:
        """As Client.search."""
        asked = {"reference": reference, "vectors": [list(map(float, row)) for row in vectors], "k": k}
        found: list[list[dict[str, Any]]] = (await self._json(_Call("POST", "/v1/search", json=asked)))["neighbours"]
        return found

    async def cancel(self, job: JobStatus) -> JobStatus:
        """As Client.cancel."""
        return _job(await self._json(_Call("POST", f"{job.place}/cancel")))

    async def delete(self, job: JobStatus) -> None:
        """As Client.delete."""
        await self._sent(_Call("DELETE", job.place))

    async def delete_reference(self, name: str) -> None:
        """As Client.delete_reference."""
        await self._sent(_Call("DELETE", f"/v1/references/{name}"))

    async def _json(self, call: _Call) -> dict[str, Any]:
        found: dict[str, Any] = (await self._sent(call)).json()
        return found

    async def _pages(self, call: _Call) -> AsyncIterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            page = await self._json(_Call(call.method, call.path, {**call.params, "cursor": cursor}))
            for entry in page["items"]:
                yield entry
            if (cursor := page["next_cursor"]) is None:
                return

    async def _sent(self, call: _Call) -> httpx.Response:
        deadline, attempt = time.monotonic() + self._patience, 0
        while True:
            response: httpx.Response | None = None
            try:
                response = await self._once(call)
            except httpx.TransportError as error:  # every call may be sent twice: no POST without a key creates
                if isinstance(error, _HOPELESS) or time.monotonic() + _pause(None, attempt) > deadline:
                    raise _unreached(error) from error
            if response is not None and (found := _settled(call, response, attempt)):
                return found
            pause = _pause(response, attempt)
            if response is not None and time.monotonic() + pause > deadline:
                return _checked(response)
            await asyncio.sleep(pause)
            attempt += 1

    async def _once(self, call: _Call) -> httpx.Response:
        if call.file is None:
            return await self._http.request(call.method, call.path, **call.arguments)
        with call.file.open("rb") as file:
            return await self._http.request(call.method, call.path, content=_async_bodies(file), **call.arguments)
