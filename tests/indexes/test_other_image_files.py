"""WebP, GIF, TIFF, JPEG 2000, ICO: whatever they hold beside pixels, those are of the clean picture."""

import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from indexes.compression import compression_of
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


def chunk(name: bytes, data: bytes, checksum: int | None = None) -> bytes:
    right = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", right if checksum is None else checksum)


def png(*before: bytes, after: tuple[bytes, ...] = (), image: Image.Image = PICTURE) -> bytes:
    """The picture with chunks after its header and after its pixels."""
    clean = encoded(image, "PNG")
    return clean[:33] + b"".join(before) + clean[33:-12] + b"".join(after) + clean[-12:]


_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def webp(before: bytes = b"", after: bytes = b"", flags: int = 0x2C, **options: object) -> bytes:
    """The picture in the extended layout, with bytes before and after its pixels."""
    pixels = encoded(PICTURE, "WEBP", **options)[12:]
    header = bytes([flags, 0, 0, 0]) + (39).to_bytes(3, "little") + (23).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<I", 10) + header + before + pixels + after
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def part(name: bytes, data: bytes, length: int | None = None) -> bytes:
    size = struct.pack("<I", len(data) if length is None else length)
    return name + size + data + b"\0" * (len(data) % 2)


WEBP_CHUNKS = {
    "a profile of nonsense": part(b"ICCP", b"nonsense"),
    "a profile of five megabytes": part(b"ICCP", bytes(5 * MEGABYTE)),
    "EXIF of nonsense": part(b"EXIF", b"nonsense"),
    "empty EXIF": part(b"EXIF", b""),
    "XMP of nonsense": part(b"XMP ", b"<<<\xff\xff"),
    "an unknown chunk": part(b"abcd", b"efg"),
    "a chunk without a name": part(b"\0\1\2\3", b"efg"),
    "a chunk longer than stated": part(b"ICCP", b"x" * 99, 20),
    "a chunk shorter than stated": part(b"ICCP", b"x" * 20, 99),
    "a chunk of impossible length": part(b"XMP ", b"abc", 2**32 - 1),
}


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 80}], ids=["lossless", "lossy"])
@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("kind", WEBP_CHUNKS)
def test_a_webp_is_read_whatever_other_chunks_it_holds(kind: str, place: str, options: dict[str, object]) -> None:
    same(webp(**{place: WEBP_CHUNKS[kind]}, **options), encoded(PICTURE, "WEBP", **options))


def test_a_webp_of_a_wrong_total_length_is_read() -> None:
    data = bytearray(webp(after=WEBP_CHUNKS["XMP of nonsense"], lossless=True))
    for length in (0, 40, 2**31, 2**32 - 1):
        data[4:8] = struct.pack("<I", length)
        np.testing.assert_array_equal(pixels(bytes(data)), PIXELS)


def test_a_webp_with_transparency_is_read_beside_bad_metadata() -> None:
    image = PICTURE.convert("RGBA")
    image.putalpha(PICTURE.convert("L"))
    clean = encoded(image, "WEBP", quality=70, exif=exif((256, 2, 4, b"abc\0")))
    at = clean.index(b"ALPH")
    same(clean[:at] + WEBP_CHUNKS["a chunk of impossible length"] + clean[at:], clean)


def test_the_first_frame_of_an_animated_webp_counts() -> None:
    data = encoded(PICTURE, "WEBP", save_all=True, append_images=[PICTURE.rotate(180)], lossless=True, exif=b"nonsense")
    np.testing.assert_array_equal(pixels(data), PIXELS)
    assert decode(data).compression == "webp lossless"
    np.testing.assert_array_equal(pixels(data[: data.rindex(b"ANMF") + 30]), PIXELS)  # later frames are cut off
    same(data[:30] + WEBP_CHUNKS["a chunk without a name"] + data[30:], data)


def test_a_profile_does_not_hide_that_a_webp_is_lossless() -> None:
    assert decode(encoded(PICTURE, "WEBP", lossless=True, icc_profile=_PROFILE)).compression == "webp lossless"
    with Image.open(io.BytesIO(encoded(PICTURE, "WEBP", icc_profile=_PROFILE))) as image:
        assert compression_of(image, encoded(PICTURE, "WEBP")) == "webp lossy"


GIF_BLOCKS = {
    "an empty comment": b"!\xfe\0",
    "a comment of five megabytes": b"!\xfe" + (b"\xff" + b"x" * 255) * 20480 + b"\0",
    "a control block that is too short": b"!\xf9\2\1\1\0",
    "an empty control block": b"!\xf9\0",
    "an unknown extension": b"!\x42\3abc\0",
    "an application without a name": b"!\xff\0",
    "a loop without a number": b"!\xff\x0bNETSCAPE2.0\1\1\0",
    "text that is drawn": b"!\1\x0c" + bytes(12) + b"\5hello\0",
    "a comment longer than stated": b"!\xfe\3abcdefghij\0",
    "a comment shorter than stated": b"!\xfe\xf0abc\0",
    "bytes that are no block": b"abcdefg",
}


@pytest.mark.parametrize("kind", GIF_BLOCKS)
def test_a_gif_is_read_whatever_other_blocks_it_holds(kind: str) -> None:
    clean = encoded(PICTURE.quantize(64), "GIF", transparency=3)
    at = 13 + 3 * 64
    assert clean[at : at + 2] == b"!\xf9"
    same(clean[:at] + GIF_BLOCKS[kind] + clean[at:], clean)
    same(clean[: at + 8] + GIF_BLOCKS[kind] + clean[at + 8 :], clean)


def test_the_first_frame_of_an_animated_gif_counts() -> None:
    first = PICTURE.quantize(64)
    data = encoded(first, "GIF", save_all=True, append_images=[first.rotate(180)], comment=b"c")
    same(data, encoded(first, "GIF"))
    same(data[:-200], encoded(first, "GIF"))  # later frames are cut off


@pytest.mark.parametrize("order", [b"MM", b"II"])
def test_a_tiff_of_either_byte_order_and_several_pages_is_its_first_page(order: bytes) -> None:
    pages = encoded(PICTURE, "TIFF", save_all=True, append_images=[PICTURE.rotate(180)])
    np.testing.assert_array_equal(pixels(pages), PIXELS)
    rows = PIXELS.tobytes()
    sign = ">" if order == b"MM" else "<"
    tags = [(256, 40), (257, 24), (258, 8), (259, 1), (262, 2), (273, 8), (277, 3), (278, 24), (279, len(rows))]
    entries = b"".join(struct.pack(sign + "HHLHH", tag, 3, 1, value, 0) for tag, value in tags)
    head = order + struct.pack(sign + "HL", 42, 8 + len(rows))
    np.testing.assert_array_equal(pixels(head + rows + struct.pack(sign + "H", 9) + entries + bytes(4)), PIXELS)


def boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 0
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        found.append((data[at + 4 : at + 8], data[at + 8 : at + (size or len(data) - at)]))
        at += size or len(data) - at
    return found


def box(name: bytes, content: bytes, length: int | None = None) -> bytes:
    return struct.pack(">I", len(content) + 8 if length is None else length) + name + content


JP2_BOXES = {
    "an empty XML box": box(b"xml ", b""),
    "an XML box of nonsense": box(b"xml ", b"<<<"),
    "an identified box of nonsense": box(b"uuid", b"JpgTiffExif->JP2nonsense"),
    "an unknown box": box(b"abcd", b"efg"),
    "a box of impossible length": box(b"xml ", b"<x/>", 5),
    "a box longer than the file": box(b"xml ", b"<x/>", 2**31),
}


@pytest.mark.parametrize("place", [1, 2, 3])
@pytest.mark.parametrize("kind", JP2_BOXES)
def test_a_jpeg_2000_is_read_whatever_other_boxes_it_holds(kind: str, place: int) -> None:
    clean = encoded(PICTURE, "JPEG2000")
    parts = [box(name, content) for name, content in boxes(clean)]
    same(b"".join([*parts[:place], JP2_BOXES[kind], *parts[place:]]), clean)


def test_a_jpeg_2000_is_read_with_a_resolution_of_nonsense_or_a_comment() -> None:
    clean = encoded(PICTURE, "JPEG2000")
    first, brand, header, stream = boxes(clean)
    odd = header[1] + box(b"res ", box(b"resc", b"\0"))
    same(b"".join([box(*first), box(*brand), box(b"jp2h", odd), box(*stream)]), clean)
    coded = encoded(PICTURE, "JPEG2000", no_jp2=True, comment=b"c" * 999)
    np.testing.assert_array_equal(pixels(coded), pixels(clean))


def test_an_icon_that_is_a_png_is_read_beside_bad_metadata() -> None:
    icon = png(chunk(b"gAMA", b"\0"), chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(48 * MEGABYTE))))
    data = struct.pack("<3H4B2H2I", 0, 1, 1, 40, 24, 0, 0, 1, 24, len(icon), 22) + icon
    assert decode(data).format == "ico"
    np.testing.assert_array_equal(pixels(data), PIXELS)


def _webp_case() -> tuple[bytes, list[int]]:
    before = part(b"ICCP", _PROFILE)
    after = part(b"EXIF", exif((271, 2, 3, b"ab\0\0"))) + part(b"XMP ", b"<x:xmpmeta>hello</x:xmpmeta>")
    data = webp(before, after, lossless=True)
    return data, [*range(30, 30 + len(before)), *range(len(data) - len(after), len(data))]


def test_damage_outside_the_pixels_never_changes_them() -> None:
    data, places = _webp_case()
    expected, draw = pixels(data), random.Random(0)
    chosen = places if len(places) < 900 else [*places[:60], *places[-60:], *draw.sample(places, 780)]
    for place in chosen:
        damaged = bytearray(data)
        damaged[place] = (damaged[place] + draw.randrange(1, 256)) % 256
        np.testing.assert_array_equal(pixels(bytes(damaged)), expected, err_msg=f"byte {place}")


def test_several_bytes_of_damage_outside_the_pixels_never_change_them() -> None:
    """But for what stands right behind the pixels: with nothing of it left, the pixels may be cut off as well."""
    data, places = _webp_case()
    places = [place for place in places if not 0 <= place - data.index(b"EXIF") < 8]
    expected, draw = pixels(data), random.Random(1)
    for _ in range(150):
        damaged, start = bytearray(data), draw.randrange(len(places) - 8)
        for place in places[start : start + draw.randrange(2, 8)]:
            damaged[place] = draw.randrange(256)
        np.testing.assert_array_equal(pixels(bytes(damaged)), expected, err_msg=f"bytes from {places[start]}")


def test_pixels_of_a_damaged_length_are_damage() -> None:
    still = encoded(PICTURE, "WEBP", quality=80)
    for delta in (-64, -2, 2, 64):
        damaged = bytearray(still)
        damaged[16:20] = struct.pack("<I", struct.unpack_from("<I", still, 16)[0] + delta)
        assert reason(bytes(damaged)) == DAMAGED


@pytest.mark.parametrize(("name", "mark"), [("WEBP", b"ANMF"), ("GIF", b"!\xf9\4")])
def test_a_second_frame_never_stands_in_for_a_damaged_first_one(name: str, mark: bytes) -> None:
    """Frames of one colour each: whatever the damage leaves of the first, it is not the colour of the second."""
    first, second = (Image.new("RGB", (40, 24), colour) for colour in ("red", "blue"))
    whole = encoded(
        first, name, save_all=True, append_images=[second], **({"lossless": True} if name == "WEBP" else {})
    )
    at, draw = whole.index(mark), random.Random(2)
    for place in range(at, at + 30):
        damaged = bytearray(whole)
        damaged[place] = (damaged[place] + draw.randrange(1, 256)) % 256
        try:
            found = pixels(bytes(damaged))
        except Unusable:
            continue
        assert not (found == (0, 0, 255)).all(axis=-1).any(), f"byte {place}"
