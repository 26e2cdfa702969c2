"""Find zip members by their own headers, and the bytes between members, in a part of the file without a directory."""

import re
import struct
from collections.abc import Iterator
from typing import IO, NamedTuple

from indexes.sources.zip_members import HAS_DESCRIPTOR, LOCAL, LOCAL_HEADER, Member, decoded

__all__ = [
    "CENTRAL",
    "END",
    "END_BYTES",
    "LOCATOR",
    "LOCATOR_BYTES",
    "Stretch",
    "count_headers",
    "is_at",
    "pieces_between",
]

CENTRAL, END = b"PK\x01\x02", b"PK\x05\x06"
_END64, LOCATOR, _DESCRIPTOR = b"PK\x06\x06", b"PK\x06\x07", b"PK\x07\x08"
_MARK = re.compile(rb"PK(?:\x01\x02|\x03\x04|\x05\x06|\x06\x06|\x06\x07)")
_CENTRAL_BYTES, END_BYTES, LOCATOR_BYTES = 46, 22, 20
_IN_EXTRA = 0xFFFFFFFF  # means that the extra field holds the size
_MOST_MARKS = 100_000  # false headers tried before giving up
_MOST_NESTED = 16  # marks inside a member of unknown length
_FIRST_PIECE, _PIECE = 2**12, 2**20  # bytes read at once


class Stretch(NamedTuple):
    """A range of bytes in a zip file that belongs to no member."""

    start: int
    stop: int
    is_directory: bool  # a record of a directory, else unknown


def pieces_between(handle: IO[bytes], start: int, stop: int) -> Iterator[Member | Stretch]:
    """Zip members found by their own headers, directory records, and the bytes between these, in file order."""
    position = search = start
    tried = 0
    while tried <= _MOST_MARKS and (found := _next_mark(handle, search, stop)) is not None:
        piece = _piece(handle, found, stop)
        if piece is None:
            search = found + 1
            tried += 1
            continue
        if found > position:
            yield Stretch(position, found, is_directory=False)
        yield piece
        position = search = piece.limit if isinstance(piece, Member) else piece.stop
    if position < stop:
        yield Stretch(position, stop, is_directory=False)


def _next_mark(handle: IO[bytes], start: int, stop: int) -> int | None:
    size = _FIRST_PIECE
    while start + 4 <= stop:
        handle.seek(start)
        data = handle.read(min(size, stop - start))
        if found := _MARK.search(data):
            return start + found.start()
        if len(data) < 4:
            break
        start += len(data) - 3
        size = min(2 * size, _PIECE)
    return None


def _piece(handle: IO[bytes], offset: int, stop: int) -> Member | Stretch | None:
    """The zip member or directory record that begins at a signature; None if it is too short or not a header."""
    handle.seek(offset)
    head = handle.read(min(_CENTRAL_BYTES, stop - offset))
    if head.startswith(LOCAL):
        return _member(handle, head, offset, stop)
    if head.startswith(LOCATOR):
        length = LOCATOR_BYTES
    elif head.startswith(_END64) and len(head) >= 12:
        length = 12 + int.from_bytes(head[4:12], "little")
    elif head.startswith(END) and len(head) >= END_BYTES:
        length = END_BYTES + int.from_bytes(head[20:22], "little")
    elif head.startswith(CENTRAL) and len(head) == _CENTRAL_BYTES:
        length = _CENTRAL_BYTES + sum(struct.unpack("<3H", head[28:34]))
    else:
        length = len(head)  # cut
    return Stretch(offset, min(offset + length, stop), is_directory=True)


def _member(handle: IO[bytes], head: bytes, offset: int, stop: int) -> Member | None:
    """The zip member with its header at `offset`; `is_whole` is False if the range ends before the member."""
    if len(head) < LOCAL_HEADER.size:
        return None
    _, flags, method, checksum, compressed, size, name_length, extra_length = LOCAL_HEADER.unpack_from(head)
    start = offset + LOCAL_HEADER.size + name_length + extra_length
    if name_length == 0 or start > stop:
        return None
    handle.seek(offset + LOCAL_HEADER.size)
    name = decoded(handle.read(name_length), flags)
    if _IN_EXTRA in (compressed, size):
        compressed, size = _sizes_in_extra(handle.read(extra_length), compressed, size)
    limit, is_whole = start + compressed, start + compressed <= stop
    if flags & HAS_DESCRIPTOR:
        limit, is_whole, (checksum, compressed, size) = _described_after(handle, start, stop)
    return Member(name, name, offset, min(limit, stop), flags, method, checksum, compressed, size, is_whole=is_whole)


def _sizes_in_extra(extra: bytes, compressed: int, size: int) -> tuple[int, int]:
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == 1 and length >= 16 and len(extra) >= 20:
            size, compressed = struct.unpack_from("<QQ", extra, 4)
            break
        extra = extra[4 + length :]
    return compressed, size


def _described_after(handle: IO[bytes], start: int, stop: int) -> tuple[int, bool, tuple[int, int, int]]:
    """Where a member ends, whether it is complete, and the checksum and sizes that are stored after its data."""
    search, first = start, stop
    for number in range(_MOST_NESTED):
        end = _next_mark(handle, search, stop)
        end = stop if end is None else end
        first = end if number == 0 else first
        for form in ("<4sLLL", "<4sLQQ"):
            if described := _descriptor(handle, form, end - struct.calcsize(form), start):
                return end, True, described
        if end == stop:
            break
        search = end + 1
    return first, False, (0, first - start, 0)


def _descriptor(handle: IO[bytes], form: str, offset: int, start: int) -> tuple[int, int, int] | None:
    if offset < start:
        return None
    handle.seek(offset)
    data = handle.read(struct.calcsize(form))
    if len(data) < struct.calcsize(form):
        return None
    signature, checksum, compressed, size = struct.unpack(form, data)
    return (checksum, compressed, size) if signature == _DESCRIPTOR and compressed == offset - start else None


def count_headers(handle: IO[bytes], start: int, stop: int) -> int | None:
    """The number of zip member headers between two positions; None if there are none."""
    found, position = 0, start
    while (mark := _next_mark(handle, position, stop)) is not None:
        found += is_at(handle, mark, LOCAL)
        position = mark + 4
    return found or None


def is_at(handle: IO[bytes], offset: int, signature: bytes) -> bool:
    """Whether the bytes at an offset are the given signature."""
    handle.seek(offset)
    return handle.read(len(signature)) == signature
