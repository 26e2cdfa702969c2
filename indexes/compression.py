"""Detect how an image was compressed and resized, from its bytes and pixels, regardless of what the image shows."""

import io
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from PIL import Image, JpegImagePlugin

from indexes.image_files import readings
from indexes.image_files.webp import is_lossless
from indexes.pillow_warnings import quiet
from indexes.records import Unusable

__all__ = ["JpegStorage", "compression_of", "detail_of", "jpeg_storage", "stored_as"]

# Luminance table of ITU-T T.81, annex K, in zigzag-free row order; libjpeg scales it by the quality.
_LUMINANCE = np.array([
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
])  # fmt: skip
_SAMPLING = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
_STEP = 10  # width of one class of JPEG quality
_LOOKED_AT = 512  # pixels; side of the central crop that is measured: enough for a mean, cheap for any image
_FLAT = 1e-3  # mean squared difference, in grey levels, under which an image has no detail


@dataclass(frozen=True, slots=True)
class JpegStorage:
    """The compression settings of a JPEG; two images with the same settings cannot be told apart by compression."""

    tables: tuple[tuple[int, ...], ...]  # quantisation, 64 steps each
    sampling: int  # chroma subsampling as Pillow numbers it; -1 for an image with one channel


def jpeg_storage(data: bytes) -> JpegStorage | None:
    """The compression settings of a JPEG file; None if the bytes are not a readable JPEG."""
    if not data.startswith(b"\xff\xd8"):
        return None
    with quiet(), suppress(Unusable):
        for bare in readings(data):
            with suppress(Exception):  # Pillow raises nearly anything on a damaged JPEG
                return _storage(bare.data)
    return None


def _storage(data: bytes) -> JpegStorage | None:
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        tables = getattr(image, "quantization", {})
        found = tuple(tuple(tables[key]) for key in sorted(tables))
        storage = JpegStorage(found, JpegImagePlugin.get_sampling(image)) if found else None
        image.draft(None, (1, 1))
        image.load()  # decodes at an eighth of the size: raises if the tables do not belong to decodable pixels
        return storage


def stored_as(pixels: np.ndarray, storage: JpegStorage) -> bytes:
    """The pixels (h, w, 3) uint8 encoded as a JPEG file with the given compression settings."""
    image, buffer = Image.fromarray(pixels), io.BytesIO()
    if storage.sampling < 0 and len(storage.tables) == 1:
        image = image.convert("L")
    sampling = storage.sampling if storage.sampling in _SAMPLING else 0
    image.save(buffer, "JPEG", qtables=[list(table) for table in storage.tables], subsampling=sampling)
    return buffer.getvalue()


def compression_of(image: Image.Image, data: bytes) -> str:
    """The compression class of an opened image, such as `jpeg 80–89 4:2:0`, `webp lossy` or `lossless`."""
    if image.format in ("JPEG", "MPO"):
        tables = getattr(image, "quantization", {})
        sampling = _SAMPLING.get(JpegImagePlugin.get_sampling(image), "grey or other")
        return f"jpeg {_quality_class(tables[min(tables)])} {sampling}" if tables else "jpeg"
    if image.format == "WEBP":
        return "webp lossless" if is_lossless(data) else "webp lossy"
    return "lossy" if image.format in ("AVIF", "JPEG2000") else "lossless"


def _quality_class(table: list[int]) -> str:
    """JPEG quality class of a luminance table; libjpeg scales it for quality q by 5000/q % (q < 50) or 200 − 2q %."""
    scale = 100 * float(np.sum(table)) / float(_LUMINANCE.sum())
    quality = 5000 / scale if scale > 100 else (200 - scale) / 2
    level = _STEP * min(int(max(quality, 1) // _STEP), 100 // _STEP - 1)
    return f"{level}–{level + _STEP - 1}"


def detail_of(pixels: np.ndarray) -> str:
    """Detail class of an image (h, w, 3) uint8: a power of two such as `2^-3`, lower for upscaled or blurred images.

    The detail class is the ratio of mean squared second differences of pixel values at steps of 1 and 2 pixels, rounded
    down to a power of two. The ratio of second differences is about 1 for white noise, and 2⁻⁴ for an image that
    interpolation doubled in size without adding detail.
    """
    top, left = (max(0, side - _LOOKED_AT) // 2 for side in pixels.shape[:2])
    grey = pixels[top : top + _LOOKED_AT, left : left + _LOOKED_AT, 1].astype(np.int16)
    fine, coarse = _roughness(grey, 1), _roughness(grey, 2)
    if coarse < _FLAT or min(grey.shape) < 5:
        return "no detail"
    return f"2^{int(np.clip(np.floor(np.log2(max(fine, 1e-9) / coarse)), -8, 3))}"


def _roughness(grey: np.ndarray, step: int) -> float:
    """Mean squared second difference of grey levels along rows and columns, at a step of `step` pixels."""
    total, count = 0.0, 0
    for lines in (grey, grey.T):
        second = lines[2 * step :] - 2 * lines[step:-step] + lines[: -2 * step]
        total += float(np.square(second, dtype=np.int32).sum(dtype=np.int64))
        count += second.size
    return total / max(count, 1)
