"""Zip archives: sound, joined, cut, damaged and hostile; every byte of the file is accounted for."""

import io
import pickle
import struct
import zipfile
from pathlib import Path

import pytest

from indexes.errors import InputError
from indexes.records import Item, Kind, Skip, Source
from indexes.sources import open_source
from indexes.sources.files import MAX_ITEM_BYTES, Refused

JPEG, PNG = b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"


def read(source: Source) -> list[Item | Skip]:
    return [record for shard in source.shards for record in shard.read()]


def ids(source: Source) -> list[str]:
    return [record.id for record in read(source) if isinstance(record, Item)]


def skips(source: Source) -> list[Skip]:
    return [record for record in read(source) if isinstance(record, Skip)]


def facts(source: Source) -> list[tuple[str, str, int | None, int | None]]:
    return [(skip.path, skip.reason, skip.items, skip.bytes) for skip in skips(source)]


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.comment = comment
    return content.getvalue()


class _Pipe(io.RawIOBase):
    """A target that cannot seek, so that sizes are written behind the data."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.written += bytes(data)  # type: ignore[call-overload]  # a buffer, as RawIOBase promises
        return len(data)


def streamed(members: dict[str, bytes], method: int = zipfile.ZIP_STORED, *, is_zip64: bool = False) -> bytes:
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", method) as archive:
        for name, data in members.items():
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=is_zip64) as handle:
                handle.write(data)
    return pipe.written


def with_zip64_end(data: bytes) -> bytes:
    """The same archive with the 64-bit end records that writers of large archives add."""
    end = data.rindex(b"PK\x05\x06")
    count, size, offset = struct.unpack("<HLL", data[end + 10 : end + 20])
    record = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    last = struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:end] + record + locator + last


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    path.write_bytes(zipped(members))
    return path


def save(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def pictures(first: int, last: int, size: int = 300) -> dict[str, bytes]:
    """Pictures by name, of bytes that deflate well enough and differ from each other."""
    return {f"{i}.jpg": JPEG + bytes((i * j * j) % 61 for j in range(size)) for i in range(first, last)}


def test_a_zip_gives_images_and_passes_over_captions_and_folders(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"d/": b"", "d/0.jpg": b"x", "d/0.txt": b"cat", "readme.md": b"hi"})
    assert read(open_source(path, kind="image")) == [
        Item("a.zip/d/0.jpg", b"x"),
        Skip("a.zip/readme.md", "unsupported file type"),
    ]
    assert read(open_source(path, kind="text"))[0] == Item("a.zip/d/0.txt", "cat")


def test_a_zip_is_cut_into_chunks_of_1024_members(tmp_path: Path) -> None:
    source = open_source(write_zip(tmp_path / "a.zip", {f"{i:04d}.jpg": b"x" for i in range(1030)}), kind="image")
    assert [shard.name for shard in source.shards] == ["a.zip:00000", "a.zip:00001"]
    assert ids(source) == [f"a.zip/{i:04d}.jpg" for i in range(1030)]


def test_hostile_zip_members_are_one_skip_each(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("../up.jpg", "/abs.jpg", "..\\up.jpg", "ok.jpg"):
            archive.writestr(zipfile.ZipInfo(name), b"x")
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, b"/etc/passwd")
    assert read(open_source(tmp_path, kind="image")) == [
        Skip("a.zip/../up.jpg", "path leaves the archive"),
        Skip("a.zip//abs.jpg", "path leaves the archive"),
        Skip("a.zip/..\\up.jpg", "path leaves the archive"),
        Item("a.zip/ok.jpg", b"x"),
        Skip("a.zip/link.jpg", "not a regular file"),
    ]


def patch_directory(path: Path, offset: int, value: bytes) -> None:
    """Overwrite a field of the first entry of the central directory."""
    data = bytearray(path.read_bytes())
    start = data.index(b"PK\x01\x02") + offset
    data[start : start + len(value)] = value
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [
        (8, struct.pack("<H", 1), "encrypted"),
        (24, struct.pack("<L", MAX_ITEM_BYTES + 1), "too large"),
        (24, struct.pack("<L", 9000), "broken archive member"),  # states more than it holds
        (24, struct.pack("<L", 1), "broken archive member"),  # states less than it holds
        (16, b"\0\0\0\0", "broken archive member"),  # checksum
        (10, struct.pack("<H", 77), "unsupported compression"),
    ],
)
def test_a_zip_directory_that_lies_costs_that_member_alone(
    tmp_path: Path, offset: int, value: bytes, reason: str
) -> None:
    path = write_zip(tmp_path / "a.zip", {"0.jpg": b"hello", "1.jpg": b"x"})
    patch_directory(path, offset, value)
    assert read(open_source(path, kind="image")) == [Skip("a.zip/0.jpg", reason), Item("a.zip/1.jpg", b"x")]


ONE, TWO, THREE = pictures(0, 3), pictures(3, 5), pictures(5, 9)


@pytest.mark.parametrize(
    "parts",
    [
        [zipped(ONE), zipped(TWO)],
        [zipped(ONE), zipped(TWO), zipped(THREE)],
        [zipped(ONE, zipfile.ZIP_DEFLATED), zipped(TWO, zipfile.ZIP_BZIP2), zipped(THREE, zipfile.ZIP_LZMA)],
        [zipped(ONE, comment=b"first"), zipped(TWO, comment=b"second")],
        [with_zip64_end(zipped(ONE)), with_zip64_end(zipped(TWO))],
        [streamed(ONE), streamed(TWO, zipfile.ZIP_DEFLATED), streamed(THREE, is_zip64=True)],
        [zipped({}), zipped(ONE), zipped({}), zipped(TWO)],
    ],
    ids=["two", "three", "compressed", "comments", "zip64", "streamed", "empty ones between"],
)
def test_joined_zips_are_read_to_the_last(tmp_path: Path, parts: list[bytes]) -> None:
    expected: dict[str, bytes] = {}
    for part in parts:
        with zipfile.ZipFile(io.BytesIO(part)) as archive:
            expected |= {name: archive.read(name) for name in archive.namelist()}
    path = save(tmp_path / "a.zip", b"".join(parts))
    assert read(open_source(path, kind="image")) == [Item(f"a.zip/{name}", data) for name, data in expected.items()]


def test_a_name_of_two_joined_zips_is_read_once(tmp_path: Path) -> None:
    path = save(tmp_path / "a.zip", zipped(ONE) + zipped(ONE | TWO))
    source = open_source(path, kind="image")
    assert ids(source) == [f"a.zip/{name}" for name in ONE | TWO]
    assert [(skip.reason, skip.items) for skip in skips(source)] == [("repeated name", 1)] * 3


@pytest.mark.parametrize("size", [1, 22, 4000, 70_000])
@pytest.mark.parametrize("fill", [b"\0", b"x", b"PK\x05\x06"])
def test_bytes_around_an_archive_are_one_skip_each(tmp_path: Path, size: int, fill: bytes) -> None:
    garbage = (fill * size)[:size]
    after = open_source(save(tmp_path / "after.zip", zipped(ONE) + garbage), kind="image")
    assert len(ids(after)) == 3
    assert sum(skip.bytes or 0 for skip in skips(after)) == size
    before = open_source(save(tmp_path / "before.zip", garbage + zipped(ONE)), kind="image")
    assert len(ids(before)) == 3
    assert sum(skip.bytes or 0 for skip in skips(before)) == size


def test_where_the_bytes_lie_is_the_reason(tmp_path: Path) -> None:
    data = b"#!/bin/sh unpack\n" + zipped(ONE) + b"between" + zipped(TWO) + b"after it"
    assert facts(open_source(save(tmp_path / "a.zip", data), kind="image")) == [
        ("a.zip", "bytes before the archive", None, 17),
        ("a.zip", "bytes between members", None, 7),
        ("a.zip", "bytes after the archive", None, 8),
    ]


def moved(data: bytes, by: int) -> bytes:
    """An archive whose offsets already count the bytes that will be put before it, as self-extractors do."""
    content = bytearray(data)
    place = content.index(b"PK\x01\x02")
    while content[place : place + 4] == b"PK\x01\x02":
        offset = struct.unpack_from("<L", content, place + 42)[0]
        struct.pack_into("<L", content, place + 42, offset + by)
        place += 46 + sum(struct.unpack_from("<3H", content, place + 28))
    struct.pack_into("<L", content, place + 16, struct.unpack_from("<L", content, place + 16)[0] + by)
    return bytes(content)


def test_a_self_extractor_with_moved_offsets_is_read_and_its_program_counted(tmp_path: Path) -> None:
    path = save(tmp_path / "a.zip", b"\x7fELF" * 25 + moved(zipped(ONE), 100))
    source = open_source(path, kind="image")
    assert len(ids(source)) == 3
    assert facts(source) == [("a.zip", "bytes before the archive", None, 100)]


def without_entry(data: bytes, number: int) -> bytes:
    """The archive with one member taken out of its directory, and its bytes left in place."""
    end = data.rindex(b"PK\x05\x06")
    count, size, offset = struct.unpack("<HLL", data[end + 10 : end + 20])
    places = [offset]
    while data[places[-1] : places[-1] + 4] == b"PK\x01\x02":
        places.append(places[-1] + 46 + sum(struct.unpack("<3H", data[places[-1] + 28 : places[-1] + 34])))
    start, stop = places[number], places[number + 1]
    record = struct.pack("<HHLL", count - 1, count - 1, size - (stop - start), offset)
    return data[:start] + data[stop:end] + data[end : end + 8] + record + data[end + 20 :]


@pytest.mark.parametrize("pack", [zipped, streamed])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_member_that_the_directory_does_not_list_is_read_or_counted(
    tmp_path: Path, pack: object, number: int
) -> None:
    data = without_entry(pack(ONE), number)  # one of the two writers above
    source = open_source(save(tmp_path / "a.zip", data), kind="image")
    listed = [name for name in ids(source) if name != f"a.zip/{number}.jpg"]
    assert listed == [f"a.zip/{i}.jpg" for i in range(3) if i != number]
    hidden = sum(skip.items or 0 for skip in skips(source) if skip.reason == "bytes between members")
    assert len(ids(source)) + hidden == 3


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("pack", [zipped, streamed])
def test_members_of_a_zip_without_a_directory_are_found_by_their_own_headers(
    tmp_path: Path, pack: object, method: int
) -> None:
    data = pack(THREE, method)  # one of the two writers above
    path = save(tmp_path / "a.zip", data[: data.index(b"PK\x01\x02")])
    source = open_source(path, kind="image")
    assert [record for record in read(source) if isinstance(record, Item)] == [
        Item(f"a.zip/{name}", content) for name, content in THREE.items()
    ]
    assert facts(source) == [("a.zip", "broken archive", None, 0)]


def test_what_is_no_zip_is_refused_alone_and_one_skip_in_a_folder(tmp_path: Path) -> None:
    for data in (b"", b"no zip" * 40, b"PK", b"PK\x03\x04", b"PK\x05\x06" + b"\xff" * 18):
        path = save(tmp_path / "a.zip", data)
        with pytest.raises(InputError, match=r"a\.zip"):
            open_source(path, kind="image")
    save(tmp_path / "b.jpg", JPEG)
    source = open_source(tmp_path, kind="image")
    assert ids(source) == ["b.jpg"]
    assert [skip.path for skip in skips(source)] == ["a.zip"]


def test_members_are_taken_for_what_they_hold_whatever_their_suffix(tmp_path: Path) -> None:
    members = {"picture": JPEG + b"x", "0.dat": PNG + b"y", "1.txt": JPEG + b"z", "note": b"some words"}
    members |= {"photo.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "inner": zipped(ONE), "blob.bin": bytes(range(64))}
    source = open_source(write_zip(tmp_path / "a.zip", members), kind="image")
    assert ids(source) == ["a.zip/picture", "a.zip/0.dat", "a.zip/1.txt"]
    assert {path: items for path, _, items, _ in facts(source)} == {
        "a.zip/note": 0,
        "a.zip/photo.heic": 1,
        "a.zip/inner": None,
        "a.zip/blob.bin": 1,
    }


def test_what_lies_beside_texts_counts_as_unread(tmp_path: Path) -> None:
    members = {"0.txt": b"words", "page.html": b"<p>more", "table.csv": b"a,b\n1,2\n", "photo.png": PNG}
    source = open_source(write_zip(tmp_path / "a.zip", members), kind="text")
    assert ids(source) == ["a.zip/0.txt"]
    assert facts(source) == [
        ("a.zip/page.html", "unsupported file type", 1, 7),
        ("a.zip/table.csv", "unsupported file type", None, 8),
        ("a.zip/photo.png", "unsupported file type", 1, 8),
    ]


def test_a_zip_of_pictures_without_suffixes_is_read(tmp_path: Path) -> None:
    members = {str(i): data for i, data in enumerate(ONE.values())}
    assert len(ids(open_source(write_zip(tmp_path / "a.zip", members), kind="image"))) == 3


@pytest.mark.parametrize(
    ("members", "kind", "items"),
    [
        ({"a.md": b"words", "b.md": b"words"}, "text", 2),
        ({"a.md": b"words"}, "image", 0),
        ({"a.heic": b"\0\0\0\x18ftypheic", "b": bytes(range(9))}, "image", 2),
        ({"a": zipped(ONE)}, "image", None),
        ({}, "image", 0),
    ],
)
def test_a_zip_without_one_item_is_refused_with_what_it_may_hold(
    tmp_path: Path, members: dict[str, bytes], kind: Kind, items: int | None
) -> None:
    with pytest.raises(Refused, match=f"is a file of kind {kind}") as refused:
        open_source(write_zip(tmp_path / "a.zip", members), kind=kind)
    assert refused.value.items == items


def test_files_of_the_system_are_counted_and_stand_for_no_item(tmp_path: Path) -> None:
    members = {"0.jpg": JPEG, "__MACOSX/._0.jpg": b"\0\5\x16\7", "d/.DS_Store": b"\0", "Thumbs.db": b"x"}
    source = open_source(write_zip(tmp_path / "a.zip", members), kind="image")
    assert ids(source) == ["a.zip/0.jpg"]
    assert [(reason, items) for _, reason, items, _ in facts(source)] == [("hidden system file", 0)] * 3


def test_a_folder_entry_that_holds_bytes_is_no_folder(tmp_path: Path) -> None:
    data = zipped({"0.jpg": JPEG, "dd": JPEG + b"secret"}).replace(b"dd", b"d/")
    assert ids(open_source(save(tmp_path / "a.zip", data), kind="image")) == ["a.zip/0.jpg", "a.zip/d"]


def test_entries_that_share_their_bytes_are_read_once(tmp_path: Path) -> None:
    data = zipped({"0.jpg": JPEG + b"a" * 500, "1.jpg": JPEG + b"b" * 500})
    second = data.rindex(b"PK\x01\x02")
    content = bytearray(data)
    struct.pack_into("<L", content, second + 42, 0)  # the second entry leads to the first member
    source = open_source(save(tmp_path / "a.zip", bytes(content)), kind="image")
    assert ids(source) == ["a.zip/0.jpg"]
    assert ("a.zip/1.jpg", "broken archive member", 1) in [fact[:3] for fact in facts(source)]
    assert "bytes between members" in [skip.reason for skip in skips(source)]


@pytest.mark.parametrize("count", [0, 1, 7, 60_000])
def test_the_count_of_a_directory_is_not_believed(tmp_path: Path, count: int) -> None:
    content = bytearray(zipped(ONE))
    struct.pack_into("<HH", content, content.rindex(b"PK\x05\x06") + 8, count, count)
    assert len(ids(open_source(save(tmp_path / "a.zip", bytes(content)), kind="image"))) == 3


def test_shards_of_joined_zips_can_be_sent_to_other_processes(tmp_path: Path) -> None:
    source = open_source(save(tmp_path / "a.zip", zipped(ONE) + zipped(TWO) + b"rest"), kind="image")
    sent = [pickle.loads(pickle.dumps(shard)) for shard in source.shards]
    assert [record for shard in sent for record in shard.read()] == read(source)


PACKED = {
    "stored": zipped(THREE),
    "deflated": zipped(THREE, zipfile.ZIP_DEFLATED),
    "streamed": streamed(THREE, zipfile.ZIP_DEFLATED),
    "zip64": with_zip64_end(zipped(THREE)),
}


def account(path: Path) -> tuple[list[Item], int, bool]:
    """The items, how many more are counted as skipped, and whether some bytes stand for an unknown number."""
    try:
        records = read(open_source(path, kind="image"))
    except Refused as error:
        return [], error.items or 0, error.items is None
    skipped = [record for record in records if isinstance(record, Skip)]
    items = [record for record in records if isinstance(record, Item)]
    return items, sum(skip.items or 0 for skip in skipped), any(skip.items is None for skip in skipped)


@pytest.mark.parametrize("form", PACKED)
def test_a_zip_cut_anywhere_gives_its_whole_members_and_says_that_it_is_cut(tmp_path: Path, form: str) -> None:
    data, truth = PACKED[form], [Item(f"a.zip/{name}", content) for name, content in THREE.items()]
    directory = data.index(b"PK\x01\x02")
    for cut in (len(data) * step // 21 for step in range(1, 21)):
        items, counted, is_open = account(save(tmp_path / "a.zip", data[:cut]))
        assert items == truth[: len(items)]
        assert is_open or len(items) + counted >= len(truth)
        assert len(items) == len(truth) or cut < directory


@pytest.mark.parametrize("form", PACKED)
def test_a_damaged_byte_of_a_zip_never_makes_a_member_vanish_or_wrong(tmp_path: Path, form: str) -> None:
    data, truth = PACKED[form], {f"a.zip/{name}": content for name, content in THREE.items()}
    for place in range(0, len(data), len(data) // 50):
        for damage in (0x01, 0xFF):
            broken = data[:place] + bytes([data[place] ^ damage]) + data[place + 1 :]
            items, counted, is_open = account(save(tmp_path / "a.zip", broken))
            assert {item.id: item.data for item in items}.items() <= truth.items(), place
            assert is_open or len(items) + counted >= len(truth), place
            assert len(items) >= len(truth) - 2, place


@pytest.mark.parametrize("form", PACKED)
@pytest.mark.parametrize("garbage", [b"\0" * 700, b"garbage" * 20_000, b"PK\x03\x04" * 50, b"PK\x01\x02" * 50])
def test_garbage_around_a_zip_hides_nothing(tmp_path: Path, form: str, garbage: bytes) -> None:
    for data in (PACKED[form] + garbage, garbage + PACKED[form], garbage + PACKED[form] + garbage):
        source = open_source(save(tmp_path / "a.zip", data), kind="image")
        assert ids(source) == [f"a.zip/{name}" for name in THREE]
        assert sum(skip.bytes or 0 for skip in skips(source)) == len(data) - len(PACKED[form])
