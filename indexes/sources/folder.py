"""Split a folder into shards: loose files in chunks, each archive or table by itself; other files become skips."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from indexes.errors import InputError
from indexes.records import Item, Kind, Shard, Skip, Unusable
from indexes.sources.cells import TableShard
from indexes.sources.files import DAMAGE, Entry, File, Refused, digest, pieces
from indexes.sources.formats import format_of, split, supported
from indexes.sources.jsonl import JsonLinesShard
from indexes.sources.listing import SYMBOLIC_LINK
from indexes.sources.members import UNSUPPORTED, is_junk, is_wanted, junk_record, member_record, unwanted_record
from indexes.sources.sidecars import sidecars
from indexes.sources.signatures import HEAD_BYTES

__all__ = ["LooseShard", "folder_shards"]

_CHUNK = 1024  # files in a shard


@dataclass(frozen=True, slots=True)
class LooseShard:
    """A shard of consecutive loose files of a folder, including skips for entries that cannot be read."""

    name: str
    kind: Kind
    entries: tuple[Entry, ...]

    def identity(self) -> str:
        """Digest of the files' relative paths and contents."""
        return digest([self.kind], chain.from_iterable(map(_parts, self.entries)))

    def read(self) -> Iterator[Item | Skip]:
        """One item or skip per entry of the folder, in path order."""
        return (_record(entry, self.kind) for entry in self.entries)


def _parts(entry: Entry) -> Iterator[bytes | str]:
    if isinstance(entry, Skip):
        yield from (entry.path, entry.reason)
    else:
        yield entry.name
        yield from pieces(entry)


def _record(entry: Entry, kind: Kind) -> Item | Skip:
    if isinstance(entry, Skip):
        return entry
    try:
        return member_record(entry.name, entry.read(), kind)
    except Unusable as error:
        return Skip(entry.name, str(error), bytes=_size(entry))


def folder_shards(spec: str, entries: Sequence[Entry], kind: Kind, column: str | None) -> tuple[Shard, ...]:
    """Shards of loose files, then of each archive or table; raises `InputError` if no file can hold the kind."""
    described = sidecars([entry.name for entry in entries if isinstance(entry, File)], kind)
    found = [_sorted_out(entry, kind) for entry in entries if isinstance(entry, Skip) or entry.name not in described]
    has_loose = any(isinstance(entry, File) and not is_many for entry, is_many in found)
    loose: list[Entry] = []
    archives: list[Shard] = []
    refusals: list[Refused] = []
    for entry, is_many in found:
        if isinstance(entry, Skip) or not is_many:
            loose.append(entry)
            continue
        try:
            archives += _archive_shards(entry, kind, column, has_loose)
        except Refused as refusal:
            loose.append(Skip(entry.name, refusal.reason, refusal.items, _size(entry)))
            refusals.append(refusal)
    if not archives and not has_loose:
        raise _nothing(spec, loose, kind, refusals)
    return *_chunks(loose, kind), *archives


def _sorted_out(entry: Entry, kind: Kind) -> tuple[Entry, bool]:
    """The file (or a skip if it is not read), and whether the file may hold many items."""
    if isinstance(entry, Skip):
        return entry, False
    if is_junk(entry.name):
        return junk_record(entry.name, _size(entry) or 0), False
    if is_wanted(entry.name, kind):
        return entry, False
    try:
        with entry.open() as handle:
            head = handle.read(HEAD_BYTES)
        if format_of(entry, head) is not None:
            return entry, True
        return unwanted_record(entry.name, head, entry.size(), kind) or entry, False
    except DAMAGE:
        return Skip(entry.name, "unreadable file", items=None, bytes=_size(entry)), False


def _size(file: File) -> int | None:
    """The size of a file in bytes, None if unknown."""
    try:
        return file.size()
    except DAMAGE:
        return None


def _archive_shards(file: File, kind: Kind, column: str | None, has_loose: bool) -> Sequence[Shard]:
    shards = split(file, kind, column)
    if has_loose and any(_lists_files(shard) for shard in shards):  # the listed files are read as loose files
        raise Refused(
            f"{file.name}: lists files that are also read directly from the folder", "list of files beside it", items=0
        )
    return shards


def _lists_files(shard: Shard) -> bool:
    return isinstance(shard, TableShard | JsonLinesShard) and shard.column.form == "path"


def _chunks(loose: list[Entry], kind: Kind) -> Iterator[LooseShard]:
    for number, start in enumerate(range(0, len(loose), _CHUNK)):
        yield LooseShard(f"{kind}s-{number:05d}", kind, tuple(loose[start : start + _CHUNK]))


def _nothing(spec: str, found: list[Entry], kind: Kind, refusals: list[Refused]) -> InputError:
    """The error for a folder without usable files: the most informative refusal, else the expected formats."""
    telling = [refusal for refusal in refusals if refusal.reason != UNSUPPORTED]
    if telling:
        return telling[0]
    reasons = Counter(entry.reason for entry in found if isinstance(entry, Skip))
    named = ", ".join(f"{count} × {reason}" for reason, count in reasons.most_common(3))
    message = f"{spec}: found nothing that can hold {kind}s ({named or 'no entry'}); expected {supported(kind)}"
    if SYMBOLIC_LINK in reasons:
        message += "; symbolic links are not followed: name the folder that they lead to, or copy the files"
    return InputError(message)
