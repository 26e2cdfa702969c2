"""Read the first directory of a TIFF file or EXIF block entry by entry, so that a bad entry affects no other entry."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Directory", "Entry", "read_directory"]

_ORDERS = {b"II*\0": "<", b"MM\0*": ">", b"MM*\0": ">", b"II\0*": "<", b"MM\0+": ">", b"II+\0": "<"}
_MOST_ENTRIES = 65536  # as many as there are tags
_FORMATS = {3: "H", 4: "L", 6: "b", 8: "h", 9: "l", 11: "f", 12: "d", 13: "L", 16: "Q", 17: "q"}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8}  # bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """The value of one tag in a TIFF directory, as bytes with their type."""

    kind: int  # TIFF's number of the value's type
    value: memoryview
    stored: bytes  # the bytes of the entry in the directory


@dataclass(frozen=True, slots=True)
class Directory:
    """The usable entries of a TIFF directory by tag, with the byte order and format of the directory."""

    order: str  # byte order in the notation of `struct`
    is_big: bool  # BigTIFF
    entries: dict[int, Entry]

    def number(self, tag: int) -> float | None:
        """The first number stored under a tag; None if the tag is missing, NaN if its value is not a number."""
        entry = self.entries.get(tag)
        if entry is None:
            return None
        try:
            if entry.kind in (5, 10):
                above, below = struct.unpack_from(self.order + ("LL" if entry.kind == 5 else "ll"), entry.value)
                return float(above / below) if below else float("nan")
            return float(struct.unpack_from(self.order + _FORMATS[entry.kind], entry.value)[0])
        except (KeyError, struct.error):
            return float("nan")


def read_directory(data: memoryview) -> Directory | None:
    """The first directory of a TIFF file or EXIF block, or None; the first entry is used if a tag is repeated."""
    order = _ORDERS.get(bytes(data[:4]))
    if order is None:
        return None
    is_big = data[2] == 43 or data[3] == 43
    try:
        (at,) = struct.unpack_from(order + ("Q" if is_big else "L"), data, 8 if is_big else 4)
        (count,) = struct.unpack_from(order + ("Q" if is_big else "H"), data, at)
    except struct.error:
        return None
    entries: dict[int, Entry] = {}
    for tag, entry in _entries(data, order, is_big, at + (8 if is_big else 2), min(count, _MOST_ENTRIES)):
        entries.setdefault(tag, entry)
    return Directory(order, is_big, entries)


def _entries(data: memoryview, order: str, is_big: bool, at: int, count: int) -> Iterator[tuple[int, Entry]]:
    length, head = (20, "HHQ") if is_big else (12, "HHL")
    for start in range(at, min(at + count * length, len(data) - length + 1), length):
        stored = data[start : start + length]
        tag, kind, items = struct.unpack_from(order + head, stored)
        size = items * _SIZES.get(kind, 0)
        field = 12 if is_big else 8
        value = stored[field : field + size]
        if size > length - field:
            (offset,) = struct.unpack_from(order + ("Q" if is_big else "L"), stored, field)
            value = data[offset : offset + size] if offset < len(data) else data[:0]
        if size and len(value) == size:
            yield tag, Entry(kind, value, bytes(stored))
