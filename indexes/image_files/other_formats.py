"""Recognise and name image formats that madaudit cannot decode."""

import io

from PIL import TiffImagePlugin, features

from indexes.image_files import jpeg, tiff
from indexes.image_files.directory import read_directory
from indexes.sources.signatures import HEAD_BYTES, OTHER_IMAGES, content_of

__all__ = ["unsupported_format"]

_SIGNATURES = (
    (b"FUJIFILMCCD-RAW", "camera raw"), (b"IIRO", "camera raw"), (b"IIRS", "camera raw"), (b"MMOR", "camera raw"),
    (b"IIU\0", "camera raw"), (b"FOVb", "camera raw"), (b"\0MRM", "camera raw"),
    (b"II\x1a\0\0\0HEAPCCDR", "camera raw"),
    (b"II\xbc", "jpeg xr"), (b"qoif", "qoi"), (b"DDS ", "dds"), (b"icns", "icns"), (b"gimp xcf", "xcf"),
    (b"AT&TFORM", "djvu"), (b"SIMPLE  =", "fits"), (b"#?RADIANCE", "radiance hdr"), (b"#?RGBE", "radiance hdr"),
    (b"BPG\xfb", "bpg"), (b"FLIF", "flif"), (b"\x8aMNG", "mng"), (b"\x8bJNG", "jng"), (b"P7\n", "pam"),
    (b"farbfeld", "farbfeld"), (b"KTX ", "ktx"), (b"\xabKTX ", "ktx"),
)  # fmt: skip
_BRANDS = {
    b"crx ": "camera raw", b"jxl ": "jpeg xl",
    b"hevx": "heic", b"heim": "heic", b"heis": "heic", b"hevm": "heic", b"hevs": "heic", b"msf1": "heic",
}  # fmt: skip
_CODECS = {"avif": "avif", "jpeg": "jpg", "jpeg2000": "jpg_2000", "webp": "webp"}
_CODINGS = {0xC3: "lossless jpeg", 0xF7: "jpeg-ls"}  # by the marker of the frame
_COMMON_CODINGS = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
_COMPRESSION = 259  # TIFF's tag
_NEEDED = frozenset({256, 257, 258, _COMPRESSION, 262})  # without these a TIFF is damaged


def unsupported_format(data: bytes) -> str | None:
    """The format of image bytes that could not be decoded; None if the bytes are damaged or not an image."""
    head = data[:HEAD_BYTES]
    content = content_of(head)
    if content in OTHER_IMAGES or (content in _CODECS and not features.check(_CODECS[content])):
        return content
    if content == "jpeg":
        return _jpeg(data)
    return _tiff(data) if content == "tiff" else _by_signature(head)


def _by_signature(head: bytes) -> str | None:
    for magic, name in _SIGNATURES:
        if head.startswith(magic):
            return name
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12])
    return "dicom" if head[128:132] == b"DICM" else None


def _jpeg(data: bytes) -> str | None:
    frame = jpeg.frame_of(data)
    if frame is None:
        return None
    marker, bits = frame
    if marker not in _COMMON_CODINGS:
        return _CODINGS.get(marker, "jpeg with an unsupported coding")
    return f"jpeg of {bits} bits" if bits in (12, 16) else None


def _tiff(data: bytes) -> str | None:
    directory = read_directory(memoryview(data))
    bare = tiff.stripped(data)
    if directory is None or bare is None or not directory.entries.keys() >= _NEEDED:
        return None
    if directory.number(_COMPRESSION) not in (None, *TiffImagePlugin.COMPRESSION_INFO):
        return "tiff of this compression"
    try:
        TiffImagePlugin.TiffImageFile(io.BytesIO(bare.data)).close()
    except SyntaxError as error:
        return "tiff of this pixel layout" if str(error) == "unknown pixel mode" else None
    except Exception:  # damaged bytes raise many types of error
        return None
    return None
