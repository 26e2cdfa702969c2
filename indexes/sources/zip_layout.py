"""Locate everything in a zip file: the members of one or more joined archives, and bytes outside all archives.

If the directory of an archive is readable, the directory decides which members the archive holds. If the directory is
missing or damaged, members are found by their own headers. Every byte of the file belongs to a member, to a directory,
or to one of the skips.
"""

import struct
import zipfile
from collections.abc import Iterator
from typing import IO, NamedTuple

from indexes.records import Skip
from indexes.sources.files import DAMAGE, File
from indexes.sources.zip_members import LOCAL, Member
from indexes.sources.zip_pieces import CENTRAL, END, END_BYTES, LOCATOR, LOCATOR_BYTES, Stretch, is_at, pieces_between

__all__ = ["BETWEEN", "Layout", "layout"]

BEFORE = "bytes before the archive"
BETWEEN = "bytes between members"
AFTER = "bytes after the archive"
_BROKEN = "broken archive"

_END64_BYTES = 76  # size of the 64-bit end record and its locator, which stand before the end record
_MOST_DIRECTORIES = 64  # false directories read before giving up
_MOST_RECORDS = 100_000  # false end records tried before giving up
_FIRST_PIECE, _PIECE = 2**12, 2**20  # bytes read at once


class Layout(NamedTuple):
    """All members of a zip file in file order, and skips for bytes that belong to no member."""

    members: tuple[Member, ...]
    left: tuple[Skip, ...]


class _Archive(NamedTuple):
    start: int
    stop: int
    members: list[Member]


class _End(NamedTuple):
    offset: int
    entries: int  # number that the record states
    is_zip64: bool  # else entries are counted modulo 65536
    directory: int
    comment: int  # bytes


def layout(file: File) -> Layout:
    """The layout of a zip file; raises `BadZipFile` if the file holds neither a directory nor a member."""
    with file.open() as handle:
        size = file.size()
        archives = list(_archives(file, handle, size))[::-1]
        pieces: list[Member | Stretch] = []
        left: list[Skip] = []
        position = 0
        for archive in [*archives, _Archive(size, size, [])]:
            outside = list(pieces_between(handle, position, archive.start))
            left += _repaired(file.name, outside)
            pieces += [*outside, *archive.members]
            position = archive.stop
    members = tuple(piece for piece in pieces if isinstance(piece, Member))
    if not archives and not members:
        raise zipfile.BadZipFile("no zip archive")
    others = [piece for piece in pieces if isinstance(piece, Stretch) and not piece.is_directory]
    return Layout(members, (*left, *_others(file.name, others, size)))


def _repaired(name: str, pieces: list[Member | Stretch]) -> Iterator[Skip]:
    """The skip record for an archive whose members were found without its directory; more members may be lost."""
    directory = sum(piece.stop - piece.start for piece in pieces if isinstance(piece, Stretch) and piece.is_directory)
    has_members = any(isinstance(piece, Member) for piece in pieces)
    if has_members or directory:
        yield Skip(name, _BROKEN, items=0 if has_members and directory else None, bytes=directory)


def _others(name: str, others: list[Stretch], size: int) -> Iterator[Skip]:
    """One skip each for unused bytes at the start, in the middle and at the end of a zip file, if there are any."""
    for reason in (BEFORE, BETWEEN, AFTER):
        found = [stretch.stop - stretch.start for stretch in others if _place(stretch, size) == reason]
        if found:
            yield Skip(name, reason, items=None, bytes=sum(found))


def _place(stretch: Stretch, size: int) -> str:
    if stretch.start == 0:
        return BEFORE
    return AFTER if stretch.stop == size else BETWEEN


def _archives(file: File, handle: IO[bytes], size: int) -> Iterator[_Archive]:
    limit = search = size
    records = directories = 0  # false ones so far
    while (
        records < _MOST_RECORDS and directories < _MOST_DIRECTORIES and (found := _last_end(handle, search)) is not None
    ):
        end = _end(handle, found)
        archive = None if end is None else _archive(file, handle, end, limit)
        search = found + len(END) - 1 if archive is None else archive.start
        records += end is None
        if archive:
            limit = search
            yield archive
        elif end:
            directories += 1


def _end(handle: IO[bytes], offset: int) -> _End | None:
    """The zip end record at an offset; None if no directory lies before the record."""
    handle.seek(offset)
    record = handle.read(END_BYTES)
    if len(record) < END_BYTES:
        return None
    entries, length, comment = struct.unpack("<10xHL4xH", record)
    start = offset
    if is_zip64 := offset >= _END64_BYTES and is_at(handle, offset - LOCATOR_BYTES, LOCATOR):
        start = offset - _END64_BYTES
        handle.seek(start)
        entries, length = struct.unpack("<32xQQ", handle.read(48))
    directory = start - length
    if entries if length == 0 else directory < 0 or not is_at(handle, directory, CENTRAL):
        return None
    return _End(offset, entries, is_zip64, directory, comment)


def _archive(file: File, handle: IO[bytes], end: _End, limit: int) -> _Archive | None:
    """The zip archive with this end record; None if its directory is damaged or does not point to its members."""
    stop = min(end.offset + END_BYTES + end.comment, limit)
    if end.directory == end.offset:
        return _Archive(end.offset, stop, [])
    try:
        with file.part(0, end.offset + END_BYTES).open() as part, zipfile.ZipFile(part) as archive:
            infos, directory = archive.infolist(), archive.start_dir
    except DAMAGE:
        return None
    starts = sorted({info.header_offset for info in infos if 0 <= info.header_offset < directory})
    is_led_to = any(is_at(handle, start, LOCAL) for start in {*starts[:1], *starts[-1:]})
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


def _last_end(handle: IO[bytes], stop: int) -> int | None:
    """Start of the last zip end record before `stop`; None if no end record is found."""
    step = _FIRST_PIECE
    while stop >= END_BYTES:
        start = max(0, stop - step)
        handle.seek(start)
        found = handle.read(stop - start).rfind(END)
        if found >= 0:
            return start + found
        if start == 0:
            break
        stop, step = start + len(END) - 1, min(2 * step, _PIECE)
    return None
