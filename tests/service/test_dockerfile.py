"""The Dockerfile, without a container engine: its steps, run in a clean folder."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def steps() -> list[tuple[str, str]]:
    """Instruction and argument of every line."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def given(word: str) -> list[str]:
    return [rest for found, rest in steps() if found == word]


def test_it_runs_as_nobody_special_with_a_volume_and_a_health_check() -> None:
    users, (volume,), (health,) = given("USER"), given("VOLUME"), given("HEALTHCHECK")
    assert users == ["madaudit"]
    assert f"MADAUDIT_HOME={volume}" in given("ENV")[0]
    assert "/readyz" in health
    assert [word for word, _ in steps()].index("USER") < [word for word, _ in steps()].index("ENTRYPOINT")


def test_everything_it_copies_is_there_and_every_package_is_copied() -> None:
    copied = [name for rest in given("COPY") if "--from" not in rest for name in rest.split()[:-1]]
    assert all((ROOT / name).exists() for name in copied)
    assert {"indexes", "auditor", "loops", "service", "pyproject.toml", "constraints.txt"} <= set(copied)


def test_the_port_it_shows_is_the_one_it_listens_on() -> None:
    (port,), command = given("EXPOSE"), json.loads(given("CMD")[-1])
    assert command[-1] == port
    assert f":{port}/" in given("HEALTHCHECK")[0]


@pytest.mark.slow
def test_its_steps_make_a_service_that_is_healthy(tmp_path: Path) -> None:
    source, target, home, port = tmp_path / "src", tmp_path / "opt", tmp_path / "home", "18350"
    source.mkdir()
    for rest in given("COPY"):
        names = rest.split()
        if "--from" not in rest:
            for name in names[:-1]:
                copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
                copy(ROOT / name, source / name)

    def placed(text: str) -> str:
        text = text.replace("/opt/madaudit", str(target)).replace("/var/lib/madaudit", str(home))
        return text.replace("8350", port).replace("${EXTRA}", "cpu")

    for command in given("RUN"):
        if "useradd" not in command:  # this machine's users stay as they are
            subprocess.run(placed(command), shell=True, cwd=source, check=True)
    settings = dict(re.findall(r"(\w+)=(\S+)", placed(given("ENV")[0])))
    environment = {**os.environ, **settings, "PATH": f"{target}/bin:{os.environ['PATH']}"}
    entry = [*json.loads(given("ENTRYPOINT")[0]), *json.loads(placed(given("CMD")[-1]))]
    service = subprocess.Popen(entry, cwd=tmp_path, env=environment)
    try:
        health = json.loads(placed(given("HEALTHCHECK")[0]).partition("CMD ")[2])
        deadline = time.monotonic() + 60
        while subprocess.run(health, env=environment, capture_output=True).returncode:
            assert time.monotonic() < deadline
            assert service.poll() is None
            time.sleep(0.5)
        assert (home / "madaudit.duckdb").exists()
        service.send_signal(signal.SIGTERM)
        assert service.wait(30) == 0
    finally:
        service.kill()
        service.wait()
