"""Decode images stored as text in a table or JSON line: base64, URL-safe base64 or a data URI."""

import binascii
import re
from urllib.parse import unquote_to_bytes

from indexes.records import Unusable
from indexes.sources.signatures import HEAD_BYTES, IMAGES, OTHER_IMAGES, content_of

__all__ = ["BROKEN_BASE64", "WEB_ADDRESS", "decoded_image", "holds_image", "is_data_uri", "is_web_address"]

WEB_ADDRESS = "web address, not fetched"
BROKEN_BASE64 = "broken base64"

_HEAD_CHARACTERS = 4 * (HEAD_BYTES // 3 + 8)  # characters of base64, with room for line breaks
_ADDRESS = re.compile(r"\s*([a-z][a-z0-9+.-]+:)?//[^/\s]|\s*www\.\w", re.IGNORECASE)
_DATA_URI = re.compile(r"\s*data:([^,]{0,256}),", re.IGNORECASE)
_URL_SAFE = str.maketrans("-_", "+/")
_ALPHABET = re.compile(r"[A-Za-z0-9+/]*={0,2}")


def is_web_address(value: str) -> bool:
    """Whether a text is a web address, which is never downloaded."""
    return bool(_ADDRESS.match(value)) and not value.lstrip().lower().startswith("file:")


def is_data_uri(value: str) -> bool:
    """Whether a text is a data URI (RFC 2397)."""
    return bool(_DATA_URI.match(value))


def holds_image(value: str) -> bool:
    """Whether a text begins with an image in base64, or is a data URI."""
    if is_data_uri(value):
        return True
    head = "".join(value[:_HEAD_CHARACTERS].split()).translate(_URL_SAFE).rstrip("=")
    whole = head[: len(head) // 4 * 4]
    if not _ALPHABET.fullmatch(whole):
        return False
    content = content_of(binascii.a2b_base64(whole)[:HEAD_BYTES])
    return content in IMAGES or content in OTHER_IMAGES


def decoded_image(value: str) -> bytes:
    """The image that a text encodes as base64 or as a data URI; raises `Unusable` if the bytes are not an image."""
    uri = _DATA_URI.match(value)
    if uri is not None and not uri[1].lower().replace(" ", "").endswith(";base64"):
        data = unquote_to_bytes(value[uri.end() :])
    else:
        data = _from_base64(value if uri is None else value[uri.end() :])
    content = content_of(data[:HEAD_BYTES])
    if content not in IMAGES and content not in OTHER_IMAGES:
        raise Unusable("empty file" if content == "empty" else "not an image")
    return data


def _from_base64(value: str) -> bytes:
    text = "".join((unquote_to_bytes(value).decode("latin-1") if "%" in value else value).split())
    text = text.translate(_URL_SAFE)
    if not _ALPHABET.fullmatch(text) or len(text.rstrip("=")) % 4 == 1:
        raise Unusable(BROKEN_BASE64)
    text = text.rstrip("=")
    return binascii.a2b_base64(text + "=" * (-len(text) % 4))
