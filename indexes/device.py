"""Choose the compute device and the number of CPU threads."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

from indexes.errors import InputError, ResourceError

__all__ = ["compute_threads", "resolve_device"]


def resolve_device(name: str | None) -> str:
    """The torch device for `auto` (or None), `cpu`, `cuda` or `cuda:N`; `auto` means the GPU if the machine has one.

    Raises InputError for an unknown device name and ResourceError if the named GPU does not exist.
    """
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name is None or name == "auto":
        return "cuda" if available else "cpu"
    if name == "cpu":
        return name
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if match is None:
        raise InputError(f"got device {name!r}, expected auto, cpu, cuda or cuda:N")
    if int(match[1] or 0) >= available:
        raise ResourceError(f"device {name!r} was requested, but torch sees {available} CUDA devices: use auto or cpu")
    return name


@contextmanager
def compute_threads(n: int) -> Iterator[None]:
    """Run the body of a `with` statement with torch, BLAS and OpenMP on `n` threads each, then restore the settings.

    The number of threads changes the order of floating-point sums: fix `n` if results must not depend on the machine.
    Thread limits apply to the whole process: set them around a complete computation, never from concurrent threads.
    Raises InputError for n < 1.
    """
    if n < 1:
        raise InputError(f"got {n} threads, expected at least one")
    before = torch.get_num_threads()
    with threadpool_limits(limits=n):
        torch.set_num_threads(n)
        try:
            yield
        finally:
            torch.set_num_threads(before)
