from pathlib import Path

import platformdirs
import pytest

from service.settings import read_settings


def test_the_home_given_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MADAUDIT_HOME", "/from-environment")
    assert read_settings(Path("/given")).home == Path("/given")


def test_the_environment_comes_before_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MADAUDIT_HOME", "/from-environment")
    assert read_settings().home == Path("/from-environment")


@pytest.mark.parametrize("value", [None, ""])
def test_without_either_it_is_the_platforms_folder(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MADAUDIT_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("MADAUDIT_HOME", value)
    assert read_settings().home == platformdirs.user_data_path("madaudit")


def test_a_tilde_is_the_users_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert read_settings(Path("~/m")).home == Path("/somewhere/m")


def test_references_and_the_ledger_lie_in_the_home() -> None:
    settings = read_settings(Path("/h"))
    assert (settings.references, settings.database) == (Path("/h/references"), Path("/h/madaudit.duckdb"))
