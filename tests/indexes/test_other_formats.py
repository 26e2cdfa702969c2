import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from indexes.images import decode
from indexes.records import Unusable

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8))


def encoded(image: Image.Image, name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def reason(data: bytes) -> str:
    with pytest.raises(Unusable) as caught:
        decode(data)
    return str(caught.value)


def brand(major: bytes, *others: bytes) -> bytes:
    content = b"ftyp" + major + bytes(4) + b"".join(others)
    return struct.pack(">I", len(content) + 4) + content + bytes(100)


def tiff(*tags: tuple[int, int], magic: bytes = b"II*\0") -> bytes:
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in tags)
    return magic + struct.pack("<LH", 8, len(tags)) + entries + bytes(500)


def jpeg_with(marker: int, bits: int = 8) -> bytes:
    data = encoded(PICTURE, "JPEG")
    at = data.index(b"\xff\xc0")
    return data[: at + 1] + bytes([marker]) + data[at + 2 : at + 4] + bytes([bits]) + data[at + 5 :]


_SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect/></svg>'
NAMED = {
    "heic": brand(b"heic", b"mif1", b"heic"),
    "heic, by what it is compatible with": brand(b"mif1", b"heic", b"miaf"),
    "heic, of ten bits": brand(b"heix", b"mif1"),
    "heic, a sequence": brand(b"hevs", b"msf1"),
    "jpeg xl": b"\xff\x0a" + bytes(range(90)),
    "jpeg xl, in a container": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(90),
    "svg": _SVG,
    "svg, with a declaration": b'<?xml version="1.0"?>\n<!-- drawn -->\n' + _SVG,
    "photoshop": b"8BPS\0\1" + bytes(90),
    "openexr": b"\x76\x2f\x31\x01\2\0\0\0" + bytes(90),
    "camera raw": tiff((256, 40), (257, 24), (259, 1), (262, 32803), (50706, 1)),
    "camera raw, of Canon": tiff((256, 40), (257, 24), magic=b"II*\0")[:8] + b"CR\2\0" + bytes(90),
    "camera raw, of Canon since 2018": brand(b"crx ", b"isom"),
    "camera raw, of Fujifilm": b"FUJIFILMCCD-RAW 0201" + bytes(90),
    "camera raw, of Panasonic": b"IIU\0\x18\0\0\0" + bytes(90),
    "camera raw, of Olympus": b"IIRO\x08\0\0\0" + bytes(90),
    "jpeg xr": b"II\xbc\1" + bytes(90),
    "qoi": b"qoif" + bytes(90),
    "dds": encoded(PICTURE.convert("RGBA"), "DDS"),
    "icns": encoded(PICTURE.convert("RGBA").resize((64, 64)), "ICNS"),
    "dicom": bytes(128) + b"DICM" + bytes(90),
    "fits": b"SIMPLE  =                    T" + b" " * 90,
    "lossless jpeg": jpeg_with(0xC3),
    "jpeg-ls": jpeg_with(0xF7),
    "jpeg of 12 bits": jpeg_with(0xC1, 12),
    "tiff of this compression": tiff((256, 40), (257, 24), (258, 8), (259, 34712), (262, 2), (273, 200), (279, 90)),
    "tiff of this pixel layout": tiff((256, 40), (257, 24), (258, 5), (259, 1), (262, 1), (273, 200), (279, 90)),
}


@pytest.mark.parametrize("kind", NAMED)
def test_a_known_format_that_cannot_be_decoded_is_named(kind: str) -> None:
    assert reason(NAMED[kind]) == f"image format not supported ({kind.split(',')[0]})"


def test_a_preview_in_a_camera_raw_file_is_not_the_picture() -> None:
    rows = np.asarray(PICTURE).tobytes()
    tags = [(254, 1), (256, 40), (257, 24), (258, 8), (259, 1), (262, 2), (273, 200), (277, 3), (278, 24), (330, 8)]
    preview = tiff(*tags, (279, len(rows)))[:200].ljust(200, b"\0") + rows
    assert reason(preview) == "image format not supported (camera raw)"


@pytest.mark.parametrize("data", [
    b"hello", b"\0" * 600, b"PK\x03\x04" + bytes(90), b"%PDF-1.7\n", b"\x1aE\xdf\xa3" + bytes(90),
    brand(b"isom", b"mp42"),
    encoded(PICTURE, "EPS"), b"<html><svg></svg></html>", zlib.compress(b"x" * 99), b"BM of nothing",
], ids=range(10))  # fmt: skip
def test_what_is_no_image_is_not_an_image(data: bytes) -> None:
    assert reason(data) == "not an image"


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF", "JPEG2000"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_an_image_cut_off_is_damaged_and_no_other_format(name: str, share: float) -> None:
    data = encoded(PICTURE, name)
    assert reason(data[: max(int(len(data) * share), 40)]) == "truncated or damaged image"


def test_a_signature_inside_an_image_does_not_name_it() -> None:
    data = bytearray(encoded(PICTURE, "PNG"))
    comment = b"key\0" + b"x" * (128 - 33 - 8 - 4) + b"DICM"
    data[33:33] = struct.pack(">I", len(comment)) + b"tEXt" + comment + struct.pack(">I", zlib.crc32(b"tEXt" + comment))
    assert bytes(data[128:132]) == b"DICM"
    np.testing.assert_array_equal(decode(bytes(data)).pixels, np.asarray(PICTURE))
