"""The job queue: all jobs in the database, from request to completion."""

import hashlib
import json
import secrets
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from indexes.errors import AuditError, InputError
from service.storage.database import Connection, Transactions, now
from service.storage.request_log import forget_requests

__all__ = ["Job", "JobQueue", "KeyReused", "Kind", "Page", "QueueFull", "State", "new_id", "reference_is_pending"]

Kind = Literal["audit", "reference", "loop", "sweep", "calibration"]
State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
_COLUMNS = "id, kind, state, owner, request, created, started, finished, done, total, runs, outcome, error"
_RETRY_S = (1, 60)  # what a full queue tells its callers to wait, least and most


class QueueFull(AuditError):
    """The job queue is full; the client should retry after `retry_after` seconds."""

    def __init__(self, waiting: int, retry_after: int) -> None:
        super().__init__(f"The queue is full ({waiting} jobs waiting): retry in {retry_after} s")
        self.retry_after = retry_after


class KeyReused(InputError):
    """An idempotency key was used again with a different request."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job, as stored in the database."""

    id: str
    kind: Kind
    state: State
    owner: str  # id of the API key
    request: Mapping[str, Any] = field(repr=False)
    created: datetime  # UTC, as all times here
    started: datetime | None
    finished: datetime | None
    done: int  # shards, generations or loops
    total: int
    runs: int  # times that it was begun
    outcome: Mapping[str, Any] | None = field(repr=False)  # what its worker said at the end
    error: str | None

    @property
    def is_finished(self) -> bool:
        return self.state in ("succeeded", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Page:
    """One page of jobs, newest first; `after` is the position of the next page, None on the last page."""

    jobs: tuple[Job, ...]
    after: tuple[datetime, str] | None


class JobQueue:
    """The job queue; every change of a job's state is one transaction, which first checks the current state."""

    def __init__(self, database: Transactions, *, size: int, max_deaths: int) -> None:
        self._database, self._size, self._max_deaths = database, size, max_deaths
        self.has_work = threading.Event()  # set when a job may be waiting

    def submit(
        self,
        kind: Kind,
        request: Mapping[str, Any],
        *,
        owner: str,
        id: str | None = None,
        key: str | None = None,
        same: Mapping[str, Any] | None = None,
        check: Callable[[Connection], None] = lambda connection: None,
    ) -> tuple[Job, bool]:
        """Return the job and whether it is new; a repeated request with the same idempotency key returns the first job.

        Two requests count as equal if their `same` values are equal (default: all fields of the request). `check` may
        raise an error to refuse a new job. Raises KeyReused if the idempotency key belongs to a different request, and
        QueueFull if too many jobs are waiting.
        """
        digest = hashlib.sha256(json.dumps([kind, same or request], sort_keys=True).encode()).hexdigest()
        with self._database.transaction() as connection:
            if key is not None and (earlier := _earlier(connection, owner, key)):
                return self._same(connection, earlier, digest, key), False
            check(connection)
            row = connection.execute("SELECT count(*) FROM jobs WHERE state = 'queued'").fetchone()
            waiting = row[0] if row else 0
            if waiting >= self._size:
                raise QueueFull(waiting, _patience(connection, waiting))
            name = id or new_id()
            connection.execute(
                "INSERT INTO jobs (id, kind, state, owner, request, created) VALUES (?, ?, 'queued', ?, ?, ?)",
                [name, kind, owner, json.dumps(request), now()],
            )
            if key is not None:
                connection.execute("INSERT INTO idempotency_keys VALUES (?, ?, ?, ?)", [owner, key, digest, name])
            job = _job(connection, name)
        assert job is not None
        self.has_work.set()
        return job, True

    @staticmethod
    def _same(connection: Connection, earlier: tuple[str, str], digest: str, key: str) -> Job:
        job = _job(connection, earlier[1])
        if earlier[0] != digest or job is None:
            raise KeyReused(f"the idempotency key {key!r} was used for another request: send another key")
        return job

    def get(self, id: str) -> Job | None:
        """The job with this id, or None."""
        with self._database.transaction() as connection:
            return _job(connection, id)

    def page(
        self,
        *,
        kinds: tuple[Kind, ...],
        limit: int,
        owners: Collection[str] | None = None,
        after: tuple[datetime, str] | None = None,
    ) -> Page:
        """One page of jobs of the given kinds and owners (None: all), newest first, after the position `after`."""
        asked = "kind IN (SELECT unnest(?))"
        values: list[Any] = [list(kinds)]
        if owners is not None:
            asked += " AND owner IN (SELECT unnest(?))"
            values.append(list(owners))
        if after is not None:
            asked += " AND (created, id) < (?, ?)"
            values += list(after)
        with self._database.transaction() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM jobs WHERE {asked} ORDER BY created DESC, id DESC LIMIT ?",
                [*values, limit + 1],
            ).fetchall()
        jobs = tuple(_read(row) for row in rows[:limit])
        return Page(jobs, (jobs[-1].created, jobs[-1].id) if len(rows) > limit else None)

    def counts(self) -> dict[State, int]:
        """The number of jobs in each state."""
        with self._database.transaction() as connection:
            rows = connection.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall()
        return dict(rows)

    def pending(self, kind: Kind) -> list[Job]:
        """All queued or running jobs of one kind."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM jobs WHERE kind = ? AND state IN ('queued', 'running')", [kind]
            ).fetchall()
        return [_read(row) for row in rows]

    def claim(self) -> Job | None:
        """Mark the job that has waited longest as running and return it; None if no job is queued."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT id FROM jobs WHERE state = 'queued' ORDER BY created, id LIMIT 1"
            ).fetchone()
            if row is None:
                self.has_work.clear()
                return None
            connection.execute(
                "UPDATE jobs SET state = 'running', started = ?, runs = runs + 1 WHERE id = ?", [now(), row[0]]
            )
            return _job(connection, row[0])

    def progress(self, id: str, done: int, total: int) -> None:
        """Record the progress of a running job.

        New progress resets the count of worker deaths of the job.
        """
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET deaths = CASE WHEN ? > done THEN 0 ELSE deaths END, done = greatest(done, ?), "
                "total = ? WHERE id = ? AND state = 'running'",
                [done, done, total, id],
            )

    def succeed(
        self,
        id: str,
        outcome: Mapping[str, Any],
        record: Callable[[Connection], None] = lambda connection: None,
    ) -> bool:
        """Mark a running job as succeeded and call `record` in the same transaction; False if it is not running."""
        return self._end(id, "succeeded", None, record, json.dumps(outcome))

    def fail(self, id: str, error: str) -> bool:
        """Mark a running job as failed, with an error message."""
        return self._end(id, "failed", error, lambda connection: None)

    def _end(
        self,
        id: str,
        state: State,
        error: str | None,
        record: Callable[[Connection], None],
        outcome: str | None = None,
    ) -> bool:
        with self._database.transaction() as connection:
            job = _job(connection, id)
            if job is None or job.state != "running":
                return False
            record(connection)
            connection.execute(
                "UPDATE jobs SET state = ?, finished = ?, error = ?, outcome = ? WHERE id = ?",
                [state, now(), error, outcome, id],
            )
            return True

    def died(self, id: str, why: str) -> None:
        """Requeue a running job after its worker died; the job fails after too many deaths without new progress."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT deaths FROM jobs WHERE id = ? AND state = 'running'", [id]).fetchone()
            if row is None:
                return
            deaths = row[0] + 1
            if deaths < self._max_deaths:
                connection.execute("UPDATE jobs SET state = 'queued', deaths = ? WHERE id = ?", [deaths, id])
            else:
                error = f"the worker of the job died {deaths} times without finishing another shard ({why})"
                connection.execute(
                    "UPDATE jobs SET state = 'failed', finished = ?, error = ?, deaths = ? WHERE id = ?",
                    [now(), error, deaths, id],
                )
        self.has_work.set()

    def cancel(self, id: str) -> Job | None:
        """Cancel a queued or running job, and return the job; a finished job does not change."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET state = 'cancelled', finished = ? WHERE id = ? AND state IN ('queued', 'running')",
                [now(), id],
            )
            return _job(connection, id)

    def delete(self, id: str, record: Callable[[Connection], None] = lambda connection: None) -> bool:
        """Delete a finished job and its idempotency keys; return False, without a change, for any other job."""
        with self._database.transaction() as connection:
            job = _job(connection, id)
            if job is None or not job.is_finished:
                return False
            connection.execute("DELETE FROM idempotency_keys WHERE job = ?", [id])
            connection.execute("DELETE FROM jobs WHERE id = ?", [id])
            record(connection)
            return True

    def recover(self) -> int:
        """Return jobs that an earlier service left running to the queue; must be called before any job is claimed."""
        with self._database.transaction() as connection:
            found = connection.execute(
                "UPDATE jobs SET state = 'queued' WHERE state = 'running' RETURNING id"
            ).fetchall()
        self.has_work.set()
        return len(found)

    def older_than(self, days: int) -> list[Job]:
        """Jobs that ended more than `days` days ago."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM jobs WHERE finished < ?", [now() - timedelta(days=days)]
            ).fetchall()
        return [_read(row) for row in rows]

    def forget_log(self, days: int) -> None:
        """Delete the entries of the audit log that are older than `days` days."""
        forget_requests(self._database, days)


def reference_is_pending(connection: Connection, name: str) -> bool:
    """Whether a job that builds a reference of this name is queued or running."""
    asked = "SELECT 1 FROM jobs WHERE kind = 'reference' AND state IN ('queued', 'running') AND request->>'name' = ?"
    return connection.execute(asked, [name]).fetchone() is not None


def new_id() -> str:
    """A new, unguessable job id."""
    return secrets.token_hex(16)


def _earlier(connection: Connection, owner: str, key: str) -> tuple[str, str] | None:
    """Request digest and job id that are stored for an idempotency key, or None."""
    found: tuple[str, str] | None = connection.execute(
        "SELECT digest, job FROM idempotency_keys WHERE owner = ? AND key = ?", [owner, key]
    ).fetchone()
    return found


def _patience(connection: Connection, waiting: int) -> int:
    """Expected seconds until a tenth of the queue is done, estimated from the durations of recent jobs."""
    row = connection.execute(
        "SELECT avg(epoch(finished) - epoch(started)) FROM (SELECT * FROM jobs WHERE state = 'succeeded' "
        "ORDER BY finished DESC LIMIT 20)"
    ).fetchone()
    each = (row[0] if row else None) or 1.0
    least, most = _RETRY_S
    return int(min(max(each * waiting / 10, least), most))


def _job(connection: Connection, id: str) -> Job | None:
    row = connection.execute(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", [id]).fetchone()
    return None if row is None else _read(row)


def _read(row: tuple[Any, ...]) -> Job:
    fields = dict(zip(_COLUMNS.split(", "), row, strict=True))
    for name in ("request", "outcome"):
        fields[name] = fields[name] and json.loads(fields[name])
    return Job(**fields)
