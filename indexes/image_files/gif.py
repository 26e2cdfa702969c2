"""Reduce a GIF file to the blocks that carry its first frame."""

import re
import struct
from collections.abc import Iterator

from indexes.image_files.bare import Bare, bounded
from indexes.image_files.orientation import UPRIGHT

__all__ = ["salvaged", "stripped"]

_HEAD = 13  # bytes of the signature and the screen
_EXTENSION, _IMAGE, _END = b"!", b",", b";"
_CONTROL = 0xF9  # the extension that says which colour is transparent
_MOST_FOLLOWED = 64  # false frames tried before giving up: each try walks through the file
_CONTROLS = re.compile(rb"!\xf9\x04.{4}\0", re.DOTALL)


def stripped(data: bytes) -> Bare | None:
    """The first frame of a GIF file without parts that carry no pixels; None if the sequence of blocks is damaged."""
    at = _table_end(data, 10, _HEAD)
    parts = [data[:at]]
    for start, end in bounded(_extensions(data, at)):
        if _frame(data, start, end) is not None:  # a block with a damaged length reached into the pixels
            return None
        if _is_control(data, start):
            parts.append(data[start:end])
        at = end
    return _framed(parts, data, at) if data[at : at + 1] == _IMAGE else None


def salvaged(data: bytes) -> Bare | None:
    """The first frame of a GIF file with damaged blocks before the frame; bytes that cannot be a block are skipped."""
    if stripped(data) is not None:
        return None  # the first frame was found: if it does not decode, its pixels are damaged
    at = _table_end(data, 10, _HEAD)
    if data[at : at + 1] not in (_EXTENSION, _IMAGE):
        return None  # the colour table has another length than the header says
    start = _frame(data, at, len(data))
    if start is None:
        return None
    control = b""
    for match in _CONTROLS.finditer(data, at, start):
        control = match[0]
    return _framed([data[:at], control], data, start)


def _extensions(data: bytes, at: int) -> Iterator[tuple[int, int]]:
    """Start and end of each GIF block before the first frame, up to the first block without an end."""
    while data[at : at + 1] == _EXTENSION and (end := _blocks_end(data, at + 2)) is not None:
        yield at, end
        at = end


def _frame(data: bytes, at: int, end: int) -> int | None:
    """Start of the first GIF frame between two positions; None if there is no frame."""
    followed = 0
    while (at := data.find(_IMAGE, at, end)) >= 0 and followed < _MOST_FOLLOWED:
        if _looks_like_a_frame(data, at):
            after = _blocks_end(data, _table_end(data, at + 9, at + 10) + 1)
            if after is not None and data[after : after + 1] in (_EXTENSION, _IMAGE, _END, b""):
                return at
            followed += 1
        at += 1
    return None


def _framed(parts: list[bytes], data: bytes, at: int) -> Bare:
    end = _blocks_end(data, _table_end(data, at + 9, at + 10) + 1)
    return Bare(b"".join([*parts, data[at:end], _END if end else b""]), UPRIGHT)


def _table_end(data: bytes, flags: int, at: int) -> int:
    """End of the GIF colour table at a position, computed from the flags byte that states the table's size."""
    packed = data[flags] if flags < len(data) else 0
    return at + (3 << ((packed & 7) + 1) if packed & 0x80 else 0)


def _blocks_end(data: bytes, at: int) -> int | None:
    """End of the GIF data blocks that begin at a position, including their terminator; None if it is missing."""
    while at < len(data):
        if data[at] == 0:
            return at + 1
        at += 1 + data[at]
    return None


def _is_control(data: bytes, at: int) -> bool:
    return data[at + 1] == _CONTROL and data[at + 2] >= 4


def _looks_like_a_frame(data: bytes, at: int) -> bool:
    """Whether the bytes at a position are a GIF frame that fits the screen and has a valid code size."""
    codes = _table_end(data, at + 9, at + 10)
    if codes >= len(data):
        return False
    left, top, width, height = struct.unpack_from("<4H", data, at + 1)
    wide, high = struct.unpack_from("<2H", data, 6)
    return 0 < width <= wide - left and 0 < height <= high - top and 1 < data[codes] < 12
