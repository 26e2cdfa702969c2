"""Tar archives, WebDataset and img2dataset among them: streamed, and never unpacked to disk."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from indexes.records import Item, Kind, Skip
from indexes.sources.files import DAMAGE, MAX_ITEM_BYTES, File, damage_reason, digest, pieces, printable
from indexes.sources.members import UNSUPPORTED, clean, is_companion, is_unsafe, is_wanted, key, member_record

__all__ = ["StrictInfo", "TarShard", "tar_shards"]

_MAX_HEADER_BYTES = 2**20  # extended headers are held in memory by tarfile, whatever size they state
_EXTENDED = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


@dataclass(frozen=True, slots=True)
class TarShard:
    """A whole tar archive, compressed or not."""

    file: File
    name: str
    kind: Kind

    def identity(self) -> str:
        """Digest of the archive's bytes."""
        return digest(["tar", self.kind], pieces(self.file))

    def read(self) -> Iterator[Item | Skip]:
        """One record a member that is wanted or refused, in stored order; a cut archive ends with one skip."""
        try:
            with self.file.open() as handle, tarfile.open(fileobj=handle, mode="r|*", tarinfo=StrictInfo) as archive:
                yield from _records(archive, self.file.name, self.kind)
        except (*DAMAGE, TypeError) as error:  # TypeError: from tarfile, on a cut gzip header
            yield Skip(self.name, damage_reason(error))


def tar_shards(file: File, kind: Kind, column: str | None) -> list[TarShard]:
    """One shard; what the archive holds is known only when it is read."""
    return [TarShard(file, file.name, kind)]


class StrictInfo(tarfile.TarInfo):
    """A header that reports damage where tarfile would end the archive in silence."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Any:
        try:
            info = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # typeshed leaves it out
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error
        if info.size < 0 or (info.type in _EXTENDED and info.size > _MAX_HEADER_BYTES):
            raise tarfile.ReadError("header of impossible size")
        return info


def _records(archive: tarfile.TarFile, root: str, kind: Kind) -> Iterator[Item | Skip]:
    """Records key by key; a companion is passed over if a wanted member shares its key, and counted if none does."""
    seen: set[str] = set()
    for _, group in groupby(_members(archive), key=lambda member: key(member.name)):
        alone: list[Skip] = []
        has_wanted = False
        for member in group:
            path = f"{root}/{printable(clean(member.name))}"
            reason = _refusal(member, kind) or ("repeated name" if path in seen else None)
            has_wanted |= is_wanted(member.name, kind)
            if reason == UNSUPPORTED and is_companion(member.name, kind):
                alone.append(Skip(path, reason))
            elif reason:
                yield Skip(path, reason)
            else:
                seen.add(path)
                yield _member_record(archive, member, path, kind)
        if not has_wanted:
            yield from alone


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (member := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]  # or tarfile keeps every header; typeshed omits it
        if not member.isdir():
            yield member


def _refusal(member: tarfile.TarInfo, kind: Kind) -> str | None:
    if is_unsafe(member.name):
        return "path leaves the archive"
    if not member.isreg() or member.issparse():
        return "not a regular file"
    if not is_wanted(member.name, kind):
        return UNSUPPORTED
    return "too large" if member.size > MAX_ITEM_BYTES else None


def _member_record(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str, kind: Kind) -> Item | Skip:
    content = archive.extractfile(member)
    if content is None:
        return Skip(path, "not a regular file")
    return member_record(path, content.read(), kind)
