"""Which way up a picture is: every carrier, every turn, and ill-typed tags beside it."""

import io
import struct
import zlib
from collections.abc import Callable

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


def exif(*entries: tuple[int, int, int, bytes], order: str = "<", more: bytes = b"") -> bytes:
    """A TIFF block with these tags, types, counts and four bytes of value, as nobody's library writes it."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "LH", 8, len(entries))
    body = b"".join(struct.pack(order + "HHL", tag, kind, count) + value for tag, kind, count, value in entries)
    return head + body + bytes(4) + more


ROTATED = (274, 3, 1, b"\x06\0\0\0")  # turn by 90° clockwise to look at
ILL_TYPED = {
    "width as text": (256, 2, 4, b"abc\0"),
    "pixel width as a fraction past the end": (40962, 5, 1, b"\xff\xff\xff\0"),
    "resolution as bytes": (282, 1, 4, b"\1\2\3\4"),
    "resolution of nothing": (282, 5, 0, bytes(4)),
    "maker as numbers": (271, 3, 2, b"\1\0\2\0"),
    "artist of unknown type": (315, 99, 1, b"abcd"),
    "exposure directory that is no offset": (34665, 2, 4, b"abcd"),
    "gps directory past the end": (34853, 4, 1, b"\xff\xff\xff\x7f"),
    "more values than bytes": (305, 2, 2**31, b"\x08\0\0\0"),
    "orientation's neighbour with two values": (296, 3, 2, b"\1\0\2\0"),
    "xmp as text": (700, 2, 4, b"<x:\0"),
}


def chunk(name: bytes, data: bytes, checksum: int | None = None) -> bytes:
    right = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", right if checksum is None else checksum)


def png(*before: bytes, after: tuple[bytes, ...] = (), image: Image.Image = PICTURE) -> bytes:
    """The picture with chunks after its header and after its pixels."""
    clean = encoded(image, "PNG")
    return clean[:33] + b"".join(before) + clean[33:-12] + b"".join(after) + clean[-12:]


def segment(marker: int, content: bytes, length: int | None = None) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2 if length is None else length) + content


def jpeg(*segments: bytes, image: Image.Image = PICTURE, **options: object) -> bytes:
    clean = encoded(image, "JPEG", quality=90, **options)
    return clean[:2] + b"".join(segments) + clean[2:]


def webp(before: bytes = b"", after: bytes = b"", flags: int = 0x2C, **options: object) -> bytes:
    """The picture in the extended layout, with bytes before and after its pixels."""
    pixels = encoded(PICTURE, "WEBP", **options)[12:]
    header = bytes([flags, 0, 0, 0]) + (39).to_bytes(3, "little") + (23).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<I", 10) + header + before + pixels + after
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def part(name: bytes, data: bytes, length: int | None = None) -> bytes:
    size = struct.pack("<I", len(data) if length is None else length)
    return name + size + data + b"\0" * (len(data) % 2)


def _with_entry(data: bytes, entry: tuple[int, int, int, bytes], is_big: bool) -> bytes:
    """The TIFF with one more entry in its directory, which moves to the end."""
    tag, kind, count, value = entry
    if is_big:
        (at,), length = struct.unpack_from("<Q", data, 8), 20
        (number,) = struct.unpack_from("<Q", data, at)
        new, start = struct.pack("<HHQ", tag, kind, count) + value + bytes(4), at + 8
    else:
        (at,), length = struct.unpack_from("<L", data, 4), 12
        (number,) = struct.unpack_from("<H", data, at)
        new, start = struct.pack("<HHL", tag, kind, count) + value, at + 2
    old = [data[start + i * length : start + (i + 1) * length] for i in range(number)]
    entries = sorted([e for e in old if e[:2] != new[:2]] + [new], key=lambda e: struct.unpack("<H", e[:2]))
    where = struct.pack("<Q" if is_big else "<L", len(data))
    head = data[:8] + where + data[16:] if is_big else data[:4] + where + data[8:]
    return head + struct.pack("<Q" if is_big else "<H", len(entries)) + b"".join(entries) + bytes(8)


@pytest.mark.parametrize("options", [
    {}, {"compression": "tiff_lzw"}, {"compression": "tiff_deflate"}, {"compression": "jpeg"}, {"big_tiff": True},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("kind", [kind for kind in ILL_TYPED if kind != "width as text"])
def test_a_tiff_is_read_whatever_its_other_tags_are(kind: str, options: dict[str, object]) -> None:
    clean = encoded(PICTURE, "TIFF", **options)
    same(_with_entry(clean, ILL_TYPED[kind], "big_tiff" in options), clean)


@pytest.mark.parametrize("kind", ILL_TYPED)
def test_an_avif_is_read_and_turned_beside_an_ill_typed_tag(kind: str) -> None:
    turned = Image.Exif()
    turned[274] = 6
    turned[305] = "software" * 20  # room for the other block
    plain = encoded(PICTURE, "AVIF", exif=turned, quality=90)
    at = max(plain.find(b"II*\0"), plain.find(b"MM\0*"))
    odd = exif(*sorted([ILL_TYPED[kind], (274, 3, 1, b"\1\0\0\0")]))
    np.testing.assert_array_equal(pixels(plain[:at] + odd + plain[at + len(odd) :]), pixels(plain))
    np.testing.assert_array_equal(pixels(plain[:at] + b"nonsense" + plain[at + 8 :]), pixels(plain))
    assert pixels(plain).shape == (40, 24, 3)


TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}
CARRIERS: dict[str, Callable[[bytes], bytes]] = {
    "png": lambda block: png(chunk(b"eXIf", block)),
    "png, after the pixels": lambda block: png(after=(chunk(b"eXIf", block),)),
    "png, as hexadecimal text": lambda block: png(
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n%8d\n" % len(block) + _lines(block)))
    ),
    "jpeg": lambda block: jpeg(segment(0xE1, b"Exif\0\0" + block)),
    "jpeg, marked twice": lambda block: jpeg(segment(0xE1, b"Exif\0\0Exif\0\0" + block)),
    "webp": lambda block: webp(after=part(b"EXIF", block), lossless=True),
    "webp, marked": lambda block: webp(after=part(b"EXIF", b"Exif\0\0" + block), lossless=True),
}


def _lines(block: bytes) -> bytes:
    text = block.hex().encode()
    return b"\n".join(text[i : i + 72] for i in range(0, len(text), 72)) + b"\n"


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("carrier", CARRIERS)
def test_every_orientation_is_applied(carrier: str, turn: int) -> None:
    upright, turned = (CARRIERS[carrier](exif((274, 3, 1, bytes([n, 0, 0, 0])))) for n in (1, turn))
    np.testing.assert_array_equal(pixels(turned), TURNS[turn](pixels(upright)))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ILL_TYPED)
@pytest.mark.parametrize("carrier", CARRIERS)
def test_an_ill_typed_tag_beside_a_rotation_neither_stops_nor_hides_it(carrier: str, kind: str, order: str) -> None:
    six = (274, 3, 1, struct.pack(order + "HH", 6, 0))
    entries = sorted([ILL_TYPED[kind], six])
    turned, upright = (CARRIERS[carrier](exif(*found, order=order)) for found in (entries, ()))
    np.testing.assert_array_equal(pixels(turned), np.rot90(pixels(upright), -1))


@pytest.mark.parametrize("kind", [kind for kind in ILL_TYPED if kind not in ("width as text", "xmp as text")])
def test_a_tiff_is_turned_by_its_own_tag_beside_an_ill_typed_one(kind: str) -> None:
    turned = _with_entry(_with_entry(encoded(PICTURE, "TIFF"), ROTATED, False), ILL_TYPED[kind], False)
    np.testing.assert_array_equal(pixels(turned), np.rot90(PIXELS, -1))


@pytest.mark.parametrize(("kind", "count", "value", "turn"), [
    (3, 1, b"\x06\0\0\0", 6), (4, 1, b"\x06\0\0\0", 6), (9, 1, b"\x06\0\0\0", 6), (8, 1, b"\x06\0\0\0", 6),
    (3, 2, b"\x06\0\x08\0", 6), (11, 1, struct.pack("<f", 6), 6),
    (3, 1, b"\x09\0\0\0", 1), (3, 1, b"\0\0\0\0", 1), (2, 2, b"6\0\0\0", 1), (7, 4, b"\x06\0\0\0", 1),
    (11, 1, struct.pack("<f", np.nan), 1), (3, 0, b"\x06\0\0\0", 1), (99, 1, b"\x06\0\0\0", 1),
])  # fmt: skip
def test_an_orientation_counts_if_it_is_a_number_from_one_to_eight(
    kind: int, count: int, value: bytes, turn: int
) -> None:
    data = png(chunk(b"eXIf", exif((274, kind, count, value))))
    np.testing.assert_array_equal(pixels(data), TURNS[turn](PIXELS))


_XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'
_XMP_ELEMENT = b"<x:xmpmeta><tiff:Orientation>8</tiff:Orientation></x:xmpmeta>"


@pytest.mark.parametrize("text", [_XMP, _XMP_ELEMENT, b"\xff\xfe" + _XMP, bytes(MEGABYTE) + _XMP])
def test_the_orientation_in_xmp_counts(text: bytes) -> None:
    for data in (
        png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + text)),
        png(after=(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(text)),)),
        webp(after=part(b"XMP ", text), lossless=True),
        encoded(PICTURE, "TIFF", tiffinfo={700: text}),
    ):
        np.testing.assert_array_equal(pixels(data), np.rot90(PIXELS))
    if len(text) < 60000:
        data = jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + text))
        np.testing.assert_array_equal(pixels(data), np.rot90(pixels(jpeg())))


def test_exif_counts_before_xmp_and_damaged_exif_does_not_count() -> None:
    text = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + _XMP)
    np.testing.assert_array_equal(pixels(png(chunk(b"eXIf", exif(ROTATED)), text)), np.rot90(PIXELS, -1))
    np.testing.assert_array_equal(pixels(png(chunk(b"eXIf", b"nonsense"), text)), np.rot90(PIXELS))
