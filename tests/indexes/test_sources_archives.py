"""Tar and zip archives, sound and hostile."""

import gzip
import io
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from indexes.records import Item, Skip, Source
from indexes.sources import open_source
from indexes.sources.files import MAX_ITEM_BYTES


def read(source: Source) -> list[Item | Skip]:
    return [record for shard in source.shards for record in shard.read()]


def ids(source: Source) -> list[str]:
    return [record.id for record in read(source) if isinstance(record, Item)]


def skips(source: Source) -> list[Skip]:
    return [record for record in read(source) if isinstance(record, Skip)]


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]  # the mode is a plain string here
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return path


WEBDATASET = {"0.jpg": b"x", "0.json": b"{}", "0.txt": b"cat", "1.json": b"{}", "1.jpg": b"y", "1.txt": b"dog"}


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tgz", "w:gz")])
def test_webdataset_members_are_read_by_kind(tmp_path: Path, name: str, mode: str) -> None:
    path = write_tar(tmp_path / name, WEBDATASET, mode)
    assert read(open_source(path, kind="image")) == [Item(f"{name}/0.jpg", b"x"), Item(f"{name}/1.jpg", b"y")]
    assert read(open_source(path, kind="text")) == [Item(f"{name}/0.txt", "cat"), Item(f"{name}/1.txt", "dog")]


def test_a_companion_without_its_image_is_a_skip(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {"0.json": b"{}", "1.jpg": b"x", "1.cls": b"3", "readme.md": b"hi"})
    assert read(open_source(path, kind="image")) == [
        Skip("a.tar/0.json", "unsupported file type"),
        Item("a.tar/1.jpg", b"x"),
        Skip("a.tar/readme.md", "unsupported file type"),
    ]


def test_img2dataset_tables_beside_a_tar_are_not_counted(tmp_path: Path) -> None:
    write_tar(tmp_path / "00000.tar", WEBDATASET)
    (tmp_path / "00000.parquet").write_bytes(b"metadata")
    (tmp_path / "00000_stats.json").write_bytes(b"{}")
    source = open_source(tmp_path, kind="image")
    assert ids(source) == ["00000.tar/0.jpg", "00000.tar/1.jpg"]
    assert skips(source) == []


def test_a_folder_of_shards_gives_one_shard_a_tar(tmp_path: Path) -> None:
    for number in (1, 0):
        write_tar(tmp_path / f"{number}.tar", WEBDATASET)
    assert [shard.name for shard in open_source(tmp_path, kind="image").shards] == ["0.tar", "1.tar"]


def test_hostile_tar_members_are_one_skip_each(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("../up.jpg", "/abs.jpg", "a/../../up.jpg"):
            archive.addfile(tarfile.TarInfo(name))
        for name, type_ in (("s.jpg", tarfile.SYMTYPE), ("h.jpg", tarfile.LNKTYPE), ("d.jpg", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = type_, "/etc/passwd"
            archive.addfile(info)
        archive.addfile(tarfile.TarInfo("./empty.jpg"))
        for data in (b"x", b"y"):
            info = tarfile.TarInfo("./twice.jpg")
            info.size = 1
            archive.addfile(info, io.BytesIO(data))
    assert read(open_source(tmp_path / "a.tar", kind="image")) == [
        Skip("a.tar/../up.jpg", "path leaves the archive"),
        Skip("a.tar//abs.jpg", "path leaves the archive"),
        Skip("a.tar/a/../../up.jpg", "path leaves the archive"),
        Skip("a.tar/s.jpg", "not a regular file"),
        Skip("a.tar/h.jpg", "not a regular file"),
        Skip("a.tar/d.jpg", "not a regular file"),
        Skip("a.tar/empty.jpg", "empty file"),
        Item("a.tar/twice.jpg", b"x"),
        Skip("a.tar/twice.jpg", "repeated name"),
    ]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_a_cut_tar_keeps_what_came_before_and_ends_with_one_skip(tmp_path: Path, mode: str, keep: float) -> None:
    noise = {f"{i}.jpg": bytes((i * j * j) % 251 for j in range(4000)) for i in range(1, 9)}
    path = write_tar(tmp_path / "a.tar", noise, mode)
    with tarfile.open(path) as archive:
        end = archive.getmembers()[-1].offset_data + 4000
    data = path.read_bytes()[: end if mode == "w" else None]
    path.write_bytes(data[: int(len(data) * keep)])
    *items, last = read(open_source(path, kind="image"))
    assert items == [Item(f"a.tar/{name}", data) for name, data in list(noise.items())[: len(items)]]
    assert last.path == "a.tar"
    # the cut lies in the content of a member or in its header
    assert last.reason in ("archive ends early, more may be missing", "broken archive")


@pytest.mark.parametrize("data", [b"", b"not a tar" * 200, b"\x1f\x8b\x08" + b"\0" * 50, b"\x1f\x8b\x08"])
def test_what_is_no_tar_is_one_skip(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(data)
    cut = {b"": "archive without an end mark, may be cut", b"\x1f\x8b\x08": "archive ends early, more may be missing"}
    assert read(open_source(tmp_path, kind="image")) == [Skip("a.tar", cut.get(data, "broken archive"))]


def test_damage_between_members_is_reported_and_not_taken_for_the_end(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {"0.jpg": b"x", "1.jpg": b"y"})
    data = bytearray(path.read_bytes())
    data[1024:1030] = b"damage"
    path.write_bytes(data)
    assert read(open_source(path, kind="image")) == [Item("a.tar/0.jpg", b"x"), Skip("a.tar", "broken archive")]


def test_a_huge_extended_header_is_not_read_into_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 2**33
    with gzip.open(tmp_path / "a.tar.gz", "wb") as handle:
        handle.write(info.tobuf() + b"\0" * 10_000)
    assert read(open_source(tmp_path, kind="image")) == [Skip("a.tar.gz", "broken archive")]


def test_a_tar_member_over_the_limit_is_skipped_unread(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.jpg")
    info.size = MAX_ITEM_BYTES + 1
    (tmp_path / "a.tar").write_bytes(info.tobuf())
    assert read(open_source(tmp_path, kind="image"))[0] == Skip("a.tar/a.jpg", "too large")


@pytest.mark.parametrize("write", [write_tar, write_zip])
def test_archive_identity_follows_content_and_not_place(tmp_path: Path, write: object) -> None:
    name = "a.tar" if write is write_tar else "a.zip"
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    first = write(tmp_path / "one" / name, WEBDATASET)  # one of the two writers above
    shutil.copy(first, tmp_path / "two" / name)
    one, two = (open_source(tmp_path / folder, kind="image").shards[0] for folder in ("one", "two"))
    assert one.identity() == two.identity()
    assert list(pickle.loads(pickle.dumps(one)).read()) == list(two.read())
    write(tmp_path / "two" / name, {**WEBDATASET, "0.jpg": b"z"})  # as above
    assert open_source(tmp_path / "two", kind="image").shards[0].identity() != one.identity()
