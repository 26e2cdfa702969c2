"""Locate the streams and messages of an Arrow file from headers only, even if files are joined, cut or damaged."""

import re
import struct
from collections.abc import Iterator
from typing import IO, Literal, NamedTuple

__all__ = ["MAGIC", "Gap", "Message", "Stream", "find_streams"]

MAGIC = b"ARROW1\0\0"  # starts a file; then come the stream, a footer, its length and the first six bytes of the magic

_END_MAGIC = MAGIC[:6]
_MAX_HEADER_BYTES = 2**24
_MAX_ROOT = 1024  # bytes before the first table of a header; writers put the table near the start
_PIECE_BYTES = 2**20
_FOOTER_BYTES = (2**16, 2**26)  # bytes searched for the end of a footer, first the small number
_ALIGNMENT = 64  # bytes that a writer may align a body to
_CONTINUES = b"\xff\xff\xff\xff"
_END = (_CONTINUES + bytes(4), bytes(4))  # end marks of a stream, current and before format 0.15
_LIKE_A_START = re.compile(rb"(?=\xff{4}.{3}\0|ARROW1\0\0)", re.DOTALL)
# Fields of the tables Message, DictionaryBatch and RecordBatch in Message.fbs.
_VERSION, _TYPE, _HEADER, _BODY_LENGTH = 0, 1, 2, 3
_DICTIONARY_DATA = 1
_LENGTH, _NODES, _BUFFERS = 0, 1, 2
_PAIR = struct.Struct("<qq")  # a node: rows and nulls; a buffer: offset and length

MessageKind = Literal["schema", "dictionary", "batch", "gap"]
_KINDS: dict[int, MessageKind] = {1: "schema", 2: "dictionary", 3: "batch"}


class Message(NamedTuple):
    """One message of an Arrow stream, or a gap: bytes between messages that cannot be read."""

    kind: MessageKind
    start: int  # bytes of the file
    stop: int
    rows: int | None = 0  # rows of a batch; None if its header contradicts itself, and for a gap with unknown content


class Gap(NamedTuple):
    """Bytes of an Arrow file that belong to no stream; a gap of length 0 marks a missing footer."""

    start: int
    stop: int


Stream = tuple[Message, ...]  # a schema message and the messages after it


class _Header(NamedTuple):
    kind: MessageKind
    rows: int | None
    start: int  # of the body, as bytes of the file
    stated: int  # bytes of the body
    described: int  # bytes of the body used by its buffers


def find_streams(handle: IO[bytes], size: int) -> Iterator[Stream | Gap]:
    """All streams and gaps of an Arrow file of `size` bytes, in file order."""
    position, is_file = 0, False
    while position < size:
        if _bytes(handle, position, len(MAGIC)) == MAGIC:
            position, is_file = position + len(MAGIC), True
        stream = tuple(_stream(handle, position, size, is_file))
        if not stream:
            stop = _next_start(handle, position + 1, size, new=True)
            yield Gap(position, stop)
            position, is_file = stop, False
            continue
        yield stream
        position = _stop_of(handle, stream[-1].stop)
        if is_file:
            stop = _footer_stop(handle, position, size)
            if stop == stream[-1].stop and stream[-1].kind != "gap":
                yield Gap(stop, stop)
            position, is_file = stop, False


def _stream(handle: IO[bytes], position: int, size: int, is_file: bool) -> Iterator[Message]:
    """Arrow messages from `position` to the end of the stream, the start of another stream, or the end of the file."""
    found = _messages(handle, position, size)
    if not found or found[0].kind != "schema":
        return
    while True:
        yield from found
        position = found[-1].stop
        if position >= size or _is_end(handle, position):
            return
        found = _messages(handle, position, size)
        if not found:
            if is_file and _footer_stop(handle, position, size) > position:  # files need no mark before the footer
                return
            found = [Message("gap", position, _next_start(handle, position + 1, size), None)]
        if found[0].kind == "schema":
            return


def _is_end(handle: IO[bytes], position: int) -> bool:
    """Whether an Arrow stream ends at `position`, with an end mark or the start of another Arrow file."""
    head = _bytes(handle, position, len(MAGIC))
    return head == MAGIC or head.startswith(_END)


def _stop_of(handle: IO[bytes], position: int) -> int:
    """End of the Arrow stream whose last message ends at `position`, including the end mark if present."""
    head = _bytes(handle, position, 8)
    return position + next((len(mark) for mark in _END if head.startswith(mark)), 0)


def _footer_stop(handle: IO[bytes], position: int, size: int) -> int:
    """End of the Arrow file footer that starts at `position`; `position` itself if there is no footer."""
    for length in _FOOTER_BYTES:
        data = _bytes(handle, position, min(length, size - position))
        found = 4
        while (found := data.find(_END_MAGIC, found)) >= 0:
            if int.from_bytes(data[found - 4 : found], "little") == found - 4:
                return position + found + len(_END_MAGIC)
            found += 1
    return position


def _messages(handle: IO[bytes], position: int, size: int) -> list[Message]:
    """The message that starts at `position`, if any; gaps replace a message with a truncated or inconsistent body."""
    header = _header(handle, position, size)
    if header is None:
        return []
    end, stop = header.start + header.described, header.start + header.stated
    is_whole = header.described <= header.stated and stop <= size
    if is_whole and stop - end >= _ALIGNMENT:
        is_whole = _next_start(handle, end, stop) == stop
    is_batch = header.kind == "batch"
    if is_whole:
        return [Message(header.kind, position, stop, header.rows if is_batch else 0)]
    stop = _next_start(handle, header.start, size)
    lost = Message("gap", position, stop, header.rows if is_batch else None)
    is_alone = lost.rows is None or 0 <= stop - end < _ALIGNMENT  # otherwise more may have been lost here
    return [lost] if is_alone else [lost, lost._replace(start=end if end < stop else position, rows=None)]


def _next_start(handle: IO[bytes], start: int, stop: int, *, new: bool = False) -> int:
    """Start of the next Arrow message or file (if `new`, of the next schema or file); `stop` if nothing is found."""
    while stop - start >= len(MAGIC):
        piece = _bytes(handle, start, min(_PIECE_BYTES, stop - start))
        for match in _LIKE_A_START.finditer(piece):
            place = start + match.start()
            header = _header(handle, place, stop)
            if piece.startswith(MAGIC, match.start()) or (header and (header.kind == "schema" or not new)):
                return place
        start += max(1, len(piece) - len(MAGIC) + 1)
    return stop


def _header(handle: IO[bytes], position: int, size: int) -> _Header | None:
    prefix = _bytes(handle, position, 8)
    is_long = prefix.startswith(_CONTINUES)
    start = position + (8 if is_long else 4)
    length = int.from_bytes(prefix[4:8] if is_long else prefix[:4], "little")
    if not 0 < length <= min(_MAX_HEADER_BYTES, size - start):
        return None
    if int.from_bytes(_bytes(handle, start, 4), "little") > _MAX_ROOT:
        return None
    try:
        return _parsed(_Flat(_bytes(handle, start, length)), start + length)
    except (struct.error, ValueError):
        return None


def _bytes(handle: IO[bytes], position: int, length: int) -> bytes:
    handle.seek(position)
    return handle.read(length)


class _Flat:
    """Reads FlatBuffer tables by position and field number; raises `ValueError` or `struct.error` on damaged bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def number(self, layout: str, place: int) -> int:
        """The number at position `place`, in the `struct` format `layout`."""
        if place < 0:
            raise ValueError("the position lies before the buffer")
        return int(struct.unpack_from("<" + layout, self._data, place)[0])

    def field(self, table: int, index: int) -> int:
        """Position of a table field's value; 0 if the field is missing."""
        names = table - self.number("i", table)
        entry = 4 + 2 * index
        offset = self.number("H", names + entry) if entry < self.number("H", names) else 0
        return table + offset if offset else 0

    def value(self, layout: str, table: int, index: int) -> int:
        """The number in a table field; 0 if the field is missing."""
        place = self.field(table, index)
        return self.number(layout, place) if place else 0

    def target(self, table: int, index: int) -> int:
        """Position of the table or vector that a table field refers to."""
        place = self.field(table, index)
        if not place:
            raise ValueError("a field is missing")
        return place + self.number("I", place)

    def pairs(self, table: int, index: int) -> list[tuple[int, int]]:
        """The pairs in a vector of structs of two 64-bit numbers; empty if the field is missing."""
        if not self.field(table, index):
            return []
        place = self.target(table, index)
        stop = place + 4 + _PAIR.size * self.number("I", place)
        if stop > len(self._data):
            raise ValueError("the vector ends after the buffer")
        return list(_PAIR.iter_unpack(self._data[place + 4 : stop]))


def _parsed(flat: _Flat, body: int) -> _Header:
    message = flat.number("I", 0)
    kind = _KINDS.get(flat.value("B", message, _TYPE))
    stated = flat.value("q", message, _BODY_LENGTH)
    if kind is None or stated < 0 or not 0 <= flat.value("h", message, _VERSION) <= 4:
        raise ValueError("the bytes are not an Arrow message header")
    table = flat.target(message, _HEADER)
    if kind == "schema":
        if stated:
            raise ValueError("an Arrow schema message must have no body")
        return _Header(kind, 0, body, 0, 0)
    if kind == "dictionary":
        table = flat.target(table, _DICTIONARY_DATA)
    rows, nodes = flat.value("q", table, _LENGTH), flat.pairs(table, _NODES)
    described = max((offset + length for offset, length in flat.pairs(table, _BUFFERS)), default=0)
    is_clear = rows >= 0 and nodes[0][0] == rows if nodes else stated == 0  # the first node is the first column's
    if kind == "dictionary" and not (nodes and is_clear):
        raise ValueError("no column of values")
    return _Header(kind, rows if is_clear else None, body, stated, max(0, described))
