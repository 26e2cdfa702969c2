"""References listed from their folders."""

import json
import shutil
from pathlib import Path

import pytest

from auditor.reference.reference import load_reference
from service.references.build import describe
from service.references.shelf import list_references, reference_names, write_summary
from service.settings import Settings


@pytest.fixture
def home(tmp_path: Path, built_home: tuple[Path, Path]) -> Settings:
    for name in ("zebra", "apple"):
        shutil.copytree(built_home[0] / "references" / "vectors", tmp_path / "references" / name)
    return Settings(tmp_path)


def listed(home: Settings) -> tuple[list[str], list[str]]:
    warnings: list[str] = []
    return [found["name"] for found in list_references(home, warn=warnings.append)], warnings


def test_a_list_says_what_each_reference_says_of_itself(home: Settings) -> None:
    found = list_references(home, warn=pytest.fail)
    assert [reference["name"] for reference in found] == reference_names(home) == ["apple", "zebra"]
    expected = describe(load_reference(home.references / "apple"))
    assert {name: value for name, value in found[0].items() if name not in ("name", "built")} == {
        name: value for name, value in expected.items() if name != "name"
    }
    assert not (home.home / "madaudit.duckdb").exists()


def test_a_summary_in_the_folder_is_taken_while_it_is_that_of_the_reference(home: Settings) -> None:
    folder = home.references / "apple"
    summary = {**describe(load_reference(folder)), "seed": 12345}
    write_summary(folder, summary)
    assert list_references(home, warn=pytest.fail)[0]["seed"] == 12345
    write_summary(folder, {**summary, "identity": "of another"})
    assert list_references(home, warn=pytest.fail)[0]["seed"] == 0
    for content in (b"", b"{", b"[]", b"\xff"):
        (folder / "summary.json").write_bytes(content)
        assert list_references(home, warn=pytest.fail)[0]["seed"] == 0


def test_a_damaged_reference_is_named_and_the_others_are_listed(home: Settings) -> None:
    (home.references / "apple" / "summary.json").unlink(missing_ok=True)
    (home.references / "apple" / "fitted.npz").write_bytes(b"short")
    names, warnings = listed(home)
    assert names == ["zebra"]
    assert len(warnings) == 1
    assert "apple" in warnings[0]


def test_what_is_no_whole_reference_is_not_listed(home: Settings) -> None:
    (home.references / "apple").rename(home.references / ".apple.123")
    (home.references / "half").mkdir()
    (home.references / "file").write_text("")
    assert listed(home) == (["zebra"], [])
    manifest = json.loads((home.references / "zebra" / "manifest.json").read_text())
    assert manifest["name"] == "vectors"  # the folder's name counts


def test_a_home_without_references_has_none(tmp_path: Path) -> None:
    assert listed(Settings(tmp_path / "new")) == ([], [])
