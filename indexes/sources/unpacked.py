"""Decompress gzip, bzip2 and xz files as one stream of plain bytes, across all members, to the last byte."""

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

from indexes.records import Skip
from indexes.sources.files import File
from indexes.sources.signatures import HEAD_BYTES, content_of

__all__ = [
    "AFTER",
    "BOMB",
    "BROKEN",
    "COMPRESSED",
    "CUT",
    "MOST_BYTES",
    "MOST_RATIO",
    "Unpacked",
    "compression_of_file",
    "unpacked",
]

BROKEN = "broken archive"
AFTER = "bytes after the archive"
CUT = "archive ends early, more may be missing"
BOMB = "unpacks to far more than its size"
MOST_BYTES, MOST_RATIO = 2**29, 200  # decompression stops beyond both limits
_PIECE_BYTES = 2**16
_MOST_MEMORY = 2**29  # bytes that xz may use for its dictionary
_GZIP_HEADER = 31  # zlib's window bits for a gzip header and trailer
_DAMAGE = (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError)


class _Decompressor(Protocol):
    """The decompressor interface of bz2 and lzma, which `_Gzip` also implements."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Gzip:
    """Decompresses and checks one gzip member (RFC 1952); raises an error after returning all bytes before damage."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP_HEADER)
        self._rescued = b""  # decompressed before damage and not yet returned
        self._error: zlib.error | None = None
        self.unprocessed = 0  # bytes of the last input from the damage on

    @property
    def eof(self) -> bool:
        return self._member.eof and self._error is None

    @property
    def needs_input(self) -> bool:
        return self._error is None and not self._member.eof and not self._member.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._member.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        if self._error is None:
            before, packed = self._member.copy(), self._member.unconsumed_tail + data
            try:
                return self._member.decompress(packed, max(max_length, 0))
            except zlib.error as error:
                self._error = error
                self._rescued = self._until_damage(before, packed)
        if not self._rescued:
            raise self._error
        given, self._rescued = self._rescued[:max_length], self._rescued[max_length:]
        return given

    def _until_damage(self, member: Any, packed: bytes) -> bytes:
        """The output of decompressing `packed` byte by byte, up to the first invalid byte."""
        unpacked = []
        for position in range(len(packed)):
            try:
                unpacked.append(member.decompress(packed[position : position + 1]))
            except zlib.error:
                self.unprocessed = len(packed) - position
                break
        return b"".join(unpacked)


_DECOMPRESSORS: dict[str, Callable[[], _Decompressor]] = {
    "gzip": _Gzip,
    "bzip2": bz2.BZ2Decompressor,
    "xz": partial(lzma.LZMADecompressor, memlimit=_MOST_MEMORY),
}
COMPRESSED = frozenset(_DECOMPRESSORS)


class Unpacked(io.RawIOBase):
    """The decompressed bytes of a handle, up to the first damage; `left` is the skip record of the rest.

    Compressed members may follow each other directly or after zeros, as in gzip and tar. A decompression error ends the
    stream and is not raised, so that readers keep all bytes decompressed before the error.
    """

    def __init__(self, handle: io.BufferedReader, size: int, name: str) -> None:
        super().__init__()
        self._handle, self._size, self._name = handle, size, name
        self._rest = handle.read(_PIECE_BYTES)  # read from the handle and not yet decompressed
        self._make = _DECOMPRESSORS[content_of(self._rest[:HEAD_BYTES])]
        self._member: _Decompressor | None = self._make()
        self._silent = 0  # input bytes since the last output
        self._given = 0  # output bytes so far
        self._last_piece = 0  # size of the last input piece, part of which may still be in the decompressor
        self.parts = 1  # members or streams so far
        self.left: Skip | None = None  # set at the end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while self._member is not None:
            if data := self._unpack(self._member, len(buffer)):
                buffer[: len(data)] = data
                return len(data)
        return 0

    def _unpack(self, member: _Decompressor, most: int) -> bytes:
        raw = self._take() if member.needs_input else b""
        self._last_piece = len(raw) or self._last_piece
        try:
            data = member.decompress(raw, most)
        except _DAMAGE:
            hidden = member.unprocessed if isinstance(member, _Gzip) else self._silent + len(raw)
            self._end(Skip(self._name, BROKEN, items=None, bytes=hidden + self._remaining()))
            return b""
        self._silent = 0 if data else self._silent + len(raw)
        self._given += len(data)
        if member.eof:
            self._rest = member.unused_data + self._rest
            self._follow()
        elif not data and not raw and member.needs_input:
            self._end(Skip(self._name, CUT))  # the input ended early
        if self._member is not None and self._given > max(MOST_BYTES, MOST_RATIO * self._handle.tell()):
            self._end(Skip(self._name, BOMB, items=None, bytes=self._last_piece + self._remaining()))
        return data

    def _take(self) -> bytes:
        raw, self._rest = self._rest or self._handle.read(_PIECE_BYTES), b""
        return raw

    def _follow(self) -> None:
        """Start the next compressed member, or end the stream if only zeros or other data follow."""
        while not self._rest.lstrip(b"\x00") and (more := self._handle.read(_PIECE_BYTES)):
            self._rest = more
        self._rest = self._rest.lstrip(b"\x00")
        self._rest += self._handle.read(HEAD_BYTES) if 0 < len(self._rest) < HEAD_BYTES else b""
        if not self._rest:
            self._end(None)
        elif _DECOMPRESSORS.get(content_of(self._rest[:HEAD_BYTES])) is self._make:
            self._member = self._make()
            self.parts += 1
        else:
            self._end(Skip(self._name, AFTER, items=None, bytes=self._remaining()))

    def _remaining(self) -> int:
        return len(self._rest) + max(0, self._size - self._handle.tell())

    def _end(self, left: Skip | None) -> None:
        self._member, self.left = None, left


def compression_of_file(file: File) -> str | None:
    """The compression of a file (one of `COMPRESSED`), by its first bytes; None for a plain file."""
    with file.open() as handle:
        found = content_of(handle.read(HEAD_BYTES))
    return found if found in COMPRESSED else None


@contextmanager
def unpacked(file: File) -> Iterator[tuple[io.BufferedReader, Unpacked | None]]:
    """A handle on a file's decompressed bytes, and the decompressor (None for a plain file)."""
    with file.open() as handle:
        if content_of(handle.read(HEAD_BYTES)) not in COMPRESSED:
            handle.seek(0)
            yield handle, None
            return
        handle.seek(0)
        stream = Unpacked(handle, file.size(), file.name)
        yield io.BufferedReader(stream, _PIECE_BYTES), stream
