from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from service.storage.database import Database
from service.storage.job_queue import Job, JobQueue, KeyReused, QueueFull


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "db")
    yield database
    database.close()


@pytest.fixture
def queue(database: Database) -> JobQueue:
    return JobQueue(database, size=5, max_deaths=3)


def submitted(queue: JobQueue, n: int = 1, owner: str = "me") -> list[Job]:
    return [queue.submit("audit", {"source": f"/{i}"}, owner=owner)[0] for i in range(n)]


def claimed(queue: JobQueue) -> Job:
    job = queue.claim()
    assert job is not None
    return job


def state(queue: JobQueue, job: Job) -> str:
    found = queue.get(job.id)
    assert found is not None
    return found.state


def test_jobs_are_claimed_in_the_order_they_came(queue: JobQueue) -> None:
    jobs = submitted(queue, 3)
    assert [claimed(queue).id for _ in jobs] == [job.id for job in jobs]
    assert queue.claim() is None


def test_many_threads_claim_every_job_once(database: Database) -> None:
    queue = JobQueue(database, size=500, max_deaths=3)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: queue.submit("audit", {"i": i}, owner="me"), range(200)))
        found = [job.id for job in pool.map(lambda _: queue.claim(), range(220)) if job is not None]
    assert Counter(Counter(found).values()) == {1: 200}


def test_a_full_queue_refuses_and_says_when_to_come_again(queue: JobQueue) -> None:
    submitted(queue, 5)
    with pytest.raises(QueueFull) as refused:
        submitted(queue)
    assert 1 <= refused.value.retry_after <= 60
    claimed(queue)
    submitted(queue)


def test_an_idempotency_key_makes_one_job_of_one_request(queue: JobQueue) -> None:
    first, is_new = queue.submit("audit", {"source": "/a"}, owner="me", key="k")
    again, is_again = queue.submit("audit", {"source": "/a"}, owner="me", key="k")
    assert (first.id, is_new, is_again) == (again.id, True, False)
    other, is_others = queue.submit("audit", {"source": "/a"}, owner="you", key="k")
    assert (other.id != first.id, is_others) == (True, True)
    with pytest.raises(KeyReused):
        queue.submit("audit", {"source": "/b"}, owner="me", key="k")
    with pytest.raises(KeyReused):
        queue.submit("reference", {"source": "/a"}, owner="me", key="k")


def test_an_idempotency_key_works_also_when_the_queue_is_full(queue: JobQueue) -> None:
    job, _ = queue.submit("audit", {}, owner="me", key="k")
    submitted(queue, 4)
    assert queue.submit("audit", {}, owner="me", key="k") == (job, False)


def test_a_job_is_ended_once_and_its_record_is_written_with_it(queue: JobQueue, database: Database) -> None:
    submitted(queue)
    job = claimed(queue)
    written: list[str] = []
    assert queue.succeed(job.id, {}, lambda connection: written.append(job.id))
    assert not queue.succeed(job.id, {}, lambda connection: written.append(job.id))
    assert not queue.fail(job.id, "late")
    assert written == [job.id]
    assert state(queue, job) == "succeeded"


def test_a_record_that_cannot_be_written_leaves_the_job_running(queue: JobQueue) -> None:
    submitted(queue)
    job = claimed(queue)
    with pytest.raises(duckdb.CatalogException):
        queue.succeed(job.id, {}, lambda connection: connection.execute("SELECT * FROM nowhere") and None)
    assert state(queue, job) == "running"


def test_a_job_whose_worker_died_waits_again_and_fails_the_third_time_in_one_place(queue: JobQueue) -> None:
    submitted(queue)
    for _ in range(3):
        job = claimed(queue)
        queue.died(job.id, "signal 9")
    found = queue.get(job.id)
    assert found is not None
    assert found.state == "failed"
    assert "died 3 times" in str(found.error)


def test_a_further_shard_forgives_deaths(queue: JobQueue) -> None:
    submitted(queue)
    for shard in range(8):
        job = claimed(queue)
        queue.progress(job.id, shard + 1, 9)
        queue.died(job.id, "signal 9")
    assert state(queue, job) == "queued"


def test_work_that_is_done_again_forgives_nothing(queue: JobQueue) -> None:
    """A job that begins anew at every run must not be tried for ever."""
    submitted(queue)
    for run in range(3):
        job = claimed(queue)
        for done in (1, 2, 3):
            queue.progress(job.id, done, 9)
        queue.died(job.id, "signal 9")
        assert state(queue, job) == ("failed" if run == 2 else "queued")


def test_a_cancelled_job_cannot_be_ended_again_nor_revived(queue: JobQueue) -> None:
    waiting, running = submitted(queue, 2)[1], claimed(queue)
    for job in (waiting, running):
        cancelled = queue.cancel(job.id)
        assert cancelled is not None
        assert cancelled.state == "cancelled"
        queue.died(job.id, "killed")
        assert not queue.succeed(job.id, {})
        assert state(queue, job) == "cancelled"
    assert queue.claim() is None
    assert queue.cancel("nothing") is None


def test_a_finished_job_stays_what_it_is_when_cancelled(queue: JobQueue) -> None:
    submitted(queue)
    job = claimed(queue)
    queue.succeed(job.id, {})
    queue.cancel(job.id)
    assert state(queue, job) == "succeeded"


def test_jobs_left_running_by_an_earlier_service_wait_again(queue: JobQueue) -> None:
    submitted(queue, 2)
    job = claimed(queue)
    assert queue.recover() == 1
    assert claimed(queue).id == job.id


def test_only_a_finished_job_is_deleted_and_its_idempotency_key_with_it(queue: JobQueue) -> None:
    job, _ = queue.submit("audit", {}, owner="me", key="k")
    queue.delete(job.id)
    assert state(queue, job) == "queued"
    queue.cancel(job.id)
    queue.delete(job.id)
    assert queue.get(job.id) is None
    assert queue.submit("audit", {}, owner="me", key="k")[1]


def test_pages_hold_every_job_once_also_when_one_is_added_between_them(database: Database) -> None:
    queue = JobQueue(database, size=100, max_deaths=3)
    mine = {job.id for job in submitted(queue, 7)}
    submitted(queue, 3, owner="you")
    found: list[str] = []
    after = None
    while True:
        page = queue.page(kinds=("audit",), limit=3, owners=["me"], after=after)
        found += [job.id for job in page.jobs]
        submitted(queue)
        if (after := page.after) is None:
            break
    assert (len(found), set(found)) == (7, mine)
    assert len(queue.page(kinds=("audit",), limit=100).jobs) == 13
    assert queue.page(kinds=("reference",), limit=100).jobs == ()


def test_a_page_of_several_owners_holds_the_jobs_of_each_and_of_no_other(database: Database) -> None:
    queue = JobQueue(database, size=100, max_deaths=3)
    jobs = {owner: submitted(queue, 2, owner=owner) for owner in ("a", "b", "c")}
    page = queue.page(kinds=("audit",), limit=100, owners=("a", "c"))
    assert {job.id for job in page.jobs} == {job.id for owner in ("a", "c") for job in jobs[owner]}
    assert queue.page(kinds=("audit",), limit=100, owners=()).jobs == ()
