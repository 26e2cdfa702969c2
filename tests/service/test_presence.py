"""The file that says which service holds a home folder, with services that live, end and are killed."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from indexes.errors import ResourceError
from service.presence import RunningService, announced, refuse_while_served, running_service

ADDRESS = "http://127.0.0.1:8350"
HOLD = (
    "import sys, time; from pathlib import Path; from service.presence import announced\n"
    f"with announced(Path(sys.argv[1]), {ADDRESS!r}):\n    print('held', flush=True); sys.stdin.read()"
)


@contextmanager
def holder(home: Path) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with process:
        yield process
        process.kill()


def test_a_service_is_known_by_process_and_address_until_it_ends(tmp_path: Path) -> None:
    assert running_service(tmp_path) is None
    with holder(tmp_path) as process:
        assert running_service(tmp_path) == RunningService(process.pid, ADDRESS)
        with pytest.raises(
            ResourceError, match=f"process {process.pid}.* at {ADDRESS} uses .*send requests to it over HTTP"
        ):
            refuse_while_served(tmp_path)
        process.communicate("")
        assert running_service(tmp_path) is None
        refuse_while_served(tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_the_file_of_a_killed_service_misleads_nobody(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.kill()
        process.wait()
        assert json.loads((tmp_path / "service.json").read_text())["address"] == ADDRESS
        assert running_service(tmp_path) is None
        with holder(tmp_path) as following:
            assert running_service(tmp_path) == RunningService(following.pid, ADDRESS)


@pytest.mark.parametrize("content", [b"", b"{", b"null", b'{"process": "x"}', b'{"process": 1, "address": "a"}'])
def test_a_file_that_nobody_holds_says_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "service.json").write_bytes(content)
    assert running_service(tmp_path) is None
    with announced(tmp_path, ADDRESS):
        assert running_service(tmp_path) == RunningService(os.getpid(), ADDRESS)


def test_a_second_service_is_refused_with_the_address_of_the_first(tmp_path: Path) -> None:
    with holder(tmp_path), pytest.raises(ResourceError, match=ADDRESS), announced(tmp_path, "http://other"):
        pass
    with announced(tmp_path, ADDRESS), pytest.raises(ResourceError), announced(tmp_path, "http://other"):
        pass


def test_a_process_does_not_refuse_itself(tmp_path: Path) -> None:
    with announced(tmp_path, ADDRESS):
        refuse_while_served(tmp_path)


def test_commands_that_look_do_not_keep_a_service_from_starting(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        looks = [pool.submit(lambda: [running_service(tmp_path) for _ in range(300)]) for _ in range(4)]
        for _ in range(50):
            with announced(tmp_path, ADDRESS):
                assert running_service(tmp_path) == RunningService(os.getpid(), ADDRESS)
        seen = {found for look in looks for found in look.result()}
    assert seen <= {None, RunningService(os.getpid(), ADDRESS)}


def test_a_home_that_cannot_be_made_is_a_resource_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="use another --home"), announced(tmp_path / "file" / "home", ADDRESS):
        pass
    assert running_service(tmp_path / "file" / "home") is None
