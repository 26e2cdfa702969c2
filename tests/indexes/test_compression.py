"""What an image's bytes and pixels tell of how it was stored and resized."""

import io

import numpy as np
import pytest
from PIL import Image

from indexes.compression import compression_of, detail_of, jpeg_storage, stored_as
from indexes.images import decode


def picture(rng, side=64):
    """Noise with a falling spectrum, as photographs have."""
    white = rng.normal(size=(side, side, 3))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))[..., None]
    values = np.fft.ifft2(np.fft.fft2(white, axes=(0, 1)) / np.maximum(frequency, 1 / side) ** 0.8, axes=(0, 1)).real
    return np.clip(128 + 40 * values / values.std(), 0, 255).astype(np.uint8)


def stored(pixels, form, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("quality", [15, 35, 55, 75, 85, 92])
@pytest.mark.parametrize(("sampling", "name"), [(0, "4:4:4"), (2, "4:2:0")])
def test_the_quality_and_sampling_of_a_jpeg_are_those_it_was_written_with(quality, sampling, name, rng):
    found = decode(stored(picture(rng), "JPEG", quality=quality, subsampling=sampling)).compression
    low, high = (int(end) for end in found.split()[1].split("–"))
    assert low <= quality <= high
    assert found.endswith(name)


def test_a_jpeg_of_one_channel_says_so(rng):
    assert "grey" in decode(stored(picture(rng)[:, :, 0], "JPEG", quality=80)).compression


@pytest.mark.parametrize(
    ("form", "options", "expected"),
    [
        ("PNG", {}, "lossless"),
        ("BMP", {}, "lossless"),
        ("WEBP", {"lossless": True}, "webp lossless"),
        ("WEBP", {"quality": 80}, "webp lossy"),
    ],
)
def test_other_formats_are_lossy_or_lossless(form, options, expected, rng):
    assert decode(stored(picture(rng), form, **options)).compression == expected


def test_an_image_without_tables_is_a_plain_jpeg():
    image = Image.new("RGB", (8, 8))
    image.format = "JPEG"
    assert compression_of(image, b"") == "jpeg"


def level(pixels):
    return int(detail_of(pixels).removeprefix("2^"))


def test_an_enlarged_image_has_less_detail_than_one_of_its_own_size(rng):
    small = Image.fromarray(picture(rng, 64))
    enlarged = np.asarray(small.resize((128, 128), Image.Resampling.BICUBIC))
    assert level(enlarged) <= level(picture(rng, 128)) - 2


def test_white_noise_has_as_much_detail_as_its_next_finer(rng):
    noise = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    assert level(noise) in (-1, 0)


@pytest.mark.parametrize("shape", [(1, 1), (4, 9), (40, 40)])
def test_flat_or_tiny_images_have_none(shape):
    assert detail_of(np.full((*shape, 3), 7, dtype=np.uint8)) == "no detail"


@pytest.mark.parametrize(("quality", "sampling"), [(60, 2), (90, 0)])
def test_an_image_stored_as_a_jpeg_was_has_its_bytes(quality, sampling, rng):
    pixels = picture(rng)
    example = jpeg_storage(stored(picture(rng), "JPEG", quality=quality, subsampling=sampling))
    assert stored_as(pixels, example) == stored(pixels, "JPEG", quality=quality, subsampling=sampling)


def test_a_grey_jpeg_is_followed_in_grey(rng):
    example = jpeg_storage(stored(picture(rng)[:, :, 0], "JPEG", quality=70))
    assert "grey" in decode(stored_as(picture(rng), example)).compression


@pytest.mark.parametrize("data", [b"", b"no image", stored(np.zeros((8, 8, 3), np.uint8), "PNG")])
def test_other_bytes_tell_of_no_jpeg(data):
    assert jpeg_storage(data) is None
