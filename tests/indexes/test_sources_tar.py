"""Tar archives to the last byte: joined, compressed in parts, with zero blocks, damage and bytes around them."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexes.records import Item, Kind, Skip
from indexes.sources import open_source

BLOCK = tarfile.BLOCKSIZE


def tar(*names: str, content: bytes = b"some words ", form: int = tarfile.PAX_FORMAT, size: int = 60) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name in names:
            data = (content * size)[: max(len(content), 600)]
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


FIRST, SECOND = tar("a.txt", "b.txt", "c.txt"), tar("d.txt", "e.txt")


def read(folder: Path, data: bytes, *, name: str = "x.tar", kind: Kind = "text") -> tuple[list[str], list[Skip]]:
    (folder / name).write_bytes(data)
    found = [record for shard in open_source(folder, kind=kind).shards for record in shard.read()]
    ids = [record.id.removeprefix(f"{name}/") for record in found if isinstance(record, Item)]
    return ids, [record for record in found if isinstance(record, Skip)]


def sizes(skips: list[Skip]) -> list[tuple[str, int | None, int | None]]:
    return [(skip.reason, skip.items, skip.bytes) for skip in skips]


ALL = ["a.txt", "b.txt", "c.txt", "d.txt", "e.txt"]
JOINED: dict[str, tuple[str, bytes]] = {
    "plain": ("x.tar", FIRST + SECOND),
    "without an end between them": ("x.tar", FIRST[: 3 * 3 * BLOCK] + SECOND),
    "a zero block before each": ("x.tar", bytes(BLOCK) + FIRST + bytes(7 * BLOCK) + SECOND),
    "gzip members": ("x.tar.gz", gzip.compress(FIRST) + gzip.compress(SECOND)),
    "gzip members with zeros between": ("x.tgz", gzip.compress(FIRST) + bytes(900) + gzip.compress(SECOND) + bytes(3)),
    "one archive in two gzip members": ("x.tar.gz", gzip.compress(FIRST[:700]) + gzip.compress(FIRST[700:] + SECOND)),
    "bzip2 streams": ("x.tar.bz2", bz2.compress(FIRST) + bz2.compress(SECOND)),
    "xz streams": ("x.tar.xz", lzma.compress(FIRST) + lzma.compress(SECOND)),
    "xz streams with padding": ("x.txz", lzma.compress(FIRST) + bytes(8) + lzma.compress(SECOND)),
    "another suffix": ("x.zip", FIRST + SECOND),
    "no suffix": ("x", gzip.compress(FIRST + SECOND)),
}


@pytest.mark.parametrize("how", JOINED)
def test_joined_archives_are_read_to_the_end(tmp_path: Path, how: str) -> None:
    name, data = JOINED[how]
    ids, skips = read(tmp_path, data, name=name)
    assert (ids, skips) == (ALL, [])


def test_what_gnu_tar_reads_with_ignore_zeros_is_what_is_read(tmp_path: Path) -> None:
    data = FIRST + SECOND
    with tarfile.open(fileobj=io.BytesIO(data), ignore_zeros=True) as archive:
        assert read(tmp_path, data)[0] == archive.getnames()


def test_a_damaged_header_loses_its_member_alone_and_its_bytes_are_stated(tmp_path: Path) -> None:
    at = FIRST.index(b"b.txt")
    damaged = FIRST[: at + 1] + b"\xff" + FIRST[at + 2 :]
    ids, skips = read(tmp_path, damaged)
    assert ids == ["a.txt", "c.txt"]
    assert sizes(skips) == [("broken archive", None, 3 * BLOCK)]


@pytest.mark.parametrize("size", [1, 511, 512, 700, 20_000])
def test_bytes_behind_an_archive_are_stated(tmp_path: Path, size: int) -> None:
    ids, skips = read(tmp_path, FIRST + b"\x07" * size)
    assert (ids, sizes(skips)) == (["a.txt", "b.txt", "c.txt"], [("bytes after the archive", None, size)])


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("size", [1, 700, 200_000])
def test_bytes_behind_a_compressed_archive_are_stated(tmp_path: Path, pack: Callable[..., bytes], size: int) -> None:
    ids, skips = read(tmp_path, pack(FIRST) + b"\x07" * size)
    assert (ids, sizes(skips)) == (["a.txt", "b.txt", "c.txt"], [("bytes after the archive", None, size)])


def test_bytes_before_an_archive_are_stated(tmp_path: Path) -> None:
    ids, skips = read(tmp_path, b"\x07" * (2 * BLOCK) + FIRST)
    assert (ids, sizes(skips)) == (["a.txt", "b.txt", "c.txt"], [("broken archive", None, 2 * BLOCK)])


@pytest.mark.parametrize(
    ("end", "reason", "missing"),
    [
        (3 * BLOCK, "archive without an end mark, may be cut", 0),  # between two members
        (4 * BLOCK + 100, "archive ends early, more may be missing", 100),  # in the second one's content
        (3 * BLOCK + 100, "broken archive", 100),  # in its header
    ],
)
def test_a_cut_archive_says_that_something_is_missing(tmp_path: Path, end: int, reason: str, missing: int) -> None:
    ids, skips = read(tmp_path, FIRST[:end])
    assert ids == ["a.txt"]
    assert [(skip.reason, skip.bytes) for skip in skips] == [(reason, missing)]
    assert skips[0].items in (1, None)


@pytest.mark.parametrize(("pack", "suffix"), [(bz2.compress, "bz2"), (lzma.compress, "xz")])
def test_what_a_damaged_compression_hides_is_stated_in_its_bytes(
    tmp_path: Path, pack: Callable[..., bytes], suffix: str
) -> None:
    noise = np.random.default_rng(0).integers(97, 122, 400_000, dtype=np.uint8).tobytes()
    packed = bytearray(pack(tar("a.txt", "b.txt", content=noise, size=1)))
    packed[len(packed) // 4] ^= 0xFF
    ids, skips = read(tmp_path, bytes(packed), name=f"x.tar.{suffix}")
    assert len(ids) < 2
    assert skips[-1].items is None
    assert sum(skip.bytes or 0 for skip in skips) > len(packed) // 2


def test_a_wrong_checksum_is_stated_though_all_was_unpacked(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(FIRST))
    packed[-8] ^= 0xFF
    ids, skips = read(tmp_path, bytes(packed), name="x.tar.gz")
    assert (ids, [skip.reason for skip in skips]) == (["a.txt", "b.txt", "c.txt"], ["broken archive"])


def test_long_names_of_either_kind_are_read_and_survive_damage_beside_them(tmp_path: Path) -> None:
    names = [f"{'d' * 150}/{i}.txt" for i in range(3)]
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        data = tar(*names, form=form)
        assert read(tmp_path, data) == (names, [])
        at = data.index(b"some words ")
        ids, skips = read(tmp_path, data[: at - 300] + b"\xff" + data[at - 299 :])
        assert len(ids) + len(skips) >= 3
        assert names[2] in ids


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["a", "a.dat", "a.txt", "a.jfif", "a.JPE", "a.mp4"])
def test_an_image_is_known_by_its_bytes_whatever_its_name(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, tar(name, content=jpeg(), size=1), kind="image") == ([name], [])


def test_other_members_are_counted_by_what_they_may_hold(tmp_path: Path) -> None:
    members = {
        "a.jpg": jpeg(), "readme.md": b"about", "inner.tar": FIRST, "inner.dat": gzip.compress(FIRST),
        "clip.bin": b"\x00\x01\x02" * 300, "x.heic": b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(100),
        "._a.jpg": b"\x00\x05\x16\x07", "__MACOSX/._b.jpg": b"\x00\x05\x16\x07", ".ipynb_checkpoints/a.jpg": jpeg(),
    }  # fmt: skip
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    ids, skips = read(tmp_path, buffer.getvalue(), kind="image")
    assert ids == ["a.jpg"]
    found = {skip.path.removeprefix("x.tar/"): (skip.reason, skip.items, skip.bytes) for skip in skips}
    assert found == {
        "readme.md": ("unsupported file type", 0, 5),
        "inner.tar": ("archive or table inside, not opened", None, len(FIRST)),
        "inner.dat": ("archive or table inside, not opened", None, len(gzip.compress(FIRST))),
        "clip.bin": ("unsupported file type", 1, 900),
        "x.heic": ("image format not supported (heic)", 1, 124),
        "._a.jpg": ("hidden system file", 0, 4),
        "__MACOSX/._b.jpg": ("hidden system file", 0, 4),
        ".ipynb_checkpoints/a.jpg": ("hidden system file", 0, len(jpeg())),
    }


def test_names_of_a_megabyte_are_refused_and_cut(tmp_path: Path) -> None:
    data = gzip.compress(tar("a.txt", *(f"{i}{'n' * 10**6}.txt" for i in range(3)), "b.txt"))
    ids, skips = read(tmp_path, data, name="x.tar.gz")
    assert ids == ["a.txt", "b.txt"]
    assert [(skip.reason, skip.items, skip.bytes) for skip in skips] == [("name too long", 1, 600)] * 3
    assert all(len(skip.path) < 300 for skip in skips)


def header(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    """A header whose fields say anything."""
    raw = bytearray(BLOCK)
    raw[: len(name)], raw[124 : 124 + len(size)], raw[156:157], raw[257:265] = name, size, kind, b"ustar\x0000"
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


@pytest.mark.parametrize("size", [b"\x80" + b"\x7f" * 11, b"\xff" * 12, b"-0000000001\0"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_header_of_impossible_size_is_counted_and_reading_goes_on(tmp_path: Path, size: bytes, packed: bool) -> None:
    data = header(b"z.txt", size) + FIRST
    name, stored = ("x.tar.gz", gzip.compress(data)) if packed else ("x.tar", data)
    ids, skips = read(tmp_path, stored, name=name)
    assert ids == ["a.txt", "b.txt", "c.txt"]
    assert [(skip.reason, skip.items, skip.bytes) for skip in skips] == [("broken archive", None, BLOCK)]


def test_a_member_that_states_more_than_there_is_ends_with_the_file(tmp_path: Path) -> None:
    ids, skips = read(tmp_path, FIRST[: -4 * BLOCK] + header(b"z.txt", b"77777777777\0") + b"x" * 1000)
    assert "z.txt" not in ids
    assert "too large" in [skip.reason for skip in skips]


def test_an_extended_header_of_impossible_size_is_counted(tmp_path: Path) -> None:
    record = b"33 size=9999999999999999999999\n\n\n".ljust(BLOCK, b"\0")
    data = header(b"p", b"00000000041\0", b"x") + record + header(b"z.txt", b"00000000000\0") + FIRST
    ids, skips = read(tmp_path, data)
    assert ids == ["a.txt", "b.txt", "c.txt"]
    assert sum(skip.bytes or 0 for skip in skips) > 0


def test_a_hundred_megabytes_of_zeros_between_archives_are_passed_over(tmp_path: Path) -> None:
    data = gzip.compress(FIRST) + 100 * gzip.compress(bytes(2**20)) + gzip.compress(SECOND)
    assert read(tmp_path, data, name="x.tar.gz") == (["a.txt", "b.txt", "c.txt", "d.txt", "e.txt"], [])


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz"])
def test_an_archive_that_is_cut_before_it_is_read_lacks_what_it_lost(tmp_path: Path, name: str) -> None:
    data = tar(*(f"{i}.txt" for i in range(40)))
    stored = gzip.compress(data) if name.endswith("gz") else data
    (tmp_path / name).write_bytes(stored)
    shards = open_source(tmp_path, kind="text").shards
    os.truncate(tmp_path / name, len(stored) // 2)
    lost = [record for shard in shards for record in shard.read() if isinstance(record, Skip)]
    expected = ("file was cut while it was read", None, len(stored) - len(stored) // 2)
    assert expected in [(skip.reason, skip.items, skip.bytes) for skip in lost]
