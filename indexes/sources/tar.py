"""Stream tar archives, including WebDataset and img2dataset, without unpacking them to disk."""

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from indexes.records import Item, Kind, Skip
from indexes.sources.files import (
    DAMAGE,
    MAX_ITEM_BYTES,
    File,
    cut_meanwhile,
    damage_reason,
    digest,
    pieces,
    printable,
)
from indexes.sources.forward import Forward
from indexes.sources.members import (
    clean,
    is_companion,
    is_junk,
    is_unsafe,
    is_wanted,
    junk_record,
    key,
    member_record,
    unwanted_record,
)
from indexes.sources.runs import merged
from indexes.sources.signatures import HEAD_BYTES
from indexes.sources.unpacked import AFTER, BROKEN, CUT, Unpacked, unpacked

__all__ = ["NO_END", "Archive", "TarShard", "open_tar", "tar_shards"]

NO_END = "archive without an end mark, may be cut"
_BLOCK = tarfile.BLOCKSIZE
_MAX_HEADER_BYTES = 2**20  # tarfile holds extended headers in memory, whatever size they state
_MAX_NAME = 2**13  # characters; a compressed archive can hold thousands of names of a megabyte
_SHOWN = 200  # characters of a longer name
_MAX_BYTES = 2**40  # largest size that a member may state
_EXTENDED = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_END: Any = tarfile.EOFHeaderError  # type: ignore[attr-defined]  # typeshed leaves out the errors of headers
_INVALID: Any = tarfile.InvalidHeaderError  # type: ignore[attr-defined]
_HEADER: Any = tarfile.HeaderError


@dataclass(frozen=True, slots=True)
class TarShard:
    """A shard that is a whole tar archive, compressed or not."""

    file: File
    name: str
    kind: Kind
    size: int  # bytes of the file when it was listed

    def identity(self) -> str:
        """Digest of the archive's bytes."""
        return digest(["tar", self.kind], pieces(self.file))

    def read(self) -> Iterator[Item | Skip]:
        """One item or skip per wanted or refused member, in stored order, and one skip for each run of other bytes.

        Joined archives are read to the end, like `tar --ignore-zeros`; after a damaged header, reading continues at the
        next valid header.
        """
        try:
            with open_tar(self.file) as archive:
                yield from merged(_records(archive, self.file.name, self.kind))
        except (*DAMAGE, TypeError) as error:
            yield Skip(self.name, damage_reason(error), items=None, bytes=self.size)
        else:
            yield from cut_meanwhile(self.file, self.size)


def tar_shards(file: File, kind: Kind, column: str | None) -> list[TarShard]:
    """The single shard of a tar archive; the content of the archive is known only when it is read."""
    return [TarShard(file, file.name, kind, file.size())]


class _Header(tarfile.TarInfo):
    """A tar header class that tells its archive about each block that is not a valid header."""

    @classmethod
    def fromtarfile(cls, archive: Any) -> Any:
        block = archive.fileobj.read(_BLOCK)
        try:
            info = cls.frombuf(block, archive.encoding, archive.errors)
            limit = _MAX_HEADER_BYTES if info.type in _EXTENDED else _MAX_BYTES
            if not 0 <= info.size <= limit:
                raise _INVALID("header of impossible size")
        except _END:
            archive.ended = True
            archive.offset += archive.fileobj.pass_zeros(_BLOCK)
            raise
        except _HEADER:
            if block.strip(b"\x00"):
                archive.pass_over(len(block))
            raise
        archive.ended = False
        info.offset = archive.fileobj.tell() - _BLOCK
        member = info._proc_member(archive)  # type: ignore[attr-defined]  # as tarfile's own `fromtarfile` does
        if member.size > _MAX_BYTES:  # stated by an extended header
            raise ValueError("header of impossible size")
        return member


class Archive(tarfile.TarFile):
    """A tar stream that continues after zero blocks and damaged headers, and counts the bytes it skips."""

    tarinfo = _Header
    ended = False  # whether the last header block was a zero block, which marks the end
    passed = 0  # bytes since the last valid header that belong to no member
    passed_after_end = False

    def __init__(self, handle: io.BufferedReader, packed: Unpacked | None) -> None:
        self.packed = packed  # the decompressor of the stream, if it is compressed
        super().__init__(fileobj=Forward(handle), mode="r", ignore_zeros=True)  # type: ignore[arg-type]

    def pass_over(self, size: int) -> None:
        """Count `size` skipped bytes that are not a valid header."""
        if self.passed == 0:
            self.passed_after_end = self.ended
        self.passed += size

    def entries(self, name: str) -> Iterator[tarfile.TarInfo | Skip]:
        """Tar members that are not folders, and skips for the bytes between and after members."""
        while (member := self.next()) is not None:
            self.members.clear()  # type: ignore[attr-defined]  # otherwise tarfile keeps every header
            if self.passed:
                yield Skip(name, BROKEN, items=None, bytes=self._forget_passed(), is_plain=True)
            if not member.isdir():
                yield member
        yield from self._remains(name)

    def _remains(self, name: str) -> Iterator[Skip]:
        """Skips for the bytes after the last member of a tar archive, and for a missing end mark."""
        left = None if self.packed is None else self.packed.left
        if self.passed:
            reason = AFTER if self.passed_after_end else BROKEN
            yield Skip(name, reason, items=None, bytes=self._forget_passed(), is_plain=True)
        elif left is None and not self.ended:
            yield Skip(name, NO_END)
        if left is not None:
            yield left

    def cut_short(self, member: tarfile.TarInfo, name: str) -> Skip:
        """The skip record for a tar member whose content ends early."""
        if self.packed is not None and self.packed.left is not None:
            return self.packed.left
        stream: Any = self.fileobj
        return Skip(name, CUT, bytes=max(0, stream.tell() - member.offset_data))

    def next(self) -> tarfile.TarInfo | None:
        """The next member after any unreadable headers; None at the end of the stream."""
        stream: Any = self.fileobj
        at = -1
        while stream.tell() > at:
            at, passed = stream.tell(), self.passed
            try:
                return super().next()
            except (*DAMAGE, TypeError) as error:
                if stream.tell() > at and self.passed == passed and "end of data" not in str(error):
                    self.pass_over(_BLOCK)  # an extended header without a member after it
                    self.passed_after_end = False
                self.offset = -(-stream.tell() // _BLOCK) * _BLOCK  # the next block
        return None

    def _forget_passed(self) -> int:
        size, self.passed = self.passed, 0
        return size


@contextmanager
def open_tar(file: File) -> Iterator[Archive]:
    """Open a tar archive as a stream that is decompressed while it is read."""
    with unpacked(file) as (handle, packed), Archive(handle, packed) as archive:
        yield archive


def _records(archive: Archive, root: str, kind: Kind) -> Iterator[Item | Skip]:
    """The items and skips of an archive; a caption or metadata file is a skip unless a wanted member shares its key."""
    seen: set[str] = set()
    for _, group in groupby(archive.entries(root), key=_key):
        alone: list[Skip] = []
        has_wanted = False
        for entry in group:
            if isinstance(entry, Skip):
                yield entry
                continue
            if len(entry.name) > _MAX_NAME:
                yield Skip(f"{root}/{printable(entry.name[:_SHOWN])}…", "name too long", bytes=entry.size)
                continue
            path = f"{root}/{printable(clean(entry.name))}"
            record = _refusal(entry, path, seen) or _member_record(archive, entry, path, kind)
            if record is None:
                yield archive.cut_short(entry, root)
                return
            has_wanted |= isinstance(record, Item) or is_wanted(entry.name, kind)
            if isinstance(record, Skip) and is_companion(entry.name, kind):
                alone.append(record)
            else:
                seen.add(path)
                yield record
        if not has_wanted:
            yield from alone


def _key(entry: tarfile.TarInfo | Skip) -> str:
    return "" if isinstance(entry, Skip) else key(entry.name)


def _refusal(member: tarfile.TarInfo, path: str, seen: set[str]) -> Skip | None:
    if is_unsafe(member.name):
        return Skip(path, "path leaves the archive", bytes=member.size)
    if is_junk(clean(member.name)):
        return junk_record(path, member.size)
    if not member.isreg() or member.issparse():
        return Skip(path, "not a regular file", bytes=member.size)
    if path in seen:
        return Skip(path, "repeated name", bytes=member.size)
    return Skip(path, "too large", bytes=member.size) if member.size > MAX_ITEM_BYTES else None


def _member_record(archive: Archive, member: tarfile.TarInfo, path: str, kind: Kind) -> Item | Skip | None:
    """A tar member as an item or skip, by content if its suffix is unwanted; None if the archive ends in the member."""
    content = archive.extractfile(member)
    if content is None:
        return Skip(path, "not a regular file", bytes=member.size)
    try:
        head = content.read(HEAD_BYTES)
        if not is_wanted(member.name, kind) and (unwanted := unwanted_record(path, head, member.size, kind)):
            return unwanted
        return member_record(path, head + content.read(), kind)
    except DAMAGE:
        return None
