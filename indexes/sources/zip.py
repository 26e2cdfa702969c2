"""Zip archives of images or texts, in chunks of their central directory."""

import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from indexes.records import Item, Kind, Skip
from indexes.sources.files import DAMAGE, MAX_ITEM_BYTES, File, Refused, damage_reason, digest, printable
from indexes.sources.members import UNSUPPORTED, clean, is_unsafe, is_wanted, member_record
from indexes.sources.sidecars import companions

__all__ = ["ZipShard", "zip_shards"]

_CHUNK = 1024  # members in a shard
_ENCRYPTED = 0x1  # bit of the general purpose flags


class _Member(NamedTuple):
    position: int  # in the central directory
    name: str  # inside the archive, fit for ids
    reason: str | None  # why it is not read


@dataclass(frozen=True, slots=True)
class ZipShard:
    """Consecutive members of a zip archive."""

    file: File
    name: str
    kind: Kind
    members: tuple[_Member, ...]
    content: str  # digest of names, checksums and sizes

    def identity(self) -> str:
        """Digest of the members' names, checksums and sizes as the central directory states them."""
        return self.content

    def read(self) -> Iterator[Item | Skip]:
        """One record a member, in the directory's order."""
        try:
            with self.file.open() as handle, zipfile.ZipFile(handle) as archive:
                stored = archive.infolist()
                for member in self.members:
                    path = f"{self.file.name}/{member.name}"
                    if member.reason:
                        yield Skip(path, member.reason)
                    else:
                        yield _record(archive, stored[member.position], path, self.kind)
        except DAMAGE as error:
            yield Skip(self.name, damage_reason(error))


def zip_shards(file: File, kind: Kind, column: str | None) -> list[ZipShard]:
    """Chunks of the directory; raises `Refused` when it is cut or names no file of the kind."""
    with file.open() as handle, zipfile.ZipFile(handle) as archive:
        stored = archive.infolist()
    described = companions([info.filename for info in stored], kind)
    if not any(is_wanted(info.filename, kind) for info in stored):
        raise Refused(f"{file.name}: none of its {len(stored)} members is a file of kind {kind}", f"holds no {kind}")
    members = [member for member in _members(stored, kind) if stored[member.position].filename not in described]
    chunks = [tuple(members[start : start + _CHUNK]) for start in range(0, len(members), _CHUNK)]
    names = [file.name] if len(chunks) == 1 else [f"{file.name}:{number:05d}" for number in range(len(chunks))]
    return [
        ZipShard(file, name, kind, chunk, digest(_stated(stored, chunk, kind)))
        for name, chunk in zip(names, chunks, strict=True)
    ]


def _members(stored: list[zipfile.ZipInfo], kind: Kind) -> Iterator[_Member]:
    seen: set[str] = set()
    for position, info in enumerate(stored):
        if not info.is_dir():
            name = printable(clean(info.filename))
            yield _Member(position, name, _refusal(info, kind) or ("repeated name" if name in seen else None))
            seen.add(name)


def _refusal(info: zipfile.ZipInfo, kind: Kind) -> str | None:
    if is_unsafe(info.filename):
        return "path leaves the archive"
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):  # 0: written where there are no modes
        return "not a regular file"
    if not is_wanted(info.filename, kind):
        return UNSUPPORTED
    if info.flag_bits & _ENCRYPTED:
        return "encrypted"
    return "too large" if info.file_size > MAX_ITEM_BYTES else None


def _stated(stored: list[zipfile.ZipInfo], chunk: tuple[_Member, ...], kind: Kind) -> Iterator[str]:
    yield from ("zip", kind)
    for member in chunk:
        info = stored[member.position]
        yield from (member.name, member.reason or "", f"{info.CRC} {info.file_size}")


def _record(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: str, kind: Kind) -> Item | Skip:
    try:
        with archive.open(info) as content:
            data = content.read(MAX_ITEM_BYTES + 1)
    except DAMAGE:
        return Skip(path, "broken archive member")
    if len(data) != info.file_size:
        return Skip(path, "broken archive member")
    return member_record(path, data, kind)
