"""Synchronous and asynchronous clients of the HTTP service, which retry requests that are safe to repeat."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import httpx2 as httpx

from auditor.results import ForecastResult
from service.calls import (
    BUSY,
    Call,
    ClientError,
    JobStatus,
    async_pieces,
    checked,
    connection_options,
    creation,
    is_hopeless,
    job_of,
    key_request,
    pause_before,
    pieces,
    question,
    settled,
    unreached,
    upload,
)

__all__ = ["AsyncClient", "Client", "ClientError", "JobStatus"]

_OnProgress = Callable[[JobStatus], None] | None
_View = Sequence[str] | Literal["all"]  # ids of keys, whose jobs another key sees


class Client:
    """Client of the service at a URL, with an API key; as a context manager, it closes its connections on exit.

    The client retries for up to `patience` seconds while the queue is full or the service restarts. A request that
    creates a job has an idempotency key, so a retry never creates a second job. Methods raise ClientError if the
    service refuses a request.
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
        self._http = httpx.Client(transport=transport, **connection_options(key, url, timeout))

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def start_audit(self, source: str, reference: str, **options: Any) -> JobStatus:
        """Start an audit of a source that the service can open; `options` are API fields such as workflow or policy."""
        return job_of(self._json(creation("/v1/audits", {"source": source, "reference": reference, **options})))

    def upload_audit(self, file: str | Path, reference: str, **options: Any) -> JobStatus:
        """Upload a local file (zip, tar, parquet, npy, jsonl) and audit it; `options`: workflow, column, name."""
        return job_of(self._json(upload(Path(file), reference, options)))

    def audit(self, source: str, reference: str, *, on_progress: _OnProgress = None, **options: Any) -> JobStatus:
        """Audit a source and wait for the result; `on_progress` is called with the job after every status check."""
        return self.wait(self.start_audit(source, reference, **options), on_progress=on_progress)

    def build_reference(self, name: str, *, real: Any, encoder: str, **options: Any) -> JobStatus:
        """Start to build a reference; `real` is one source or a list of sources, each with an optional label."""
        return job_of(
            self._json(creation("/v1/references", {"name": name, "real": real, "encoder": encoder, **options}))
        )

    def run_loop(self, **config: Any) -> JobStatus:
        """Start the simulation of a self-consuming training loop."""
        return job_of(self._json(creation("/v1/loops", {"config": config})))

    def job(self, job: JobStatus, *, patience: float | None = None) -> JobStatus:
        """The current state of a job."""
        return job_of(self._sent(Call("GET", job.place), patience).json())

    def wait(
        self,
        job: JobStatus,
        *,
        timeout: float | None = None,
        every: float = 0.5,
        on_progress: _OnProgress = None,
    ) -> JobStatus:
        """Wait until a job is finished and return the job; raises TimeoutError after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not job.is_finished:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"the {job.kind} {job.id} is still {job.state} after {timeout} s")
            time.sleep(every)
            try:
                job = self.job(job, patience=None if deadline is None else max(deadline - time.monotonic(), 0.0))
            except ClientError as error:
                if deadline is None or error.status not in (0, *BUSY):
                    raise
            if on_progress is not None:
                on_progress(job)
        return job if job.result is not None or job.state != "succeeded" else self.job(job)

    def audits(self) -> Iterator[JobStatus]:
        """All audits that the API key may see, newest first, without their results."""
        return map(job_of, self._pages(Call("GET", "/v1/audits", params={"limit": 200})))

    def items(self, job: JobStatus) -> Iterator[dict[str, Any]]:
        """The items of a finished audit."""
        return self._pages(Call("GET", f"{job.place}/items", params={"limit": 1000}))

    def report(self, job: JobStatus, *, form: str = "html") -> str:
        """The report of a finished audit, as `html` or `md`."""
        return self._sent(Call("GET", f"{job.place}/report", params={"format": form})).text

    def references(self) -> Iterator[dict[str, Any]]:
        """All references, sorted by name."""
        return self._pages(Call("GET", "/v1/references", params={"limit": 200}))

    def forecast(self, workflow: str, **asked: Any) -> ForecastResult:
        """Forecast of the MAD risk from `audit` (a job or a job id), or from `synthetic_fraction` and `n_initial`."""
        return ForecastResult.from_dict(self._json(question(workflow, asked)))

    def search(self, reference: str, vectors: Sequence[Sequence[float]], *, k: int = 10) -> list[list[dict[str, Any]]]:
        """The `k` reference items nearest to each vector, nearest first."""
        asked = {"reference": reference, "vectors": [list(map(float, row)) for row in vectors], "k": k}
        found: list[list[dict[str, Any]]] = self._json(Call("POST", "/v1/search", json=asked))["neighbours"]
        return found

    def cancel(self, job: JobStatus) -> JobStatus:
        """Cancel a job that is queued or running."""
        return job_of(self._json(Call("POST", f"{job.place}/cancel")))

    def delete(self, job: JobStatus) -> None:
        """Delete a finished job and all its files."""
        self._sent(Call("DELETE", job.place))

    def delete_reference(self, name: str) -> None:
        """Delete a reference."""
        self._sent(Call("DELETE", f"/v1/references/{name}"))

    def create_key(self, name: str, scopes: Sequence[str], *, sees: _View = ()) -> dict[str, Any]:
        """Create an API key and return its token; with scope read, `sees` lists other keys whose jobs are visible."""
        return self._json(key_request(name, scopes, sees))

    def keys(self) -> list[dict[str, Any]]:
        """All API keys, without their tokens."""
        found: list[dict[str, Any]] = self._sent(Call("GET", "/v1/keys")).json()
        return found

    def revoke_key(self, id: str) -> None:
        """Revoke an API key immediately and permanently."""
        self._sent(Call("DELETE", f"/v1/keys/{id}"))

    def _json(self, call: Call) -> dict[str, Any]:
        found: dict[str, Any] = self._sent(call).json()
        return found

    def _pages(self, call: Call) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            page = self._json(Call(call.method, call.path, {**call.params, "cursor": cursor}))
            yield from page["items"]
            if (cursor := page["next_cursor"]) is None:
                return

    def _sent(self, call: Call, patience: float | None = None) -> httpx.Response:
        deadline, attempt = time.monotonic() + (self._patience if patience is None else patience), 0
        while True:
            response: httpx.Response | None = None
            try:
                response = self._once(call)
            except httpx.TransportError as error:  # most calls may be sent twice
                if is_hopeless(call, error) or time.monotonic() + pause_before(None, attempt) > deadline:
                    raise unreached(error) from error
            if response is not None and (found := settled(call, response, attempt)):
                return found
            pause = pause_before(response, attempt)
            if response is not None and time.monotonic() + pause > deadline:
                return checked(response)
            time.sleep(pause)
            attempt += 1

    def _once(self, call: Call) -> httpx.Response:
        if call.file is None:
            return self._http.request(call.method, call.path, **call.arguments)
        with call.file.open("rb") as file:
            return self._http.request(call.method, call.path, content=pieces(file), **call.arguments)


class AsyncClient:
    """Client for asyncio with the methods of `Client`, to be awaited or iterated with `async for`."""

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
        self._http = httpx.AsyncClient(transport=transport, **connection_options(key, url, timeout))

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def start_audit(self, source: str, reference: str, **options: Any) -> JobStatus:
        """Asynchronous version of Client.start_audit."""
        return job_of(await self._json(creation("/v1/audits", {"source": source, "reference": reference, **options})))

    async def upload_audit(self, file: str | Path, reference: str, **options: Any) -> JobStatus:
        """Asynchronous version of Client.upload_audit."""
        return job_of(await self._json(upload(Path(file), reference, options)))

    async def audit(self, source: str, reference: str, *, on_progress: _OnProgress = None, **options: Any) -> JobStatus:
        """Asynchronous version of Client.audit."""
        return await self.wait(await self.start_audit(source, reference, **options), on_progress=on_progress)

    async def build_reference(self, name: str, *, real: Any, encoder: str, **options: Any) -> JobStatus:
        """Asynchronous version of Client.build_reference."""
        asked = {"name": name, "real": real, "encoder": encoder, **options}
        return job_of(await self._json(creation("/v1/references", asked)))

    async def run_loop(self, **config: Any) -> JobStatus:
        """Asynchronous version of Client.run_loop."""
        return job_of(await self._json(creation("/v1/loops", {"config": config})))

    async def job(self, job: JobStatus) -> JobStatus:
        """Asynchronous version of Client.job."""
        return job_of(await self._json(Call("GET", job.place)))

    async def wait(
        self,
        job: JobStatus,
        *,
        timeout: float | None = None,
        every: float = 0.5,
        on_progress: _OnProgress = None,
    ) -> JobStatus:
        """Asynchronous version of Client.wait."""
        async with asyncio.timeout(timeout):
            while not job.is_finished:
                await asyncio.sleep(every)
                job = await self.job(job)
                if on_progress is not None:
                    on_progress(job)
        return job if job.result is not None or job.state != "succeeded" else await self.job(job)

    async def audits(self) -> AsyncIterator[JobStatus]:
        """Asynchronous version of Client.audits."""
        async for found in self._pages(Call("GET", "/v1/audits", params={"limit": 200})):
            yield job_of(found)

    async def items(self, job: JobStatus) -> AsyncIterator[dict[str, Any]]:
        """Asynchronous version of Client.items."""
        async for found in self._pages(Call("GET", f"{job.place}/items", params={"limit": 1000})):
            yield found

    async def report(self, job: JobStatus, *, form: str = "html") -> str:
        """Asynchronous version of Client.report."""
        return (await self._sent(Call("GET", f"{job.place}/report", params={"format": form}))).text

    async def references(self) -> AsyncIterator[dict[str, Any]]:
        """Asynchronous version of Client.references."""
        async for found in self._pages(Call("GET", "/v1/references", params={"limit": 200})):
            yield found

    async def forecast(self, workflow: str, **asked: Any) -> ForecastResult:
        """Asynchronous version of Client.forecast."""
        return ForecastResult.from_dict(await self._json(question(workflow, asked)))

    async def search(
        self, reference: str, vectors: Sequence[Sequence[float]], *, k: int = 10
    ) -> list[list[dict[str, Any]]]:
        """Asynchronous version of Client.search."""
        asked = {"reference": reference, "vectors": [list(map(float, row)) for row in vectors], "k": k}
        found: list[list[dict[str, Any]]] = (await self._json(Call("POST", "/v1/search", json=asked)))["neighbours"]
        return found

    async def cancel(self, job: JobStatus) -> JobStatus:
        """Asynchronous version of Client.cancel."""
        return job_of(await self._json(Call("POST", f"{job.place}/cancel")))

    async def delete(self, job: JobStatus) -> None:
        """Asynchronous version of Client.delete."""
        await self._sent(Call("DELETE", job.place))

    async def delete_reference(self, name: str) -> None:
        """Asynchronous version of Client.delete_reference."""
        await self._sent(Call("DELETE", f"/v1/references/{name}"))

    async def create_key(self, name: str, scopes: Sequence[str], *, sees: _View = ()) -> dict[str, Any]:
        """Asynchronous version of Client.create_key."""
        return await self._json(key_request(name, scopes, sees))

    async def keys(self) -> list[dict[str, Any]]:
        """Asynchronous version of Client.keys."""
        found: list[dict[str, Any]] = (await self._sent(Call("GET", "/v1/keys"))).json()
        return found

    async def revoke_key(self, id: str) -> None:
        """Asynchronous version of Client.revoke_key."""
        await self._sent(Call("DELETE", f"/v1/keys/{id}"))

    async def _json(self, call: Call) -> dict[str, Any]:
        found: dict[str, Any] = (await self._sent(call)).json()
        return found

    async def _pages(self, call: Call) -> AsyncIterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            page = await self._json(Call(call.method, call.path, {**call.params, "cursor": cursor}))
            for entry in page["items"]:
                yield entry
            if (cursor := page["next_cursor"]) is None:
                return

    async def _sent(self, call: Call) -> httpx.Response:
        deadline, attempt = time.monotonic() + self._patience, 0
        while True:
            response: httpx.Response | None = None
            try:
                response = await self._once(call)
            except httpx.TransportError as error:  # most calls may be sent twice
                if is_hopeless(call, error) or time.monotonic() + pause_before(None, attempt) > deadline:
                    raise unreached(error) from error
            if response is not None and (found := settled(call, response, attempt)):
                return found
            pause = pause_before(response, attempt)
            if response is not None and time.monotonic() + pause > deadline:
                return checked(response)
            await asyncio.sleep(pause)
            attempt += 1

    async def _once(self, call: Call) -> httpx.Response:
        if call.file is None:
            return await self._http.request(call.method, call.path, **call.arguments)
        with call.file.open("rb") as file:
            return await self._http.request(call.method, call.path, content=async_pieces(file), **call.arguments)
