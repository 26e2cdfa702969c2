from importlib.resources import files
from pathlib import Path

import duckdb
import pytest

from indexes.errors import InputError
from service.storage.api_keys import Keys
from service.storage.database import BriefDatabase


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


def test_a_key_sees_its_own_jobs_and_those_of_the_keys_it_was_given(keys: Keys) -> None:
    (a, _), (b, _), (c, _) = (keys.create(name, ["write"]) for name in "abc")
    viewer, token = keys.create("viewer", ["read"], sees=[b.id, a.id, b.id])
    found = keys.find(token)
    assert found == viewer
    assert [viewer.sees_jobs_of(owner) for owner in (viewer.id, a.id, b.id, c.id, "local")] == [True] * 3 + [False] * 2
    assert set(viewer.owners or ()) == {viewer.id, a.id, b.id}
    assert {key["name"]: key["sees"] for key in keys.listed()}["viewer"] == sorted([a.id, b.id])


def test_a_key_that_sees_all_sees_the_jobs_of_keys_made_later(keys: Keys) -> None:
    token = keys.create("viewer", ["read"], sees="all")[1]
    late, _ = keys.create("late", ["write"])
    found = keys.find(token)
    assert found is not None
    assert found.sees_jobs_of(late.id)
    assert found.owners is None
    assert not found.may("write")
    assert keys.listed()[0]["sees"] == "all"


def test_without_a_view_a_key_sees_its_own_jobs_alone_and_an_admin_all(keys: Keys) -> None:
    reader, writer, admin = (keys.create("k", [s])[0] for s in ("read", "write", "admin"))
    assert (reader.owners, writer.owners, admin.owners) == ((reader.id,), (writer.id,), None)


def test_unknown_keys_in_a_view_are_named_and_nothing_is_made(keys: Keys) -> None:
    known, _ = keys.create("k", ["write"])
    with pytest.raises(InputError, match=r"no key has the id 'nobody', 'x': see madaudit keys list"):
        keys.create("viewer", ["read"], sees=["x", known.id, "nobody"])
    assert [key["name"] for key in keys.listed()] == ["k"]


@pytest.mark.parametrize("scopes", [["write"], ["admin"], ["read", "write"]])
def test_a_view_is_for_keys_that_only_read(keys: Keys, scopes: list[str]) -> None:
    known, _ = keys.create("k", ["write"])
    for view in ("all", [known.id]):
        with pytest.raises(InputError, match="only the scope read"):
            keys.create("k", scopes, sees=view)


def test_keys_of_an_earlier_release_see_what_they_saw(tmp_path: Path) -> None:
    shipped = files("service.storage").joinpath("migrations").iterdir()
    scripts = sorted((file for file in shipped if file.name < "0003"), key=lambda file: file.name)
    with duckdb.connect(str(tmp_path / "db")) as connection:
        connection.execute("CREATE TABLE schema_version (version INTEGER NOT NULL)")
        for version, script in enumerate(scripts, start=1):
            connection.execute(script.read_text())
            connection.execute("INSERT INTO schema_version VALUES (?)", [version])
        connection.execute("INSERT INTO api_keys VALUES ('old', 'old', 'd', 'read', now()::TIMESTAMP, NULL)")
    assert [(key["id"], key["sees"]) for key in Keys(BriefDatabase(tmp_path / "db")).listed()] == [("old", [])]


@pytest.mark.parametrize("scopes", [[], ["root"], ["read", "all"]])
def test_scopes_that_there_are_not_are_refused(keys: Keys, scopes: list[str]) -> None:
    with pytest.raises(InputError, match="expected some of"):
        keys.create("k", scopes)


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 101])
def test_a_name_that_would_break_a_line_is_refused(keys: Keys, name: str) -> None:
    with pytest.raises(InputError, match="printable"):
        keys.create(name, ["read"])
