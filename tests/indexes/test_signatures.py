import io

import pytest
from PIL import Image

from indexes.sources.signatures import HEAD_BYTES, IMAGES, content_of


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("JPEG", "jpeg"), ("PNG", "png"), ("GIF", "gif"), ("BMP", "bmp"), ("TIFF", "tiff"), ("WEBP", "webp"),
        ("AVIF", "avif"), ("JPEG2000", "jpeg2000"), ("PPM", "pnm"), ("ICO", "ico"),
    ],
)  # fmt: skip
def test_what_pillow_writes_is_recognised(form: str, expected: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(buffer, form)
    assert content_of(buffer.getvalue()[:HEAD_BYTES]) == expected
    assert expected in IMAGES


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"", "empty"), (b"a", "text"), ("grüße aus köln ".encode() * 60, "text"), (bytes(range(256)), "unknown"),
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'>", "svg"), (b"\x00" * 600, "unknown"),
        (b"\xff\xfeh\x00i\x00", "text"), (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "heic"),
        (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1avif", "avif"), (b"\x00\x00\x00\x18ftypisom\x00\x00", "video"),
        (b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "' + b"b" * 500, "svg"), (b"<!DOCTYPE html><svg>", "text"),
        (b"P2P networks", "text"), (b"BMW drives", "text"),
        (b"ORCs and elves", "text"), (b"BZh, said he", "text"),
        (b"BZh91AY&SY\x00\x01", "bzip2"), (b"ORC\x00\x08", "orc"),
    ],
)  # fmt: skip
def test_other_contents_are_told_apart(head: bytes, expected: str) -> None:
    assert content_of(head[:HEAD_BYTES]) == expected
