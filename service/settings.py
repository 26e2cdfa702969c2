"""Settings from environment variables, which no other module reads."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import platformdirs

from indexes.errors import InputError

__all__ = ["ServiceSettings", "Settings", "read_service_settings", "read_settings", "read_weights"]

_T = TypeVar("_T")
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Settings:
    """The home folder of madaudit, and the paths in it."""

    home: Path

    @property
    def references(self) -> Path:
        return self.home / "references"

    @property
    def database(self) -> Path:
        return self.home / "madaudit.duckdb"

    @property
    def jobs(self) -> Path:
        """Folder with the results of HTTP jobs: one subfolder per job, named by the id of the job."""
        return self.home / "jobs"

    @property
    def locks(self) -> Path:
        return self.home / "locks"

    @property
    def uploads(self) -> Path:
        return self.home / "uploads"


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Settings of the service; each field is read from the environment variable MADAUDIT_ plus its name in capitals."""

    auth: bool = True  # `off` only where the service listens on a loopback address
    secure_cookies: bool = False  # of the dashboard's sessions; `on` where a proxy serves it by TLS
    allowed_roots: tuple[str, ...] = ()  # folders and URL prefixes that sources may lie under, separated by commas
    allow_private_addresses: bool = False  # of sources over HTTP
    device: str = "cpu"  # on which jobs compute: auto, cpu, cuda or cuda:N
    log_level: str = "INFO"
    workers: int = 1  # jobs at a time, each in a process of its own
    queue_size: int = 1000  # jobs that may wait; more are answered 429
    max_attempts: int = 4  # times that a job's worker may die before it has finished a further shard
    memory_mb: int = 8192  # resident memory of a job's processes; a job that takes more fails
    job_timeout_s: int = 24 * 3600
    answer_timeout_s: int = 60  # of searches and forecasts, which are answered at once
    max_body_mb: int = 8  # of requests other than uploads
    max_upload_mb: int = 2048
    max_unpacked_mb: int = 16384  # of an uploaded archive
    retention_days: int = 0  # finished jobs older than that are deleted; 0 keeps them
    grace_s: int = 10  # for answers under way when the service is stopped

    def __post_init__(self) -> None:
        positive = (
            "workers", "queue_size", "max_attempts", "memory_mb", "job_timeout_s", "answer_timeout_s", "max_body_mb",
            "max_upload_mb", "max_unpacked_mb",
        )  # fmt: skip
        for name in positive:
            if getattr(self, name) < 1:
                raise InputError(f"the setting {_variable(name)} is {getattr(self, name)}, expected 1 or more")
        if self.retention_days < 0 or self.grace_s < 0:
            raise InputError("MADAUDIT_RETENTION_DAYS and MADAUDIT_GRACE_S must not be negative: give 0 or more")

    @property
    def max_body(self) -> int:
        """Largest request body, in bytes."""
        return self.max_body_mb * _MIB

    @property
    def max_upload(self) -> int:
        """Largest upload, in bytes."""
        return self.max_upload_mb * _MIB

    @property
    def max_unpacked(self) -> int:
        """Largest unpacked size of an uploaded archive, in bytes."""
        return self.max_unpacked_mb * _MIB

    @property
    def memory(self) -> int:
        """Largest resident memory of a job, in bytes."""
        return self.memory_mb * _MIB


def read_settings(home: Path | None = None) -> Settings:
    """Settings for the home folder `home`, by default $MADAUDIT_HOME or else the platform's data folder."""
    named = home or os.environ.get("MADAUDIT_HOME") or platformdirs.user_data_path("madaudit")
    return Settings(Path(named).expanduser())


def read_weights(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Entries `SPEC=PATH` of $MADAUDIT_WEIGHTS, which say where encoders' weights are on this machine.

    Each line holds one entry, because a path may contain any other separator.
    """
    found = os.environ if environment is None else environment
    lines = found.get("MADAUDIT_WEIGHTS", "").split("\n")
    return tuple(line.lstrip().rstrip("\r") for line in lines if line.strip())


def read_service_settings(environment: Mapping[str, str] | None = None) -> ServiceSettings:
    """Read the service's settings; raises InputError with the name of an invalid variable."""
    found = os.environ if environment is None else environment
    given: dict[str, object] = {}
    for name, field in ServiceSettings.__dataclass_fields__.items():
        text = found.get(_variable(name), "").strip()
        if text:
            given[name] = _read(name, text, _READERS[getattr(field.type, "__name__", "")])
    return ServiceSettings(**given)  # type: ignore[arg-type]  # each was read as its field's type


def _variable(name: str) -> str:
    return f"MADAUDIT_{name.upper()}"


def _read(name: str, text: str, reader: Callable[[str], _T]) -> _T:
    try:
        return reader(text)
    except ValueError:
        expected = {_switch: "on or off", int: "a whole number"}.get(reader, "a list")
        raise InputError(f"the setting {_variable(name)} is {text!r}, expected {expected}") from None


def _switch(text: str) -> bool:
    words = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


_READERS: dict[str, Callable[[str], object]] = {"bool": _switch, "int": int, "str": str, "tuple": _listed}
