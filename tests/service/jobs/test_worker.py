"""Tests of the worker process: what it answers, what it survives, and when it ends."""

import fcntl
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import service.jobs.worker_handle
from service.jobs.worker_handle import WorkerProcess

LOOP = {"family": "gaussian", "workflow": "replace", "generations": 2, "n_initial": 30, "chains": 2}
START = """
import logging, os, sys, time
os.dup2(os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
from indexes.errors import InputError
from indexes.records import Skip
from indexes.sources import open_source
from service.jobs import tasks

def noisy(job, request, place, on_progress):
    print("a library says this", flush=True)
    os.write(1, b"a library in C says this\\n")
    return {{}}

def refused(job, request, place, on_progress):
    raise InputError(f"{{place.folder(job)}}/a.npy\\n   holds nothing:\\n give another")

def broken(job, request, place, on_progress):
    raise ZeroDivisionError("a private word")

def numberless(job, request, place, on_progress):
    return {{"x": float("nan")}}

def hungry(job, request, place, on_progress):
    raise MemoryError

def counting(job, request, place, on_progress):
    for done in range(1, request["steps"] + 1):
        time.sleep(0.001)
        on_progress(done, request["steps"])
    return {{}}

def marking(job, request, place, on_progress):
    place.folder(job).mkdir(parents=True)
    return {{}}

def warning(job, request, place, on_progress):
    logging.getLogger("a.library").warning("careful")
    logging.getLogger("a.library").info("unasked for")
    return {{}}

def reading(job, request, place, on_progress):
    entries = [entry for shard in open_source(request["source"], kind="text").shards for entry in shard.read()]
    return {{"read": [entry.reason if isinstance(entry, Skip) else entry.data for entry in entries]}}

def sleeping(job, request, place, on_progress):
    on_progress(1, 1)
    time.sleep(600)

tasks.TASKS |= {{task.__name__: task for task in (
    noisy, refused, broken, numberless, hungry, counting, marking, warning, reading, sleeping)}}
from service.jobs.worker import main
main()
"""


class Site:
    """A worker with tasks of its own beside those that ship, its home, its root, and its log."""

    def __init__(self, folder: Path) -> None:
        self.home, self.root, self.log = folder / "home", folder / "root", folder / "log"
        self.root.mkdir()
        self.start = START.format(log=str(self.log))
        self.greeting = {
            "home": str(self.home), "roots": {"folders": [str(self.root)], "urls": [], "allow_private": False},
            "device": "cpu", "log_level": "warning",
        }  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(service.jobs.worker_handle, "_START", self.start)
            self.worker = WorkerProcess(self.greeting)

    def words(self, kind: str, job: str = "a job", **request: Any) -> list[dict[str, Any]]:
        """All that the worker says of a job."""
        return list(self.worker.work(job, kind, request, patience=60))

    def records(self) -> list[dict[str, Any]]:
        """The lines of the log that are JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One worker for all tests: each leaves it ready for the next job, or the next test fails."""
    made = Site(tmp_path_factory.mktemp("worker"))
    yield made
    made.worker.kill("the tests are over")


def test_output_that_a_library_prints_is_not_taken_for_an_answer(site: Site) -> None:
    assert site.words("noisy") == [{"id": "a job", "found": {}}]
    assert "a library in C says this" in site.log.read_text()


def test_a_refusal_is_one_line_that_hides_the_path_of_the_home_folder(site: Site) -> None:
    said = "HOME/jobs/a job/a.npy holds nothing: give another"
    assert site.words("refused") == [{"id": "a job", "problem": said, "kind": "InputError"}]


@pytest.mark.parametrize(
    ("kind", "name"),
    [("broken", "ZeroDivisionError"), ("numberless", "ValueError"), ("no kind that there is", "KeyError")],
)
def test_a_fault_is_reported_without_its_details(site: Site, kind: str, name: str) -> None:
    (word,) = site.words(kind)
    assert word["kind"] == ""
    assert f"({name}): this is a bug in madaudit" in word["problem"]
    assert "private" not in word["problem"]


def test_a_fault_is_logged_with_its_job_and_traceback(site: Site) -> None:
    site.words("broken", "job-of-the-fault")
    (record,) = [record for record in site.records() if record.get("job") == "job-of-the-fault"]
    assert record["level"] == "error"
    assert "ZeroDivisionError: a private word" in record["traceback"]


def test_a_job_that_runs_out_of_memory_says_what_to_do(site: Site) -> None:
    (word,) = site.words("hungry")
    assert word["kind"] == "ResourceError"
    assert "use smaller shards, or more memory" in word["problem"]


def test_a_failed_job_does_not_end_the_process(site: Site) -> None:
    pid = site.worker.pid
    for kind in ("refused", "broken", "hungry", "noisy"):
        site.words(kind)
    assert site.words("noisy")[-1]["found"] == {}
    assert (site.worker.pid, site.worker.is_alive) == (pid, True)


def test_progress_is_sent_at_most_five_times_a_second_and_at_the_end(site: Site) -> None:
    began = time.monotonic()
    *told, last = site.words("counting", steps=700)
    seconds = time.monotonic() - began
    done = [word["done"] for word in told]
    assert last == {"id": "a job", "found": {}}
    assert done == sorted(done)
    assert done[-1] == 700
    assert len(done) <= seconds / 0.2 + 2


def test_a_job_waits_until_no_other_process_does_it(site: Site) -> None:
    site.words("noisy", "shared")
    with (site.home / "locks" / "shared").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError):
            list(site.worker.work("shared", "marking", {}, patience=0.5))
        assert not (site.home / "jobs" / "shared").exists()
    site.words("noisy")
    assert (site.home / "jobs" / "shared").is_dir()


def test_a_log_line_names_its_job_and_follows_the_level_asked_for(site: Site) -> None:
    site.words("warning", "job-of-the-line")
    found = [record for record in site.records() if record.get("job") == "job-of-the-line"]
    assert [(record["level"], record["logger"], record["message"]) for record in found] == [
        ("warning", "a.library", "careful")
    ]


def test_a_link_out_of_the_root_is_not_opened(site: Site, tmp_path: Path) -> None:
    (tmp_path / "secret.jsonl").write_text('{"text": "secret"}\n')
    (site.root / "own.jsonl").write_text('{"text": "own"}\n')
    (site.root / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    assert site.words("reading", source=f"{site.root}/own.jsonl")[-1]["found"] == {"read": ["own"]}
    (word,) = site.words("reading", source=f"{site.root}/link.jsonl")
    assert "outside what may be read" in str(word)


def test_a_loop_is_run_after_one_with_forbidden_data_was_refused(site: Site) -> None:
    (word,) = site.words("loop", "elsewhere", config={**LOOP, "data": "/etc/passwd"})
    assert (word["kind"], "is outside the allowed roots" in word["problem"]) == ("Forbidden", True)
    assert site.words("loop", "loop", config=LOOP)[-1] == {"id": "loop", "found": {}}
    assert (site.home / "jobs" / "loop" / "result.json").is_file()


def test_a_worker_has_a_lower_priority_than_the_service(site: Site) -> None:
    assert psutil.Process(site.worker.pid).nice() == min(psutil.Process().nice() + 5, 19)


def test_a_worker_ends_during_a_job_when_its_input_is_closed(site: Site) -> None:
    job = {"id": "endless", "kind": "sleeping", "request": {}}
    with subprocess.Popen(
        [sys.executable, "-c", site.start], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            process.stdin.write(f"{json.dumps(site.greeting)}\n{json.dumps(job)}\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline()) == {"id": "endless", "done": 1, "total": 1}
            process.stdin.close()
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()
