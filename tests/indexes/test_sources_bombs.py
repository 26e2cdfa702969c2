"""Small files that unpack to much: reading ends within bounds, and what is not read is stated."""

import bz2
import gzip
import io
import json
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexes.errors import InputError
from indexes.records import Item, Kind, Skip
from indexes.sources import open_source

MIB = 2**20
BOMB = "unpacks to far more than its size"
PACKERS: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
LINES = b"".join(json.dumps({"text": f"words {i}"}).encode() + b"\n" for i in range(5))


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("unpacked", "zip", "arrays", "parquet"):
        monkeypatch.setattr(f"indexes.sources.{module}.MOST_BYTES", 4 * MIB)


def read(path: Path, kind: Kind) -> tuple[int, list[Skip]]:
    found = [record for shard in open_source(path, kind=kind).shards for record in shard.read()]
    return sum(isinstance(record, Item) for record in found), [each for each in found if isinstance(each, Skip)]


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for i in range(5):
            info = tarfile.TarInfo(f"{i}.txt")
            info.size = 5
            archive.addfile(info, io.BytesIO(b"words"))
    return buffer.getvalue()


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("name", ["a.tar", "a.jsonl"])
def test_a_compressed_file_is_unpacked_up_to_a_limit(tmp_path: Path, packer: str, name: str) -> None:
    pack = PACKERS[packer]
    path = tmp_path / f"{name}.{packer}"
    path.write_bytes(pack(tar() if name == "a.tar" else LINES) + 24 * pack(bytes(MIB)))
    items, skips = read(path, "text")
    assert items == 5
    assert skips[-1].reason == BOMB
    assert skips[-1].items is None
    assert skips[-1].bytes > 0


def test_a_large_file_that_unpacks_to_as_much_as_files_do_is_read_whole(tmp_path: Path) -> None:
    data = b"".join(
        json.dumps({"text": np.random.default_rng(i).bytes(700).hex()}).encode() + b"\n" for i in range(4000)
    )
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(data, 1))
    assert len(data) > 4 * MIB
    assert read(tmp_path, "text") == (4000, [])


def test_an_xz_file_that_asks_for_gigabytes_is_damage(tmp_path: Path) -> None:
    greedy = bytearray(lzma.compress(LINES))
    head = greedy[12 : 12 + 4 * (greedy[12] + 1)]
    head[4] = 40  # a dictionary of 4 GiB
    head[-4:] = struct.pack("<L", zlib.crc32(bytes(head[:-4])))
    greedy[12 : 12 + len(head)] = head
    (tmp_path / "a.jsonl.xz").write_bytes(lzma.compress(LINES) + bytes(greedy))
    items, skips = read(tmp_path, "text")
    assert (items, [skip.reason for skip in skips]) == (5, ["broken archive"])


def test_members_of_a_zip_that_unpack_to_far_more_than_their_size_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(3):
            archive.writestr(f"good{i}.txt", f"words {i}")
            archive.writestr(f"bomb{i}.txt", bytes(3 * MIB))
    items, skips = read(tmp_path, "text")
    assert items == 3
    assert [(skip.reason, skip.items) for skip in skips] == [(BOMB, 1)] * 3
    assert all(skip.bytes > 3000 for skip in skips)


def test_one_white_picture_in_a_zip_is_no_bomb(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("white.bmp", b"BM" + b"\xff" * 3 * MIB)
    assert read(tmp_path, "image") == (1, [])


def test_an_npz_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", v=np.zeros((400_000, 6), dtype=np.float32))
    with pytest.raises(InputError, match="unpacks to 9600128 bytes"):
        open_source(tmp_path, kind="vector")


def repeated(path: Path, value: bytes, rows: int) -> None:
    indices = pa.array(np.zeros(rows, dtype=np.int32))
    cells = pa.DictionaryArray.from_arrays(indices, pa.array([value], pa.binary()))
    pq.write_table(pa.table({"image": cells}), path, dictionary_pagesize_limit=2**30, compression="zstd")


def test_a_value_that_many_rows_of_a_table_repeat_is_read_up_to_a_limit(tmp_path: Path) -> None:
    repeated(tmp_path / "a.parquet", bytes(MIB), 1000)
    items, skips = read(tmp_path, "image")
    assert items <= 512  # two batches of 256 MB
    assert [(skip.reason, skip.items) for skip in skips] == [(BOMB, 1000 - items)]


def test_a_large_value_is_never_held_for_more_than_a_few_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexes.sources.parquet._MOST_BATCH_BYTES", 3 * MIB)
    repeated(tmp_path / "a.parquet", bytes(MIB), 1000)
    shard: Any = open_source(tmp_path, kind="image").shards[0]
    sizes = [len(cells) for cells in shard.batches(shard.file, "image", shard.groups) if not hasattr(cells, "reason")]
    assert set(sizes) <= {1, 2}


def test_a_dictionary_that_is_too_large_loses_its_rows_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexes.sources.parquet._MAX_DICTIONARY", MIB)
    repeated(tmp_path / "a.parquet", bytes(2 * MIB), 7)
    repeated(tmp_path / "b.parquet", bytes(MIB // 2), 7)
    items, skips = read(tmp_path, "image")
    assert (items, [(skip.reason, skip.items) for skip in skips]) == (7, [("too large", 7)])


def test_millions_of_missing_values_are_few_records(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.nulls(3_000_000, pa.string())}), tmp_path / "a.parquet")
    items, skips = read(tmp_path, "text")
    assert (items, sum(skip.items or 0 for skip in skips)) == (0, 3_000_000)
    assert len(skips) < 5000
    assert {skip.reason for skip in skips} == {"missing value"}


def _no_width(rows: int) -> tuple[Kind, pa.Array]:
    kind = pa.list_(pa.float32(), 0)
    return "vector", pa.FixedSizeListArray.from_buffers(kind, rows, [None], children=[pa.array([], pa.float32())])


def _no_bytes(rows: int) -> tuple[Kind, pa.Array]:
    return "image", pa.FixedSizeBinaryArray.from_buffers(pa.binary(0), rows, [None, pa.py_buffer(b"")])


@pytest.mark.parametrize("make", [_no_width, _no_bytes])
def test_billions_of_cells_without_content_are_one_record(
    tmp_path: Path, make: Callable[[int], tuple[Kind, pa.Array]]
) -> None:
    kind, cells = make(2**31 - 1)
    batch = pa.record_batch({"vector" if kind == "vector" else "image": cells})
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    items, skips = read(tmp_path, kind)
    assert (items, [skip.items for skip in skips]) == (0, [2**31 - 1])


HOSTILE_LINES = {
    "many values": b'{"a": 1}' * 100_000,
    "many values with spaces": b'{"a": 1},  ' * 100_000,
    "many keys": b'{"text": "a", "text": "b", %s}' % b", ".join(b'"k%d": 1' % i for i in range(100_000)),
}


@pytest.mark.parametrize("line", HOSTILE_LINES)
def test_a_line_of_many_parts_is_counted(tmp_path: Path, line: str) -> None:
    """Work that grows with the square of its length would take minutes."""
    (tmp_path / "a.jsonl").write_bytes(LINES + HOSTILE_LINES[line] + b"\n")
    items, skips = read(tmp_path, "text")
    assert (items, sum(skip.items or 0 for skip in skips)) == (5, 1 if line == "many keys" else 100_000)


def test_a_message_names_some_of_many_keys(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({f"key{i}": i for i in range(1000)}))
    with pytest.raises(InputError, match=r"found key0, key1, .*key19, …; name one with --column"):
        open_source(tmp_path, kind="text")


def test_a_message_names_some_of_many_columns_and_arrays(tmp_path: Path) -> None:
    pq.write_table(pa.table({f"c{i}": [i] for i in range(100)}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"found c0 \(int64\), .*, c19 \(int64\), …; name it"):
        open_source(tmp_path / "a.parquet", kind="image")
    np.savez(tmp_path / "a.npz", **{f"a{i}": np.zeros((2, 3)) for i in range(100)})
    with pytest.raises(InputError, match=r"found a0 \(2, 3\), .*, a19 \(2, 3\), …; choose"):
        open_source(tmp_path / "a.npz", kind="vector")
