"""Read every table of a Parquet file, in shards of consecutive row groups with about a thousand rows."""

from collections.abc import Iterator
from typing import IO, Any, NamedTuple

import pyarrow.parquet as pq

from indexes.records import Kind
from indexes.sources.cells import Lost, TableShard, sound
from indexes.sources.files import DAMAGE, File, damage_reason
from indexes.sources.parquet_footer import dictionary_bytes
from indexes.sources.parquet_layout import Table, find_tables
from indexes.sources.parts import Part, part_shards
from indexes.sources.unpacked import BOMB, MOST_BYTES, MOST_RATIO

__all__ = ["parquet_shards"]

_ROWS = 1024  # least number of rows in a shard, except the last
_MOST_BATCH_BYTES = 2**28  # in memory at once if every row repeats the largest value
_MAX_DICTIONARY = 2**28  # bytes
_HEADER_BYTES = 2**10  # more than any header of a dictionary page
_BATCH_ROWS, _BATCH_BYTES = 128, 64 * 2**20  # in memory at once; a single row may exceed the bytes


class _Group(NamedTuple):
    """A row group of a Parquet table: its number, its row count, and the offsets at which its columns start."""

    number: int
    rows: int
    starts: tuple[int, ...]


def parquet_shards(file: File, kind: Kind, column: str | None) -> list[TableShard]:
    """Split a Parquet file into shards of row groups; raises `Refused` if the footer is damaged or no column fits."""
    tables = find_tables(file)
    skips = [skip for table in tables for skip in table.skips]
    return part_shards(file, [_part(table) for table in tables], skips, kind, column, _batches)


def _part(table: Table) -> Part:
    groups = [_Group(number, *each) for number, each in enumerate(zip(table.rows, table.starts, strict=True))]
    runs = [(run, sum(group.rows for group in run)) for run in _runs(groups)]
    return Part(table.file, table.file.size(), table.schema, tuple(runs), sum(table.rows))


def _runs(groups: list[_Group]) -> Iterator[tuple[_Group, ...]]:
    """Runs of consecutive row groups, each with enough rows for a shard."""
    run: list[_Group] = []
    for group in groups:
        run.append(group)
        if sum(held.rows for held in run) >= _ROWS:
            yield tuple(run)
            run = []
    if run:
        yield tuple(run)


def _batches(file: File, column: str, groups: tuple[_Group, ...]) -> Iterator[Any]:
    with file.open() as handle, pq.ParquetFile(handle, page_checksum_verification=True) as table:
        for group in groups:
            repeated = _dictionary_bytes(handle, group)
            if repeated > _MAX_DICTIONARY:
                yield Lost(group.rows, 0, "too large")
            else:
                yield from _group(table, column, group, repeated, most=max(MOST_BYTES, MOST_RATIO * file.size()))


def _dictionary_bytes(handle: IO[bytes], group: _Group) -> int:
    """Size in bytes of the largest column dictionary of a row group; many rows may repeat a dictionary value."""
    found = 0
    for start in group.starts:
        handle.seek(start)
        found = max(found, dictionary_bytes(handle.read(_HEADER_BYTES)))
    return found


def _group(table: pq.ParquetFile, column: str, group: _Group, repeated: int, *, most: int) -> Iterator[Any]:
    """The cells of one row group up to `most` bytes, then the number of rows that were not read.

    Batches are small enough that memory suffices even if every row repeats a value of `repeated` bytes.
    """
    left, reason, taken = group.rows, "broken archive", 0
    stated = max(1, table.metadata.row_group(group.number).total_byte_size)  # uncompressed
    usual = _BATCH_BYTES * max(group.rows, 1) // stated
    rows = max(1, min(_BATCH_ROWS, usual, _MOST_BATCH_BYTES // max(repeated, 1)))
    batches = table.iter_batches(rows, row_groups=[group.number], columns=[column], use_threads=False)
    try:
        for batch in batches:
            cells = sound(batch.column(column))
            left -= len(cells)
            yield cells
            taken += 0 if cells.null_count == len(cells) else cells.nbytes
            if taken > most:
                reason = BOMB
                break
    except DAMAGE as error:
        reason = damage_reason(error)
    if left > 0:
        yield Lost(left, 0, reason)
