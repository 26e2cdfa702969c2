"""PNG: whatever the chunks that carry no pixels hold, the pixels are those of the clean picture."""

import io
import random
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageCms

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


def png(*before: bytes, after: tuple[bytes, ...] = (), image: Image.Image = PICTURE) -> bytes:
    """The picture with chunks after its header and after its pixels."""
    clean = encoded(image, "PNG")
    return clean[:33] + b"".join(before) + clean[33:-12] + b"".join(after) + clean[-12:]


_BOMB = zlib.compress(bytes(48 * MEGABYTE))  # 48 kB that become 48 MB
PNG_CHUNKS = {
    "a text of five megabytes": chunk(b"tEXt", b"workflow\0" + b"x" * 5 * MEGABYTE),
    "a compressed text of five megabytes": chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"ab" * (5 * MEGABYTE // 2))),
    "an international text of five megabytes": chunk(b"iTXt", b"prompt\0\0\0\0\0" + b"\xc3\xa4" * (5 * MEGABYTE // 2)),
    "a compressed international text": chunk(b"iTXt", b"prompt\0\1\0\0\0" + zlib.compress(b"a" * 5 * MEGABYTE)),
    "a text that is a bomb": chunk(b"zTXt", b"prompt\0\0" + _BOMB),
    "an international text that is a bomb": chunk(b"iTXt", b"prompt\0\1\0\0\0" + _BOMB),
    "a profile that is a bomb": chunk(b"iCCP", b"icc\0\0" + _BOMB),
    "a profile that is cut off": chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(999))[:9]),
    "a profile of unknown compression": chunk(b"iCCP", b"icc\0\7abc"),
    "a profile without anything": chunk(b"iCCP", b""),
    "a text of unknown compression": chunk(b"zTXt", b"key\0\7abc"),
    "a text with the key of a setting": chunk(b"tEXt", b"interlace\0yes"),
    "a text with the key of transparency": chunk(b"tEXt", b"transparency\0yes"),
    "a short gamma": chunk(b"gAMA", b"\0"),
    "short chromaticities": chunk(b"cHRM", b"abc"),
    "an empty rendering intent": chunk(b"sRGB", b""),
    "a short resolution": chunk(b"pHYs", b"\0\0"),
    "an animation of no frames": chunk(b"acTL", bytes(8)),
    "a short animation": chunk(b"acTL", b"\0"),
    "a frame outside the picture": chunk(b"fcTL", struct.pack(">5I2H2B", 0, 900, 900, 9, 9, 1, 1, 0, 0)),
    "an EXIF block of nonsense": chunk(b"eXIf", b"nonsense" * 9),
    "an empty EXIF block": chunk(b"eXIf", b""),
    "an unknown private chunk": chunk(b"prVt", b"\0\1\2" * 999),
    "an unknown critical chunk": chunk(b"ABCD", b"abc"),
    "a transparency too short": chunk(b"tRNS", b"\0"),
    "a wrong checksum": chunk(b"tEXt", b"key\0text", 7),
    "a wrong checksum in a private chunk": chunk(b"caBX", b"c2pa", 0),
    "a text with a wrong name": chunk(b"t\xffXt", b"key\0text"),
    "a text longer than stated": struct.pack(">I", 3) + chunk(b"tEXt", b"key\0" + b"text" * 20)[4:],
    "a text shorter than stated": struct.pack(">I", 90) + chunk(b"tEXt", b"key\0text")[4:],
    "a text of impossible length": struct.pack(">I", 2**32 - 1) + chunk(b"tEXt", b"key\0text")[4:],
}


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("kind", PNG_CHUNKS)
def test_a_png_is_read_whatever_other_chunks_it_holds(kind: str, place: str) -> None:
    found = png(PNG_CHUNKS[kind]) if place == "before" else png(after=(PNG_CHUNKS[kind],))
    same(found, encoded(PICTURE, "PNG"))


def test_a_png_is_read_with_all_of_these_chunks_at_once() -> None:
    sound = [data for kind, data in PNG_CHUNKS.items() if "stated" not in kind and "length" not in kind]
    same(png(*sound, after=tuple(sound)), encoded(PICTURE, "PNG"))


def test_a_png_is_read_with_seventy_megabytes_of_text() -> None:
    same(png(*[chunk(b"tEXt", b"k%d\0" % i + b"x" * MEGABYTE) for i in range(70)]), encoded(PICTURE, "PNG"))


def test_a_png_is_read_with_a_text_between_its_pixels() -> None:
    clean = encoded(PICTURE, "PNG")
    at = clean.index(b"IDAT") - 4
    (length,) = struct.unpack_from(">I", clean, at)
    data = clean[at + 8 : at + 8 + length]
    found = clean[:at] + chunk(b"IDAT", data[:50]) + chunk(b"tEXt", b"key\0text") + chunk(b"IDAT", data[50:])
    same(found + clean[-12:], clean)


def test_a_png_without_its_last_chunk_or_with_bytes_after_it_is_read() -> None:
    clean = encoded(PICTURE, "PNG")
    same(clean[:-12], clean)
    same(clean + b"PK\x03\x04 more bytes", clean)


@pytest.mark.parametrize("name", [b"IHDR", b"PLTE", b"tRNS"])
def test_a_header_palette_or_transparency_with_a_wrong_checksum_is_damage(name: bytes) -> None:
    data = encoded(PICTURE.quantize(16), "PNG", transparency=bytes([0, 90, 255, 30]))
    for place in range(data.index(name) - 4, data.index(name) + 8):  # of its length, name and content
        damaged = bytearray(data)
        damaged[place] ^= 0x80
        assert reason(bytes(damaged)) == DAMAGED


@pytest.mark.parametrize("image", [
    PICTURE.convert("1"), PICTURE.convert("L"), PICTURE.convert("LA"), PICTURE.quantize(7), PICTURE.convert("RGBA"),
    Image.fromarray(np.asarray(PICTURE.convert("L")).astype(np.uint16) * 257),
], ids=lambda image: image.mode)  # fmt: skip
def test_a_png_of_every_mode_is_read_beside_bad_metadata(image: Image.Image) -> None:
    same(png(PNG_CHUNKS["a profile that is a bomb"], chunk(b"tEXt", b"a\0b", 1), image=image), encoded(image, "PNG"))


def test_transparent_colours_are_kept_beside_bad_metadata() -> None:
    palette = PICTURE.quantize(8)
    clean = encoded(palette, "PNG", transparency=bytes([0, 90, 255, 30]))
    same(clean[:33] + PNG_CHUNKS["a short gamma"] + clean[33:], clean)
    clean = encoded(PICTURE, "PNG", transparency=tuple(int(v) for v in PIXELS[3, 5]))
    same(clean[:33] + PNG_CHUNKS["a text of impossible length"] + clean[33:], clean)
    assert (pixels(clean)[3, 5] == 255).all()


def test_an_interlaced_png_is_read_beside_bad_metadata() -> None:
    """Written here by hand, in the seven passes of the format, because Pillow writes none."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = b"".join(b"\0" + row.tobytes() for y, x, dy, dx in passes for row in PIXELS[y::dy, x::dx] if row.size)
    header = chunk(b"IHDR", struct.pack(">2I5B", 40, 24, 8, 2, 0, 0, 1))
    data = [header, PNG_CHUNKS["a text that is a bomb"], chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    np.testing.assert_array_equal(pixels(b"\x89PNG\r\n\x1a\n" + b"".join(data)), PIXELS)


def test_the_first_frame_of_an_animated_png_counts() -> None:
    frames = [PICTURE, PICTURE.rotate(180), PICTURE.convert("L").convert("RGB")]
    data = encoded(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=50)
    np.testing.assert_array_equal(pixels(data), PIXELS)
    np.testing.assert_array_equal(pixels(data[: data.index(b"fdAT") + 20]), PIXELS)  # later frames are cut off


@pytest.mark.parametrize("kind", ["iCCP", "zTXt", "iTXt", "many"])
def test_compressed_metadata_take_no_memory(kind: str) -> None:
    bomb = {
        "iCCP": [chunk(b"iCCP", b"icc\0\0" + _BOMB)],
        "zTXt": [chunk(b"zTXt", b"prompt\0\0" + _BOMB)],
        "iTXt": [chunk(b"iTXt", b"prompt\0\1\0\0\0" + _BOMB)],
        "many": [chunk(b"zTXt", b"k%d\0\0" % i + zlib.compress(bytes(MEGABYTE - 1))) for i in range(60)],
    }[kind]
    data = png(*bomb)
    assert _peak(lambda: pixels(data)) < 4 * len(data) + MEGABYTE


@pytest.mark.parametrize(("name", "before"), [(b"iTXt", b"\1\0\0\0"), (b"zTXt", b"\0")])
def test_a_compressed_text_that_may_turn_the_picture_has_a_limit_of_its_own(name: bytes, before: bytes) -> None:
    data = png(chunk(name, b"XML:com.adobe.xmp\0" + before + _BOMB))
    assert _peak(lambda: reason(data)) < 2 * MEGABYTE
    assert reason(data) == "metadata over 16 MB"


def test_a_raw_profile_that_is_a_bomb_has_that_limit_too() -> None:
    data = png(chunk(b"zTXt", b"Raw profile type exif\0\0" + _BOMB))
    assert reason(data) == "metadata over 16 MB"
    assert _peak(lambda: reason(data)) < 48 * MEGABYTE


def test_a_long_compressed_text_below_the_limit_turns_the_picture() -> None:
    text = b"<x:xmpmeta>" + bytes(12 * MEGABYTE) + b'<rdf tiff:Orientation="6"/>'
    data = png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(text)))
    np.testing.assert_array_equal(pixels(data), np.rot90(PIXELS, -1))


def _peak(action: Callable[[], object]) -> int:
    action()  # what is loaded once does not count
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def exif(*entries: tuple[int, int, int, bytes], order: str = "<", more: bytes = b"") -> bytes:
    """A TIFF block with these tags, types, counts and four bytes of value, as nobody's library writes it."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "LH", 8, len(entries))
    body = b"".join(struct.pack(order + "HHL", tag, kind, count) + value for tag, kind, count, value in entries)
    return head + body + bytes(4) + more


_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _regions(data: bytes, pixels_of: tuple[tuple[int, int], ...]) -> list[int]:
    """The positions outside the given ranges."""
    inside = {i for start, end in pixels_of for i in range(start, end)}
    return [i for i in range(len(data)) if i not in inside]


def _png_case() -> tuple[bytes, list[int]]:
    notes = (
        chunk(b"gAMA", bytes(4)),
        chunk(b"tEXt", b"key\0some text"),
        chunk(b"iCCP", b"i\0\0" + zlib.compress(_PROFILE)),
    )
    data = png(*notes, chunk(b"eXIf", exif((271, 2, 3, b"ab\0\0"))), after=(chunk(b"tIME", bytes(7)), *notes[:2]))
    at = data.index(b"IDAT") - 4
    end = at + 12 + struct.unpack_from(">I", data, at)[0]
    return data, _regions(data, ((0, 33), (at, end)))


def test_damage_outside_the_pixels_never_changes_them() -> None:
    data, places = _png_case()
    expected, draw = pixels(data), random.Random(0)
    chosen = places if len(places) < 900 else [*places[:60], *places[-60:], *draw.sample(places, 780)]
    for place in chosen:
        damaged = bytearray(data)
        damaged[place] = (damaged[place] + draw.randrange(1, 256)) % 256
        np.testing.assert_array_equal(pixels(bytes(damaged)), expected, err_msg=f"byte {place}")


def test_several_bytes_of_damage_outside_the_pixels_never_change_them() -> None:
    data, places = _png_case()
    expected, draw = pixels(data), random.Random(1)
    for _ in range(150):
        damaged, start = bytearray(data), draw.randrange(len(places) - 8)
        for place in places[start : start + draw.randrange(2, 8)]:
            damaged[place] = draw.randrange(256)
        np.testing.assert_array_equal(pixels(bytes(damaged)), expected, err_msg=f"bytes from {places[start]}")
