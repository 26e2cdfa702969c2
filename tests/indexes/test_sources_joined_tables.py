"""Parquet and Arrow files that are joined, cut, damaged or padded: every row is read or counted."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexes.errors import InputError
from indexes.records import Item, Kind, Skip
from indexes.sources import open_source
from indexes.sources.files import Refused

ROWS = 40
JUNK = np.random.default_rng(0).bytes(777)


def texts(tag: str, rows: int = ROWS) -> list[str]:
    return [f"{tag} {row}: a text that is not too short" for row in range(rows)]


def columns(tag: str) -> pa.Table:
    return pa.table({"text": texts(tag), "n": range(ROWS), "emb": [[float(row)] * 3 for row in range(ROWS)]})


def with_dictionary(table: pa.Table) -> pa.Table:
    return table.set_column(0, "text", pa.chunked_array([table.column(0).combine_chunks().dictionary_encode()]))


def parquet(table: pa.Table, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **{"row_group_size": 10, **options})
    return buffer.getvalue()


def arrow(table: pa.Table, writer: Callable[..., Any] = pa.ipc.new_stream, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with writer(buffer, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as handle:
        handle.write_table(table, max_chunksize=10)
    return buffer.getvalue()


FORMS: dict[str, Callable[[str], bytes]] = {
    "plain.parquet": lambda tag: parquet(columns(tag), compression="none", use_dictionary=False),
    "indexed.parquet": lambda tag: parquet(columns(tag), write_page_index=True, write_page_checksum=True),
    "single.parquet": lambda tag: parquet(columns(tag), row_group_size=ROWS, compression="zstd"),
    "stream.arrow": lambda tag: arrow(columns(tag)),
    "dictionary.arrow": lambda tag: arrow(with_dictionary(columns(tag)), compression="zstd"),
    "file.feather": lambda tag: arrow(columns(tag), pa.ipc.new_file),
    "packed.ipc": lambda tag: arrow(with_dictionary(columns(tag)), pa.ipc.new_file, compression="lz4"),
}


def records(folder: Path, name: str, data: bytes, kind: Kind = "text", column: str | None = None) -> list[Item | Skip]:
    (folder / name).write_bytes(data)
    source = open_source(folder / name, kind=kind, column=column)
    return [record for shard in source.shards for record in shard.read()]


def data_of(found: list[Item | Skip]) -> list[Any]:
    return [record.data for record in found if isinstance(record, Item)]


def skips_of(found: list[Item | Skip]) -> list[tuple[str, int | None, int | None]]:
    return [(record.reason, record.items, record.bytes) for record in found if isinstance(record, Skip)]


def counted(folder: Path, name: str, data: bytes) -> tuple[int, bool]:
    """Rows read and rows skipped, and whether bytes are stated that may hold more or the file is refused whole."""
    try:
        found = records(folder, name, data)
    except InputError:
        return 0, True
    skips = [record for record in found if isinstance(record, Skip)]
    assert all(skip.items is not None or skip.bytes for skip in skips)
    assert len({record.id for record in found if isinstance(record, Item)}) == len(data_of(found))
    return len(data_of(found)) + sum(skip.items or 0 for skip in skips), any(skip.items is None for skip in skips)


@pytest.mark.parametrize("name", FORMS)
def test_joined_files_are_read_with_rows_numbered_on(tmp_path: Path, name: str) -> None:
    found = records(tmp_path, name, b"".join(FORMS[name](tag) for tag in "abc"))
    assert found == [Item(f"{name}#{row}", text) for row, text in enumerate([*texts("a"), *texts("b"), *texts("c")])]


@pytest.mark.parametrize("name", FORMS)
def test_bytes_around_tables_are_counted_and_the_tables_read(tmp_path: Path, name: str) -> None:
    a, b = FORMS[name]("a"), FORMS[name]("b")
    wanted = {
        a + JUNK: (texts("a"), [("bytes after the table", None, 777)]),
        JUNK + a: (texts("a"), [("bytes before the table", None, 777)]),
        a + JUNK + b: (texts("a") + texts("b"), [("bytes after the table", None, 777)]),
        a + bytes(100): (texts("a"), [("bytes after the table", None, 100)]),
    }
    for data, (items, skips) in wanted.items():
        found = records(tmp_path, name, data)
        assert (data_of(found), skips_of(found)) == (items, skips)


@pytest.mark.parametrize("name", FORMS)
def test_a_cut_file_counts_what_it_lost(tmp_path: Path, name: str) -> None:
    data = FORMS[name]("a")
    for cut in range(len(data) // 21, len(data), len(data) // 21):
        rows, is_open = counted(tmp_path, name, data[:cut])
        assert rows == ROWS or is_open, cut


@pytest.mark.parametrize("name", FORMS)
def test_a_damaged_byte_loses_no_row_in_silence(tmp_path: Path, name: str) -> None:
    data = FORMS[name]("a")
    for number, place in enumerate(range(3, len(data), len(data) // 21)):
        damaged = bytearray(data)
        damaged[place] ^= (1, 16, 128, 255)[number % 4]
        rows, is_open = counted(tmp_path, name, bytes(damaged))
        assert rows == ROWS or is_open, place


def test_a_damaged_row_group_loses_its_own_rows_alone(tmp_path: Path) -> None:
    data = bytearray(parquet(columns("a"), compression="zstd"))
    chunk = pq.read_metadata(pa.BufferReader(bytes(data))).row_group(1).column(0)
    start = chunk.dictionary_page_offset
    data[start : start + 40] = b"\xff" * 40
    found = records(tmp_path, "a.parquet", bytes(data))
    assert data_of(found) == texts("a")[:10] + texts("a")[20:]
    assert skips_of(found) == [("broken archive", 10, 0)]
    assert [record.id for record in found if isinstance(record, Item)][10] == "a.parquet#20"


@pytest.mark.parametrize("writer", [pa.ipc.new_stream, pa.ipc.new_file])
def test_a_damaged_arrow_batch_loses_its_own_rows_alone(tmp_path: Path, writer: Callable[..., Any]) -> None:
    whole = pa.table({"text": texts("a")})
    batches = [pa.record_batch({"text": texts("a")[row : row + 10]}) for row in range(0, ROWS, 10)]
    data = arrow(pa.Table.from_batches(batches, whole.schema), writer)
    length = len(texts("a")[10])
    first = data.rindex(np.array([0, length], np.int32).tobytes(), 0, data.index(texts("a")[10].encode()))
    found = records(tmp_path, "a.arrow", data[: first + 4] + b"\xff\xff\xff\x7f" + data[first + 8 :])
    assert data_of(found) == texts("a")[:10] + texts("a")[20:]
    assert skips_of(found) == [("broken archive", 10, 0)]


def test_joined_tables_of_different_schema_each_use_their_own_column(tmp_path: Path) -> None:
    other = pa.table({"n": [1, 2], "Caption": ["x", "y"]})
    numbers = pa.table({"n": range(5)})
    for name, write, mark in (("t.parquet", parquet, 0), ("t.arrow", arrow, 8)):  # bytes that end a stream
        found = records(tmp_path, name, write(columns("a")) + write(numbers) + write(other))
        assert data_of(found) == [*texts("a"), "x", "y"]
        assert skips_of(found) == [("no text column", 5, len(write(numbers)) - mark)]
        assert [record.id for record in found if isinstance(record, Item)][-1] == f"{name}#46"


def test_a_footer_that_describes_a_part_of_the_rows_leaves_bytes_that_are_stated(tmp_path: Path) -> None:
    whole = parquet(columns("a"))
    short = io.BytesIO()
    with pq.ParquetWriter(short, columns("a").schema) as writer:  # the same first row groups, then an early footer
        for group in range(2):
            writer.write_table(columns("a")[group * 10 : group * 10 + 10])
    few = short.getvalue()
    length = int.from_bytes(few[-8:-4], "little")
    data_stop = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    assert few[: len(few) - 8 - length] == whole[: len(few) - 8 - length]
    found = records(tmp_path, "a.parquet", whole[:data_stop] + few[len(few) - 8 - length :])
    assert data_of(found) == texts("a")[:20]
    hidden = data_stop - (len(few) - 8 - length)
    assert skips_of(found) == [("bytes that the footer does not describe", None, hidden)]


@pytest.mark.parametrize(
    "options",
    [
        "row_group_size 2048, bloom_filter_false_positive_ratio 0.01",
        "row_group_size 2048, parquet_version 'v2', compression zstd",
    ],
)
def test_tables_of_another_writer_have_no_bytes_left_over(tmp_path: Path, options: str) -> None:
    path = tmp_path / "t.parquet"
    query = "select (i % 50)::varchar as text, [i, i] as pair from range(5000) t(i)"
    duckdb.sql(f"copy ({query}) to '{path}' (format parquet, {options})")
    found = [record for shard in open_source(path, kind="text").shards for record in shard.read()]
    assert data_of(found) == [str(row % 50) for row in range(5000)]
    assert skips_of(found) == []


def test_bloom_filters_and_page_indexes_are_no_bytes_left_over(tmp_path: Path) -> None:
    data = parquet(columns("a"), write_page_index=True, bloom_filter_options={"text": {"ndv": 40, "fpp": 0.1}})
    for copies in (1, 2):
        found = records(tmp_path, "a.parquet", data * copies)
        assert (data_of(found), skips_of(found)) == (texts("a") * copies, [])


def test_a_refused_table_tells_its_rows(tmp_path: Path) -> None:
    numbers = pa.table({"n": range(5)})
    for name, data in {
        "t.parquet": parquet(numbers) * 2,
        "t.arrow": arrow(numbers) * 2,
        "t.ipc": arrow(numbers, pa.ipc.new_file) * 2,
    }.items():
        with pytest.raises(Refused, match=rf"{name}: no column is known to hold texts; found n \(int64\)") as caught:
            records(tmp_path, name, data)
        assert caught.value.items == 10


def test_a_parquet_file_that_lost_its_beginning_is_refused_with_its_rows(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="the footer does not describe these bytes") as caught:
        records(tmp_path, "t.parquet", parquet(columns("a"))[500:])
    assert caught.value.items == ROWS


def test_damage_that_makes_pyarrow_abort_is_counted(tmp_path: Path) -> None:
    data = parquet(columns("a"), row_group_size=ROWS)
    for place in range(len(data) - int.from_bytes(data[-8:-4], "little") - 8, len(data), 3):
        damaged = bytearray(data)
        damaged[place] ^= 1
        rows, is_open = counted(tmp_path, "a.parquet", bytes(damaged))
        assert rows == ROWS or is_open, place


def test_dictionaries_that_grow_or_are_replaced_are_followed(tmp_path: Path) -> None:
    schema = pa.schema([("text", pa.dictionary(pa.int8(), pa.string()))])
    words = [["p", "q"], ["p", "q", "r"], ["x", "y", "z"]]
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, schema, options=pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)) as writer:
        for values in words:
            last = pa.array([len(values) - 1, 0], pa.int8())
            writer.write_batch(pa.record_batch([pa.DictionaryArray.from_arrays(last, values)], schema=schema))
    assert data_of(records(tmp_path, "t.arrow", buffer.getvalue() * 2)) == ["q", "p", "r", "p", "z", "x"] * 2


def test_rows_after_a_lost_dictionary_are_not_read_with_another(tmp_path: Path) -> None:
    schema = pa.schema([("text", pa.dictionary(pa.int8(), pa.string()))])
    buffer = io.BytesIO()
    starts = []
    with pa.ipc.new_stream(buffer, schema) as writer:
        for values in (["p", "q"], ["x", "y"]):
            starts.append(buffer.tell())
            codes = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), values)
            writer.write_batch(pa.record_batch([codes], schema=schema))
    data = bytearray(buffer.getvalue())
    data[starts[1] : starts[1] + 12] = b"\x07" * 12
    found = records(tmp_path, "t.arrow", bytes(data))
    assert data_of(found) == ["p", "q"]
    assert [(reason, items) for reason, items, _ in skips_of(found)] == [
        ("broken archive", None),
        ("broken archive", 2),
    ]


def test_a_stream_without_its_end_mark_is_read(tmp_path: Path) -> None:
    found = records(tmp_path, "t.arrow", arrow(columns("a"))[:-8] + arrow(columns("b")))
    assert found == [Item(f"t.arrow#{row}", text) for row, text in enumerate(texts("a") + texts("b"))]


def test_a_file_cut_before_its_footer_says_that_rows_may_be_missing(tmp_path: Path) -> None:
    data = arrow(columns("a"), pa.ipc.new_file)
    last = data.rindex(b"\xff\xff\xff\xff", 0, data.rindex(b"\xff\xff\xff\xff\0\0\0\0"))
    found = records(tmp_path, "t.arrow", data[:last])
    assert data_of(found) == texts("a")[:30]
    assert skips_of(found) == [("broken archive", None, None)]


def test_what_is_no_arrow_file_is_refused(tmp_path: Path) -> None:
    for name, data in {"empty.arrow": b"", "junk.arrow": JUNK, "old.feather": b"FEA1" + JUNK}.items():
        with pytest.raises(InputError, match=name):
            records(tmp_path, name, data)


def test_a_dictionary_of_hundreds_of_batches_stays_one_shard(tmp_path: Path) -> None:
    table = pa.table({"text": texts("a", 500)})
    (tmp_path / "t.arrow").write_bytes(arrow(table))
    (shard,) = open_source(tmp_path / "t.arrow", kind="text").shards
    assert shard.name == "t.arrow"
    assert len(list(shard.read())) == 500
