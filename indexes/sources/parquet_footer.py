"""Read row counts and offsets from the footer of a Parquet table, because pyarrow aborts on some damaged files."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from statistics import median_high
from typing import Any

from indexes.sources.thrift import read_struct

__all__ = ["MAGIC", "Footer", "Range", "dictionary_bytes", "filter_length", "page_fits", "read_footer"]

MAGIC = b"PAR1"

_WITNESSES = 3  # columns whose value counts are used to check the number of rows of a group
# Fields of the structs in parquet.thrift.
_SCHEMA, _TABLE_ROWS, _GROUPS = 2, 3, 4  # FileMetaData
_REPETITION, _CHILDREN, _REPEATED = 3, 5, 2  # SchemaElement, and a value of the first
_COLUMNS, _GROUP_ROWS = 1, 3  # RowGroup
_META_DATA, _INDEXES = 3, ((4, 5), (6, 7))  # ColumnChunk; offsets and lengths of the offset index and the column index
_VALUES, _BYTES, _FIRST_PAGES, _FILTER = 5, 7, (9, 11), (14, 15)  # ColumnMetaData; pages of data and the dictionary
_PAGE_TYPE, _UNPACKED, _PAGE_BYTES, _DICTIONARY = 1, 2, 3, 2  # PageHeader, and a value of the first
_FILTER_BYTES = 1  # BloomFilterHeader

Range = tuple[int, int]  # start and stop of bytes, counted from the start of the table


@dataclass(frozen=True, slots=True)
class Footer:
    """Contents of a Parquet footer: row counts per group, and offsets of column pages, indexes and Bloom filters."""

    rows: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]  # start of each column of each group
    chunks: tuple[Range, ...]
    indexes: tuple[Range, ...]  # length 0 if only the header of a Bloom filter states it


def read_footer(data: bytes) -> Footer:
    """Parse the bytes of a Parquet footer; raises `ValueError`, `TypeError` or `LookupError` on damage."""
    table, _ = read_struct(data)
    groups = table.get(_GROUPS, [])
    stored = [chunk for group in groups for chunk in group[_COLUMNS]]
    columns = [chunk.get(_META_DATA, {}) for chunk in stored]  # a column without metadata is encrypted
    places = [(chunk.get(offset), chunk.get(length, 0)) for chunk in stored for offset, length in _INDEXES]
    places += [(column.get(_FILTER[0]), column.get(_FILTER[1], 0)) for column in columns]
    indexes = [(start, start + max(0, length)) for start, length in places if start is not None and start > 0]
    chunks = tuple(map(_pages, columns))
    starts = iter(start for start, _ in chunks)
    by_group = tuple(tuple(islice(starts, len(group[_COLUMNS]))) for group in groups)
    return Footer(tuple(_rows(table, groups)), by_group, chunks, tuple(indexes))


def _pages(column: dict[int, Any]) -> Range:
    offsets = [column.get(field, 0) for field in _FIRST_PAGES]
    start = min((offset for offset in offsets if offset > 0), default=len(MAGIC))
    return start, start + max(0, column.get(_BYTES, 0))


def _rows(table: dict[int, Any], groups: list[dict[int, Any]]) -> Iterator[int]:
    """Rows of each row group: median of its row count, its column counts, and the table's count minus other groups."""
    stated = [group.get(_GROUP_ROWS, 0) for group in groups]
    flat = [number for number, is_flat in enumerate(_flat_columns(table[_SCHEMA])) if is_flat][:_WITNESSES]
    total = table.get(_TABLE_ROWS, 0)
    for group, rows in zip(groups, stated, strict=True):
        columns = [group[_COLUMNS][number].get(_META_DATA, {}) for number in flat]
        values = [column[_VALUES] for column in columns if _VALUES in column]
        yield max(0, median_high([rows, total - (sum(stated) - rows), *values]))


def _flat_columns(schema: list[dict[int, Any]]) -> Iterator[bool]:
    """For each stored column of a Parquet table, whether the column holds one value per row."""
    open_groups = [(schema[0].get(_CHILDREN, 0), False)]  # children to come, and whether they are repeated
    for element in schema[1:]:
        while open_groups and open_groups[-1][0] == 0:
            open_groups.pop()
        left, is_repeated = open_groups.pop()
        open_groups.append((left - 1, is_repeated))
        is_repeated = is_repeated or element.get(_REPETITION) == _REPEATED
        if element.get(_CHILDREN, 0):
            open_groups.append((element[_CHILDREN], is_repeated))
        else:
            yield not is_repeated


def page_fits(data: bytes, length: int) -> bool:
    """Whether the bytes begin with the header of a Parquet page that ends within `length` bytes."""
    try:
        header, size = read_struct(data)
        return 0 <= header[_PAGE_TYPE] <= 3 and 0 <= header[_PAGE_BYTES] <= length - size
    except (ValueError, LookupError, TypeError):
        return False


def dictionary_bytes(data: bytes) -> int:
    """The uncompressed size of the dictionary page whose header is at the start of `data`; 0 for any other page."""
    try:
        header, _ = read_struct(data)
        return max(0, int(header[_UNPACKED])) if header[_PAGE_TYPE] == _DICTIONARY else 0
    except (ValueError, LookupError, TypeError):
        return 0


def filter_length(data: bytes) -> int:
    """The length in bytes of the Bloom filter at the start of `data`; 0 if there is no Bloom filter."""
    try:
        header, size = read_struct(data)
        return size + max(0, int(header[_FILTER_BYTES]))
    except (ValueError, LookupError, TypeError):
        return 0
