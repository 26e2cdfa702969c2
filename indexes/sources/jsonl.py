"""Read JSON lines: a plain file in shards of about 8 MiB, a compressed file as one shard."""

import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from indexes.errors import InputError
from indexes.records import Item, Kind, Skip
from indexes.sources.cells import NAMES, Column, Form, form_of_texts, likeliest, value_record
from indexes.sources.files import (
    DAMAGE,
    File,
    Refused,
    cut_meanwhile,
    damage_reason,
    digest,
    pieces,
    record_parts,
    some,
)
from indexes.sources.runs import merged
from indexes.sources.unpacked import BOMB, BROKEN, CUT, Unpacked, compression_of_file, unpacked

__all__ = ["JsonLinesShard", "json_lines_shards"]

_BLOCK_BYTES = 8 * 2**20
_MAX_LINE_BYTES = 64 * 2**20
_SAMPLE_LINES = 64  # lines that are examined before reading
_FORMS: dict[Kind, Form] = {"image": "path", "text": "text", "vector": "vector"}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")  # byte order marks
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BETWEEN = re.compile(r"[ \t\r\n,]*")  # values in one line


@dataclass(frozen=True, slots=True)
class JsonLinesShard:
    """A shard of the lines between two byte offsets of a JSON lines file."""

    file: File
    name: str
    column: Column  # key and form found in the first line that has a usable key
    asked: str | None = None  # the key to read in every line; None: choose a key in each line
    start: int = 0  # byte offsets, both at the start of a line
    stop: int | None = None  # None: to the end
    first_line: int = 1
    size: int = 0  # least size of the file in bytes when it was listed

    def identity(self) -> str:
        """Digest of the shard's lines, or of its items and skips if the lines name files."""
        names_files = self.column.form == "path"
        content = record_parts(self.read(), self.file) if names_files else pieces(self.file, self.start, self.stop)
        return digest(["json lines", self.asked or "", self.column.form, str(self.first_line)], content)

    def read(self) -> Iterator[Item | Skip]:
        """One item or skip per non-blank line, named by its line number, which starts at 1."""
        return merged(self._read())

    def _read(self) -> Iterator[Item | Skip]:
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
                yield from cut_meanwhile(self.file, self.stop or self.size, start=self.start)
        except DAMAGE as error:
            yield Skip(self.name, damage_reason(error), items=None, bytes=None)

    def _records(self, id: str, line: bytes | int) -> Iterator[Item | Skip]:
        if isinstance(line, int):
            yield Skip(id, "too large", bytes=line)
        elif not line.isspace():
            yield _record(id, line, self.asked, self.column.form, self.file)


def json_lines_shards(file: File, kind: Kind, column: str | None) -> list[JsonLinesShard]:
    """Split a JSON lines file into shards; raises `Refused` if the file is empty or no line has a suitable key.

    Raises `InputError` if the first line with a usable key has several usable keys.
    """
    if file.size() == 0:
        raise Refused(f"{file.name}: the file is empty, expected JSON lines", "empty file", items=0)
    with unpacked(file) as (handle, _):
        if handle.read(2) in _UTF16:
            message = (
                f"{file.name}: is UTF-16 text, expected UTF-8; convert it, for example with iconv -f UTF-16 -t UTF-8"
            )
            raise Refused(message, "not UTF-8 text")
    chosen = _chosen(file, kind, column)
    if compression_of_file(file):
        return [JsonLinesShard(file, file.name, chosen, column, size=file.size())]
    with file.open() as handle:
        blocks = list(_blocks(handle))
    names = [file.name] if len(blocks) == 1 else [f"{file.name}:{number:05d}" for number in range(len(blocks))]
    return [JsonLinesShard(file, name, chosen, column, *block) for name, block in zip(names, blocks, strict=True)]


def _lines(handle: io.BufferedIOBase, length: int | None = None) -> Iterator[bytes | int]:
    """The lines within the next `length` bytes; a line that is too long for memory is replaced by its size in bytes."""
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
    """Whether a damaged compressed stream ends inside the line; the skip record of the damage counts such a line."""
    is_damaged = packed is not None and packed.left is not None and packed.left.reason in (BOMB, BROKEN, CUT)
    return is_damaged and isinstance(line, bytes) and not line.endswith(b"\n")


def _record(id: str, line: bytes, asked: str | None, form: Form, file: File) -> Item | Skip:
    parsed = _parse(line)
    if isinstance(parsed, Skip):
        return Skip(id, parsed.reason, parsed.items, len(line), was_read=True)
    keys = _keys_of(parsed, asked, form)
    if not keys:
        return Skip(id, "missing value")
    if len(keys) > 1:
        return Skip(id, "several keys fit")
    if keys[0] in parsed.repeated:
        return Skip(id, "repeated key")
    return value_record(id, parsed.values[keys[0]], form, file)


@dataclass(frozen=True, slots=True)
class _Line:
    """The JSON object of a line, and the keys that occur more than once in the object."""

    values: dict[str, Any]
    repeated: frozenset[str] = frozenset()


def _parse(line: bytes) -> _Line | Skip:
    """The JSON object in a line, or a skip; several objects or a list of objects in a line count as several items."""
    try:
        found = _DECODER.decode(line.removeprefix(_BYTE_ORDER_MARK).decode())
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
    """The number of complete JSON values in a line."""
    text, position, count = line.decode(errors="replace"), 0, 0
    try:
        while position < len(text):
            _, position = _DECODER.raw_decode(text, position)
            position = _BETWEEN.match(text, position).end()  # type: ignore[union-attr]  # it matches anywhere
            count += 1
    except (ValueError, RecursionError):
        pass
    return count


def _line(pairs: list[tuple[str, Any]]) -> _Line:
    values = dict(pairs)
    if len(values) == len(pairs):
        return _Line(values)
    counts = Counter(name for name, _ in pairs)
    return _Line(values, frozenset(name for name, count in counts.items() if count > 1))


_DECODER = json.JSONDecoder(object_pairs_hook=_line)


def _keys_of(line: _Line, asked: str | None, form: Form) -> list[str]:
    """The keys of a line that may hold an item: the key named by the user, else the well-known keys."""
    if asked is None:
        return likeliest(line.values, form)
    if asked in line.values:
        return [asked]
    return [name for name in line.values if name.lower() == asked.lower()][:1]


def _chosen(file: File, kind: Kind, asked: str | None) -> Column:
    """The key of the items in a JSON lines file, from the first line with a usable key, with the form of its values."""
    form, found = _FORMS[kind], _Found()
    try:
        with unpacked(file) as (handle, _):
            for line in _lines(handle):
                found.add(line, asked, form)
                if found.keys and len(found.values) >= _SAMPLE_LINES:
                    break
    except DAMAGE:  # counted later, when the lines are read
        pass
    if len(found.keys) > 1:
        raise InputError(f"{file.name}: {' and '.join(found.keys)} can all hold {kind}s; choose one with --column")
    if found.keys:
        name = found.keys[0]
        return Column(name, form_of_texts(name, found.values) if form == "path" else form)
    names = (asked,) if asked else NAMES[form]
    if not found.others:  # only damage so far, which is counted when the lines are read
        return Column(names[0], form)
    message = f"{file.name}: expected a key {' or '.join(names)}, found {some(found.others)}; name one with --column"
    raise Refused(message, f"no {kind} column", items=found.lines)


class _Found:
    """Keys and values found so far in the lines of a JSON lines file."""

    def __init__(self) -> None:
        self.lines = 0  # non-blank lines
        self.keys: list[str] = []  # usable keys of the first line that has any
        self.values: list[Any] = []  # values under usable keys
        self.others: dict[str, None] = {}  # keys of the first lines

    def add(self, line: bytes | int, asked: str | None, form: Form) -> None:
        """Examine one more line."""
        if isinstance(line, bytes) and line.isspace():
            return
        self.lines += 1
        parsed = None if isinstance(line, int) else _parse(line)
        if not isinstance(parsed, _Line):
            return
        keys = _keys_of(parsed, asked, form)
        self.keys = self.keys or keys
        self.values += [parsed.values[key] for key in keys]
        if self.lines <= _SAMPLE_LINES:
            self.others.update(dict.fromkeys(parsed.values))


def _blocks(handle: IO[bytes]) -> Iterator[tuple[int, int, int]]:
    """Start, stop and first line number of each block of lines; a block ends at the end of a line."""
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
