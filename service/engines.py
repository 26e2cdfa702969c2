"""Runners that audit shards in this process or in several worker processes on this machine."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.passes.first import ShardTask, audit_shard
from auditor.reference.reference import Reference, load_reference
from auditor.reference.relocation import AS_STORED, Weights
from auditor.run import Runner, run_here
from indexes.device import compute_threads
from indexes.encoders.protocol import Encoder

if TYPE_CHECKING:
    from auditor.evaluation import Mapper

__all__ = ["local_map", "local_runner", "worker_count"]


def worker_count(asked: int | None, shards: int, device: str) -> int:
    """The requested number of workers; by default one per CPU core (at most one per four shards), or one on a GPU."""
    if asked is not None:
        return asked
    return min(os.cpu_count() or 1, shards // 4) or 1 if device == "cpu" else 1


def local_runner(reference_folder: Path, *, workers: int | None, device: str, weights: Weights = AS_STORED) -> Runner:
    """A runner with the given number of processes; each process loads the reference and the encoders once."""

    def run(tasks: Sequence[ShardTask], reference: Reference) -> Iterator[int]:
        count = worker_count(workers, len(tasks), device)
        if count <= 1 or len(tasks) <= 1:
            yield from run_here(tasks, reference)
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(count, len(tasks)), mp_context=context, initializer=_end_with_parent) as pool:
            pending: set[Future[int]] = {pool.submit(_work, task, reference_folder, device, weights) for task in tasks}
            try:
                while pending:
                    finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in finished)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    return run


@contextmanager
def local_map(workers: int) -> "Iterator[Mapper]":
    """A `map` over a pool of `workers` processes, or the built-in `map` for one worker; both give equal results."""
    if workers <= 1:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent) as pool:
        try:
            yield pool.map
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _work(task: ShardTask, reference_folder: Path, device: str, weights: Weights) -> int:
    with compute_threads(1):
        reference, encoders = _loaded(reference_folder, device, weights)
        return audit_shard(task, reference, encoders)


@lru_cache(maxsize=1)
def _loaded(reference_folder: Path, device: str, weights: Weights) -> tuple[Reference, tuple[Encoder, ...]]:
    reference = load_reference(reference_folder, device=device, weights=weights)
    return reference, reference.encoders(device=device)


def _end_with_parent() -> None:
    """Make this worker exit when its parent process ends, even by kill -9, and exit silently on Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def watch() -> None:
        connection.wait([sentinel])
        os._exit(3)

    threading.Thread(target=watch, daemon=True).start()
