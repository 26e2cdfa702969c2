"""Locate the tables in a Parquet file; a joined file holds several tables, each with offsets from its own start."""

from collections.abc import Iterator, Sequence
from typing import IO, Any, NamedTuple

import pyarrow.parquet as pq

from indexes.records import Skip
from indexes.sources.files import DAMAGE, File, Refused
from indexes.sources.parquet_footer import MAGIC, Footer, Range, filter_length, page_fits, read_footer
from indexes.sources.parts import AFTER, BEFORE

__all__ = ["Table", "find_tables"]

_UNDESCRIBED = "bytes that the footer does not describe"

_TAIL = 8  # bytes: the length of the footer, and the magic
_SEARCH_BYTES = 64 * 2**20  # searched for a footer before appended bytes, or for the start of a table
_PIECE_BYTES = 2**20
_HEADER_BYTES = 2**16  # more than a header of a page or Bloom filter, unless its statistics hold long values
_CHUNKS = 8  # column chunks that are checked to find where a table starts


class Table(NamedTuple):
    """One table of a Parquet file, and skips for bytes in and after the table that no footer describes."""

    file: File  # the table's own bytes
    schema: Any
    rows: tuple[int, ...]  # of each row group
    starts: tuple[tuple[int, ...], ...]  # start of each column of each row group
    skips: tuple[Skip, ...]


class _Found(NamedTuple):
    """A Parquet footer with its position in the file."""

    start: int
    stop: int
    schema: Any
    footer: Footer


def find_tables(file: File) -> list[Table]:
    """All tables of a Parquet file, in file order; raises pyarrow's error if no table can be read."""
    tables: list[Table] = []
    with file.open() as handle:
        size = stop = file.size()
        while stop and (found := _last_footer(handle, file, stop)):
            start = _table_start(handle, found)
            if start is None:
                if not tables:
                    message = f"{file.name}: the footer does not describe these bytes; copy or download it again"
                    raise Refused(message, "broken archive", items=sum(found.footer.rows))
                break
            own = file if (start, found.stop) == (0, size) else file.part(start, found.stop)
            left = {_UNDESCRIBED: _undescribed(handle, found, start), AFTER: stop - found.stop}
            skips = (_skip(file, reason, length) for reason, length in left.items())
            tables.append(Table(own, found.schema, found.footer.rows, found.footer.starts, tuple(filter(None, skips))))
            stop = start
        if not tables:
            handle.seek(0)
            pq.read_metadata(handle)  # raises an error that says what is wrong with the last bytes
            raise ValueError("no table found")
    if before := _skip(file, BEFORE, stop):
        tables[-1] = tables[-1]._replace(skips=(before, *tables[-1].skips))
    return tables[::-1]


def _skip(file: File, reason: str, left: int) -> Skip | None:
    return Skip(file.name, reason, items=None, bytes=left) if left else None


def _last_footer(handle: IO[bytes], file: File, stop: int) -> _Found | None:
    """The last readable Parquet footer that ends at or before `stop`."""
    for place in _magics(handle, max(0, stop - _SEARCH_BYTES), stop):
        end = place + len(MAGIC)
        length = int.from_bytes(_bytes(handle, max(0, end - _TAIL), _TAIL - len(MAGIC)), "little")
        start = end - _TAIL - length
        if length == 0 or start < len(MAGIC):
            continue
        try:
            with file.part(0, end).open() as part:
                schema = pq.read_metadata(part).schema.to_arrow_schema()
            return _Found(start, end, schema, read_footer(_bytes(handle, start, length)))
        except (*DAMAGE, TypeError, AttributeError):  # TypeError, AttributeError: a field has the wrong type
            continue
    return None


def _magics(handle: IO[bytes], start: int, stop: int) -> Iterator[int]:
    """Positions of Parquet's magic bytes between two offsets, from last to first."""
    while stop - start >= len(MAGIC):
        piece_start = max(start, stop - _PIECE_BYTES)
        piece = _bytes(handle, piece_start, stop - piece_start)
        found = len(piece)
        while (found := piece.rfind(MAGIC, 0, found + len(MAGIC) - 1)) >= 0:
            yield piece_start + found
        if piece_start == start:
            return
        stop = piece_start + len(MAGIC) - 1


def _bytes(handle: IO[bytes], start: int, length: int) -> bytes:
    handle.seek(start)
    return handle.read(length)


def _table_start(handle: IO[bytes], found: _Found) -> int | None:
    """Start of the table that a footer describes: usually the footer's start minus the number of described bytes."""
    last = max((stop for _, stop in (*found.footer.chunks, *found.footer.indexes)), default=len(MAGIC))
    exact = found.start - last
    if exact == 0 or (exact > 0 and _bytes(handle, exact, len(MAGIC)) == MAGIC):
        return exact
    before = _magics(handle, max(0, exact - _SEARCH_BYTES), max(0, exact))
    return next((start for start in before if _fits(handle, found, start)), 0 if _fits(handle, found, 0) else None)


def _fits(handle: IO[bytes], found: _Found, start: int) -> bool:
    """Whether column pages lie at the offsets that the footer states, if the table starts at `start`."""
    looked = found.footer.chunks[:_CHUNKS]
    lengths = [(start + first, last - first) for first, last in looked]
    fitting = sum(page_fits(_bytes(handle, place, min(length, _HEADER_BYTES)), length) for place, length in lengths)
    return fitting * 2 >= len(looked)


def _undescribed(handle: IO[bytes], found: _Found, start: int) -> int:
    """Number of bytes of a table that its footer does not describe, without gaps of zeros, which are padding."""
    indexes = [
        (first, last if last > first else first + filter_length(_bytes(handle, start + first, _HEADER_BYTES)))
        for first, last in found.footer.indexes
    ]
    gaps = _gaps((*found.footer.chunks, *indexes), found.start - start)
    return sum(last - first for first, last in gaps if not _is_zero(handle, start + first, start + last))


def _gaps(ranges: Sequence[Range], end: int) -> Iterator[Range]:
    position = len(MAGIC)
    for start, stop in sorted(ranges):
        if position < min(start, end):
            yield position, min(start, end)
        position = max(position, stop)
    if position < end:
        yield position, end


def _is_zero(handle: IO[bytes], start: int, stop: int) -> bool:
    handle.seek(start)
    while start < stop and (piece := handle.read(min(_PIECE_BYTES, stop - start))):
        if piece.strip(b"\0"):
            return False
        start += len(piece)
    return True
