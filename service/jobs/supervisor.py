"""The supervisor: it takes jobs from the queue, runs them in worker processes, and records how they ended."""

import logging
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from auditor.folder import AuditFolder
from auditor.results import read_result
from indexes.errors import AuditError
from service.allowed_roots import AllowedRoots
from service.jobs.worker_handle import WorkerProcess
from service.settings import ServiceSettings, Settings
from service.storage.database import Connection
from service.storage.job_queue import Job, JobQueue
from service.storage.ledger import enter_audit, enter_reference, leave_audit

__all__ = ["Busy", "Refusal", "Supervisor"]

_LOOK_S = 0.5  # between looks at the queue, at memory and at the clock
_RECYCLED_AFTER = 500  # jobs: whatever a library loses, it loses no more than that often
_ASKERS = 8  # questions that may wait; the threads that answer all other requests are forty
_SWEEP_S = 3600.0  # between sweeps of what is older than it may be
_log = logging.getLogger(__name__)


class Refusal(AuditError):
    """A worker refused a forecast or search request; the caller can correct the request."""


class Busy(AuditError):
    """Too many forecast or search requests at the same time; the caller can retry later."""


class Supervisor:
    """Threads that run jobs in workers: one thread per concurrent job, and one that enforces memory and time limits."""

    def __init__(self, queue: JobQueue, home: Settings, settings: ServiceSettings, roots: AllowedRoots) -> None:
        self._queue, self._home, self._settings = queue, home, settings
        opened = AllowedRoots((*roots.folders, str(home.uploads.resolve())), roots.urls, roots.allow_private)
        self._greeting = {
            "home": str(home.home.resolve()), "roots": asdict(opened), "device": settings.device,
            "log_level": settings.log_level,
        }  # fmt: skip
        self._stopping = threading.Event()
        self._running: dict[str, tuple[WorkerProcess, float]] = {}  # job → its worker, and when it began
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._answering: WorkerProcess | None = None
        self._answers = threading.Lock()
        self._waiting = threading.BoundedSemaphore(_ASKERS)

    def start(self) -> None:
        """Put unfinished jobs of an earlier service back in the queue, and start the threads."""
        self._tidy()
        if left := self._queue.recover():
            _log.info("unfinished jobs of an earlier service are back in the queue", extra={"jobs": left})
        targets = [self._serve] * self._settings.workers + [self._watch]
        self._threads = [threading.Thread(target=target, daemon=True) for target in targets]
        for thread in self._threads:
            thread.start()

    def _tidy(self) -> None:
        """Remove files that a killed service left behind: uploads without a job, and incomplete references."""
        for folder in self._home.uploads.glob("*"):
            if self._queue.get(folder.name) is None:
                shutil.rmtree(folder, ignore_errors=True)
        for folder in (*self._home.references.glob(".*"), *self._home.jobs.glob(".*")):
            shutil.rmtree(folder, ignore_errors=True)

    def stop(self) -> None:
        """Kill all workers; the finished parts of their jobs are reused after the next start."""
        self._stopping.set()
        self._queue.has_work.set()
        for worker, _ in self._now_running():
            worker.kill("the service is stopping")
        with self._lock:
            if self._answering is not None:
                self._answering.kill("the service is stopping")
        for thread in self._threads:
            thread.join(timeout=30)

    @property
    def is_alive(self) -> bool:
        """Whether all threads of the supervisor are alive."""
        return bool(self._threads) and all(thread.is_alive() for thread in self._threads)

    def kill(self, job: str) -> None:
        """Kill the worker that is running a job, if there is one."""
        with self._lock:
            found = self._running.get(job)
        if found is not None:
            found[0].kill("the job was cancelled")

    def ask(self, kind: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a forecast or search request in a dedicated worker, which handles one request at a time.

        Raises Refusal, with the reason, if the request is invalid, takes too long or needs too much memory. Raises Busy
        if too many requests are waiting.
        """
        if not self._waiting.acquire(blocking=False):
            raise Busy("other requests are being answered: retry later")
        try:
            if not self._answers.acquire(timeout=self._settings.answer_timeout_s):
                raise Busy("other requests are being answered: retry later")
            try:
                return self._answered(kind, request)
            finally:
                self._answers.release()
        finally:
            self._waiting.release()

    def _answered(self, kind: str, request: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            if self._stopping.is_set():
                raise Busy("the service is stopping")
            if self._answering is None or not self._answering.is_alive:
                self._answering = WorkerProcess(self._greeting)
            worker = self._answering
        try:
            for word in worker.work("question", kind, request, patience=self._settings.answer_timeout_s):
                if "problem" in word:
                    raise Refusal(word["problem"]) if word["kind"] else RuntimeError(word["problem"])
                if "found" in word:
                    found: dict[str, Any] = word["found"]
                    return found
        except TimeoutError:
            worker.kill("the worker took too long to answer")
            limit = f"no answer within {self._settings.answer_timeout_s} s (MADAUDIT_ANSWER_TIMEOUT_S)"
            raise Refusal(f"{limit}: send a smaller request, or start an audit, which may take longer") from None
        how = worker.end()
        raise Refusal(f"the worker stopped before answering ({worker.killed_because or how}): try a smaller request")

    def _serve(self) -> None:
        worker: WorkerProcess | None = None
        while not self._stopping.is_set():
            if not self._queue.has_work.wait(_LOOK_S):
                continue
            try:
                worker = self._fit(worker)  # before a job is taken, which would be left alone if none can start
                job = self._queue.claim()
            except Exception:  # this machine has no process or no disk to spare; it may later
                _log.exception("no job could be taken from the queue")
                self._stopping.wait(_LOOK_S)
                continue
            if job is not None:
                self._look_after(job, worker)
        if worker is not None:
            worker.end()

    def _fit(self, worker: WorkerProcess | None) -> WorkerProcess:
        """A worker that can run a job: the given worker if it is still usable, otherwise a new worker."""
        if worker is not None and worker.is_alive and worker.jobs < _RECYCLED_AFTER:
            return worker
        if worker is not None:
            worker.end()
        return WorkerProcess(self._greeting)

    def _look_after(self, job: Job, worker: WorkerProcess) -> None:
        """Run a job in a worker; after an unexpected error, the job fails or returns to the queue."""
        try:
            self._have_done(job, worker)
        except Exception:  # a full disk, say
            _log.exception("a job could not be supervised", extra={"job": job.id})
            worker.kill("the job could not be supervised")
            while not self._stopping.is_set():
                try:
                    self._queue.died(job.id, "the end of the job could not be recorded")
                    return
                except Exception:
                    _log.exception("a job could not be returned to the queue", extra={"job": job.id})
                    self._stopping.wait(_LOOK_S)

    def _have_done(self, job: Job, worker: WorkerProcess) -> None:
        began = time.monotonic()
        _log.info("a job begins", extra={"job": job.id, "kind": job.kind, "run": job.runs, "pid": worker.pid})
        with self._lock:
            self._running[job.id] = (worker, began)
        try:
            found = self._queue.get(job.id)
            if self._stopping.is_set() or found is None or found.state != "running":  # cancelled before it was known
                return
            last = self._last_word(job, worker)
        finally:
            with self._lock:
                del self._running[job.id]
        self._write_down(job, worker, last)
        _log.info("a job ended", extra={"job": job.id, "seconds": round(time.monotonic() - began, 3)})

    def _last_word(self, job: Job, worker: WorkerProcess) -> dict[str, Any]:
        word: dict[str, Any] = {}
        for word in worker.work(job.id, job.kind, job.request):
            if "done" in word:
                self._queue.progress(job.id, word["done"], word["total"])
        return word if "found" in word or "problem" in word else {}

    def _write_down(self, job: Job, worker: WorkerProcess, last: Mapping[str, Any]) -> None:
        if "found" in last:
            self._queue.succeed(job.id, last["found"], lambda connection: self._record(connection, job, last["found"]))
        elif "problem" in last:
            self._queue.fail(job.id, last["problem"])
        elif worker.killed_because in (_MEMORY, _TIME):
            self._queue.fail(job.id, f"{worker.killed_because} and was stopped: use smaller shards, or raise the limit")
        elif not self._stopping.is_set():
            how = worker.end()
            _log.warning("a worker died", extra={"job": job.id, "how": how})
            self._queue.died(job.id, how)

    def _record(self, connection: Connection, job: Job, found: Mapping[str, Any]) -> None:
        folder = self._home.jobs / job.id
        if job.kind == "audit":
            enter_audit(connection, folder, read_result(AuditFolder(folder)))
        elif job.kind == "reference":
            name = job.request["name"]
            enter_reference(connection, name, found["identity"], found["summary"], owner=job.owner)
            self._home.references.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(self._home.references / name, ignore_errors=True)  # of a service that was killed just here
            folder.rename(self._home.references / name)

    def _watch(self) -> None:
        swept = -_SWEEP_S
        while not self._stopping.wait(_LOOK_S):
            try:
                answering = self._answering
                if answering is not None and answering.memory() > self._settings.memory:
                    answering.kill(_MEMORY)
                for worker, began in self._now_running():
                    if worker.memory() > self._settings.memory:
                        worker.kill(_MEMORY)
                    elif time.monotonic() - began > self._settings.job_timeout_s:
                        worker.kill(_TIME)
                if self._settings.retention_days and time.monotonic() - swept > _SWEEP_S:
                    swept = time.monotonic()
                    for job in self._queue.older_than(self._settings.retention_days):
                        self.forget(job)
                    self._queue.forget_log(self._settings.retention_days)
            except Exception:  # watching goes on
                _log.exception("the limits of the workers could not be checked")

    def _now_running(self) -> list[tuple[WorkerProcess, float]]:
        with self._lock:
            return list(self._running.values())

    def forget(self, job: Job) -> None:
        """Delete a finished job with its files and its upload; a reference that the job built is kept."""
        self._queue.delete(job.id, lambda connection: leave_audit(connection, self._home.jobs / job.id))
        for folder in (self._home.jobs / job.id, self._home.uploads / job.id):
            shutil.rmtree(folder, ignore_errors=True)
        (self._home.locks / job.id).unlink(missing_ok=True)


_MEMORY = "the job exceeded its memory limit"
_TIME = "the job exceeded its time limit"
