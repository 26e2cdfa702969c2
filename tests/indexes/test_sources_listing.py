"""Paths, patterns and URLs: what they mean and what things in them are called."""

import os
import pickle
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import fsspec
import pytest

from indexes.errors import InputError
from indexes.records import Item, Skip, Source
from indexes.sources import open_source
from indexes.sources.listing import expand_braces, list_entries


def read(source: Source) -> list[Item | Skip]:
    return [record for shard in source.shards for record in shard.read()]


def ids(source: Source) -> list[str]:
    return [record.id for record in read(source) if isinstance(record, Item)]


def skips(source: Source) -> list[Skip]:
    return [record for record in read(source) if isinstance(record, Skip)]


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_brace_ranges_keep_their_zeros() -> None:
    assert expand_braces("{a,b}/{008..010}.tar") == [
        f"{folder}/{n}.tar" for folder in "ab" for n in ("008", "009", "010")
    ]


@pytest.mark.parametrize("pattern", ["{0..99999999999}", "{5..1}", "{0..9}" * 7])
def test_impossible_ranges_are_refused(pattern: str) -> None:
    with pytest.raises(InputError, match="check the range"):
        expand_braces(pattern)


def test_a_brace_pattern_names_its_files_relative_to_their_folder(tmp_path: Path) -> None:
    fill(tmp_path, "d/0.jpg", "d/1.jpg", "d/2.jpg")
    assert ids(open_source(f"{tmp_path}/d/{{0..1}}.jpg", kind="image")) == ["0.jpg", "1.jpg"]


def test_a_file_missing_from_a_brace_pattern_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, "0.jpg")
    with pytest.raises(InputError, match=r"1\.jpg: no such file"):
        open_source(f"{tmp_path}/{{0..1}}.jpg", kind="image")


def test_braces_of_folders_keep_the_folder_in_the_id(tmp_path: Path) -> None:
    fill(tmp_path, "a/0.jpg", "b/0.jpg", "c/0.jpg")
    assert ids(open_source(f"{tmp_path}/{{a,c}}", kind="image")) == ["a/0.jpg", "c/0.jpg"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("*.jpg", ["0.jpg"]), ("*/*.jpg", ["a/1.jpg"]), ("**/*.jpg", ["0.jpg", "a/1.jpg", "a/b/2.jpg"])],
)
def test_wildcards_match_files_at_their_depth(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    fill(tmp_path, "0.jpg", "0.png", "a/1.jpg", "a/b/2.jpg")
    assert ids(open_source(f"{tmp_path}/{pattern}", kind="image")) == expected


def test_wildcards_do_not_follow_links(tmp_path: Path) -> None:
    fill(tmp_path, "a/0.jpg")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "1.jpg").symlink_to(tmp_path / "a" / "0.jpg")
    source = open_source(f"{tmp_path}/**/*.jpg", kind="image")
    assert read(source) == [Item("a/0.jpg", b"x"), Skip("a/1.jpg", "symbolic link")]


def test_a_name_with_brackets_that_exists_is_not_a_pattern(tmp_path: Path) -> None:
    fill(tmp_path, "run[1]/{a,b}.jpg")
    assert ids(open_source(tmp_path / "run[1]" / "{a,b}.jpg", kind="image")) == ["{a,b}.jpg"]


@pytest.mark.parametrize("name", ["x::y", "memory::z", "a::b::c"])
def test_a_name_with_two_colons_that_exists_is_no_chain_of_protocols(tmp_path: Path, name: str) -> None:
    fill(tmp_path, f"{name}/a.png", f"{name}/b.png")
    assert ids(open_source(str(tmp_path / name), kind="image")) == ["a.png", "b.png"]
    assert ids(open_source(str(tmp_path / name / "a.*"), kind="image")) == ["a.png"]


def test_a_chain_of_protocols_leads_to_the_file_behind_it(tmp_path: Path) -> None:
    fill(tmp_path, "a.png")
    assert ids(open_source(f"simplecache::{tmp_path}/a.png", kind="image")) == ["a.png"]


def test_a_wildcard_that_matches_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no files"):
        open_source(f"{tmp_path}/*.tar", kind="image")


def test_names_that_are_not_unicode_become_escapes(tmp_path: Path) -> None:
    (tmp_path / "caf\udce9.jpg").write_bytes(b"x")
    assert ids(open_source(tmp_path, kind="image")) == ["caf\\udce9.jpg"]


def test_a_folder_in_memory_reads_like_a_local_one(tmp_path: Path) -> None:
    fill(tmp_path, "a/0.jpg", "b.doc")
    for name in ("a/0.jpg", "b.doc"):
        with fsspec.open(f"memory://listing/{name}", "wb") as handle:
            handle.write(b"x")
    local, remote = open_source(tmp_path, kind="image"), open_source("memory://listing", kind="image")
    assert read(remote) == read(local)
    assert remote.shards[0].identity() == local.shards[0].identity()


def test_a_folder_in_a_zip_is_read_through_its_url_and_can_be_pickled(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("real/a.jpg", b"x")
        archive.writestr("other/b.jpg", b"y")
    source = open_source(f"zip://real::{tmp_path}/x.zip", kind="image")
    assert read(pickle.loads(pickle.dumps(source))) == read(source) == [Item("a.jpg", b"x")]


def test_a_file_url_is_a_local_path(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg")
    assert ids(open_source(f"file://{tmp_path}", kind="image")) == ["a.jpg"]


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(InputError, match="expected a path or an fsspec URL"):
        open_source("nonsense://x", kind="image")


def test_folders_nested_by_the_thousand_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(1200):
        os.mkdir("d")
        os.chdir("d")
    Path("a.txt").write_text("words")
    monkeypatch.chdir(tmp_path)
    try:
        assert len(ids(open_source(tmp_path, kind="text"))) == 1
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)  # which pytest could not remove


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a**b.npy", ["aXb.npy", "ab.npy"]),  # as a shell reads it
        ("**/c.npy", ["c.npy", "d/c.npy", "d/e/c.npy"]),
        ("d/**/c.npy", ["d/c.npy", "d/e/c.npy"]),
        ("**/e/*.npy", ["d/e/c.npy"]),
        ("d/**", ["d/c.npy", "d/e/c.npy"]),
        ("?.npy", ["c.npy"]),
        ("[!c]b.npy", ["ab.npy"]),
        ("[*.npy", ["[x.npy"]),
    ],
)
def test_a_pattern_means_these_files(tmp_path: Path, pattern: str, names: list[str]) -> None:
    fill(tmp_path, "aXb.npy", "ab.npy", "c.npy", "d/c.npy", "d/e/c.npy", "[x.npy", "a/b.npy")
    found = [os.path.relpath(entry.path, tmp_path) for entry in list_entries(f"{tmp_path}/{pattern}")]
    assert sorted(found) == sorted(names)


def test_a_pattern_of_many_stars_is_matched_at_once(tmp_path: Path) -> None:
    """A regular expression with backtracking would not end."""
    fill(tmp_path, "a" * 250, "x")
    with pytest.raises(InputError, match="holds no files"):
        list_entries(f"{tmp_path}/{'*a' * 40}b")


@pytest.mark.parametrize(("make", "said"), [(os.mkfifo, "a pipe"), (lambda p: os.symlink("gone", p), "leads nowhere")])
def test_a_source_that_is_no_file_is_named_for_what_it_is(tmp_path: Path, make: Any, said: str) -> None:
    make(tmp_path / "a.tar")
    with pytest.raises(InputError, match=said):
        list_entries(str(tmp_path / "a.tar"))


def test_many_links_to_large_folders_are_counted_up_to_a_limit_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexes.sources.listing._MAX_COUNTED", 25)
    fill(tmp_path / "far", *map(str, range(10)))
    fill(tmp_path / "set", "a.txt")
    for i in range(4):
        (tmp_path / "set" / f"link{i}").symlink_to(tmp_path / "far")
    counts = [skip.items for skip in skips(open_source(tmp_path / "set", kind="text"))]
    assert counts == [10, 10, None, None]


def test_a_link_that_leads_nowhere_stands_for_an_item_and_a_loop_for_none(tmp_path: Path) -> None:
    fill(tmp_path, "a.txt")
    for name, target in {"gone": "nowhere", "self": "self", "one": "two", "two": "one", "again": "a.txt"}.items():
        (tmp_path / name).symlink_to(target)
    found = {skip.path: skip.items for skip in skips(open_source(tmp_path, kind="text"))}
    assert found == {"gone": 1, "self": 0, "one": 0, "two": 0, "again": 0}
