import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import duckdb
import pytest

from indexes.errors import ArtifactError, ResourceError
from service.storage.database import Database, migrate
from service.storage.ledger import Ledger

FIRST = files("service.storage").joinpath("migrations/0001_ledger.sql").read_text()


def tables(connection: duckdb.DuckDBPyConnection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}


def log_and_fail(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT INTO audit_log VALUES (now(), NULL, 'GET', '/', 200, NULL)")
        connection.execute("SELECT * FROM there_is_no_such_table")


def test_a_new_file_gets_every_table_once(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "x")) as connection:
        version = migrate(connection)
        assert tables(connection) >= {"audits", "checks", "jobs", "api_keys", "audit_log", "reference_sets"}
        assert migrate(connection) == version
        assert connection.execute("SELECT version FROM schema_version ORDER BY 1").fetchall() == [
            (v,) for v in range(1, version + 1)
        ]


def test_a_file_of_the_first_release_keeps_its_audits(tmp_path: Path) -> None:
    path = tmp_path / "madaudit.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(FIRST)
        connection.execute("INSERT INTO audits VALUES ('/a', 'r', now(), 'pass', 7, 0, NULL, 1, 0.1)")
    found = Ledger(path).audits()
    assert [(a["folder"], a["n_items"], a["source"]) for a in found] == [("/a", 7, None)]


def test_a_file_of_a_later_release_is_refused(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "x")) as connection:
        migrate(connection)
        connection.execute("INSERT INTO schema_version VALUES (99)")
        with pytest.raises(ArtifactError, match="schema version 99"):
            migrate(connection)


def test_a_transaction_that_raises_leaves_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "x")
    with pytest.raises(duckdb.CatalogException):
        log_and_fail(database)
    with database.transaction() as connection:
        assert connection.execute("SELECT count(*) FROM audit_log").fetchall() == [(0,)]
    database.close()


def test_a_second_service_on_the_same_home_is_refused_at_once(tmp_path: Path) -> None:
    database = Database(tmp_path / "x")
    imports = "from pathlib import Path; from service.storage.database import Database"
    code = f"{imports}; Database(Path({str(tmp_path / 'x')!r}))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    database.close()
    assert ResourceError.__name__ in ended.stderr
    assert "stop the process that uses it" in ended.stderr
