"""The ledger: the records of references and audits in the database."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

from auditor.results import AuditResult
from indexes.sources.files import printable
from service.presence import refuse_while_served
from service.storage.database import BriefDatabase, Connection, Transactions, now

__all__ = ["Ledger", "check_free", "enter_audit", "enter_reference", "leave_audit"]


_OWNED = (
    "FROM audits a LEFT JOIN jobs j ON a.folder = CAST(? AS VARCHAR) || '/' || j.id "
    "WHERE (CAST(? AS VARCHAR[]) IS NULL OR j.owner IN (SELECT unnest(CAST(? AS VARCHAR[]))))"
)
_MOMENT_S = 3.0  # for which another command may hold the file


def check_free(path: Path) -> None:
    """Raise ResourceError if another process holds the database; called before long work, to fail early."""
    refuse_while_served(path.parent)
    with BriefDatabase(path, patience=_MOMENT_S).transaction():
        pass


class Ledger:
    """Records of references and audits, in a database file that each call opens or that the service keeps open."""

    def __init__(self, database: Path | Transactions) -> None:
        self._database = BriefDatabase(database) if isinstance(database, Path) else database

    def record_reference(self, name: str, identity: str, summary: Mapping[str, Any]) -> None:
        """Store the record of a reference, replacing any record of the same name."""
        with self._database.transaction() as connection:
            enter_reference(connection, name, identity, summary)

    def forget_reference(self, name: str) -> None:
        """Delete the record of a reference, if there is one."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM reference_sets WHERE name = ?", [name])

    def references(self) -> list[dict[str, Any]]:
        """Summaries of all references with their build times, sorted by name."""
        with self._database.transaction() as connection:
            rows = connection.execute("SELECT name, built, summary FROM reference_sets ORDER BY name").fetchall()
        return [
            {**json.loads(summary), "name": name, "built": built.replace(tzinfo=UTC).isoformat()}
            for name, built, summary in rows
        ]

    def owner_of(self, name: str) -> str | None:
        """Id of the API key that built a reference; None if a command built the reference or if it does not exist."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT owner FROM reference_sets WHERE name = ?", [name]).fetchone()
        return None if row is None else row[0]

    def record_audit(self, folder: Path, result: AuditResult) -> None:
        """Store the record of a finished audit with its checks, replacing any record of the same folder."""
        with self._database.transaction() as connection:
            enter_audit(connection, folder, result)

    def audits(self) -> list[dict[str, Any]]:
        """All recorded audits, newest first."""
        with self._database.transaction() as connection:
            cursor = connection.execute("SELECT * FROM audits ORDER BY finished DESC, folder")
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def sources(self, jobs: Path, *, owners: Collection[str] | None) -> list[str]:
        """Sources of all recorded audits of the given owners (None: all owners), sorted."""
        values = [_named(jobs), *_twice(owners)]
        with self._database.transaction() as connection:
            rows = connection.execute(
                f"SELECT DISTINCT source {_OWNED} AND source IS NOT NULL ORDER BY source", values
            ).fetchall()
        return [source for (source,) in rows]

    def history(
        self,
        jobs: Path,
        *,
        owners: Collection[str] | None,
        source: str | None = None,
        ids: Sequence[str] | None = None,
    ) -> list[dict[str, Any]]:
        """Recorded audits, oldest first, each with the id of its job or None.

        The filters are `owners`, `source` and `ids` (of jobs); None means no filter. `jobs` is the folder with one
        result folder per job.
        """
        asked = f"SELECT a.*, j.id AS job {_OWNED}"
        values: list[Any] = [_named(jobs), *_twice(owners)]
        if source is not None:
            asked, values = f"{asked} AND a.source = ?", [*values, source]
        if ids is not None:
            asked, values = f"{asked} AND j.id IN (SELECT unnest(?))", [*values, list(ids)]
        with self._database.transaction() as connection:
            cursor = connection.execute(f"{asked} ORDER BY a.finished, a.folder", values)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def enter_reference(
    connection: Connection, name: str, identity: str, summary: Mapping[str, Any], *, owner: str | None = None
) -> None:
    """Store the record of a reference in an open transaction; `owner` is the id of an API key."""
    connection.execute(
        "INSERT OR REPLACE INTO reference_sets (name, identity, built, summary, owner) VALUES (?, ?, ?, ?, ?)",
        [name, identity, now(), json.dumps(summary), owner],
    )


def leave_audit(connection: Connection, folder: Path) -> None:
    """Delete all rows of an audit in an open transaction."""
    for table in ("audits", "checks"):
        connection.execute(f"DELETE FROM {table} WHERE folder = ?", [_named(folder)])


def enter_audit(connection: Connection, folder: Path, result: AuditResult) -> None:
    """Store the rows of a finished audit in an open transaction."""
    fraction = result.synthetic_fraction
    row = {
        "folder": _named(folder), "reference": result.reference.name, "finished": now(),
        "verdict": result.verdict, "n_items": result.n_items, "synthetic_low": fraction.low,
        "synthetic_estimate": _stored(fraction.estimate), "synthetic_high": fraction.high,
        "diversity_loss": _stored(result.diversity.loss.estimate), "source": result.source,
        "mad_risk": _stored(result.mad_risk.probability.estimate),
    }  # fmt: skip
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    connection.execute(f"INSERT OR REPLACE INTO audits ({names}) VALUES ({marks})", list(row.values()))
    connection.execute("DELETE FROM checks WHERE folder = ?", [_named(folder)])
    for check in result.checks:
        fields = [_named(folder), check.name, check.status, check.value, check.reason]
        connection.execute("INSERT INTO checks VALUES (?, ?, ?, ?, ?)", fields)


def _stored(value: float) -> float | None:
    """A number as the database stores it: nan becomes NULL."""
    return None if math.isnan(value) else value


def _twice(owners: Collection[str] | None) -> list[list[str] | None]:
    found = None if owners is None else list(owners)
    return [found, found]


def _named(folder: Path) -> str:
    return printable(str(folder.resolve()))
