"""Read the orientation of a picture from its readable metadata, ignoring damaged metadata."""

import re
import zlib
from collections.abc import Iterable, Iterator

from PIL import Image

from indexes.image_files.directory import read_directory
from indexes.records import Unusable

__all__ = ["UPRIGHT", "inflated", "of_exif", "of_raw_profile", "of_xmp", "turned"]

UPRIGHT = 1  # EXIF value
_TAG, _XMP_TAG = 274, 700
_IN_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
_XMP_LENGTH = 32  # bytes; no match of _IN_XMP is longer
_MEGABYTES = 16  # decompressed metadata that are searched at most
_PIECE = 1 << 16  # bytes
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def of_exif(block: bytes | memoryview) -> int | None:
    """The orientation in an EXIF block or a TIFF file; None if no orientation is stored."""
    data = memoryview(block)
    while bytes(data[:6]) == b"Exif\0\0":
        data = data[6:]
    directory = read_directory(data)
    number = directory.number(_TAG) if directory else None
    if number is None and directory and _XMP_TAG in directory.entries:
        return of_xmp([directory.entries[_XMP_TAG].value])
    return None if number is None else int(number) if number in _TURNS else UPRIGHT


def of_xmp(pieces: Iterable[bytes | memoryview]) -> int | None:
    """The first orientation in an XMP text; the text comes in pieces, and only one piece is held in memory."""
    rest = b""
    for piece in pieces:
        found = _IN_XMP.search(rest + bytes(piece[:_XMP_LENGTH])) or _IN_XMP.search(piece)
        if found:
            return int(found[1])
        rest = (rest + bytes(piece[-_XMP_LENGTH:]))[-_XMP_LENGTH:]
    return None


def of_raw_profile(text: bytes) -> int | None:
    """The orientation in an EXIF block that ImageMagick wrote as hexadecimal text."""
    lines = text.split(b"\n", 3)
    try:
        return of_exif(bytes.fromhex(lines[3].decode("ascii"))) if len(lines) == 4 else None
    except ValueError:
        return None


def inflated(data: memoryview) -> Iterator[bytes]:
    """The decompressed pieces of a zlib stream, up to the first damaged piece.

    Raises Unusable if the stream decompresses to more than the limit that protects memory and time.
    """
    unpacking, total = zlib.decompressobj(), 0
    for start in range(0, len(data), _PIECE):
        packed: bytes | memoryview = data[start : start + _PIECE]
        while packed and not unpacking.eof:
            try:
                piece = unpacking.decompress(packed, _PIECE)
            except zlib.error:
                return
            total += len(piece)
            if total > _MEGABYTES << 20:
                raise Unusable(f"metadata over {_MEGABYTES} MB")
            yield piece
            packed = unpacking.unconsumed_tail


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """The image turned upright."""
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image
