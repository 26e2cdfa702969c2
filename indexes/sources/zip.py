"""Read images or texts from zip archives, in shards of consecutive members."""

import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, NamedTuple

from indexes.records import Item, Kind, Skip
from indexes.sources.files import DAMAGE, MAX_ITEM_BYTES, File, Refused, damage_reason, digest, printable
from indexes.sources.members import (
    clean,
    is_junk,
    is_unsafe,
    is_wanted,
    junk_record,
    member_record,
    unwanted_record,
)
from indexes.sources.sidecars import companions
from indexes.sources.signatures import HEAD_BYTES
from indexes.sources.unpacked import BOMB, MOST_BYTES, MOST_RATIO
from indexes.sources.zip_layout import BETWEEN, layout
from indexes.sources.zip_members import ENCRYPTED, Member, bytes_after, contents, data_start
from indexes.sources.zip_pieces import count_headers

__all__ = ["ZipShard", "zip_shards"]

_CHUNK = 1024  # members in a shard


class _Part(NamedTuple):
    member: Member
    name: str  # name inside the archive, safe for ids
    refusal: Skip | None  # skip with the reason why the member is not read
    is_silent: bool  # a folder, or a file that only describes another


class _Gap(NamedTuple):
    bytes: int
    members: int | None  # number of member headers found in the gap


@dataclass(frozen=True, slots=True)
class ZipShard:
    """A shard of consecutive members of a zip file, which may consist of several joined archives."""

    file: File
    name: str
    kind: Kind
    parts: tuple[_Part, ...]
    left: tuple[Skip, ...]  # skips for bytes outside all archives, on the last shard

    def identity(self) -> str:
        """Digest of the members' names, checksums, sizes and extents, as the directory states them."""
        return digest(["zip", self.kind], self._stated())

    def _stated(self) -> Iterator[str]:
        for part in self.parts:
            if not part.is_silent:
                reason = part.refusal.reason if part.refusal else ""
                yield from (part.name, reason, f"{part.member.checksum} {part.member.size} {part.member.extent}")
        for skip in self.left:
            yield from (skip.reason, str(skip.bytes))

    def read(self) -> Iterator[Item | Skip]:
        """One item or skip per zip member, in file order, then skips for bytes outside members."""
        done = 0
        try:
            with self.file.open() as handle:
                gaps: list[_Gap] = []
                for part in self.parts:
                    record, after = _read(handle, part, f"{self.file.name}/{part.name}", self.kind)
                    gaps += after
                    if not part.is_silent:
                        yield record
                        done += 1
                yield from _between(self.file.name, gaps)
            yield from self.left
        except DAMAGE as error:
            expected = sum(not part.is_silent for part in self.parts)
            yield Skip(self.name, damage_reason(error), items=expected - done, bytes=None)


def zip_shards(file: File, kind: Kind, column: str | None) -> list[ZipShard]:
    """Split a zip file into shards of members; raises `Refused` if no member is of the kind, by name or by content."""
    found = layout(file)
    parts = list(_parts(file.name, found.members, kind, is_bomb=_is_bomb(found.members, file)))
    chunks = [tuple(parts[start : start + _CHUNK]) for start in range(0, len(parts), _CHUNK)] or [()]
    names = [file.name] if len(chunks) == 1 else [f"{file.name}:{number:05d}" for number in range(len(chunks))]
    lefts = [()] * (len(chunks) - 1) + [found.left]
    shards = [ZipShard(file, name, kind, chunk, left) for name, chunk, left in zip(names, chunks, lefts, strict=True)]
    if not any(is_wanted(part.member.name, kind) for part in parts):
        _check_contents(shards, len(found.members))
    return shards


def _check_contents(shards: list[ZipShard], members: int) -> None:
    """Search all members for an item by content; raises `Refused`, with the number of possible items, if none fits."""
    items: int | None = 0
    for shard in shards:
        for record in shard.read():
            if isinstance(record, Item):
                return
            items = None if items is None or record.items is None else items + record.items
    name, kind = shards[0].file.name, shards[0].kind
    message = f"{name}: none of its {members} members is a file of kind {kind}; expected one at least"
    raise Refused(message, f"holds no {kind}", items=items)


def _is_bomb(members: Iterable[Member], file: File) -> bool:
    """Whether all members together decompress to more bytes than the limit for a compressed file."""
    return sum(member.size for member in members) > max(MOST_BYTES, MOST_RATIO * file.size())


def _parts(root: str, members: Iterable[Member], kind: Kind, *, is_bomb: bool) -> Iterator[_Part]:
    described = companions([member.name for member in members], kind)
    seen: set[str] = set()
    for member in members:
        name = printable(clean(member.name))
        is_silent = member.name in described or (member.name.endswith("/") and member.size == 0)
        is_refused = is_bomb and member.size > MOST_RATIO * member.extent
        refusal = _refusal(member, f"{root}/{name}", is_repeated=name in seen, is_bomb=is_refused)
        if not is_silent:
            seen.add(name)
        yield _Part(member, name, refusal, is_silent)


def _refusal(member: Member, path: str, *, is_repeated: bool, is_bomb: bool) -> Skip | None:
    if is_junk(clean(member.name)):
        return junk_record(path, member.extent)
    reason = _reason(member, is_repeated=is_repeated) or (BOMB if is_bomb else None)
    return None if reason is None else Skip(path, reason, bytes=member.extent)


def _reason(member: Member, *, is_repeated: bool) -> str | None:
    if is_unsafe(member.name):
        return "path leaves the archive"
    if stat.S_IFMT(member.mode) not in (0, stat.S_IFREG):  # 0: written by systems without file modes
        return "not a regular file"
    if is_repeated:
        return "repeated name"
    if member.flags & ENCRYPTED:
        return "encrypted"
    return "too large" if max(member.size, member.compressed) > MAX_ITEM_BYTES else None


def _read(handle: IO[bytes], part: _Part, path: str, kind: Kind) -> tuple[Item | Skip, list[_Gap]]:
    """The item or skip for a zip member, and the gaps of unused bytes after the member."""
    member = part.member
    try:
        start = data_start(handle, member)
    except DAMAGE:
        others = count_headers(handle, member.offset + 1, member.limit)
        return part.refusal or _broken(member, path), [_Gap(0, others)] if others else []
    record = part.refusal or _record(handle, member, start, path, kind)
    unread = start + member.compressed - handle.tell() if isinstance(record, Item) else 0
    gaps = [_Gap(unread, None)] if unread > 0 else []
    if after := bytes_after(handle, member, start):
        gaps.append(_Gap(after, count_headers(handle, member.limit - after, member.limit)))
    return record, gaps


def _record(handle: IO[bytes], member: Member, start: int, path: str, kind: Kind) -> Item | Skip:
    try:
        content = contents(handle, member, start)
        head = content.read(HEAD_BYTES)
        if not is_wanted(member.name, kind) and (unwanted := unwanted_record(path, head, member.size, kind)):
            return unwanted
        data = head + content.read(MAX_ITEM_BYTES + 1 - len(head))
    except NotImplementedError:
        return Skip(path, "unsupported compression", bytes=member.extent)
    except DAMAGE:
        return _broken(member, path)
    return member_record(path, data, kind) if len(data) == member.size else _broken(member, path)


def _broken(member: Member, path: str) -> Skip:
    return Skip(path, "broken archive member", bytes=member.extent)


def _between(name: str, gaps: list[_Gap]) -> Iterator[Skip]:
    """One skip for all bytes between zip members; its item count is the number of unlisted members in these bytes."""
    if gaps:
        members = [gap.members for gap in gaps if gap.members is not None]
        yield Skip(name, BETWEEN, items=sum(members) if members else None, bytes=sum(gap.bytes for gap in gaps))
