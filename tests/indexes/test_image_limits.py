"""Image files of very many parts: read up to a stated number, and never with unbounded memory or work."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from indexes.images import decode
from indexes.records import Unusable

_ROWS, _COLUMNS = np.mgrid[:24, :40]
PIXELS = np.stack([_ROWS * 9, _COLUMNS * 6, (_ROWS * _COLUMNS) % 251], axis=-1).astype(np.uint8)
PICTURE = Image.fromarray(PIXELS)
MEGABYTE = 1 << 20
DAMAGED = "truncated or damaged image"


def encoded(image: Image.Image, name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def reason(data: bytes) -> str:
    with pytest.raises(Unusable) as caught:
        decode(data)
    return str(caught.value)


def pixels(data: bytes) -> np.ndarray:
    return decode(data).pixels


def same(found: bytes, clean: bytes) -> None:
    """Decodes to the pixels, format and compression of the clean picture."""
    one, other = decode(found), decode(clean)
    np.testing.assert_array_equal(one.pixels, other.pixels)
    assert (one.format, one.compression) == (other.format, other.compression)


def chunk(name: bytes, data: bytes, checksum: int | None = None) -> bytes:
    right = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", right if checksum is None else checksum)


def webp(before: bytes = b"", after: bytes = b"", flags: int = 0x2C, **options: object) -> bytes:
    """The picture in the extended layout, with bytes before and after its pixels."""
    pixels = encoded(PICTURE, "WEBP", **options)[12:]
    header = bytes([flags, 0, 0, 0]) + (39).to_bytes(3, "little") + (23).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<I", 10) + header + before + pixels + after
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def part(name: bytes, data: bytes, length: int | None = None) -> bytes:
    size = struct.pack("<I", len(data) if length is None else length)
    return name + size + data + b"\0" * (len(data) % 2)


def box(name: bytes, content: bytes, length: int | None = None) -> bytes:
    return struct.pack(">I", len(content) + 8 if length is None else length) + name + content


TINY = {
    "png": (b"\x89PNG\r\n\x1a\n" + encoded(PICTURE, "PNG")[8:33], chunk(b"prVt", b""), encoded(PICTURE, "PNG")[33:]),
    "jpeg": (b"\xff\xd8", b"\xff\xfe\0\2", encoded(PICTURE, "JPEG")[2:]),
    "jpeg, damaged": (b"\xff\xd8\0", b"\xff\xfe\0\2", encoded(PICTURE, "JPEG")[2:]),
    "webp": (webp()[:30], part(b"ICCP", b""), webp()[30:]),
    "gif": (encoded(PICTURE, "GIF")[:781], b"!\xfe\0", encoded(PICTURE, "GIF")[781:]),
    "jpeg 2000": (encoded(PICTURE, "JPEG2000")[:32], box(b"xml ", b""), encoded(PICTURE, "JPEG2000")[32:]),
}


@pytest.mark.parametrize("kind", TINY)
def test_thousands_of_empty_parts_are_read_and_more_than_anybody_writes_are_refused_by_a_reason(kind: str) -> None:
    start, piece, end = TINY[kind]
    same(start + piece * 20_000 + end, start + end)
    if kind in ("png", "gif"):  # the others count by the same function, and take longer
        assert reason(start + piece * 100_001 + end) == "image file has over 100000 parts"


TANGLED = {
    "png": chunk(b"prVt", b"", 0)[:-1] + b"\0\1\0\0IDAT" * 40_000,
    "jpeg": b"\xff\xd8" + b"\xff\xc4\0\x80" * 15_000,
    "webp": webp()[:30] + b"\0\0\0\0" + (b"VP8 " + bytes(4)) * 15_000,
    "gif": b"GIF89a\xff\x7f\xff\x7f\0\0\0!\xfe\3" + b",\0\0\0\0\1\0\1\0\0\2\1" * 15_000,
    "names in png": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes(13)) + b"\xff" + b"\0\0\2\0IDAT" * 15_000,
}


@pytest.mark.parametrize("kind", TANGLED)
def test_bytes_that_look_like_many_parts_are_given_up_after_bounded_work(kind: str) -> None:
    data = TANGLED[kind] if kind != "png" else b"\x89PNG\r\n\x1a\n" + TANGLED[kind]
    tracemalloc.start()
    try:
        with pytest.raises(Unusable):
            decode(data)
        assert tracemalloc.get_traced_memory()[1] < 64 * MEGABYTE
    finally:
        tracemalloc.stop()
