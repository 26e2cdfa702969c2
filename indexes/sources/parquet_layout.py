"""Where the tables lie in a Parquet file: joined files hold several, and each counts its bytes from its own start."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median_high
from typing import IO, Any, NamedTuple

import pyarrow.parquet as pq

from indexes.records import Skip
from indexes.sources.files import DAMAGE, File, Refused
from indexes.sources.parts import AFTER, BEFORE
from indexes.sources.thrift import read_struct

__all__ = ["Table", "find_tables"]

_UNDESCRIBED = "bytes that the footer does not describe"

_MAGIC = b"PAR1"
_TAIL = 8  # bytes: the length of the footer, and the magic
_SEARCH_BYTES = 64 * 2**20  # looked through for a footer before appended bytes, or for the start of a table
_PIECE_BYTES = 2**20
_HEADER_BYTES = 2**16  # more than the header of a page or Bloom filter takes, unless its statistics hold long values
_CHUNKS = 8  # column chunks looked at to tell where a table starts
_WITNESSES = 3  # columns asked for the number of rows in a group
# Fields of the Thrift structs FileMetaData, RowGroup, ColumnChunk, ColumnMetaData and PageHeader in parquet.thrift.
_ROW_GROUPS, _COLUMNS, _META_DATA = 4, 1, 3
_INDEXES = ((4, 5), (6, 7))  # offset and length of the offset index and of the column index
_BLOOM_FILTER = (14, 15)
_PAGE_TYPE, _PAGE_BYTES, _BLOOM_BYTES = 1, 3, 1

_Range = tuple[int, int]  # start and stop of bytes


class Table(NamedTuple):
    """One table of a file, and the bytes that no table describes after it and inside it."""

    file: File  # the table's own bytes
    schema: Any
    rows: tuple[int, ...]  # of each row group
    skips: tuple[Skip, ...]


@dataclass(frozen=True, slots=True)
class _Footer:
    """A footer, its place in the file, and what it says of places in its table."""

    start: int
    stop: int
    metadata: Any
    chunks: tuple[_Range, ...]  # of columns, counted from the start of the table, as all that it describes


def find_tables(file: File) -> list[Table]:
    """All tables in their order; raises what pyarrow raises when there is none that can be read."""
    tables: list[Table] = []
    with file.open() as handle:
        size = stop = file.size()
        while stop and (footer := _last_footer(handle, file, stop)):
            start = _table_start(handle, footer)
            if start is None:
                if not tables:
                    message = f"{file.name}: the footer does not describe these bytes; copy or download it again"
                    raise Refused(message, "broken archive", items=footer.metadata.num_rows)
                break
            own = file if (start, footer.stop) == (0, size) else file.part(start, footer.stop)
            skips = (
                _skip(file, _UNDESCRIBED, _undescribed(handle, footer, start)),
                _skip(file, AFTER, stop - footer.stop),
            )
            schema = footer.metadata.schema.to_arrow_schema()
            tables.append(Table(own, schema, tuple(_rows(footer.metadata)), tuple(filter(None, skips))))
            stop = start
        if not tables:
            handle.seek(0)
            pq.read_metadata(handle)  # raises, and says what is wrong with the last bytes
            raise ValueError("no table found")
    if before := _skip(file, BEFORE, stop):
        tables[-1] = tables[-1]._replace(skips=(before, *tables[-1].skips))
    return tables[::-1]


def _skip(file: File, reason: str, left: int) -> Skip | None:
    return Skip(file.name, reason, items=None, bytes=left) if left else None


def _last_footer(handle: IO[bytes], file: File, stop: int) -> _Footer | None:
    """The last footer that can be read and ends at `stop` or before it."""
    for end in _magics(handle, max(0, stop - _SEARCH_BYTES), stop):
        handle.seek(max(0, end + len(_MAGIC) - _TAIL))
        length = int.from_bytes(handle.read(_TAIL - len(_MAGIC)), "little")
        start = end + len(_MAGIC) - _TAIL - length
        if length == 0 or start < len(_MAGIC):
            continue
        try:
            with file.part(0, end + len(_MAGIC)).open() as part:
                metadata = pq.read_metadata(part)
            metadata.schema.to_arrow_schema()
        except DAMAGE:
            continue
        return _Footer(start, end + len(_MAGIC), metadata, tuple(_chunks(metadata)))
    return None


def _magics(handle: IO[bytes], start: int, stop: int) -> Iterator[int]:
    """The places of the magic between two offsets, the last first."""
    while stop - start >= len(_MAGIC):
        piece_start = max(start, stop - _PIECE_BYTES)
        handle.seek(piece_start)
        piece = handle.read(stop - piece_start)
        found = len(piece)
        while (found := piece.rfind(_MAGIC, 0, found + len(_MAGIC) - 1)) >= 0:
            yield piece_start + found
        if piece_start == start:
            return
        stop = piece_start + len(_MAGIC) - 1


def _chunks(metadata: Any) -> Iterator[_Range]:
    """The pages of every column in every row group."""
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            offsets = (column.data_page_offset, column.dictionary_page_offset)
            start = min((offset for offset in offsets if offset and offset > 0), default=len(_MAGIC))
            yield start, start + max(0, column.total_compressed_size)


def _rows(metadata: Any) -> Iterator[int]:
    """Rows of each group as most of those say who know: the group, its flat columns, and the table less the others."""
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    stated = sum(group.num_rows for group in groups)
    flat = [i for i in range(metadata.num_columns) if metadata.schema.column(i).max_repetition_level == 0]
    for group in groups:
        witnesses = [group.num_rows, metadata.num_rows - (stated - group.num_rows)]
        witnesses += [group.column(number).num_values for number in flat[:_WITNESSES]]
        yield max(0, median_high(witnesses))


def _table_start(handle: IO[bytes], footer: _Footer) -> int | None:
    """Where the table begins whose footer this is: nearly always as far before the footer as it describes bytes."""
    last = max((stop for _, stop in footer.chunks), default=len(_MAGIC))
    if footer.start == last:
        return 0
    last = max([last, *(stop for _, stop in _indexes(handle, footer))])
    exact = footer.start - last
    if exact == 0 or (exact > 0 and _is_magic(handle, exact)):
        return exact
    before = _magics(handle, max(0, exact - _SEARCH_BYTES), max(0, exact))
    return next((start for start in before if _fits(handle, footer, start)), 0 if _fits(handle, footer, 0) else None)


def _is_magic(handle: IO[bytes], start: int) -> bool:
    handle.seek(start)
    return handle.read(len(_MAGIC)) == _MAGIC


def _fits(handle: IO[bytes], footer: _Footer, start: int) -> bool:
    """Whether pages lie where the footer says, if its table starts here."""
    looked = footer.chunks[:_CHUNKS]
    fitting = sum(_is_page(handle, start + first, stop - first) for first, stop in looked)
    return fitting * 2 >= len(looked)


def _is_page(handle: IO[bytes], start: int, length: int) -> bool:
    handle.seek(start)
    try:
        header, size = read_struct(handle.read(min(length, _HEADER_BYTES)))
        return 0 <= header[_PAGE_TYPE] <= 3 and 0 <= header[_PAGE_BYTES] <= length - size
    except (ValueError, LookupError, TypeError):
        return False


def _indexes(handle: IO[bytes], footer: _Footer) -> list[_Range]:
    """Page indexes and Bloom filters, which pyarrow does not tell the places of; a filter's stop may be its start."""
    handle.seek(footer.start)
    try:
        groups = read_struct(handle.read(footer.stop - footer.start))[0][_ROW_GROUPS]
        chunks = [chunk for group in groups for chunk in group[_COLUMNS]]
        places = [(chunk.get(offset), chunk.get(length, 0)) for chunk in chunks for offset, length in _INDEXES]
        values = [chunk.get(_META_DATA, {}) for chunk in chunks]
        places += [(value.get(_BLOOM_FILTER[0]), value.get(_BLOOM_FILTER[1], 0)) for value in values]
        return [(start, start + length) for start, length in places if start and start > 0 and length >= 0]
    except (ValueError, LookupError, TypeError, AttributeError):
        return []


def _undescribed(handle: IO[bytes], footer: _Footer, start: int) -> int:
    """Bytes of the table that hold something and that the footer says nothing of; writers pad groups with zeros."""
    stop = footer.start - start
    gaps = list(_gaps(footer.chunks, stop))
    if gaps:
        indexes = [
            place if place[1] > place[0] else _filter(handle, start, place[0]) for place in _indexes(handle, footer)
        ]
        gaps = list(_gaps((*footer.chunks, *indexes), stop))
    return sum(last - first for first, last in gaps if not _is_zero(handle, start + first, start + last))


def _gaps(ranges: tuple[_Range, ...], end: int) -> Iterator[_Range]:
    position = len(_MAGIC)
    for start, stop in sorted(ranges):
        if position < min(start, end):
            yield position, min(start, end)
        position = max(position, stop)
    if position < end:
        yield position, end


def _filter(handle: IO[bytes], start: int, offset: int) -> _Range:
    """The place of a Bloom filter whose length only its own header states."""
    handle.seek(start + offset)
    try:
        header, size = read_struct(handle.read(_HEADER_BYTES))
        return offset, offset + size + max(0, header[_BLOOM_BYTES])
    except (ValueError, LookupError, TypeError):
        return offset, offset


def _is_zero(handle: IO[bytes], start: int, stop: int) -> bool:
    handle.seek(start)
    while start < stop and (piece := handle.read(min(_PIECE_BYTES, stop - start))):
        if piece.strip(b"\0"):
            return False
        start += len(piece)
    return True
