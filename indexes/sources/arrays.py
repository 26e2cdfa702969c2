"""Read the rows of `.npy` and `.npz` arrays as vectors, without ever loading pickled objects."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from indexes.records import Item, Kind, Skip
from indexes.sources.array_files import Block, Header, blocks, read_header, read_rows, records, stream_rows, unfit
from indexes.sources.files import DAMAGE, File, Refused, damage_reason, digest, pieces, record_parts
from indexes.sources.npz_layout import checked_ids, choose, opened, read_ids, remains, survey
from indexes.sources.runs import merged
from indexes.sources.unpacked import BOMB, MOST_BYTES, MOST_RATIO
from indexes.sources.zip_members import Member

__all__ = ["NpyShard", "NpzShard", "media_in", "npy_shards", "npz_shards"]

_MAX_WHOLE_BYTES = 2**31  # largest compressed matrix stored by column, which must be read whole


@dataclass(frozen=True, slots=True)
class NpyShard:
    """A shard of consecutive rows of one matrix in an `.npy` file."""

    file: File
    name: str
    header: Header
    start: int  # rows of the matrix
    stop: int
    first: int  # number of rows in the matrices before this one
    left: tuple[Skip, ...]  # skips for the rest of the file, on the last shard

    def identity(self) -> str:
        """Digest of the shard's rows."""
        return digest(["array"], record_parts(self.read(), self.file))

    def read(self) -> Iterator[Item | Skip]:
        """One item or skip per row, named by its row number, then the skips for the rest of the file."""
        try:
            with self.file.open() as handle:
                rows = read_rows(handle, self.header, self.start, self.stop)
        except DAMAGE as error:
            yield Skip(self.name, damage_reason(error), items=self.stop - self.start, bytes=None)
        else:
            numbers = range(self.first + self.start, self.first + self.stop)
            yield from records(rows, [f"{self.file.name}#{number}" for number in numbers])
        yield from self.left


@dataclass(frozen=True, slots=True)
class NpzShard:
    """A shard of all rows of one array in an `.npz` archive, read as a stream, with the ids from the array `ids`."""

    file: File
    name: str
    member: Member
    ids: Member | None
    rows: int  # stated by the first header of the member
    left: tuple[Skip, ...]  # skips for the rest of the file

    def identity(self) -> str:
        """Digest of the archive's bytes and the member's name."""
        return digest(["arrays", self.member.name], pieces(self.file))

    def read(self) -> Iterator[Item | Skip]:
        """One item or skip per row, named by stored id or else by row number, then skips for the rest of the file."""
        return merged(self._read())

    def _read(self) -> Iterator[Item | Skip]:
        unread, left = self.rows, self.member.size  # rows of the matrix, bytes of the member
        try:
            with self.file.open() as handle:
                ids = None if self.ids is None else read_ids(handle, self.ids)
                content = opened(handle, self.member)
                for part in blocks(content, self.member.size, self.file.name):
                    if isinstance(part, Skip):
                        yield part
                        continue
                    unread = part.rows
                    for record in _records(content, part, self.file.name, ids):
                        yield record
                        rows = 1 if isinstance(record, Item) else record.items or 0
                        unread, left = unread - rows, left - rows * part.header.row_bytes
        except DAMAGE as error:
            yield Skip(self.name, damage_reason(error), items=unread or None, bytes=left)
        yield from self.left


def _records(content: IO[bytes], block: Block, name: str, ids: list[str] | None) -> Iterator[Item | Skip]:
    """The items and skips for the rows of one matrix in an `.npz` archive."""
    if block.rows == 0:
        return
    if block.header.is_by_column and block.header.bytes > _MAX_WHOLE_BYTES:
        yield Skip(name, "too large", items=block.rows, bytes=block.header.bytes)
        return
    if block.first and ids is not None:  # the ids belong to the first matrix
        yield Skip(name, "rows without ids", items=block.rows, bytes=block.rows * block.header.row_bytes)
        return
    number = block.first
    for rows in stream_rows(content, block):
        names = range(number, number + len(rows)) if ids is None else ids[number : number + len(rows)]
        yield from records(rows, [f"{name}#{each}" for each in names])
        number += len(rows)


def npy_shards(file: File, kind: Kind, column: str | None) -> list[NpyShard]:
    """Split an `.npy` file into shards of 8192 rows; raises `Refused` for pickles and files without a float matrix."""
    with file.open() as handle:
        parts = list(blocks(handle, file.size(), file.name))
        handle.seek(0)
        header = read_header(handle, file.name)
    left = tuple(part for part in parts if isinstance(part, Skip))
    found = [part for part in parts if isinstance(part, Block)]
    cuts = [
        (block, start, min(start + block.header.step, block.rows))
        for block in found
        for start in range(0, block.rows, block.header.step)
    ]
    if not cuts:
        raise _no_rows(file.name, header, left, has_matrix=bool(found))
    names = [file.name] if len(cuts) == 1 else [f"{file.name}:{number:05d}" for number in range(len(cuts))]
    return [
        NpyShard(file, name, block.header, start, stop, block.first, left if name == names[-1] else ())
        for name, (block, start, stop) in zip(names, cuts, strict=True)
    ]


def _no_rows(name: str, header: Header, left: tuple[Skip, ...], *, has_matrix: bool) -> Refused:
    """The error for an array file without a readable row; it includes the number of rows that the file states."""
    items = None if any(skip.items is None for skip in left) else sum(skip.items or 0 for skip in left)
    if has_matrix:
        message = f"{name}: ends before the {header.rows} rows it states; copy or download it again"
        return Refused(message, "broken archive", items=items)
    refusal = unfit(header, name) or Refused(f"{name}: found no rows, expected at least one row", "not a matrix")
    return Refused(str(refusal), refusal.reason, items=items)


def npz_shards(file: File, kind: Kind, column: str | None) -> list[NpzShard]:
    """The shard of an `.npz` file; raises `Refused` like `npy_shards`, and `InputError` if several arrays fit."""
    with file.open() as handle:
        arrays, left = survey(file, handle)
        chosen, header = choose(arrays, column, file.name)
        if refusal := unfit(header, f"{file.name} {chosen.key}"):
            raise refusal
        if chosen.member.size > max(MOST_BYTES, MOST_RATIO * chosen.member.extent):
            message = f"{file.name}: {chosen.key} unpacks to {chosen.member.size} bytes; save it without compression"
            raise Refused(message, BOMB, items=header.rows)
        if header.is_by_column and header.bytes > _MAX_WHOLE_BYTES:
            message = f"{file.name}: {chosen.key} is stored by column and too large; save it in C order"
            raise Refused(message, "too large", items=header.rows)
        ids = checked_ids(handle, arrays, chosen.key, header.rows, file.name)
    others = remains(arrays, chosen, file.name, is_asked=column is not None)
    return [NpzShard(file, file.name, chosen.member, ids, header.rows, (*others, *left))]


def media_in(file: File, *, is_archive: bool) -> int | None:
    """The number of images or texts in a file of arrays: rows of arrays with three or more axes, and of string arrays.

    No reader supports arrays of images or texts. Vectors and scalars are not counted, because they describe items that
    are stored elsewhere. Returns None if the array headers cannot be read.
    """
    try:
        with file.open() as handle:
            headers = [a.header for a in survey(file, handle)[0]] if is_archive else [read_header(handle, file.name)]
    except (*DAMAGE, Refused):
        return None
    if any(header is None for header in headers):
        return None
    return sum(_media_rows(header) for header in headers if header is not None)


def _media_rows(header: Header) -> int:
    is_media = len(header.shape) > 2 or header.dtype.kind in "USO"
    return header.rows if is_media else 0
