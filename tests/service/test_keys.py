from pathlib import Path

import duckdb
import pytest

from indexes.errors import InputError
from service.database import BriefDatabase
from service.keys import Keys


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(BriefDatabase(tmp_path / "db"))


def test_a_token_finds_its_key_and_no_other_does(keys: Keys) -> None:
    one, token = keys.create("pipeline", ["read", "write"])
    other, another = keys.create("dashboard", ["read"])
    assert keys.find(token) == one
    assert keys.find(another) == other
    mixed = token[: len("madaudit_") + 12] + another[len("madaudit_") + 12 :]
    for wrong in (mixed, token[:-1], token + "x", token.upper(), "", " " + token, token + "\n", "madaudit__"):
        assert keys.find(wrong) is None


def test_a_revoked_key_is_found_no_more(keys: Keys) -> None:
    key, token = keys.create("k", ["read"])
    keys.revoke(key.id)
    assert keys.find(token) is None
    assert keys.listed()[0]["revoked"] is not None
    keys.revoke(key.id)
    with pytest.raises(InputError, match="no key"):
        keys.revoke("nobody")


def test_nothing_stored_or_listed_can_be_used_as_a_token(keys: Keys, tmp_path: Path) -> None:
    _, token = keys.create("k", ["admin"])
    secret = token.split("_", 2)[2]
    assert secret not in str(keys.listed())
    with duckdb.connect(str(tmp_path / "db")) as connection:
        assert secret not in str(connection.execute("SELECT * FROM api_keys").fetchall())
    assert secret.encode() not in (tmp_path / "db").read_bytes()


def test_scopes_include_what_they_must(keys: Keys) -> None:
    reader, writer, admin = (keys.create("k", [s])[0] for s in ("read", "write", "admin"))
    assert [k.may("read") for k in (reader, writer, admin)] == [True, True, True]
    assert [k.may("write") for k in (reader, writer, admin)] == [False, True, True]
    assert [k.may("admin") for k in (reader, writer, admin)] == [False, False, True]


@pytest.mark.parametrize("scopes", [[], ["root"], ["read", "all"]])
def test_scopes_that_there_are_not_are_refused(keys: Keys, scopes: list[str]) -> None:
    with pytest.raises(InputError, match="expected some of"):
        keys.create("k", scopes)


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 101])
def test_a_name_that_would_break_a_line_is_refused(keys: Keys, name: str) -> None:
    with pytest.raises(InputError, match="printable"):
        keys.create(name, ["read"])
