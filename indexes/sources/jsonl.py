"""JSON lines, plain in blocks of about 8 MiB or compressed as one shard."""

import gzip
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any

from indexes.records import Item, Kind, Skip
from indexes.sources.cells import NAMES, Column, Form, value_record
from indexes.sources.files import DAMAGE, File, Refused, damage_reason, digest, pieces, record_parts

__all__ = ["JsonLinesShard", "json_lines_shards"]

_BLOCK_BYTES = 8 * 2**20
_MAX_LINE_BYTES = 64 * 2**20
_SAMPLE_LINES = 64  # lines looked at to find the key
_FORMS: dict[Kind, Form] = {"image": "path", "text": "text", "vector": "vector"}


@dataclass(frozen=True, slots=True)
class JsonLinesShard:
    """The lines between two byte offsets of a file."""

    file: File
    name: str
    column: Column
    start: int = 0  # byte offsets, both at the start of a line
    stop: int | None = None  # None: to the end
    first_line: int = 1

    def identity(self) -> str:
        """Digest of the lines, or of the records when lines name files."""
        names_files = self.column.form == "path"
        content = record_parts(self.read(), self.file) if names_files else pieces(self.file, self.start, self.stop)
        return digest(["json lines", self.column.name, self.column.form, str(self.first_line)], content)

    def read(self) -> Iterator[Item | Skip]:
        """One record a line that is not blank, by its line number counted from 1."""
        try:
            with _open(self.file) as handle:
                handle.seek(self.start)
                length = None if self.stop is None else self.stop - self.start
                for number, line in enumerate(_lines(handle, length), self.first_line):
                    if line is None or line.strip():
                        yield _record(f"{self.file.name}#{number}", line, self.column, self.file)
        except DAMAGE as error:
            yield Skip(self.name, damage_reason(error))


def json_lines_shards(file: File, kind: Kind, column: str | None) -> list[JsonLinesShard]:
    """Blocks of lines; raises `Refused` when the file is empty or no line has a key that holds the kind."""
    if file.size() == 0:
        raise Refused(f"{file.name}: empty, expected JSON lines", "empty file")
    chosen = _choose_key(file, kind, column)
    if _is_compressed(file):
        return [JsonLinesShard(file, file.name, chosen)]
    with file.open() as handle:
        blocks = list(_blocks(handle))
    names = [file.name] if len(blocks) == 1 else [f"{file.name}:{number:05d}" for number in range(len(blocks))]
    return [JsonLinesShard(file, name, chosen, *block) for name, block in zip(names, blocks, strict=True)]


def _is_compressed(file: File) -> bool:
    return file.name.lower().endswith(".gz")


@contextmanager
def _open(file: File) -> Iterator[io.BufferedIOBase]:
    with file.open() as handle:
        if not _is_compressed(file):
            yield handle
            return
        with gzip.GzipFile(fileobj=handle) as plain:
            yield plain


def _lines(handle: io.BufferedIOBase, length: int | None = None) -> Iterator[bytes | None]:
    """Lines within the next `length` bytes; None for one that is too long, which is never held in memory."""
    done = 0
    while (length is None or done < length) and (line := handle.readline(_MAX_LINE_BYTES)):
        done += len(line)
        is_long = len(line) == _MAX_LINE_BYTES and not line.endswith(b"\n")
        yield None if is_long else line
        while is_long and (line := handle.readline(_BLOCK_BYTES)):
            done += len(line)
            is_long = not line.endswith(b"\n")


def _record(id: str, line: bytes | None, column: Column, file: File) -> Item | Skip:
    if line is None:
        return Skip(id, "too large")
    values = _parse(line)
    if values is None:
        return Skip(id, "broken JSON line")
    return value_record(id, values.get(column.name), column.form, file)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _choose_key(file: File, kind: Kind, asked: str | None) -> Column:
    """The key asked for, or the first well-known one by the order of `NAMES`, if the first lines have it."""
    form = _FORMS[kind]
    names = NAMES[form] if asked is None else (asked,)
    found: dict[str, None] = {}
    with suppress(*DAMAGE), _open(file) as handle:
        for line in islice(_lines(handle), _SAMPLE_LINES):
            values = _parse(line or b"") or {}
            if known := [name for name in names if name in values]:
                return Column(known[0], form)
            found.update(dict.fromkeys(values))
    if not found:  # nothing but damage so far, which reading will count
        return Column(names[0], form)
    message = f"{file.name}: expected a key {' or '.join(names)}, found {', '.join(found)}; name one with --column"
    raise Refused(message, f"no {kind} column")


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
