"""JPEG: whatever the segments that carry no pixels hold, the pixels are those of the clean picture."""

import io
import random
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from indexes.compression import jpeg_storage
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


ROTATED = (274, 3, 1, b"\x06\0\0\0")


def segment(marker: int, content: bytes, length: int | None = None) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2 if length is None else length) + content


def jpeg(*segments: bytes, image: Image.Image = PICTURE, **options: object) -> bytes:
    clean = encoded(image, "JPEG", quality=90, **options)
    return clean[:2] + b"".join(segments) + clean[2:]


_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_THUMBNAIL = encoded(PICTURE.resize((16, 10)).rotate(180), "JPEG")
JPEG_SEGMENTS = {
    "a profile without a number": segment(0xE2, b"ICC_PROFILE\0"),
    "a profile of missing parts": segment(0xE2, b"ICC_PROFILE\0\2\5" + _PROFILE),
    "a profile of nonsense": segment(0xE2, b"ICC_PROFILE\0\1\1" + b"nonsense"),
    "a profile of 255 parts": b"".join(
        segment(0xE2, b"ICC_PROFILE\0" + bytes([i, 255]) + b"x" * 60000) for i in range(1, 256)
    ),
    "a JFIF segment that is too short": segment(0xE0, b"JFIF\0"),
    "an Adobe segment that is too short": segment(0xEE, b"Adobe"),
    "an EXIF block of nonsense": segment(0xE1, b"Exif\0\0nonsense"),
    "an empty EXIF block": segment(0xE1, b"Exif\0\0"),
    "EXIF in two segments": segment(0xE1, b"Exif\0\0II*\0") + segment(0xE1, b"Exif\0\0\x08\0\0\0"),
    "a Photoshop block that is cut off": segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x04\x04"),
    "a directory of pictures that is nonsense": segment(0xE2, b"MPF\0nonsense"),
    "a directory of pictures outside the file": segment(0xE2, b"MPF\0" + exif((45057, 4, 1, b"\2\0\0\0"))),
    "XMP of nonsense": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<<<\xff\xff\xff"),
    "an empty comment": segment(0xFE, b""),
    "comments of five megabytes": segment(0xFE, b"x" * 65000) * 80,
    "a segment of every kind": b"".join(segment(0xE0 + i, b"\0abc") for i in range(16)),
    "a comment that holds a JPEG": segment(0xFE, _THUMBNAIL),
    "a segment of impossible length": segment(0xE5, b"abc", 0) + segment(0xFE, b"comment"),
    "a segment longer than stated": segment(0xE1, b"Exif\0\0" + exif(ROTATED)[:9] + b"x" * 90, 20),
    "a segment far longer than stated": segment(0xE2, b"abc", 60000),
    "a segment a little longer than the next": segment(0xE2, b"abc", 30),
    "a segment that holds a JPEG and states another length": segment(0xE1, b"Exif\0\0 " + _THUMBNAIL + b"end", 50),
    "a segment of no kind": b"\xff\x07\0\7abcde",
    "bytes that are no segment": segment(0xFE, b"x") + b"abcdefg",
    "a first marker that is none": b"\0\xe1\0\5abc",
}


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}], ids=["", "prog", "rst"])
@pytest.mark.parametrize("kind", JPEG_SEGMENTS)
def test_a_jpeg_is_read_whatever_other_segments_it_holds(kind: str, options: dict[str, object]) -> None:
    found, clean = jpeg(JPEG_SEGMENTS[kind], **options), jpeg(**options)
    same(found, clean)
    assert jpeg_storage(found) == jpeg_storage(clean)


@pytest.mark.parametrize("kind", JPEG_SEGMENTS)
def test_a_jpeg_is_read_with_such_a_segment_among_its_tables(kind: str) -> None:
    clean = jpeg()
    at = clean.index(b"\xff\xc0")
    same(clean[:at] + JPEG_SEGMENTS[kind] + clean[at:], clean)


def test_a_jpeg_is_read_with_bytes_or_a_second_picture_after_it() -> None:
    same(jpeg() + b"\xff\xe1 more bytes", jpeg())
    same(jpeg(JPEG_SEGMENTS["a segment longer than stated"]) + encoded(PICTURE.resize((80, 80)), "JPEG"), jpeg())


def test_a_preview_never_stands_in_for_a_damaged_picture() -> None:
    whole = jpeg(segment(0xE1, b"Exif\0\0 " + _THUMBNAIL, 77))
    frame = whole.rindex(b"\xff\xc0")
    assert reason(whole[:frame] + whole[frame + 19 :]) == DAMAGED  # the header of the picture is missing
    assert reason(whole[: frame - 9]) == DAMAGED  # the file is cut off before it


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_jpeg_of_other_colours_is_read_beside_bad_metadata(mode: str) -> None:
    image = PICTURE.convert(mode)
    same(jpeg(JPEG_SEGMENTS["a profile without a number"], image=image), jpeg(image=image))


def test_colours_that_an_adobe_segment_declares_are_kept() -> None:
    """Pillow writes RGB without a transform when told so; the Adobe segment alone says it."""
    clean = encoded(PICTURE, "JPEG", keep_rgb=True, quality=95)
    found = (
        clean[:2] + segment(0xEE, b"Adobe\0\x64\0\0\0\0\0") + JPEG_SEGMENTS["a profile without a number"] + clean[2:]
    )
    expected = clean[:2] + segment(0xEE, b"Adobe\0\x64\0\0\0\0\0") + clean[2:]
    same(found, expected)
    np.testing.assert_array_equal(pixels(expected), np.asarray(Image.open(io.BytesIO(expected))))


def test_a_jpeg_with_several_pictures_is_read_beside_bad_metadata() -> None:
    clean = encoded(PICTURE, "MPO", save_all=True, append_images=[PICTURE.rotate(90)])
    same(clean[:2] + JPEG_SEGMENTS["an EXIF block of nonsense"] + clean[2:], clean)


def _jpeg_case() -> tuple[bytes, list[int]]:
    block = exif((271, 2, 3, b"ab\0\0"), more=_THUMBNAIL)
    notes = (
        segment(0xE1, b"Exif\0\0" + block) + segment(0xE2, b"ICC_PROFILE\0\1\1" + _PROFILE) + segment(0xFE, b"hello")
    )
    return jpeg(notes), list(range(2, 2 + len(notes)))


def test_damage_outside_the_pixels_never_changes_them() -> None:
    data, places = _jpeg_case()
    expected, draw = pixels(data), random.Random(0)
    chosen = places if len(places) < 900 else [*places[:60], *places[-60:], *draw.sample(places, 780)]
    for place in chosen:
        damaged = bytearray(data)
        damaged[place] = (damaged[place] + draw.randrange(1, 256)) % 256
        np.testing.assert_array_equal(pixels(bytes(damaged)), expected, err_msg=f"byte {place}")


def test_several_bytes_of_damage_outside_the_pixels_never_change_them() -> None:
    data, places = _jpeg_case()
    expected, draw = pixels(data), random.Random(1)
    for _ in range(150):
        damaged, start = bytearray(data), draw.randrange(len(places) - 8)
        for place in places[start : start + draw.randrange(2, 8)]:
            damaged[place] = draw.randrange(256)
        np.testing.assert_array_equal(pixels(bytes(damaged)), expected, err_msg=f"bytes from {places[start]}")
