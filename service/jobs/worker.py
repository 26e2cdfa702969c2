"""A worker: a process that runs the service's jobs one after another and exits with the service."""

import contextlib
import fcntl
import json
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from indexes.errors import AuditError
from service.allowed_roots import AllowedRoots, confine
from service.jobs.logs import configure_logging, job_id
from service.jobs.tasks import Place, perform
from service.settings import Settings

__all__ = ["main"]

_NICENESS = 5  # answers to callers come before the work
_EVERY_S = 0.2  # between words of progress
_log = logging.getLogger(__name__)


def main() -> None:
    """Read settings and then jobs from standard input, one JSON document per line; write progress and results.

    The process exits at the end of standard input, even during a job. Standard input ends when the service has died
    (perhaps by kill -9), and a new service may soon run the same job.
    """
    answers = _private_output()
    told = _lines_until_the_end()
    greeting = json.loads(told.get())
    configure_logging(greeting["log_level"])
    os.nice(_NICENESS)
    place = Place(Settings(Path(greeting["home"])), AllowedRoots(**greeting["roots"]), greeting["device"])
    confine(place.roots)
    while True:
        _do(json.loads(told.get()), place, answers)


def _private_output() -> TextIO:
    """Reserve standard output for answers; anything that a library prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def _lines_until_the_end() -> "queue.SimpleQueue[str]":
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _do(asked: dict[str, Any], place: Place, answers: TextIO) -> None:
    def say(**words: Any) -> None:
        answers.write(json.dumps({"id": asked["id"], **words}, allow_nan=False) + "\n")
        answers.flush()

    job_id.set(asked["id"])
    try:
        with _alone(asked["id"], place.settings):
            found = perform(asked["kind"], asked["id"], asked["request"], place, _Sparing(say))
        say(found=found)
    except AuditError as error:
        said = " ".join(str(error).split()).replace(str(place.settings.home), "HOME")  # nobody's business where it is
        say(problem=said, kind=type(error).__name__)
    except MemoryError:
        say(problem="the worker ran out of memory: use smaller shards, or more memory", kind="ResourceError")
    except Exception as error:  # any other fault ends this job alone; the log has its traceback
        _log.exception("a job broke")
        say(problem=f"the run failed ({type(error).__name__}): this is a bug in madaudit, please report it", kind="")


class _Sparing:
    """Forwards progress reports at most every 0.2 seconds, and always the last report."""

    def __init__(self, say: Any) -> None:
        self._say, self._last = say, 0.0

    def __call__(self, done: int, total: int) -> None:
        if done == total or time.monotonic() - self._last > _EVERY_S:
            self._last = time.monotonic()
            self._say(done=done, total=total)


@contextlib.contextmanager
def _alone(job: str, settings: Settings) -> Iterator[None]:
    """Wait until no other process runs this job, because a worker can briefly outlive a killed service."""
    settings.locks.mkdir(parents=True, exist_ok=True)
    with (settings.locks / job).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
