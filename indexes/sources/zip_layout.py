"""Where everything lies in a zip file: the members of one or several joined archives, and the bytes of no archive.

A directory that can be read decides what its archive holds. Where there is none, or a damaged one, members are found by
their own headers. Every byte of the file belongs to a member, to a directory, or to one of the skips.
"""

import re
import struct
import zipfile
from collections.abc import Iterator
from typing import IO, NamedTuple

from indexes.records import Skip
from indexes.sources.files import DAMAGE, File
from indexes.sources.zip_members import HAS_DESCRIPTOR, LOCAL, LOCAL_HEADER, Member, decoded

__all__ = ["BETWEEN", "Layout", "count_headers", "layout"]

BEFORE = "bytes before the archive"
BETWEEN = "bytes between members"
AFTER = "bytes after the archive"
_BROKEN = "broken archive"

_CENTRAL, _END = b"PK\x01\x02", b"PK\x05\x06"
_END64, _LOCATOR, _DESCRIPTOR = b"PK\x06\x06", b"PK\x06\x07", b"PK\x07\x08"
_MARK = re.compile(rb"PK(?:\x01\x02|\x03\x04|\x05\x06|\x06\x06|\x06\x07)")
_CENTRAL_BYTES, _END_BYTES, _LOCATOR_BYTES = 46, 22, 20
_END64_BYTES = 76  # of the record with 64-bit numbers and its locator, before the end record
_IN_EXTRA = 0xFFFFFFFF  # the size stands in the extra field
_MOST_DIRECTORIES = 64  # directories read that turn out to be none
_MOST_MARKS = 100_000  # headers tried that turn out to be none
_MOST_NESTED = 16  # marks inside a member of unknown length
_FIRST_PIECE, _PIECE = 2**12, 2**20  # bytes read at once


class Layout(NamedTuple):
    """All members in the order of the file, and the skips of bytes that belong to none."""

    members: tuple[Member, ...]
    left: tuple[Skip, ...]


class _Archive(NamedTuple):
    start: int
    stop: int
    members: list[Member]


class _End(NamedTuple):
    offset: int
    entries: int  # stated
    is_zip64: bool  # else entries are counted modulo 65536
    directory: int
    comment: int  # bytes


class _Stretch(NamedTuple):
    start: int
    stop: int
    is_directory: bool


def layout(file: File) -> Layout:
    """The layout of a file; raises `BadZipFile` when it holds neither a directory nor a member."""
    with file.open() as handle:
        size = file.size()
        archives = list(_archives(file, handle, size))[::-1]
        pieces: list[Member | _Stretch] = []
        left: list[Skip] = []
        position = 0
        for archive in [*archives, _Archive(size, size, [])]:
            outside = list(_pieces(handle, position, archive.start))
            left += _repaired(file.name, outside)
            pieces += [*outside, *archive.members]
            position = archive.stop
    members = tuple(piece for piece in pieces if isinstance(piece, Member))
    if not archives and not members:
        raise zipfile.BadZipFile("no zip archive")
    others = [piece for piece in pieces if isinstance(piece, _Stretch) and not piece.is_directory]
    return Layout(members, (*left, *_others(file.name, others, size)))


def _repaired(name: str, pieces: list[Member | _Stretch]) -> Iterator[Skip]:
    """The skip of an archive whose members were found without a directory; it may have held more of them."""
    directory = sum(piece.stop - piece.start for piece in pieces if isinstance(piece, _Stretch) and piece.is_directory)
    has_members = any(isinstance(piece, Member) for piece in pieces)
    if has_members or directory:
        yield Skip(name, _BROKEN, items=0 if has_members and directory else None, bytes=directory)


def _others(name: str, others: list[_Stretch], size: int) -> Iterator[Skip]:
    """One skip for each place where bytes of no archive lie."""
    for reason in (BEFORE, BETWEEN, AFTER):
        found = [stretch.stop - stretch.start for stretch in others if _place(stretch, size) == reason]
        if found:
            yield Skip(name, reason, items=None, bytes=sum(found))


def _place(stretch: _Stretch, size: int) -> str:
    if stretch.start == 0:
        return BEFORE
    return AFTER if stretch.stop == size else BETWEEN


# Archives with a directory, from the last to the first.


def _archives(file: File, handle: IO[bytes], size: int) -> Iterator[_Archive]:
    limit = search = size
    records = directories = 0  # that turned out to be none
    while (
        records < _MOST_MARKS and directories < _MOST_DIRECTORIES and (found := _last_end(handle, search)) is not None
    ):
        end = _end(handle, found)
        archive = None if end is None else _archive(file, handle, end, limit)
        search = found + len(_END) - 1 if archive is None else archive.start
        records += end is None
        if archive:
            limit = search
            yield archive
        elif end:
            directories += 1


def _end(handle: IO[bytes], offset: int) -> _End | None:
    """The end record at an offset, None if no directory lies before it."""
    handle.seek(offset)
    record = handle.read(_END_BYTES)
    if len(record) < _END_BYTES:
        return None
    entries, length, comment = struct.unpack("<10xHL4xH", record)
    start = offset
    if is_zip64 := offset >= _END64_BYTES and _is_at(handle, offset - _LOCATOR_BYTES, _LOCATOR):
        start = offset - _END64_BYTES
        handle.seek(start)
        entries, length = struct.unpack("<32xQQ", handle.read(48))
    directory = start - length
    if entries if length == 0 else directory < 0 or not _is_at(handle, directory, _CENTRAL):
        return None
    return _End(offset, entries, is_zip64, directory, comment)


def _archive(file: File, handle: IO[bytes], end: _End, limit: int) -> _Archive | None:
    """The archive that ends there, None if its directory is damaged or does not lead to its members."""
    stop = min(end.offset + _END_BYTES + end.comment, limit)
    if end.directory == end.offset:
        return _Archive(end.offset, stop, [])
    try:
        with file.part(0, end.offset + _END_BYTES).open() as part, zipfile.ZipFile(part) as archive:
            infos, directory = archive.infolist(), archive.start_dir
    except DAMAGE:
        return None
    starts = sorted({info.header_offset for info in infos if 0 <= info.header_offset < directory})
    is_led_to = any(_is_at(handle, start, LOCAL) for start in {*starts[:1], *starts[-1:]})
    if not is_led_to or (len(infos) != end.entries and (end.is_zip64 or len(infos) % 2**16 != end.entries)):
        return None
    limits = dict(zip(starts, [*starts[1:], directory], strict=True))
    members = sorted((_listed(info, limits.get(info.header_offset), directory) for info in infos), key=_offset)
    return _Archive(starts[0], stop, members)


def _offset(member: Member) -> int:
    return member.offset


def _listed(info: zipfile.ZipInfo, limit: int | None, directory: int) -> Member:
    return Member(
        name=info.filename,
        stored_name=info.orig_filename,
        offset=directory if limit is None else info.header_offset,
        limit=limit or directory,
        flags=info.flag_bits,
        method=info.compress_type,
        checksum=info.CRC,
        compressed=info.compress_size,
        size=info.file_size,
        mode=info.external_attr >> 16,
        is_whole=limit is not None,
    )


def _is_at(handle: IO[bytes], offset: int, signature: bytes) -> bool:
    handle.seek(offset)
    return handle.read(len(signature)) == signature


def _last_end(handle: IO[bytes], stop: int) -> int | None:
    """Where the last end record before `stop` begins."""
    step = _FIRST_PIECE
    while stop >= _END_BYTES:
        start = max(0, stop - step)
        handle.seek(start)
        found = handle.read(stop - start).rfind(_END)
        if found >= 0:
            return start + found
        if start == 0:
            break
        stop, step = start + len(_END) - 1, min(2 * step, _PIECE)
    return None


# Stretches without a usable directory, from front to back.


def _pieces(handle: IO[bytes], start: int, stop: int) -> Iterator[Member | _Stretch]:
    """Members by their own headers, records of directories, and the stretches between them."""
    position = search = start
    tried = 0
    while tried <= _MOST_MARKS and (found := _next_mark(handle, search, stop)) is not None:
        piece = _piece(handle, found, stop)
        if piece is None:
            search = found + 1
            tried += 1
            continue
        if found > position:
            yield _Stretch(position, found, is_directory=False)
        yield piece
        position = search = piece.limit if isinstance(piece, Member) else piece.stop
    if position < stop:
        yield _Stretch(position, stop, is_directory=False)


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


def _piece(handle: IO[bytes], offset: int, stop: int) -> Member | _Stretch | None:
    """What begins at a mark, None if it is too short or no header after all."""
    handle.seek(offset)
    head = handle.read(min(_CENTRAL_BYTES, stop - offset))
    if head.startswith(LOCAL):
        return _member(handle, head, offset, stop)
    if head.startswith(_LOCATOR):
        length = _LOCATOR_BYTES
    elif head.startswith(_END64) and len(head) >= 12:
        length = 12 + int.from_bytes(head[4:12], "little")
    elif head.startswith(_END) and len(head) >= _END_BYTES:
        length = _END_BYTES + int.from_bytes(head[20:22], "little")
    elif head.startswith(_CENTRAL) and len(head) == _CENTRAL_BYTES:
        length = _CENTRAL_BYTES + sum(struct.unpack("<3H", head[28:34]))
    else:
        length = len(head)  # cut
    return _Stretch(offset, min(offset + length, stop), is_directory=True)


def _member(handle: IO[bytes], head: bytes, offset: int, stop: int) -> Member | None:
    """The member whose header lies there, not whole if the stretch ends before it does."""
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
    """The end, checksum and sizes of a member that states them behind its data, just before the next mark."""
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
    """How many members seem to begin between two places, None for none."""
    found, position = 0, start
    while (mark := _next_mark(handle, position, stop)) is not None:
        found += _is_at(handle, mark, LOCAL)
        position = mark + 4
    return found or None
