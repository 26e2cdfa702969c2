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
from types import SimpleNamespace
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
    compared = [
        {k: v for k, v in found["result"].items() if k not in ("run", "timing", "created")} for found in results
    ]
    assert all(found == compared[0] for found in compared)


def test_the_gate_of_the_examples_cannot_tell_with_one_generator_and_stops_synthetic_data(
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
    assert codes == [4, 1, 2]  # one known generator is not enough to open a gate


NEEDS_THE_DATABASE = {
    "audit": ("audit", "{data}/incoming.npy", "--reference", "vectors", "--out", "{out}", "--quiet"),
    "reference build": ("reference", "build", "new", "--real", "{data}/real.npy", "--encoder", "embeddings", "-q"),
    "reference delete": ("reference", "delete", "vectors"),
    "keys create": ("keys", "create", "late", "--scope", "read"),
    "keys list": ("keys", "list"),
    "keys revoke": ("keys", "revoke", "0" * 12),
    "serve": ("serve", "--port", "1"),
}


def test_commands_beside_a_service_name_it_or_do_without_the_database(
    home: Path, tmp_path: Path, built_home: tuple[Path, Path], make: SimpleNamespace
) -> None:
    filled = {"data": built_home[1], "out": tmp_path / "out"}
    settings = {"MADAUDIT_AUTH": "off", "MADAUDIT_ALLOWED_ROOTS": str(built_home[1])}
    with served(home, tmp_path / "log", **settings) as (process, client):
        address = str(client.base_url).rstrip("/")
        assert json.loads((home / "service.json").read_text()) == {"process": process.pid, "address": address}
        for name, words in NEEDS_THE_DATABASE.items():
            ended = make.run(*(word.format(**filled) for word in words), "--home", home)
            assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1), (name, ended.err)
            assert f"madaudit serve (process {process.pid}) at {address} uses the home folder" in ended.err, name
            assert "send requests to it over HTTP" in ended.err
        assert not (tmp_path / "out").exists()
        listed = make.run("reference", "list", "--json", "--home", home)
        assert [reference["name"] for reference in listed.json] == ["vectors"]
        shown = make.run("reference", "show", "vectors", "--json", "--home", home)
        assert set(shown.json["items"]) == {"real", "fake"}
        missing = make.run("reference", "show", "none", "--home", home)
        assert (missing.code, "existing references: vectors" in missing.err) == (2, True)
        asked = {"source": f"{built_home[1]}/incoming.npy", "reference": "vectors"}
        id = client.post("/v1/audits", json=asked).json()["id"]
        assert finished(client, id)["state"] == "succeeded"
        assert make.run("report", home / "jobs" / id, "--format", "md").out.startswith("# ")
        process.terminate()
        process.wait(30)
    assert not (home / "service.json").exists()


def test_a_refusal_beside_a_service_waits_for_nothing_and_imports_nothing_heavy(home: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom service.cli import app\nfrom indexes.errors import ResourceError\n"
        "from service.presence import announced\nimport service.presence, os, time\n"
        "service.presence.os.getpid = lambda: -1\n"
        f"home = {str(home)!r}\n"
        "with announced(Path(home), 'http://127.0.0.1:1'):\n"
        "    service.presence.os.getpid = lambda: -2\n"
        "    time.sleep = lambda seconds: sys.exit('it waited')\n"
        "    for words in (['keys', 'list'], ['reference', 'delete', 'vectors']):\n"
        "        try:\n            app([*words, '--home', home], standalone_mode=False)\n"
        "        except ResourceError as error:\n            print(error)\n"
        "assert not {'torch', 'sklearn', 'duckdb', 'scipy', 'fastapi'} & set(sys.modules)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("uses the home folder") == 2


def test_the_file_of_a_killed_service_is_ignored(home: Path, tmp_path: Path, make: SimpleNamespace) -> None:
    with served(home, tmp_path / "log") as (process, _):
        process.kill()
        process.wait()
    assert (home / "service.json").exists()
    assert make.run("keys", "list", "--home", home).code == 0


def test_a_service_that_cannot_listen_leaves_no_file(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = madaudit("serve", "--port", str(taken.getsockname()[1]), home=home)
    assert ended.returncode == 2
    assert "cannot listen" in ended.stderr
    assert not (home / "service.json").exists()


def test_a_key_with_a_view_is_made_by_the_command(home: Path, make: SimpleNamespace) -> None:
    def create(name: str, *options: str) -> Any:
        return make.run("keys", "create", name, *options, "--home", home)

    ids = [create(name, "--scope", "write", "--json").json["id"] for name in "ab"]
    view = create("v", "--scope", "read", "--sees", ids[0], "--sees", ids[1])
    assert view.out.startswith("madaudit_")
    assert f"sees the jobs of {', '.join(sorted(ids))}" in view.err
    assert create("w", "--scope", "read", "--all", "--json").json["sees"] == "all"
    listed = make.run("keys", "list", "--home", home).out
    assert listed.count("sees all jobs") == 1
    assert listed.count("sees the jobs of") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--scope", "read", "--sees", "nobody"), "'nobody'"),
        (("--scope", "write", "--all"), "only the scope read"),
        (("--scope", "read", "--all", "--sees", "x"), "leave out --sees"),
    ],
)
def test_a_view_that_cannot_be_is_told_in_one_line(
    home: Path, make: SimpleNamespace, options: tuple[str, ...], said: str
) -> None:
    ended = make.run("keys", "create", "v", *options, "--home", home)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
    assert said in ended.err
    assert make.run("keys", "list", "--home", home).out == ""


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
        assert "not a loopback address" in ended.stderr


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
