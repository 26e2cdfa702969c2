"""Detection of a running service: a locked file in the home folder holds the service's address and process id."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from indexes.errors import ResourceError

__all__ = ["RunningService", "announced", "refuse_while_served", "running_service"]

_FILE = "service.json"  # in the home folder
_PATIENCE_S = 1.0  # for commands that look whether a service runs, each for a moment
_WRITTEN_S = 0.2  # in which a service that has locked the file has written it


@dataclass(frozen=True, slots=True)
class RunningService:
    """A running service that uses a home folder."""

    process: int
    address: str


def running_service(home: Path) -> RunningService | None:
    """The running service of a home folder, or None; the unlocked file of a service that has died is ignored."""
    deadline = time.monotonic() + _WRITTEN_S
    while True:
        try:
            file = (home / _FILE).open("rb")
        except OSError:
            return None
        with file:
            if not _is_locked(file.fileno()):
                return None
            if (found := _read(file.read())) is not None:
                return found
        if time.monotonic() > deadline:
            return RunningService(0, "an unknown address")
        time.sleep(0.01)


def refuse_while_served(home: Path) -> None:
    """Raise ResourceError, with the service's address, if another process serves the home folder."""
    found = running_service(home)
    if found is None or found.process == os.getpid():
        return
    raise ResourceError(
        f"madaudit serve (process {found.process}) at {found.address} uses the home folder {home}: send requests to "
        "it over HTTP, stop it first, or use another --home"
    )


@contextmanager
def announced(home: Path, address: str) -> Iterator[None]:
    """Keep a locked file in the home folder while this process serves the folder, and remove the file at the end.

    Raises ResourceError if another process serves the folder, or if the folder cannot be created.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        file = _locked(home)
    except OSError as error:
        raise ResourceError(f"the home folder cannot be used ({error}): use another --home") from None
    try:
        os.write(file, json.dumps({"process": os.getpid(), "address": address}).encode())
        yield
    finally:
        (home / _FILE).unlink(missing_ok=True)
        os.close(file)


def _locked(home: Path) -> int:
    """Descriptor of the service file, which is locked and empty."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        file = os.open(home / _FILE, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_there(home, file):
                os.ftruncate(file, 0)
                return file
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(file)
                raise
        os.close(file)
        refuse_while_served(home)  # else a command looks at the file for a moment
        time.sleep(0.01)


def _is_there(home: Path, file: int) -> bool:
    """Whether the open file is still the file in the home folder; a previous service may have removed it."""
    try:
        return os.path.samestat(os.fstat(file), (home / _FILE).stat())
    except FileNotFoundError:
        return False


def _is_locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _read(content: bytes) -> RunningService | None:
    """The service that the file describes, or None if the file is not completely written yet."""
    try:
        fields = json.loads(content)
        return RunningService(int(fields["process"]), str(fields["address"]))
    except (ValueError, LookupError, TypeError):
        return None
