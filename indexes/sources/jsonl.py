"""JSON lines, plain in blocks of about 8 MiB or compressed as one shard."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from indexes.records import Item, Kind, Skip
from indexes.sources.cells import NAMES, Column, Form, value_record
from indexes.sources.files import DAMAGE, File, Refused, damage_reason, digest, pieces, record_parts
from indexes.sources.unpacked import BROKEN, Unpacked, compression_of_file, unpacked

__all__ = ["JsonLinesShard", "json_lines_shards"]

_BLOCK_BYTES = 8 * 2**20
_MAX_LINE_BYTES = 64 * 2**20
_SAMPLE_LINES = 64  # lines whose keys a message names
_FORMS: dict[Kind, Form] = {"image": "path", "text": "text", "vector": "vector"}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class JsonLinesShard:
    """The lines between two byte offsets of a file."""

    file: File
    name: str
    column: Column  # of the first line that has one
    names: tuple[str, ...]  # keys that may hold the item, the likeliest first; each line has its own
    start: int = 0  # byte offsets, both at the start of a line
    stop: int | None = None  # None: to the end
    first_line: int = 1

    def identity(self) -> str:
        """Digest of the lines, or of the records when lines name files."""
        names_files = self.column.form == "path"
        content = record_parts(self.read(), self.file) if names_files else pieces(self.file, self.start, self.stop)
        return digest(["json lines", *self.names, self.column.form, str(self.first_line)], content)

    def read(self) -> Iterator[Item | Skip]:
        """One record a line that is not blank, by its line number counted from 1."""
        try:
            with unpacked(self.file) as (handle, packed):
                if packed is None:
                    handle.seek(self.start)
                length = None if self.stop is None else self.stop - self.start
                for number, line in enumerate(_lines(handle, length), self.first_line):
                    if not _is_torn(line, packed):
                        yield from self._records(f"{self.file.name}#{number}", line)
                if packed is not None and packed.left is not None:
                    yield packed.left
        except DAMAGE as error:
            yield Skip(self.name, damage_reason(error), items=None, bytes=None)

    def _records(self, id: str, line: bytes | int) -> Iterator[Item | Skip]:
        if isinstance(line, int):
            yield Skip(id, "too large", bytes=line)
        elif line.strip():
            yield _record(id, line, self.names, self.column.form, self.file)


def json_lines_shards(file: File, kind: Kind, column: str | None) -> list[JsonLinesShard]:
    """Blocks of lines; raises `Refused` when the file is empty or no line has a key that holds the kind."""
    if file.size() == 0:
        raise Refused(f"{file.name}: empty, expected JSON lines", "empty file", items=0)
    names = NAMES[_FORMS[kind]] if column is None else (column,)
    chosen = Column(_first_key(file, names, kind), _FORMS[kind])
    if compression_of_file(file):
        return [JsonLinesShard(file, file.name, chosen, names)]
    with file.open() as handle:
        blocks = list(_blocks(handle))
    shards = [file.name] if len(blocks) == 1 else [f"{file.name}:{number:05d}" for number in range(len(blocks))]
    return [JsonLinesShard(file, name, chosen, names, *block) for name, block in zip(shards, blocks, strict=True)]


def _lines(handle: io.BufferedIOBase, length: int | None = None) -> Iterator[bytes | int]:
    """Lines within the next `length` bytes; the size of one that is too long, which is never held in memory."""
    done = 0
    while (length is None or done < length) and (line := handle.readline(_MAX_LINE_BYTES)):
        size = len(line)
        is_long = size == _MAX_LINE_BYTES and not line.endswith(b"\n")
        first = b"" if is_long else line
        while is_long and (line := handle.readline(_BLOCK_BYTES)):
            size += len(line)
            is_long = not line.endswith(b"\n")
        done += size
        yield first or size


def _is_torn(line: bytes | int, packed: Unpacked | None) -> bool:
    """Whether damage ends the stream in this line, which the skip of the damage stands for."""
    is_damaged = packed is not None and packed.left is not None and packed.left.reason == BROKEN
    return is_damaged and isinstance(line, bytes) and not line.endswith(b"\n")


def _record(id: str, line: bytes, names: tuple[str, ...], form: Form, file: File) -> Item | Skip:
    parsed = _parse(line)
    if isinstance(parsed, Skip):
        return Skip(id, parsed.reason, parsed.items)
    name = _key_of(parsed, names)
    if name in parsed.repeated:
        return Skip(id, "repeated key")
    return value_record(id, None if name is None else parsed.values[name], form, file)


@dataclass(frozen=True, slots=True)
class _Line:
    """One JSON object, and the keys that it states more than once."""

    values: dict[str, Any]
    repeated: frozenset[str] = frozenset()


def _parse(line: bytes) -> _Line | Skip:
    """The object in a line, or why there is none; lists of objects and several objects stand for as many items."""
    try:
        found = _DECODER.decode(line.removeprefix(_BYTE_ORDER_MARK).decode().strip())
    except UnicodeDecodeError:
        return Skip("", "broken JSON line")
    except RecursionError:
        return Skip("", "broken JSON line")
    except ValueError:
        return Skip("", "broken JSON line", max(1, _objects(line)))
    if isinstance(found, _Line):
        return found
    if isinstance(found, list) and (objects := sum(isinstance(value, _Line) for value in found)):
        return Skip("", "list of items in one line", objects)
    return Skip("", "broken JSON line")


def _objects(line: bytes) -> int:
    """How many whole JSON values a line holds one after another."""
    text, position, count = line.decode(errors="replace"), 0, 0
    try:
        while position < len(text):
            _, position = _DECODER.raw_decode(text, position)
            position += len(text[position:]) - len(text[position:].lstrip(" \t\r\n,"))
            count += 1
    except (ValueError, RecursionError):
        pass
    return count


def _line(pairs: list[tuple[str, Any]]) -> _Line:
    values = dict(pairs)
    if len(values) == len(pairs):
        return _Line(values)
    names = [name for name, _ in pairs]
    return _Line(values, frozenset(name for name in values if names.count(name) > 1))


_DECODER = json.JSONDecoder(object_pairs_hook=_line)


def _key_of(line: _Line, names: tuple[str, ...]) -> str | None:
    """The first of the names that a line has as a key, in any case if not as it is written."""
    if found := next((name for name in names if name in line.values), None):
        return found
    folded = {name.lower(): name for name in reversed(line.values)}
    return next((folded[name.lower()] for name in names if name.lower() in folded), None)


def _first_key(file: File, names: tuple[str, ...], kind: Kind) -> str:
    """The key of the first line that has one; `Refused` with the number of lines where none has."""
    found: dict[str, None] = {}
    count = 0
    try:
        with unpacked(file) as (handle, _):
            for line in _lines(handle):
                if isinstance(line, bytes) and not line.strip():
                    continue
                count += 1
                parsed = Skip("", "too large") if isinstance(line, int) else _parse(line)
                if isinstance(parsed, Skip):
                    continue
                if (name := _key_of(parsed, names)) is not None:
                    return name
                if count <= _SAMPLE_LINES:
                    found.update(dict.fromkeys(parsed.values))
    except DAMAGE:
        pass
    if not found:  # nothing but damage, which reading will count
        return names[0]
    message = f"{file.name}: expected a key {' or '.join(names)}, found {', '.join(found)}; name one with --column"
    raise Refused(message, f"no {kind} column", items=count)


def _blocks(handle: IO[bytes]) -> Iterator[tuple[int, int, int]]:
    """Start, stop and first line number of blocks that end with a line."""
    start = position = 0
    line = 1
    while chunk := handle.read(_BLOCK_BYTES):
        if cut := chunk.rfind(b"\n") + 1:
            yield start, position + cut, line
            start = position + cut
            line += chunk.count(b"\n")
        position += len(chunk)
    if start < position:
        yield start, position, line
