"""What becomes of jobs when workers die, take too much, or cannot be had."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import service.jobs.supervisor
import service.jobs.worker_handle
from service.http.context import Context
from service.jobs.supervisor import Busy, Refusal
from service.storage.database import now
from service.storage.job_queue import Job

QUICK = {"family": "gaussian", "workflow": "replace", "generations": 2, "n_initial": 50, "chains": 2}
SLOW = {**QUICK, "generations": 100_000}


@pytest.fixture
def begun(tmp_path: Path, start_service: Callable[..., Context]) -> Iterator[Callable[..., Context]]:
    """Starts a service's supervisor; stopped at the end."""
    contexts: list[Context] = []

    def begin(**changes: Any) -> Context:
        context = start_service(tmp_path / f"home{len(contexts)}", **changes)
        contexts.append(context)
        context.supervisor.start()
        return context

    yield begin
    for context in contexts:
        context.supervisor.stop()
        context.database.close()


def loop(context: Context, config: dict[str, Any]) -> Job:
    return context.queue.submit("loop", {"config": config}, owner="me")[0]


def until(context: Context, job: Job, is_so: Callable[[Job], bool], patience: float = 60) -> Job:
    deadline = time.monotonic() + patience
    while True:
        found = context.queue.get(job.id)
        if found is not None and is_so(found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def ended(context: Context, job: Job) -> Job:
    return until(context, job, lambda found: found.is_finished)


def test_a_job_whose_worker_is_killed_is_done_by_another(begun: Callable[..., Context]) -> None:
    context = begun()
    job = loop(context, {**QUICK, "generations": 100})
    until(context, job, lambda found: found.state == "running")
    deadline = time.monotonic() + 30
    while not (running := context.supervisor._now_running()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running[0][0].kill("a test")
    found = ended(context, job)
    assert (found.state, found.runs) == ("succeeded", 2)


def test_a_job_that_takes_too_much_memory_fails_with_that_reason(begun: Callable[..., Context]) -> None:
    context = begun(memory_mb=1)
    found = ended(context, loop(context, SLOW))
    assert found.state == "failed"
    assert "exceeded its memory limit" in str(found.error)


def test_a_job_that_takes_too_long_fails_with_that_reason(begun: Callable[..., Context]) -> None:
    context = begun(job_timeout_s=1)
    found = ended(context, loop(context, SLOW))
    assert found.state == "failed"
    assert "exceeded its time limit" in str(found.error)


def test_a_cancelled_job_s_worker_is_gone_and_the_next_job_is_done(begun: Callable[..., Context]) -> None:
    context = begun()
    job, following = loop(context, SLOW), loop(context, QUICK)
    until(context, job, lambda found: found.state == "running")
    context.queue.cancel(job.id)
    context.supervisor.kill(job.id)
    assert ended(context, following).state == "succeeded"
    found = context.queue.get(job.id)
    assert found is not None
    assert found.state == "cancelled"


def test_jobs_wait_while_no_worker_can_be_started(
    begun: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals, real = iter(range(3)), service.jobs.worker_handle.WorkerProcess

    def start(greeting: Any) -> Any:
        if next(refusals, None) is not None:
            raise BlockingIOError("no process to spare")
        return real(greeting)

    monkeypatch.setattr(service.jobs.supervisor, "WorkerProcess", start)
    context = begun()
    found = ended(context, loop(context, QUICK))
    assert (found.state, found.runs) == ("succeeded", 1)


def test_a_job_whose_end_cannot_be_written_down_is_done_again(
    begun: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, failures = begun(), iter(range(1))
    succeed = context.queue.succeed

    def full(*given: Any) -> bool:
        if next(failures, None) is not None:
            raise OSError("no space left on device")
        return succeed(*given)

    monkeypatch.setattr(type(context.queue), "succeed", lambda self, *given: full(*given))
    found = ended(context, loop(context, QUICK))
    assert (found.state, found.runs) == ("succeeded", 2)


def test_what_is_older_than_it_may_be_is_deleted_and_what_no_job_owns(
    tmp_path: Path, start_service: Callable[..., Context]
) -> None:
    context = start_service(tmp_path / "home", retention_days=1)
    old, new = loop(context, QUICK), loop(context, QUICK)
    for job, days in ((old, 2), (new, 0)):
        context.queue.cancel(job.id)
        (context.home.jobs / job.id).mkdir(parents=True)
        with context.database.transaction() as connection:
            connection.execute("UPDATE jobs SET finished = ? WHERE id = ?", [now() - timedelta(days=days), job.id])
    stray, half = context.home.uploads / "stray", context.home.references / ".half.123"
    stray.mkdir(parents=True)
    half.mkdir()
    context.supervisor.start()
    deadline = time.monotonic() + 20
    while context.queue.get(old.id) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    context.supervisor.stop()
    assert not (context.home.jobs / old.id).exists()
    assert (context.home.jobs / new.id).exists()
    assert context.queue.get(new.id) is not None
    assert not stray.exists()
    assert not half.exists()
    context.database.close()


def test_a_question_that_takes_too_long_is_refused_and_the_next_is_answered(begun: Callable[..., Context]) -> None:
    context = begun(answer_timeout_s=1)
    with pytest.raises(Refusal, match="no answer within 1 s "):
        context.supervisor.ask("loop", {"config": SLOW})
    with pytest.raises((Refusal, Busy)):
        context.supervisor.ask("loop", {"config": {"family": "nonsense"}})
