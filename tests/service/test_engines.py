import json
import operator
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from auditor.folder import AuditFolder
from auditor.reference.reference import Reference
from auditor.run import AuditOptions, prepare, run_here
from indexes.sources import open_source
from service.engines import local_map, local_runner, worker_count

Command = Any
World = Any


@pytest.mark.parametrize(
    ("asked", "shards", "device", "expected"),
    [(3, 100, "cpu", 3), (1, 100, "cpu", 1), (None, 3, "cpu", 1), (None, 8, "cpu", 2), (None, 800, "cuda", 1)],
)
def test_workers_are_those_asked_for_or_one_a_core_with_four_shards_each(
    asked: int | None, shards: int, device: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert worker_count(asked, shards, device) == expected


def test_a_map_over_one_worker_is_the_built_in_one() -> None:
    with local_map(1) as run:
        assert run is map


def test_a_map_over_several_workers_keeps_the_order_and_works_in_other_processes() -> None:
    with local_map(2) as run:
        assert list(run(operator.neg, range(5))) == [0, -1, -2, -3, -4]
        assert os.getpid() not in run(operator.call, [os.getpid] * 4)


def test_one_worker_works_in_this_process(
    references: dict[str, Reference], world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.engines.ProcessPoolExecutor", None)
    source = open_source(world.data / "fake.npy", kind="vector")
    tasks = prepare(AuditFolder(tmp_path), source, references["vectors"], AuditOptions())
    run = local_runner(world.home / "references" / "vectors", workers=1, device="cpu")
    assert list(run(tasks, references["vectors"])) == [120]
    assert [task.result.is_finished for task in tasks] == [True]


def test_no_tasks_are_no_work(references: dict[str, Reference]) -> None:
    assert list(run_here([], references["vectors"])) == []


_SHARDS, _ITEMS = 5, 120


@pytest.fixture
def tars(tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator) -> Path:
    folder = tmp_path / "tars"
    for i in range(_SHARDS):
        make.write_tar(folder / f"{i:05d}.tar", make.real_images(_ITEMS, rng), prefix=f"{i}-")
    return folder


@pytest.fixture
def large(tmp_path: Path, make: SimpleNamespace) -> Path:
    """Shards whose images are so large that a worker needs about half a second for one."""
    ramp = np.linspace(0, 255, 1500).astype(np.uint8)
    images = np.broadcast_to(ramp[:, None, None], (1, 1500, 1500, 3)).repeat(10, axis=0)
    first = make.write_tar(tmp_path / "large" / "0.tar", images)
    for i in range(1, 4):
        (tmp_path / "large" / f"{i}.tar").write_bytes(first.read_bytes())
    return first.parent


_SLOW = """
import sys, time
from indexes.encoders.pixels import Pixels
fast = Pixels.__call__
def slow(self, batch):
    time.sleep(0.03)
    return fast(self, batch)
Pixels.__call__ = slow  # one shard takes as long as starting python does otherwise
from service.cli.entry import main
main()
"""


def _start(tars: Path, out: Path, home: Path, workers: int = 1) -> subprocess.Popen[str]:
    """The command, in its own process group, slowed down enough to be hit at work."""
    arguments = [
        "audit", tars, "--reference", "images", "--out", out, "--home", home, "--json", "--quiet", "--batch-size", 8,
        "--workers", workers,
    ]  # fmt: skip
    command = [sys.executable, "-c", _SLOW, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def _until_work_begins(out: Path, process: subprocess.Popen[str], finished: int) -> None:
    deadline = time.monotonic() + 60
    while len(list(out.glob("state/*/mark.json"))) < finished:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_an_audit_killed_at_three_random_instants_gives_the_result_of_one_that_was_not(
    madaudit: Command, world: World, tars: Path, tmp_path: Path, make: SimpleNamespace
) -> None:
    arguments = ("audit", tars, "--reference", "images", "--json", "--batch-size", 8)
    whole = madaudit(*arguments, "--out", tmp_path / "whole").json
    chance, out = random.Random(0), tmp_path / "killed"
    finished = []
    for attempt in range(3):
        process = _start(tars, out, world.home)
        _until_work_begins(out, process, finished=attempt)
        time.sleep(chance.uniform(0.0, 0.5))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (out / "result.json").exists()
        finished.append(len(list(out.glob("state/*/mark.json"))))
    again = madaudit(*arguments, "--out", out).json
    assert 1 <= finished[-1] <= _SHARDS
    assert again["run"]["reused_shards"] == finished[-1]
    assert make.comparable(again) == make.comparable(whole)
    for name in ("items/*.parquet", "skipped.parquet"):
        files = [[p.read_bytes() for p in sorted((tmp_path / side).glob(name))] for side in ("whole", "killed")]
        assert files[0] == files[1]


def test_ctrl_c_ends_every_worker_with_one_line_and_exit_code_3(world: World, large: Path, tmp_path: Path) -> None:
    process = _start(large, tmp_path / "o", world.home, workers=2)
    _until_work_begins(tmp_path / "o", process, finished=1)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (3, "")
    assert err.startswith("madaudit: ")
    assert err.count("\n") == 1


def test_workers_do_not_outlive_a_killed_parent(world: World, large: Path, tmp_path: Path) -> None:
    process = _start(large, tmp_path / "o", world.home, workers=2)
    _until_work_begins(tmp_path / "o", process, finished=1)
    process.kill()
    process.communicate(timeout=20)  # returns when every holder of the pipes is gone
    assert len(list((tmp_path / "o").glob("state/*/mark.json"))) < 4


def test_two_audits_at_once_share_a_home(world: World, tars: Path, tmp_path: Path) -> None:
    first, second = (_start(tars / "00000.tar", tmp_path / name, world.home) for name in ("a", "b"))
    results = []
    for process in (first, second):
        out, err = process.communicate(timeout=120)
        assert (process.returncode in (0, 1, 4), err) == (True, "")
        results.append(json.loads(out))
    assert results[0]["synthetic_fraction"] == results[1]["synthetic_fraction"]
