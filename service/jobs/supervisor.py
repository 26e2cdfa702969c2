"""The supervisor: takes jobs from the queue, has workers do them, and writes down how they ended."""

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
    """A worker refused a question; the caller can correct it."""


class Busy(AuditError):
    """Too many questions at once; the same question can be repeated later."""


class Supervisor:
    """Threads that wait on workers: one for each job that may run, one that watches over them."""

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
        """Take up what an earlier service left, and begin."""
        self._tidy()
        if left := self._queue.recover():
            _log.info("jobs that an earlier service left are taken up again", extra={"jobs": left})
        targets = [self._serve] * self._settings.workers + [self._watch]
        self._threads = [threading.Thread(target=target, daemon=True) for target in targets]
        for thread in self._threads:
            thread.start()

    def _tidy(self) -> None:
        """Remove what a killed service had begun and no job owns: uploads, and references half stored."""
        for folder in self._home.uploads.glob("*"):
            if self._queue.get(folder.name) is None:
                shutil.rmtree(folder, ignore_errors=True)
        for folder in (*self._home.references.glob(".*"), *self._home.jobs.glob(".*")):
            shutil.rmtree(folder, ignore_errors=True)

    def stop(self) -> None:
        """End every worker; what they had finished of their jobs is there at the next start."""
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
        """Whether every thread that takes jobs is alive."""
        return bool(self._threads) and all(thread.is_alive() for thread in self._threads)

    def kill(self, job: str) -> None:
        """End the worker that does a job, if there is one."""
        with self._lock:
            found = self._running.get(job)
        if found is not None:
            found[0].kill("the job was cancelled")

    def ask(self, kind: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of a worker that is kept for what cannot wait; one question at a time.

        Raises Refusal, with the reason, if the question is faulty, takes too long or needs too much memory; Busy if too
        many questions wait.
        """
        if not self._waiting.acquire(blocking=False):
            raise Busy("others are being answered: try again later")
        try:
            if not self._answers.acquire(timeout=self._settings.answer_timeout_s):
                raise Busy("others are being answered: try again later")
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
            worker.kill("it took too long to answer")
            limit = f"no answer within {self._settings.answer_timeout_s} s (MADAUDIT_ANSWER_TIMEOUT_S)"
            raise Refusal(f"{limit}: ask for less, or for an audit, which may take its time") from None
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
                _log.exception("no job could be taken")
                self._stopping.wait(_LOOK_S)
                continue
            if job is not None:
                self._look_after(job, worker)
        if worker is not None:
            worker.end()

    def _fit(self, worker: WorkerProcess | None) -> WorkerProcess:
        """A worker that can take a job: the one there is, or a new one in its place."""
        if worker is not None and worker.is_alive and worker.jobs < _RECYCLED_AFTER:
            return worker
        if worker is not None:
            worker.end()
        return WorkerProcess(self._greeting)

    def _look_after(self, job: Job, worker: WorkerProcess) -> None:
        """Have a job done. If anything fails here, the job ends or returns to the queue."""
        try:
            self._have_done(job, worker)
        except Exception:  # a full disk, say
            _log.exception("a job could not be looked after", extra={"job": job.id})
            worker.kill("its job could not be looked after")
            while not self._stopping.is_set():
                try:
                    self._queue.died(job.id, "its end could not be written down")
                    return
                except Exception:
                    _log.exception("a job could not be put back", extra={"job": job.id})
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
            self._queue.fail(job.id, f"{worker.killed_because} and was ended: give smaller shards, or raise the limit")
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
                _log.exception("the workers could not be watched")

    def _now_running(self) -> list[tuple[WorkerProcess, float]]:
        with self._lock:
            return list(self._running.values())

    def forget(self, job: Job) -> None:
        """Delete a finished job with all that it left, its upload too; a reference that it built stays."""
        self._queue.delete(job.id, lambda connection: leave_audit(connection, self._home.jobs / job.id))
        for folder in (self._home.jobs / job.id, self._home.uploads / job.id):
            shutil.rmtree(folder, ignore_errors=True)
        (self._home.locks / job.id).unlink(missing_ok=True)


_MEMORY = "the job took more memory than it may"
_TIME = "the job took longer than it may"
