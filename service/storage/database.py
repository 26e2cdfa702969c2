"""The DuckDB file in the home folder: opening, schema migrations, and transactions of one writer at a time."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Protocol

import duckdb

from indexes.errors import ArtifactError, ResourceError
from service.presence import refuse_while_served

__all__ = ["BriefDatabase", "Connection", "Database", "Transactions", "migrate", "now"]

_PATIENCE_S = 20.0  # another process holds the file only for the moment of a write
Connection = duckdb.DuckDBPyConnection


class Transactions(Protocol):
    """Interface of a database that runs transactions."""

    def transaction(self) -> AbstractContextManager[Connection]:
        """Open a transaction, which is committed at the end of the block, or rolled back if the block raises."""
        ...


class BriefDatabase:
    """Opens and closes the database for every transaction, so that several commands can share a home folder."""

    def __init__(self, path: Path, *, patience: float | None = None) -> None:
        self._path, self._patience = path, patience  # seconds for which it waits for another process

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        connection = _opened(self._path, patience=_PATIENCE_S if self._patience is None else self._patience)
        try:
            with _committed(connection):
                yield connection
        finally:
            connection.close()


class Database:
    """Keeps the database open while the service runs; threads read and write one at a time."""

    def __init__(self, path: Path) -> None:
        self._connection = _opened(path, patience=0.0)
        self._lock = threading.Lock()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        with self._lock, _committed(self._connection):
            yield self._connection

    def close(self) -> None:
        """Write pending changes to the file and close it."""
        with self._lock:
            self._connection.close()


@contextmanager
def _committed(connection: Connection) -> Iterator[None]:
    connection.begin()
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _opened(path: Path, *, patience: float) -> Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(f"the home folder cannot be created ({error}): use another --home") from None
    connection = _connect(path, patience)
    try:
        migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path, patience: float) -> Connection:
    deadline = time.monotonic() + patience
    while True:
        try:
            return duckdb.connect(str(path))
        except duckdb.IOException as error:
            is_locked = "lock" in str(error).replace(str(path), "").lower()
            if is_locked:
                refuse_while_served(path.parent)
            if not is_locked or time.monotonic() > deadline:
                raise ResourceError(
                    f"{path} cannot be opened ({str(error).splitlines()[0]}): stop the process that uses it, use "
                    "another --home, or, if the process is madaudit serve, send requests to it over HTTP"
                ) from None
        time.sleep(0.1)


def migrate(connection: Connection) -> int:
    """Apply all missing migrations, each in its own transaction, and return the version of the schema.

    Raises ArtifactError if a later version of madaudit has written the file.
    """
    connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
    row = connection.execute("SELECT max(version) FROM schema_version").fetchone()
    found = (row[0] if row else None) or 0
    scripts = _scripts()
    if found > len(scripts):
        raise ArtifactError(
            f"the database has schema version {found}, but this madaudit supports only {len(scripts)}: install the "
            "version that wrote it, or use another --home"
        )
    for version, script in enumerate(scripts[found:], start=found + 1):
        with _committed(connection):
            connection.execute(script)
            connection.execute("INSERT INTO schema_version VALUES (?)", [version])
    return len(scripts)


def _scripts() -> list[str]:
    """The SQL of all migrations in order, from files named `0001_….sql` and so on, without gaps."""
    named = sorted(
        (
            f
            for f in files("service.storage").joinpath("migrations").iterdir()
            if re.fullmatch(r"\d{4}_\w+\.sql", f.name)
        ),
        key=lambda file: file.name,
    )
    return [file.read_text() for file in named]


def now() -> datetime:
    """The current time in UTC without a time zone, as the database stores it."""
    return datetime.now(UTC).replace(tzinfo=None)
