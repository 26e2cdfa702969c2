"""The service as a process of its own: started by the command, stopped, killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

START = "import sys; from service.cli import main; sys.argv[0] = 'madaudit'; main()"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def madaudit(*arguments: str, home: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", START, *arguments, "--home", str(home)], capture_output=True, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip


@contextmanager
def served(home: Path, log: Path, **environment: str) -> Iterator[tuple["subprocess.Popen[bytes]", httpx.Client]]:
    port = free_port()
    command = [sys.executable, "-c", START, "serve", "--port", str(port), "--home", str(home)]
    with log.open("ab") as said:
        process = subprocess.Popen(command, stderr=said, env={**os.environ, **environment})
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            deadline = time.monotonic() + 60
            while True:
                try:
                    if client.get("/readyz").status_code == 200:
                        break
                except httpx.TransportError:
                    assert process.poll() is None, log.read_text()
                    assert time.monotonic() < deadline
                time.sleep(0.1)
            yield process, client
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def home(tmp_path: Path, start_service: Callable[..., Any]) -> Path:
    start_service(tmp_path / "home").database.close()
    return tmp_path / "home"


def finished(client: httpx.Client, id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while True:
        found: dict[str, Any] = client.get(f"/v1/audits/{id}").json()
        if found["state"] not in ("queued", "running"):
            return found
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_audit_that_was_under_way_is_done_after_a_stop_and_a_kill(
    home: Path, tmp_path: Path, built_home: tuple[Path, Path]
) -> None:
    settings = {"MADAUDIT_AUTH": "off", "MADAUDIT_ALLOWED_ROOTS": str(built_home[1])}
    asked = {"source": f"{built_home[1]}/incoming.npy", "reference": "vectors"}
    with served(home, tmp_path / "log", **settings) as (process, client):
        ids = [client.post("/v1/audits", json=asked).json()["id"] for _ in range(3)]
        process.terminate()
        assert process.wait(30) in (0, -signal.SIGTERM)
    with served(home, tmp_path / "log", **settings) as (process, client):
        ids += [client.post("/v1/audits", json=asked).json()["id"] for _ in range(2)]
        process.kill()
    with served(home, tmp_path / "log", **settings) as (process, client):
        results = [finished(client, id) for id in ids]
        assert len(client.get("/v1/audits").json()["items"]) == 5
    assert {found["state"] for found in results} == {"succeeded"}
    compared = [{k: v for k, v in found["result"].items() if k not in ("run", "timing")} for found in results]
    assert all(found == compared[0] for found in compared)


def test_the_gate_of_the_examples_lets_real_data_pass_and_stops_synthetic_ones(
    home: Path, tmp_path: Path, built_home: tuple[Path, Path]
) -> None:
    settings = {"MADAUDIT_AUTH": "off", "MADAUDIT_ALLOWED_ROOTS": str(built_home[1])}
    gate = str(Path(__file__).parents[2] / "examples" / "service" / "gate.py")
    with served(home, tmp_path / "log", **settings) as (_, client):
        environment = {**os.environ, "MADAUDIT_URL": str(client.base_url)}
        codes = [
            subprocess.run([sys.executable, gate, source, "vectors"], env=environment, capture_output=True).returncode
            for source in (f"{built_home[1]}/incoming.npy", f"{built_home[1]}/fake.npy", "/etc/passwd")
        ]
    assert codes == [0, 1, 2]


def test_a_command_on_a_home_that_a_service_holds_is_refused_before_it_begins(
    home: Path, tmp_path: Path, built_home: tuple[Path, Path]
) -> None:
    with served(home, tmp_path / "log"):
        out = tmp_path / "out"
        ended = madaudit(
            "audit", f"{built_home[1]}/incoming.npy", "--reference", "vectors", "--out", str(out), home=home
        )
    assert ended.returncode == 2
    assert "ask it over HTTP" in ended.stderr
    assert not out.exists()


def test_the_log_is_json_a_line_with_the_job(home: Path, tmp_path: Path, built_home: tuple[Path, Path]) -> None:
    settings = {"MADAUDIT_AUTH": "off", "MADAUDIT_ALLOWED_ROOTS": str(built_home[1])}
    with served(home, tmp_path / "log", **settings) as (_, client):
        asked = {"source": f"{built_home[1]}/incoming.npy", "reference": "vectors"}
        id = client.post("/v1/audits", json=asked).json()["id"]
        finished(client, id)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert all(line["time"] and line["level"] and line["message"] for line in lines)
    assert {line["message"] for line in lines if line.get("job") == id} >= {"a job begins", "a job ended"}


def test_authentication_cannot_be_off_where_others_can_reach_it(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "example.org"):
        ended = madaudit("serve", "--host", host, home=tmp_path, MADAUDIT_AUTH="off")
        assert ended.returncode == 2
        assert "no loopback address" in ended.stderr


@pytest.mark.parametrize(
    ("variable", "value"), [("AUTH", "perhaps"), ("WORKERS", "0"), ("WORKERS", "two"), ("ALLOWED_ROOTS", "relative")]
)
def test_a_setting_that_cannot_be_read_is_told_in_one_line(tmp_path: Path, variable: str, value: str) -> None:
    ended = madaudit("serve", home=tmp_path, **{f"MADAUDIT_{variable}": value})
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert value in ended.stderr


def test_keys_are_made_listed_and_revoked_by_commands_while_nothing_serves(home: Path, tmp_path: Path) -> None:
    made = madaudit("keys", "create", "pipeline", "--scope", "read", "--scope", "write", home=home)
    token = made.stdout.strip()
    assert token.startswith("madaudit_")
    with served(home, tmp_path / "log") as (_, client):
        assert client.get("/v1/audits", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        held = madaudit("keys", "list", home=home)
        assert held.returncode == 2
        assert "madaudit serve" in held.stderr
    listed = json.loads(madaudit("keys", "list", "--json", home=home).stdout)
    assert [(key["name"], key["revoked"]) for key in listed] == [("pipeline", None)]
    assert token not in str(listed)
    assert madaudit("keys", "revoke", listed[0]["id"], home=home).returncode == 0
    assert "revoked 2" in madaudit("keys", "list", home=home).stdout
    assert madaudit("keys", "revoke", "nobody", home=home).returncode == 2
    assert token not in (tmp_path / "log").read_text()
