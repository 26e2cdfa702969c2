"""Handle of a worker process: send it a job, receive its progress, or kill it."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import psutil

__all__ = ["WorkerProcess"]

_START = "from service.jobs.worker import main; main()"
_END = None  # in the queue of its words: it is gone


class WorkerProcess:
    """One worker process in its own session, so that its child processes can be killed with it."""

    def __init__(self, greeting: Mapping[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        self._said: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.killed_because: str | None = None
        self.jobs = 0  # that it was told
        threading.Thread(target=self._read, daemon=True).start()
        self._tell(greeting)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def work(self, id: str, kind: str, request: Mapping[str, Any], *, patience: float | None = None) -> Iterator[Any]:
        """Send a job to the worker and yield its messages, until the job is done or the process has ended.

        The last message holds `found` or `problem`; if no such message comes, the process died. Raises TimeoutError if
        the job is not done within `patience` seconds.
        """
        deadline = None if patience is None else time.monotonic() + patience
        self.jobs += 1
        self._tell({"id": id, "kind": kind, "request": request})
        while True:
            try:
                word = self._said.get(timeout=None if deadline is None else max(deadline - time.monotonic(), 0.001))
            except queue.Empty:
                raise TimeoutError from None
            if word is _END:
                return
            if word.get("id") == id:
                yield word
                if "found" in word or "problem" in word:
                    return

    def kill(self, because: str) -> None:
        """Kill the process and all its child processes."""
        self.killed_because = self.killed_because or because
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def end(self) -> str:
        """Kill the process if it still runs, and return its exit code or signal as text."""
        self.kill("the service ended it")
        code = self._process.returncode
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def memory(self) -> int:
        """Resident memory of the process and its child processes, in bytes; 0 after the process has ended."""
        try:
            process = psutil.Process(self._process.pid)
            family = [process, *process.children(recursive=True)]
            return sum(_resident(member) for member in family)
        except psutil.Error:
            return 0

    def _tell(self, document: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):  # it is gone, which the end of its words tells
            self._process.stdin.write(json.dumps(document) + "\n")
            self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as words:
            for line in words:
                with contextlib.suppress(ValueError):  # the last line of a process that was killed
                    self._said.put(json.loads(line))
        self._said.put(_END)


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
