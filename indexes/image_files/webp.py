"""Reduce a WebP file to the chunks that carry its first frame, and read the orientation from the other chunks."""

import re
import struct
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from indexes.image_files.bare import Bare, bounded
from indexes.image_files.orientation import UPRIGHT, of_exif, of_xmp

__all__ = ["holds_several", "is_lossless", "salvaged", "stripped"]

_NAME = re.compile(rb"[ -~]{4}")
_FRAME = re.compile(rb"ANMF|ALPH|VP8 |VP8L")
_HEAD = 12  # bytes of RIFF, its length and WEBP
_ICC, _EXIF, _XMP, _ANIMATION = 0x20, 0x08, 0x04, 0x02  # flags of VP8X
_MOST_INNER = 16  # chunks in a frame of an animation
_KNOWN = (b"VP8X", b"ICCP", b"ANIM", b"EXIF", b"XMP ")  # names of chunks that come before or after frames


class _Chunk(NamedTuple):
    name: bytes
    content: memoryview
    end: int = 0  # where the next chunk begins


def stripped(data: bytes) -> Bare | None:
    """The first frame of a WebP file without the parts that carry no pixels; None if the chunk sequence is damaged."""
    chunks = list(bounded(_chunks(memoryview(data), _HEAD)))
    names = [chunk.name for chunk in chunks]
    if b"ANMF" in names and any(map(_holds_a_frame, chunks[: names.index(b"ANMF")])):
        return None  # the first frame has a damaged name; the second frame must not replace it
    return _assembled(chunks, chunks) if _ends_well(memoryview(data), chunks) else None


def salvaged(data: bytes) -> Bare | None:
    """The first frame of a WebP file with damaged chunks before the frame; bytes that cannot be a chunk are skipped."""
    view = memoryview(data)
    before = list(bounded(_chunks(view, _HEAD)))
    if not before or before[0].name != b"VP8X" or len(before[0].content) < 10 or stripped(data) is not None:
        return None
    for match in _FRAME.finditer(view, _HEAD + 18):
        if _is_frame(list(islice(_chunks(view, match.start()), 2))):
            after = list(bounded(_chunks(view, match.start())))
            is_first = (after[0].name == b"ANMF") == bool(before[0].content[0] & _ANIMATION)
            is_whole = is_first and _ends_well(view, after)
            return _assembled([before[0], *after], [*before, *after]) if is_whole else None
    return None


def holds_several(data: bytes) -> bool:
    """Whether the header of a WebP file states that the file is animated."""
    return data[12:16] == b"VP8X" and bool(data[20:21] and data[20] & _ANIMATION)


def is_lossless(data: bytes) -> bool:
    """Whether a stripped WebP file stores its pixels without loss."""
    return b"VP8L" in data[:96] and b"VP8 " not in data[:96]


def _chunks(view: memoryview, at: int) -> Iterator[_Chunk]:
    """Each WebP chunk up to the first chunk that is invalid or truncated."""
    while at + 8 <= len(view):
        name, (size,) = bytes(view[at : at + 4]), struct.unpack_from("<I", view, at + 4)
        if not _NAME.fullmatch(name) or at + 8 + size > len(view):
            return
        end = at + 8 + size + size % 2
        yield _Chunk(name, view[at + 8 : at + 8 + size], end)
        at = end


def _ends_well(view: memoryview, chunks: list[_Chunk]) -> bool:
    """Whether the stated length of the first frame is correct, judged by the bytes after the end of the frame."""
    end = next((chunk.end for chunk in chunks if chunk.name in (b"ANMF", b"VP8 ", b"VP8L")), 0)
    if end >= len(view) or struct.unpack_from("<I", view, 4)[0] + 8 in (end - 1, end):
        return end > 0
    following = bytes(view[end : end + 8])
    if any(sum(a == b for a, b in zip(following, name, strict=False)) >= 3 for name in (*_KNOWN, b"ANMF")):
        return True
    size = int.from_bytes(following[4:], "little")
    return any(_chunks(view, end)) or end + 8 + size + size % 2 == len(view) or any(_chunks(view, end + 8 + size))


def _is_frame(chunks: list[_Chunk]) -> bool:
    if not chunks:
        return False
    name, content, _ = chunks[0]
    if name == b"VP8 ":
        return bytes(content[3:6]) == b"\x9d\x01\x2a"
    if name == b"VP8L":
        return bytes(content[:1]) == b"\x2f"
    if name == b"ALPH":
        return len(chunks) > 1 and chunks[1][0] == b"VP8 " and _is_frame(chunks[1:])
    inner = list(islice(_chunks(content, 16), _MOST_INNER))
    return (
        name == b"ANMF"
        and bool(inner)
        and inner[0].name != b"ANMF"
        and inner[-1].end >= len(content)
        and _is_frame(inner)
    )


def _holds_a_frame(chunk: _Chunk) -> bool:
    name, content, _ = chunk
    return name not in _KNOWN and any(map(_is_frame, [[inner] for inner in islice(_chunks(content, 16), 2)]))


def _assembled(chunks: list[_Chunk], notes: list[_Chunk]) -> Bare | None:
    names = [chunk.name for chunk in chunks]
    if names and names[0] in (b"VP8 ", b"VP8L"):
        return Bare(_file(chunks[:1]), UPRIGHT)
    if not names or names[0] != b"VP8X" or len(chunks[0].content) < 10:
        return None
    flags = chunks[0].content[0]
    wanted = (b"ANIM", b"ANMF") if flags & _ANIMATION else (b"ALPH", b"VP8 ", b"VP8L")
    last = (b"ANMF",) if flags & _ANIMATION else (b"VP8 ", b"VP8L")
    end = next((i for i, name in enumerate(names) if name in last), None)
    if end is None:
        return None
    header = bytes([flags & ~(_ICC | _EXIF | _XMP)]) + bytes(chunks[0].content[1:])
    kept = [chunk for chunk in chunks[1 : end + 1] if chunk.name in wanted]
    if flags & _ANIMATION and b"ANIM" not in names[:end]:
        kept.insert(0, _Chunk(b"ANIM", memoryview(bytes(6))))
    return Bare(_file([_Chunk(b"VP8X", memoryview(header)), *kept]), _orientation(flags, notes))


def _file(chunks: list[_Chunk]) -> bytes:
    parts: list[bytes | memoryview] = []
    for name, content, _ in chunks:
        parts += [name, struct.pack("<I", len(content)), content, b"\0" * (len(content) % 2)]
    return b"".join([b"RIFF", struct.pack("<I", 4 + sum(map(len, parts))), b"WEBP", *parts])


def _orientation(flags: int, chunks: list[_Chunk]) -> int:
    """The picture's orientation from EXIF, else XMP, else upright; only metadata that the header announces count."""
    for block in [content for name, content, _ in chunks if name == b"EXIF"][:1] if flags & _EXIF else []:
        found = of_exif(block)
        if found is not None:
            return found
    texts = [content for name, content, _ in chunks if name == b"XMP "][:1] if flags & _XMP else []
    return of_xmp(texts) or UPRIGHT
