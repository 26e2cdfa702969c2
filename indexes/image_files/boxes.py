"""Remove the boxes that carry no pixels from AVIF and JPEG 2000 files, which consist of boxes."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from indexes.image_files.bare import Bare, bounded
from indexes.image_files.orientation import UPRIGHT

__all__ = ["salvaged_jpeg2000", "stripped_avif", "stripped_jpeg2000"]

_CODESTREAM = b"\xff\x4f\xff\x51"
_COMMENT, _TILE = 0x64, 0x90  # second bytes of the codestream's markers
_FIRST_BOXES = (b"jP  ", b"ftyp")


@dataclass(frozen=True, slots=True)
class _Box:
    name: bytes
    start: int
    content: memoryview


def stripped_avif(data: bytes) -> Bare | None:
    """An AVIF file with EXIF items changed to an unknown type, which moves no box; None if there are no EXIF items."""
    found = bytearray(data)
    for item in _avif_items(memoryview(data)):
        at = bytes(item.content[:16]).find(b"Exif", 4)  # after the version and the flags
        if at > 0:
            found[item.start + 8 + at : item.start + 12 + at] = b"skip"
    return Bare(bytes(found)) if found != data else None


def _avif_items(view: memoryview) -> Iterator[_Box]:
    """The boxes that describe the items of an AVIF file."""
    for meta in (box for box in _boxes(view, 0) if box.name == b"meta"):
        base = meta.start + 8 + 4
        for info in (box for box in _boxes(meta.content[4:], base) if box.name == b"iinf"):
            skipped = 4 + (2 if bytes(info.content[:1]) == b"\0" else 4)
            yield from (b for b in _boxes(info.content[skipped:], info.start + 8 + skipped) if b.name == b"infe")


def stripped_jpeg2000(data: bytes) -> Bare | None:
    """A JPEG 2000 picture without the parts that carry no pixels; None if the sequence of boxes is damaged."""
    view = memoryview(data)
    if data[:4] == _CODESTREAM:
        return Bare(_codestream(view), UPRIGHT)
    boxes = list(bounded(_boxes(view, 0)))
    by_name = {box.name: box for box in reversed(boxes)}
    if not {b"jP  ", b"jp2h", b"jp2c"} <= by_name.keys():
        return None
    kept = [box for box in boxes if box.name in _FIRST_BOXES]
    return _jp2([(box.name, box.content) for box in kept], by_name[b"jp2h"].content, by_name[b"jp2c"].content)


def salvaged_jpeg2000(data: bytes) -> Bare | None:
    """The picture of a damaged JPEG 2000 file, from its header and pixel boxes; None if these boxes are not found."""
    view = memoryview(data)
    header, pixels = data.find(b"jp2h\0\0\0\x16ihdr") - 4, data.find(b"jp2c" + _CODESTREAM)
    box = next(_boxes(view[header:], header), None) if header > 0 and pixels > 0 else None
    if box is None or box.name != b"jp2h":
        return None
    first = [(b"jP  ", memoryview(b"\r\n\x87\n")), (b"ftyp", memoryview(b"jp2 \0\0\0\0jp2 "))]
    return _jp2(first, box.content, view[pixels + 4 :])


def _jp2(first: list[tuple[bytes, memoryview]], header: memoryview, pixels: memoryview) -> Bare:
    described = list(bounded(_boxes(header, 0)))
    inner = b"".join(_box(box.name, box.content) for box in described if box.name != b"res ")
    if sum(len(box.content) + 8 for box in described) != len(header):
        inner = bytes(header)
    parts = [_box(name, content) for name, content in first]
    return Bare(b"".join([*parts, _box(b"jp2h", inner), _box(b"jp2c", _codestream(pixels))]), UPRIGHT)


def _box(name: bytes, content: bytes | memoryview) -> bytes:
    if len(content) + 8 >= 1 << 32:
        return b"".join([struct.pack(">I", 1), name, struct.pack(">Q", len(content) + 16), content])
    return b"".join([struct.pack(">I", len(content) + 8), name, content])


def _codestream(view: memoryview) -> bytes:
    """The coded pixels of a JPEG 2000 file without the comments before the first tile."""
    parts, at = [view[:2]], 2
    while at + 4 <= len(view) and view[at] == 0xFF and view[at + 1] != _TILE:
        (length,) = struct.unpack_from(">H", view, at + 2)
        end = at + 2 + max(length, 2)
        if view[at + 1] != _COMMENT:
            parts.append(view[at:end])
        at = end
    return b"".join([*parts, view[at:]])


def _boxes(view: memoryview, base: int) -> Iterator[_Box]:
    """Each box in `view` up to the first invalid box; `base` is the offset of `view` in its file."""
    at = 0
    while at + 8 <= len(view):
        (size,), name, head = struct.unpack_from(">I", view, at), bytes(view[at + 4 : at + 8]), 8
        if size == 1 and at + 16 <= len(view):
            (size,), head = struct.unpack_from(">Q", view, at + 8), 16
        end = len(view) if size == 0 else at + size
        if end < at + head or end > len(view):
            return
        yield _Box(name, base + at, view[at + head : end])
        at = end
