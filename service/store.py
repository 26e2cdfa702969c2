"""The ledger: one DuckDB file under the home folder that knows the references and the audits."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb

from indexes.errors import ResourceError
from indexes.sources.files import printable

__all__ = ["Ledger"]

_PATIENCE_S = 20.0  # another process holds the file only for the moment of a write


class Ledger:
    """Short transactions on the DuckDB file; every call opens and closes it, since one process writes at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def record_reference(self, name: str, identity: str, summary: Mapping[str, Any]) -> None:
        """Enter a built reference, or replace the entry of the same name."""
        with self._connection() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO reference_sets VALUES (?, ?, ?, ?)",
                [name, identity, _now(), json.dumps(summary)],
            )

    def forget_reference(self, name: str) -> None:
        """Remove a reference's entry, if there is one."""
        with self._connection() as connection:
            connection.execute("DELETE FROM reference_sets WHERE name = ?", [name])

    def references(self) -> list[dict[str, Any]]:
        """The summaries of all references by name, with the time they were built."""
        with self._connection() as connection:
            rows = connection.execute("SELECT name, built, summary FROM reference_sets ORDER BY name").fetchall()
        return [{**json.loads(summary), "name": name, "built": built.isoformat()} for name, built, summary in rows]

    def record_audit(self, folder: Path, result: Mapping[str, Any]) -> None:
        """Enter a finished audit, or replace the entry of the same folder."""
        fraction = result["synthetic_fraction"]
        row = [
            printable(str(folder.resolve())), result["reference"]["name"], _now(), result["verdict"], result["n_items"],
            fraction["low"], fraction["estimate"], fraction["high"], result["diversity"]["loss"]["estimate"],
        ]  # fmt: skip
        with self._connection() as connection:
            connection.execute("INSERT OR REPLACE INTO audits VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def audits(self) -> list[dict[str, Any]]:
        """All recorded audits, newest first."""
        with self._connection() as connection:
            cursor = connection.execute("SELECT * FROM audits ORDER BY finished DESC, folder")
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    @contextmanager
    def _connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResourceError(f"the home folder cannot be made ({error}): use another --home") from None
        connection = _connect(self._path)
        try:
            connection.execute(files("service").joinpath("schema.sql").read_text())
            yield connection
        finally:
            connection.close()


def _connect(path: Path) -> duckdb.DuckDBPyConnection:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return duckdb.connect(str(path))
        except duckdb.IOException as error:
            if "lock" not in str(error).replace(str(path), "").lower() or time.monotonic() > deadline:
                raise ResourceError(
                    f"{path} cannot be opened ({str(error).splitlines()[0]}): stop the process that holds it, or use "
                    "another --home"
                ) from None
        time.sleep(0.1)


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
