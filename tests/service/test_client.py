"""The Python client, sync and async, against a running service and against one that is busy."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

from service.client import AsyncClient, Client, ClientError, JobStatus


class Through(httpx.BaseTransport):
    """Hands requests to a service in this process."""

    def __init__(self, app: Any) -> None:
        self._inner = TestClient(app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._inner.request(
            request.method, str(request.url.raw_path, "ascii"), content=request.read(),
            headers=[(k, v) for k, v in request.headers.items() if k not in ("host", "content-length")],
        )  # fmt: skip
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


@pytest.fixture
def client(service: Any) -> Client:
    return Client("http://testserver", service.tokens["admin"], transport=Through(service.admin.app), patience=5)


def test_an_audit_is_asked_for_waited_for_read_and_deleted(client: Client, service: Any) -> None:
    seen: list[str] = []
    job = client.audit(f"{service.data}/incoming.npy", "vectors", on_progress=lambda job: seen.append(job.state))
    assert (job.state, job.verdict) == ("succeeded", job.result and job.result["verdict"])
    assert seen[-1] == "succeeded"
    assert len(list(client.items(job))) == 120
    assert client.report(job, form="md").startswith("# ")
    assert job.id in {audit.id for audit in client.audits()}
    client.delete(job)
    with pytest.raises(ClientError) as refused:
        client.job(job)
    assert refused.value.status == 404


def test_an_upload_a_search_a_forecast_and_a_cancel(client: Client, service: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((60, 8), dtype=np.float32) + np.arange(60)[:, None])
    job = client.upload_audit(tmp_path / "x.npy", "vectors", workflow="fresh", n_real=30)
    assert client.cancel(job).is_finished
    assert client.wait(job).is_finished
    found = client.search("vectors", np.load(service.data / "real.npy")[:2], k=1)
    assert [row[0]["distance"] for row in found] == [0.0, 0.0]
    assert client.forecast("replace", synthetic_fraction=0.1, n_initial=100).tier == "audit"
    assert [r["name"] for r in client.references()] == ["vectors"]


def test_keys_are_made_with_a_view_listed_and_revoked(client: Client) -> None:
    owner = client.create_key("owner", ["write"])
    viewer = client.create_key("viewer", ["read"], sees=[owner["id"]])
    assert client.create_key("all", ["read"], sees="all")["sees"] == "all"
    listed = client.keys()
    assert {key["id"]: key["sees"] for key in listed}[viewer["id"]] == [owner["id"]]
    client.revoke_key(viewer["id"])
    listed = client.keys()
    assert {key["id"]: key["revoked"] is None for key in listed}[viewer["id"]] is False


def test_a_key_whose_answer_was_lost_is_not_made_twice() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        raise httpx.ReadError("lost")

    with Client(transport=httpx.MockTransport(answer), patience=60) as client, pytest.raises(ClientError):
        client.create_key("k", ["read"])
    assert asked == ["POST"]


def test_what_is_refused_is_an_error_with_its_reason(client: Client) -> None:
    with pytest.raises(ClientError, match="allowed root") as refused:
        client.start_audit("/etc/passwd", "vectors")
    assert refused.value.status == 403
    client.close()


def busy(times: int, status: int = 429) -> tuple[Callable[[httpx.Request], httpx.Response], list[str]]:
    keys: list[str] = []
    done = {"id": "a", "kind": "audit", "state": "queued", "progress": {"done": 0, "total": 0}, "result": None,
            "error": None, "links": {"self": "/v1/audits/a"}}  # fmt: skip

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) > times:
            return httpx.Response(202, json=done)
        if status == 0:
            raise httpx.ConnectError("refused")
        return httpx.Response(status, json={"detail": "full"}, headers={"Retry-After": "0"})

    return answer, keys


@pytest.mark.parametrize("status", [429, 503, 0])
def test_a_busy_or_restarting_service_is_asked_again_under_one_key(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.client.time.sleep", lambda seconds: None)
    answer, keys = busy(3, status)
    with Client(transport=httpx.MockTransport(answer)) as client:
        assert client.start_audit("/a", "r").id == "a"
    assert len(keys) == 4
    assert len(set(keys)) == 1


def test_patience_ends() -> None:
    answer, _ = busy(10**6)
    with Client(transport=httpx.MockTransport(answer), patience=0.05) as client:
        with pytest.raises(ClientError) as refused:
            client.start_audit("/a", "r")
        assert refused.value.status == 429
    answer, _ = busy(10**6, 0)
    with (
        Client(transport=httpx.MockTransport(answer), patience=0.05) as client,
        pytest.raises(ClientError, match="cannot be reached"),
    ):
        client.start_audit("/a", "r")


def test_a_deletion_whose_answer_was_lost_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.client.time.sleep", lambda seconds: None)
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        if len(asked) == 1:
            raise httpx.ReadError("lost")
        return httpx.Response(404, json={"detail": "no such"})

    with Client(transport=httpx.MockTransport(answer)) as client:
        client.delete_reference("r")
    assert asked == ["DELETE", "DELETE"]
    nothing = httpx.MockTransport(lambda request: httpx.Response(404, json={"detail": "no such"}))
    with Client(transport=nothing) as client, pytest.raises(ClientError):
        client.delete_reference("r")


def test_an_address_that_is_none_is_told_at_once() -> None:
    with Client("madaudit:8350") as client, pytest.raises(ClientError, match="cannot be reached"):
        client.start_audit("/a", "r")


def test_a_wait_ends_in_time_also_when_the_service_is_down() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    job = JobStatus("a", "audit", "running", 0, 1, None, None, "/v1/audits/a")
    with Client(transport=httpx.MockTransport(answer)) as client, pytest.raises(TimeoutError):
        client.wait(job, timeout=0.2, every=0.01)


def test_the_async_client_has_every_method_of_the_sync_one_and_does_the_same(service: Any) -> None:
    public = {name for name in vars(Client) if not name.startswith("_")}
    assert public == {name for name in vars(AsyncClient) if not name.startswith("_")}

    async def run() -> None:
        transport = httpx.ASGITransport(app=service.admin.app)
        async with AsyncClient("http://testserver", service.tokens["admin"], transport=transport) as client:
            job = await client.audit(f"{service.data}/incoming.npy", "vectors")
            assert job.state == "succeeded"
            assert len([item async for item in client.items(job)]) == 120
            assert (await client.report(job)).startswith("<!doctype html>")
            assert job.id in {audit.id async for audit in client.audits()}
            assert [r["name"] async for r in client.references()] == ["vectors"]
            assert (await client.search("vectors", [[0.0] * 8], k=2))[0][0]["label"] in ("real", "fake")
            assert (await client.forecast("augment", audit=job)).plan.workflow == "augment"
            made = await client.create_key("async", ["read"], sees="all")
            assert made["id"] in {key["id"] for key in await client.keys()}
            await client.revoke_key(made["id"])
            await client.delete(job)
            with pytest.raises(ClientError):
                await client.job(job)

    asyncio.run(run())


def test_the_async_client_waits_for_a_busy_service() -> None:
    async def run() -> int:
        answer, keys = busy(2)
        async with AsyncClient(transport=httpx.MockTransport(answer)) as client:
            await client.start_audit("/a", "r")
        return len(keys)

    assert asyncio.run(run()) == 3
