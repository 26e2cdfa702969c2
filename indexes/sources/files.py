"""Open, measure and hash a source's files, locally or through fsspec, and find files at paths relative to a file."""

import io
import lzma
import os
import posixpath
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import chain, islice
from typing import Any

import numpy as np
import pyarrow as pa

from indexes.errors import InputError
from indexes.records import Item, Skip, Unusable

__all__ = [
    "DAMAGE",
    "MAX_ITEM_BYTES",
    "Entry",
    "File",
    "Refused",
    "cut_meanwhile",
    "damage_reason",
    "digest",
    "guard_opening",
    "pieces",
    "printable",
    "record_parts",
    "some",
]

MAX_ITEM_BYTES = 256 * 2**20  # larger items are skipped unread
_PIECE_BYTES = 2**20
_WORDS = 20  # words that a message lists at most
_permits: Callable[[str], bool] | None = None  # see guard_opening

# What the standard library and pyarrow raise on hostile or cut bytes; each is turned into one skip.
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    MemoryError,  # a damaged length can request any amount
    zlib.error,
    struct.error,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    pa.ArrowException,
)


class Refused(InputError):
    """A file cannot be opened: an error if the file is the whole source, a skip with `reason` if it lies in a folder.

    `items` is the number of items in the file if the file format states this number, else None.
    """

    def __init__(self, message: str, reason: str = "unusable file", *, items: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.items = items


@dataclass(frozen=True, slots=True)
class File:
    """A file of a source, with its name relative to the source and its path or URL."""

    name: str  # relative to the source, "/" between parts
    path: str  # absolute local path, or path on `system`
    system: Any = None  # fsspec file system, None for the local disk
    start: int = 0  # byte offsets, if this is only a part of the stored file
    stop: int | None = None  # None: to the end

    def open(self) -> io.BufferedReader:
        """Open the file as a binary handle with a bounded `readline`, which fsspec's own handles lack."""
        self._check_permitted()
        if self.start == 0 and self.stop is None:
            return self._whole()
        return io.BufferedReader(_Window(self._whole(), self.start, self.start + self.size()))

    def _whole(self) -> io.BufferedReader:
        return open(self.path, "rb") if self.system is None else io.BufferedReader(self.system.open(self.path, "rb"))

    def part(self, start: int, stop: int) -> "File":
        """The bytes from `start` to `stop` of this file, as a file of the same name."""
        return replace(self, start=self.start + start, stop=self.start + stop)

    @property
    def is_permitted(self) -> bool:
        """Whether this process may open the file; see `guard_opening`."""
        return _permits is None or _permits(self.address)

    def _check_permitted(self) -> None:
        if not self.is_permitted:
            raise PermissionError(f"{self.name} lies outside what may be read by this process")

    @property
    def address(self) -> str:
        """The local path with symbolic links resolved, or the URL."""
        return os.path.realpath(self.path) if self.system is None else str(self.system.unstrip_protocol(self.path))

    def size(self) -> int:
        """The length of the file in bytes."""
        self._check_permitted()
        stored = os.path.getsize(self.path) if self.system is None else int(self.system.size(self.path) or 0)
        return max(0, (stored if self.stop is None else min(self.stop, stored)) - self.start)

    def read(self) -> bytes:
        """The whole content of the file; raises `Unusable` if the file is too large or cannot be read."""
        try:
            if self.size() > MAX_ITEM_BYTES:
                raise Unusable("too large")
            with self.open() as handle:
                return handle.read()
        except DAMAGE as error:
            raise Unusable("unreadable file") from error

    def beside(self, relative: str) -> "File":
        """The regular file at a path relative to this file's folder; `Unusable` if missing or outside the folder."""
        try:
            found = self._beside_local(relative) if self.system is None else self._beside_remote(relative)
        except (OSError, ValueError) as error:
            raise Unusable("missing file") from error
        return File(posixpath.join(posixpath.dirname(self.name), relative), found, self.system)

    def _beside_local(self, relative: str) -> str:
        folder = os.path.realpath(os.path.dirname(self.path))
        found = os.path.realpath(os.path.join(folder, relative))
        if os.path.commonpath([folder, found]) != folder:
            raise Unusable("path leaves the source")
        if not stat.S_ISREG(os.stat(found).st_mode):
            raise Unusable("not a regular file")
        return found

    def _beside_remote(self, relative: str) -> str:
        inside = posixpath.normpath(relative)
        if inside.startswith("/") or inside.split("/")[0] == ".." or "://" in relative:
            raise Unusable("path leaves the source")
        found = posixpath.join(posixpath.dirname(self.path), inside)
        if not self.system.isfile(found):
            raise Unusable("missing file")
        return found


def guard_opening(permits: Callable[[str], bool] | None) -> None:
    """Restrict this process to files whose real path or URL is permitted; None permits all files.

    Sources from untrusted users need this restriction, because their links, path lists and server directories may point
    anywhere.
    """
    global _permits
    _permits = permits


class _Window(io.RawIOBase):
    """A range of bytes of an open file, used as a file; closing the range closes the open file."""

    def __init__(self, handle: io.BufferedReader, start: int, stop: int) -> None:
        super().__init__()
        self._handle, self._start, self._stop = handle, start, stop
        handle.seek(start)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = max(0, self._stop - self._handle.tell())
        data = self._handle.read(min(len(buffer), left))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: self._start, io.SEEK_CUR: self._handle.tell(), io.SEEK_END: self._stop}[whence]
        if base + offset < self._start:
            raise OSError(22, f"negative seek position {base + offset - self._start}")  # the same error as a real file
        return self._handle.seek(base + offset) - self._start

    def tell(self) -> int:
        return self._handle.tell() - self._start

    def close(self) -> None:
        self._handle.close()
        super().close()


Entry = File | Skip  # an entry of a listing: a file, or the skip for an entry that is not a file


def cut_meanwhile(file: File, stop: int, *, start: int = 0) -> Iterator[Skip]:
    """A skip for bytes between `start` and `stop` that a file has lost since the file was listed."""
    try:
        lost = stop - max(file.size(), start)
    except DAMAGE:
        lost = stop - start
    if lost > 0:
        yield Skip(file.name, "file was cut while it was read", items=None, bytes=lost)


def damage_reason(error: BaseException) -> str:
    """The skip reason for an archive whose reading failed with the given error."""
    if isinstance(error, MemoryError):
        return "too large"
    return "unreadable file" if isinstance(error, PermissionError | FileNotFoundError) else "broken archive"


def printable(name: str) -> str:
    """A name with undecodable bytes written as escapes, so that the name can be stored and shown."""
    return name.encode("utf-8", "backslashreplace").decode()


def some(words: Iterable[str]) -> str:
    """The first twenty words joined by commas, for use in a message."""
    first = list(islice(words, _WORDS + 1))
    return ", ".join([*first[:_WORDS], *("…" for _ in first[_WORDS:])])


def digest(label: Iterable[str], content: Iterable[bytes | str] = ()) -> str:
    """Hex digest of a label and content parts, with the type and length of each part, so that part borders count."""
    hasher = blake2b(digest_size=32)
    for part in chain(label, content):
        data = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        hasher.update(b"%s%d:" % (b"b" if isinstance(part, bytes) else b"s", len(data)))
        hasher.update(data)
    return hasher.hexdigest()


def pieces(file: File, start: int = 0, stop: int | None = None) -> Iterator[bytes | str]:
    """A file's bytes from `start` to `stop` in equal pieces, for `digest`; ends with "unreadable" if reading fails."""
    try:
        with file.open() as handle:
            handle.seek(start)
            left = file.size() - start if stop is None else stop - start
            while left > 0 and (piece := handle.read(min(_PIECE_BYTES, left))):
                yield piece
                left -= len(piece)
    except DAMAGE:
        yield "unreadable"


def record_parts(records: Iterable[Item | Skip], file: File) -> Iterator[bytes | str]:
    """A file's items and skips in the form that `digest` hashes, with names relative to the file."""
    for record in records:
        if isinstance(record, Skip):
            yield from (record.path.removeprefix(file.name), record.reason)
        else:
            yield record.id.removeprefix(file.name)
            yield record.data.tobytes() if isinstance(record.data, np.ndarray) else record.data
