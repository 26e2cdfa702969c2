"""Reduce an ICO file to its largest icon, without metadata, if that icon is a PNG file."""

import math
import struct

from indexes.image_files import png
from indexes.image_files.bare import Bare
from indexes.image_files.orientation import UPRIGHT

__all__ = ["stripped"]

_HEAD, _ENTRY = 6, 16  # bytes
_PNG = b"\x89PNG\r\n\x1a\n"


def stripped(data: bytes) -> Bare | None:
    """An ICO file with only the largest icon, without metadata; None if that icon is not a PNG file."""
    count = int.from_bytes(data[4:6], "little")
    entries = range(_HEAD, min(_HEAD + count * _ENTRY, len(data) - _ENTRY + 1), _ENTRY)
    at = min(entries, key=lambda entry: _rank(data, entry), default=None)
    offset = int.from_bytes(data[at + 12 : at + 16], "little") if at is not None else len(data)
    if at is None or not data.startswith(_PNG, offset):
        return None
    icon = data[offset:]  # a PNG marks its own end
    bare = png.stripped(icon) or png.salvaged(icon)
    if bare is None:
        return None
    entry = data[at : at + 8] + struct.pack("<II", len(bare.data), _HEAD + _ENTRY)
    return Bare(data[:4] + b"\1\0" + entry + bare.data, UPRIGHT)


def _rank(data: bytes, entry: int) -> tuple[int, int]:
    """Sort key of an icon, in Pillow's order of preference: largest icons first, then those with the fewest colours."""
    width, height, colours = (data[entry + i] for i in range(3))
    bits = int.from_bytes(data[entry + 6 : entry + 8], "little")
    depth = bits or (math.ceil(math.log2(colours)) if colours else 0) or 256
    return -(width or 256) * (height or 256), depth
