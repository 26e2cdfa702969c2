"""Reduce a PNG file to the chunks that carry pixels, and read the orientation from the other chunks."""

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from indexes.image_files.bare import Bare, bounded
from indexes.image_files.orientation import UPRIGHT, inflated, of_exif, of_raw_profile, of_xmp

__all__ = ["salvaged", "stripped"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NAME = re.compile(rb"[A-Za-z0-9_]{4}")
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")
_LANDMARKS = re.compile(rb"PLTE|tRNS|IDAT|IEND")
_SAYS_HOW = re.compile(rb"PLTE|tRNS")
_CHECKED = (b"IHDR", b"PLTE", b"tRNS")  # define how all pixels are read; a wrong checksum counts as damaged pixels
_TRANSPARENT = {0: 2, 2: 6, 3: 0}  # least bytes of tRNS by colour type; other types have no tRNS
_PALETTE = 3  # the colour type
_PIECE = 1 << 16  # bytes
_MOST_CHECKED = 16  # times the length of the file
_XMP, _RAW_PROFILE = b"XML:com.adobe.xmp", b"Raw profile type exif"


@dataclass(frozen=True, slots=True)
class _Chunk:
    name: bytes
    data: memoryview
    is_intact: bool  # the checksum is right; the checksum of IDAT is not checked


def stripped(data: bytes) -> Bare | None:
    """A PNG picture without the parts that carry no pixels; None if the sequence of chunks is damaged."""
    chunks = list(bounded(_chunks(memoryview(data))))
    is_whole = bool(chunks) and chunks[-1].name in (b"IEND", b"IDAT")
    return _assembled(chunks) if is_whole else None


def salvaged(data: bytes) -> Bare | None:
    """The picture of a damaged PNG file, or None if pixels are lost; bytes that cannot be a chunk are skipped."""
    chunks = list(bounded(_found(memoryview(data))))
    return _assembled(chunks) if _inflates(chunks) else None


def _assembled(chunks: list[_Chunk]) -> Bare | None:
    names = [chunk.name for chunk in chunks]
    if names[:1] != [b"IHDR"] or b"IDAT" not in names or any(_is_damage(chunk) for chunk in chunks):
        return None
    header = chunks[0].data
    if len(header) < 13 or (header[9] == _PALETTE and b"PLTE" not in names):
        return None
    least = _TRANSPARENT.get(header[9], 1 << 32)
    kept = [c for c in chunks if c.name in _PIXELS and (c.name != b"tRNS" or len(c.data) >= least)]
    parts: list[bytes | memoryview] = [_SIGNATURE]
    for chunk in kept:
        checksum = zlib.crc32(chunk.data, zlib.crc32(chunk.name))
        parts += [struct.pack(">I", len(chunk.data)), chunk.name, chunk.data, struct.pack(">I", checksum)]
    return Bare(b"".join([*parts, b"\0\0\0\0IEND\xaeB`\x82"]), _orientation(chunks))


def _chunks(data: memoryview) -> Iterator[_Chunk]:
    """Each PNG chunk up to the end of the picture or the first invalid chunk; pixel data may be truncated."""
    at = len(_SIGNATURE)
    while at + 8 <= len(data):
        chunk, end = _chunk(data, at)
        if chunk is None:
            return
        yield chunk
        if chunk.name == b"IEND":
            return
        at = end


def _chunk(data: memoryview, at: int) -> tuple[_Chunk | None, int]:
    """The PNG chunk at a position (None if invalid), and the position of the next chunk."""
    (length,), name = struct.unpack_from(">I", data, at), bytes(data[at + 4 : at + 8])
    end = at + 8 + length
    if not _NAME.fullmatch(name) or (end > len(data) and name != b"IDAT"):
        return None, at
    content, stored = data[at + 8 : end], bytes(data[end : end + 4])
    is_intact = name == b"IDAT" or stored == struct.pack(">I", zlib.crc32(content, zlib.crc32(name)))
    return _Chunk(name, content, is_intact), end + 4


def _found(data: memoryview) -> Iterator[_Chunk]:
    """Recognisable PNG chunks; after a damaged length, reading continues at the next chunk with a valid checksum."""
    at = len(_SIGNATURE)
    while at + 8 <= len(data):
        name = bytes(data[at + 4 : at + 8])
        chunk, end = _chunk(data, at)
        if chunk is None or not _follows(data, at, end):
            end = _next_landmark(data, at)
            lost = data[at:end]
            if chunk is None and (_SAYS_HOW.search(lost) or _is_damage(_Chunk(name, lost, False))):
                return
            chunk = None if chunk is None else _Chunk(name, data[at + 8 : max(end - 4, at + 8)], False)
        if chunk is not None:
            yield chunk
        if name == b"IEND":
            return
        at = end


def _follows(data: memoryview, at: int, end: int) -> bool:
    """Whether the bytes from `at` to `end` are a PNG chunk, judged by the checksum or by the bytes after `end`."""
    if end > len(data):
        return False
    return _is_intact(data[at:end]) or end + 8 > len(data) or _chunk(data, end)[0] is not None


def _next_landmark(data: memoryview, at: int) -> int:
    """Start of the next PLTE, tRNS, IDAT or IEND chunk with a valid checksum after `at`; else the end of the data."""
    checked = 0  # bytes; a text can contain the names many times, each with a length near the file's
    for match in _LANDMARKS.finditer(data, at + 8):
        start = match.start() - 4
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        if end <= len(data):
            checked += end - start
            if checked > _MOST_CHECKED * len(data):
                break
            if _is_intact(data[start:end]):
                return start
    return len(data)


def _is_intact(chunk: memoryview) -> bool:
    return bytes(chunk[-4:]) == struct.pack(">I", zlib.crc32(chunk[4:-4]))


def _is_damage(chunk: _Chunk) -> bool:
    """Whether a chunk is a damaged IHDR, PLTE or tRNS chunk; one letter of the chunk's name may be wrong."""
    if chunk.is_intact:
        return False
    return any(sum(a != b for a, b in zip(chunk.name, name, strict=False)) <= 1 for name in _CHECKED)


def _inflates(chunks: list[_Chunk]) -> bool:
    """Whether the coded pixels decompress fully, with a valid checksum and to no more bytes than the header allows."""
    if not chunks or len(chunks[0].data) < 8:
        return False
    width, height = struct.unpack_from(">II", chunks[0].data)
    unpacking, most = zlib.decompressobj(), 8 * (width + 8) * (height + 8)
    try:
        for packed in (chunk.data for chunk in chunks if chunk.name == b"IDAT"):
            rest: bytes | memoryview = packed
            while rest and not unpacking.eof and most >= 0:
                most -= len(unpacking.decompress(rest, _PIECE))
                rest = unpacking.unconsumed_tail
    except zlib.error:
        return False
    return unpacking.eof and most >= 0


def _orientation(chunks: list[_Chunk]) -> int:
    """The picture's orientation from the last EXIF block, else from the last XMP text, else upright."""
    for block in [c.data for c in chunks if c.name == b"eXIf"][-1:]:
        found = of_exif(block)
        if found is not None:
            return found
    texts = [text for text in map(_text, chunks) if text is not None]
    has_block = any(c.name == b"eXIf" for c in chunks)
    for _, pieces in [text for text in texts if text[0] == _RAW_PROFILE and not has_block][-1:]:
        found = of_raw_profile(b"".join(pieces))
        if found is not None:
            return found
    for _, pieces in [text for text in texts if text[0] == _XMP][-1:]:
        return of_xmp(pieces) or UPRIGHT
    return UPRIGHT


def _text(chunk: _Chunk) -> tuple[bytes, Iterable[bytes | memoryview]] | None:
    """Key and text of a PNG text chunk that may contain the orientation; None for any other chunk."""
    if chunk.name not in (b"tEXt", b"zTXt", b"iTXt"):
        return None
    key, _, _ = bytes(chunk.data[:80]).partition(b"\0")
    if key not in (_XMP, _RAW_PROFILE):
        return None
    rest = chunk.data[len(key) + 1 :]
    if chunk.name == b"tEXt":
        return key, [rest]
    if chunk.name == b"zTXt":
        return key, inflated(rest[1:])
    languages = re.match(rb"..[^\0]*\0[^\0]*\0", rest, re.DOTALL)
    if languages is None:
        return None
    value = rest[languages.end() :]
    return key, inflated(value) if rest[0] else [value]
