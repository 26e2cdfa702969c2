"""Decode and resize images in one canonical way, with version `CANONICAL`; only this module turns bytes into pixels."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from indexes.compression import compression_of
from indexes.image_files import Bare, readings
from indexes.image_files.orientation import UPRIGHT, of_exif, of_raw_profile, of_xmp, turned
from indexes.image_files.other_formats import unsupported_format
from indexes.image_files.tiff import is_camera_raw
from indexes.pillow_warnings import quiet
from indexes.records import Unusable
from indexes.sources.signatures import HEAD_BYTES, content_of

__all__ = ["CANONICAL", "Picture", "decode", "resize", "shrink", "thumbnail"]

# Part of every image encoder's fingerprint: raise the number when a change here moves a single pixel.
CANONICAL = "canonical/1"

_MEGAPIXELS = 89  # just under Pillow's own limit for a decompression bomb
_TOO_LARGE = f"image too large (over {_MEGAPIXELS} megapixels)"
_DAMAGED = "truncated or damaged image"
# A fixed list: the result must not depend on installed plugins, and no file may reach a plugin that runs programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO")
# Signatures long enough that a file with one of them is an image, so a file that fails to decode is damaged.
_SURE = frozenset({"avif", "gif", "jpeg", "jpeg2000", "png", "tiff", "webp"})
_FULL_SCALES = {"I": (65535.0,), "F": (1.0, 255.0, 65535.0)}  # for modes that do not state their full scale


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded image, its stored format and its compression."""

    pixels: np.ndarray  # (h, w, 3) uint8, read-only
    format: str  # lower-case: "jpeg", "png"
    compression: str = ""  # the text that `compression_of` returns


def decode(data: bytes) -> Picture:
    """The first frame of an image, turned upright by EXIF or XMP orientation, as 8-bit RGB on white; thread-safe.

    Damaged text metadata, colour profiles and EXIF tags never make an image unusable. Grey values with 16 bits or as
    floats are scaled to 8 bits, from the full scale of their image mode. Raises Unusable if the bytes are empty,
    damaged, not an image, or an image of an unsupported format or unknown value scale. Raises Unusable if the header
    states too many pixels, or if compressed metadata that must be searched for the orientation exceed a limit.
    """
    if not data:
        raise Unusable("empty file")
    content = content_of(data[:HEAD_BYTES])
    if content == "tiff" and is_camera_raw(data):
        raise Unusable("image format not supported (camera raw)")  # a decoder would return its preview
    reason = _DAMAGED if content in _SURE else "not an image"
    with quiet():
        for bare in readings(data):
            try:
                return _decoded(bare)
            except (Unusable, MemoryError):  # running out of memory is a fault of this machine, not of the image
                raise
            except Image.DecompressionBombError:
                raise Unusable(_TOO_LARGE) from None
            except UnidentifiedImageError:
                continue
            except Exception:  # Pillow's decoders raise nearly anything on damaged bytes
                reason = _DAMAGED
        name = unsupported_format(data)
    raise Unusable(f"image format not supported ({name})" if name else reason)


def _decoded(bare: Bare) -> Picture:
    with Image.open(io.BytesIO(bare.data), formats=_FORMATS) as image:
        if image.width * image.height > _MEGAPIXELS * 1_000_000:
            raise Unusable(_TOO_LARGE)
        name = (image.format or "").lower()
        compression = compression_of(image, bare.data)
        image.load()
        orientation = bare.orientation or _stated_by(image)
        return Picture(_rgb(turned(image, orientation)), "jpeg" if name == "mpo" else name, compression)


def _stated_by(image: Image.Image) -> int:
    """The orientation in the metadata that Pillow returns; used if madaudit itself did not parse the metadata."""
    block, profile = image.info.get("exif"), image.info.get("Raw profile type exif")
    found = of_exif(block) if isinstance(block, bytes) else None
    if block is None and isinstance(profile, str):
        found = of_raw_profile(profile.encode())
    text = image.info.get("XML:com.adobe.xmp") or image.info.get("xmp") or b""
    return found or of_xmp([text.encode() if isinstance(text, str) else text]) or UPRIGHT


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I;16") or image.mode in _FULL_SCALES:
        grey = _eight_bits(image)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def _eight_bits(image: Image.Image) -> np.ndarray:
    """Grey values (h, w) scaled to uint8: 255 is the smallest full scale of the image mode that fits all values."""
    values = np.asarray(image).astype(np.float64)
    for full in _FULL_SCALES.get(image.mode, (65535.0,)):
        if values.min() >= 0 and values.max() <= full:
            return np.rint(values * (255 / full)).astype(np.uint8)
    raise Unusable("pixel values of unknown scale")


def resize(pixels: np.ndarray, size: int) -> np.ndarray:
    """An image's centre square, resized if needed to (size, size, 3) uint8 by Pillow's antialiased bicubic filter."""
    height, width = pixels.shape[:2]
    if height == width == size:
        return pixels
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    image = Image.fromarray(pixels[top : top + side, left : left + side])
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))


def shrink(pixels: np.ndarray, side: int = 512) -> np.ndarray:
    """The whole image, reduced so that no side is longer than `side` pixels, for display and not for measurement."""
    if max(pixels.shape[:2]) <= side:
        return pixels
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.BICUBIC)
    return np.asarray(image)


def thumbnail(pixels: np.ndarray, side: int = 96) -> bytes:
    """The centre square of an image as a small JPEG file with sides of `side` pixels, for the report's gallery."""
    buffer = io.BytesIO()
    Image.fromarray(resize(pixels, side)).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
