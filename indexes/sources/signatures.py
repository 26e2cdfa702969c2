"""Detect the format of a file by its first bytes, because names of scraped files are often wrong or missing."""

import re

__all__ = ["ARCHIVES", "HEAD_BYTES", "IMAGES", "OTHER_IMAGES", "TABLES", "content_of"]

HEAD_BYTES = 512  # number of bytes that `content_of` examines
IMAGES = frozenset({"avif", "bmp", "gif", "ico", "jpeg", "jpeg2000", "png", "pnm", "tiff", "webp"})  # can be decoded
OTHER_IMAGES = frozenset({"heic", "jpeg xl", "openexr", "photoshop", "svg"})  # known, but cannot be decoded here
ARCHIVES = frozenset({"7z", "bzip2", "gzip", "lz4", "rar", "tar", "xz", "zip", "zstandard"})
TABLES = frozenset({"arrow", "avro", "hdf5", "npy", "orc", "parquet", "sqlite"})

_SIGNATURES = (
    (b"\xff\xd8\xff", "jpeg"), (b"\x89PNG\r\n\x1a\n", "png"), (b"GIF87a", "gif"), (b"GIF89a", "gif"),
    (b"II*\x00", "tiff"), (b"MM\x00*", "tiff"), (b"II+\x00", "tiff"), (b"MM\x00+", "tiff"),
    (b"\x00\x00\x00\x0cjP  ", "jpeg2000"), (b"\xff\x4f\xff\x51", "jpeg2000"),
    (b"\xff\x0a", "jpeg xl"), (b"\x00\x00\x00\x0cJXL ", "jpeg xl"), (b"8BPS", "photoshop"),
    (b"\x76\x2f\x31\x01", "openexr"),
    (b"PK\x03\x04", "zip"), (b"PK\x05\x06", "zip"), (b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstandard"), (b"7z\xbc\xaf\x27\x1c", "7z"), (b"Rar!\x1a\x07", "rar"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"PAR1", "parquet"), (b"ARROW1", "arrow"), (b"\xff\xff\xff\xff", "arrow"), (b"\x93NUMPY", "npy"),
    (b"\x89HDF\r\n\x1a\n", "hdf5"), (b"SQLite format 3\x00", "sqlite"), (b"Obj\x01", "avro"), (b"ORC", "orc"),
    (b"%PDF-", "pdf"), (b"\x1aE\xdf\xa3", "video"), (b"ID3", "audio"), (b"OggS", "audio"), (b"fLaC", "audio"),
)  # fmt: skip
_BRANDS = {b"avif": "avif", b"avis": "avif", b"heic": "heic", b"heix": "heic", b"hevc": "heic", b"mif1": "heic"}
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # bytes
_PNM = re.compile(rb"P[1-7][\s#]")
_SVG = re.compile(rb"\s*(<\?xml[^>]*>\s*|<!--.*?-->\s*)*<(svg|!DOCTYPE svg)[\s>]", re.DOTALL)
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def content_of(head: bytes) -> str:
    """The format of a file by its first `HEAD_BYTES`: a name in this module's sets, "text", "empty", or "unknown".

    Other possible formats are "pdf", "video" and "audio".
    """
    if not head:
        return "empty"
    for magic, name in _SIGNATURES:
        if head.startswith(magic) and not (_is_printable(magic) and _of_text(head) == "text"):
            return name
    if head[:4] == b"RIFF":
        return {b"WEBP": "webp", b"AVI ": "video", b"WAVE": "audio"}.get(head[8:12], "unknown")
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    if head[257:262] == b"ustar":
        return "tar"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "bmp"
    if head[:4] == b"\x00\x00\x01\x00" and 0 < int.from_bytes(head[4:6], "little") < 256:  # number of icons
        return "ico"
    if _PNM.match(head):
        return "pnm"
    return _of_text(head)


def _is_printable(magic: bytes) -> bool:
    """Whether a plain text could also start with this signature, such as `ORC`; False for the signature of PDF."""
    return magic != b"%PDF-" and all(32 <= byte < 127 for byte in magic)


def _of_brands(head: bytes) -> str:
    """The format of an ISO base media file, by its major brand, then by its compatible brands."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[i : i + 4] for i in range(16, end - 3, 4))]
    found = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
    if "avif" in found:
        return "avif"
    return found[0] if found else "video"


def _of_text(head: bytes) -> str:
    if _SVG.match(head.removeprefix(b"\xef\xbb\xbf")):
        return "svg"
    if head.startswith(_BYTE_ORDER_MARKS):
        return "text"
    try:
        head[:-4].decode()  # the cut may fall inside a character
    except UnicodeDecodeError as error:
        if error.start < len(head) - 8:
            return "unknown"
    control = sum(byte < 32 and byte not in (9, 10, 12, 13, 27) for byte in head)
    return "unknown" if control else "text"
