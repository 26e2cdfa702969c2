"""Read Arrow streams and files, such as Hugging Face datasets saved on disk, batch by batch."""

import io
import json
import posixpath
from collections.abc import Generator, Iterator, Sequence
from typing import IO, Any

import pyarrow as pa

from indexes.records import Kind, Skip, Unusable
from indexes.sources.arrow_messages import Gap, Message, Stream, find_streams
from indexes.sources.cells import Lost, TableShard, sound
from indexes.sources.files import DAMAGE, File, Refused, damage_reason
from indexes.sources.parts import AFTER, BEFORE, Part, part_shards

__all__ = ["arrow_shards"]

_BROKEN = "broken archive"


def arrow_shards(file: File, kind: Kind, column: str | None) -> list[TableShard]:
    """One shard per Arrow stream in a file; raises `Refused` for caches and other files not listed in `state.json`."""
    listed = _listed(file)
    if listed is not None and posixpath.basename(file.name) not in listed:
        raise Refused(f"{file.name}: the file is not listed in state.json", "not part of the dataset", items=0)
    if file.size() == 0:
        raise Refused(f"{file.name}: the file is empty, expected an Arrow stream or file", "empty file", items=0)
    with file.open() as handle:
        found = list(find_streams(handle, file.size()))
        if found == [Gap(0, file.size())]:
            handle.seek(0)
            raise _no_stream(file, handle.read(4))
        parts, skips = _parts(file, found, handle)
    if not parts:
        items = [skip.items for skip in skips]
        message = f"{file.name}: the schema is damaged; copy or download it again"
        raise Refused(message, _BROKEN, items=None if None in items else sum(count or 0 for count in items))
    return part_shards(file, parts, skips, kind, column, _batches)


def _no_stream(file: File, head: bytes) -> Refused:
    if head == b"FEA1":
        message = f"{file.name}: Feather version 1, expected an Arrow stream or file; write it again as version 2"
        return Refused(message, "Feather version 1 not supported")
    return Refused(f"{file.name}: holds no Arrow schema, expected an Arrow stream or file; copy it again", _BROKEN)


def _listed(file: File) -> set[str] | None:
    """Names of the data files listed in `state.json`; None if `state.json` is missing or cannot be read."""
    try:
        state = json.loads(file.beside("state.json").read())
        return {data_file["filename"] for data_file in state["_data_files"]}
    except (Unusable, ValueError, LookupError, TypeError):
        return None


def _parts(file: File, found: Sequence[Stream | Gap], handle: IO[bytes]) -> tuple[list[Part], list[Skip]]:
    parts: list[Part] = []
    skips: list[Skip] = []
    for each in found:
        if isinstance(each, Gap):
            is_cut = each.start == each.stop  # the footer is missing, and unknown data before it
            reason = _BROKEN if is_cut else AFTER if parts else BEFORE
            skips.append(Skip(file.name, reason, items=None, bytes=None if is_cut else each.stop - each.start))
            continue
        size, rows = each[-1].stop - each[0].start, _total(each)
        try:
            schema = _schema(handle, each[0])
        except DAMAGE:
            skips.append(Skip(file.name, _BROKEN, items=rows, bytes=size))
        else:
            parts.append(Part(file, size, schema, ((each, rows),), rows))
    return parts, skips


def _total(stream: Stream) -> int | None:
    rows = [message.rows for message in stream]
    return None if None in rows else sum(count or 0 for count in rows)


def _schema(handle: IO[bytes], message: Message) -> Any:
    handle.seek(message.start)
    return pa.ipc.read_schema(pa.BufferReader(handle.read(message.stop - message.start)))


def _batches(file: File, column: str, stream: Stream) -> Iterator[Any]:
    """The cells of a column in all batches of an Arrow stream; a damaged batch does not affect other batches."""
    with file.open() as handle:
        index = _schema(handle, stream[0]).get_field_index(column)
        place = 1
        while place < len(stream):
            if stream[place].kind == "gap":
                yield _lost(stream[place], _BROKEN)
                place += 1
            else:
                place = yield from _run(handle, stream, place, index)


def _run(handle: IO[bytes], stream: Stream, first: int, index: int) -> Generator[Any, None, int]:
    """Yield cells from message `first` to the next gap or damaged batch; return the message number to continue from."""
    stop = next((place for place in range(first, len(stream)) if stream[place].kind == "gap"), len(stream))
    batches = [place for place in range(first, stop) if stream[place].kind == "batch"]
    dictionaries = [message for message in stream[:first] if message.kind == "dictionary"]
    joined = _Joined(handle, [stream[0], *dictionaries, *stream[first:stop]])
    is_doubtful = any(message.kind == "gap" and message.rows is None for message in stream[:first])
    reader: Any = None
    for place in batches:
        try:
            reader = reader or pa.ipc.open_stream(joined, options=pa.ipc.IpcReadOptions(included_fields=[index]))
            if is_doubtful and pa.types.is_dictionary(reader.schema.field(0).type):
                raise ValueError("the column's dictionary may have been in the unreadable bytes")
            cells = _cells(reader.read_next_batch())
        except (*DAMAGE, StopIteration) as error:
            yield _lost(stream[place], _BROKEN if isinstance(error, StopIteration) else damage_reason(error))
            return place + 1
        yield cells
    return stop


def _cells(batch: Any) -> Any:
    cells = sound(batch.column(0))
    if len(cells) != batch.num_rows:
        raise ValueError(f"a column has {len(cells)} rows in a batch of {batch.num_rows} rows")
    return cells


def _lost(message: Message, reason: str) -> Lost:
    return Lost(message.rows, message.stop - message.start if message.rows is None else 0, reason)


class _Joined(io.RawIOBase):
    """Selected messages of an open Arrow file, joined into one readable stream."""

    def __init__(self, handle: IO[bytes], messages: Sequence[Message]) -> None:
        super().__init__()
        self._handle = handle
        self._left = [(message.start, message.stop) for message in reversed(messages)]  # the next one last

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while self._left:
            start, stop = self._left.pop()
            self._handle.seek(start)
            data = self._handle.read(min(len(buffer), stop - start))
            if not data:
                continue
            if start + len(data) < stop:
                self._left.append((start + len(data), stop))
            buffer[: len(data)] = data
            return len(data)
        return 0
