import io
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from indexes.images import decode, resize, shrink, thumbnail
from indexes.records import Unusable

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def encoded(image: Image.Image, name: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def pixels_of(image: Image.Image, name: str = "PNG", **options: object) -> np.ndarray:
    return decode(encoded(image, name, **options)).pixels


def reason(data: bytes) -> str:
    with pytest.raises(Unusable) as caught:
        decode(data)
    return str(caught.value)


@pytest.mark.parametrize("name", ["PNG", "BMP", "TIFF"])
def test_a_lossless_image_comes_back_as_it_was_with_its_format(name: str) -> None:
    picture = decode(encoded(Image.fromarray(PIXELS), name))
    np.testing.assert_array_equal(picture.pixels, PIXELS)
    assert picture.format == name.lower()


def test_a_jpeg_decodes_as_pillow_decodes_it() -> None:
    data = encoded(Image.fromarray(PIXELS), "JPEG", quality=90)
    np.testing.assert_array_equal(decode(data).pixels, np.asarray(Image.open(io.BytesIO(data))))


def test_a_jpeg_with_several_pictures_is_a_jpeg() -> None:
    image = Image.fromarray(PIXELS)
    data = encoded(image, "MPO", save_all=True, append_images=[image.rotate(90)])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert decode(data).format == "jpeg"


def test_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90° clockwise to look at
    np.testing.assert_array_equal(pixels_of(Image.fromarray(PIXELS), exif=exif), np.rot90(PIXELS, -1))


def test_transparency_is_flattened_on_white() -> None:
    rgba = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert (pixels_of(rgba) == 255).all()


def test_half_transparency_is_mixed_with_white() -> None:
    rgba = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    np.testing.assert_allclose(pixels_of(rgba), 127, atol=1)


def test_a_transparent_palette_colour_becomes_white() -> None:
    palette = Image.new("P", (4, 4), 3)
    palette.putpalette([7] * 768)
    assert (pixels_of(palette, transparency=3) == 255).all()


def test_only_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    pixels = pixels_of(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (pixels == (255, 0, 0)).all()


def test_sixteen_bits_are_scaled_to_eight() -> None:
    grey = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    assert pixels_of(Image.fromarray(grey))[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("full", [1.0, 255.0, 65535.0])
def test_floats_are_scaled_by_the_range_they_use(full: float) -> None:
    grey = np.array([[0, 0.2, 1]], dtype=np.float32) * np.float32(full)
    assert pixels_of(Image.fromarray(grey), "TIFF")[0, :, 0].tolist() == [0, 51, 255]


def test_floats_of_no_known_range_are_unusable() -> None:
    grey = np.array([[-3, 2]], dtype=np.float32)
    assert reason(encoded(Image.fromarray(grey), "TIFF")) == "pixel values of unknown scale"


@pytest.mark.parametrize(("mode", "name"), [("L", "PNG"), ("1", "PNG"), ("CMYK", "JPEG"), ("LA", "PNG")])
def test_every_mode_becomes_rgb(mode: str, name: str) -> None:
    pixels = pixels_of(Image.new(mode, (5, 3)), name)
    assert pixels.shape == (3, 5, 3)
    assert pixels.dtype == np.uint8


def test_no_bytes_are_an_empty_file() -> None:
    assert reason(b"") == "empty file"


def test_text_is_not_an_image() -> None:
    assert reason(b"<html>not found</html>") == "not an image"


def test_a_format_that_runs_programs_is_not_an_image() -> None:
    assert reason(encoded(Image.fromarray(PIXELS), "EPS")) == "not an image"


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP"])
def test_half_a_file_is_damaged(name: str) -> None:
    data = encoded(Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)), name)
    assert reason(data[: len(data) // 2]) == "truncated or damaged image"


@pytest.mark.parametrize("side", [9450, 20000])  # 89.3 megapixels pass Pillow's own check, 400 do not
@pytest.mark.parametrize("action", ["error", "ignore"])
def test_an_image_over_the_limit_is_refused_whatever_the_warning_filter(side: int, action: str) -> None:
    data = encoded(Image.new("1", (side, side)))
    with warnings.catch_warnings():
        warnings.simplefilter(action)  # a parametrised literal
        assert reason(data) == "image too large (over 89 megapixels)"


def test_threads_decode_what_one_thread_decodes() -> None:
    data = [encoded(Image.fromarray(np.roll(PIXELS, i)), "JPEG") for i in range(64)]
    alone = [decode(one).pixels for one in data]
    with ThreadPoolExecutor(8) as pool:
        together = [picture.pixels for picture in pool.map(decode, data)]
    np.testing.assert_array_equal(together, alone)


def test_resize_leaves_the_right_size_alone() -> None:
    square = PIXELS[:16, :16]
    assert resize(square, 16) is square


def test_resize_is_pillows_bicubic_of_the_centre_square() -> None:
    expected = Image.fromarray(PIXELS).crop((5, 0, 25, 20)).resize((7, 7), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(resize(PIXELS, 7), np.asarray(expected))


def test_shrink_keeps_a_small_image_and_the_proportions_of_a_large_one() -> None:
    assert shrink(PIXELS, 30) is PIXELS
    assert shrink(PIXELS, 15).shape == (10, 15, 3)


def test_a_thumbnail_is_a_square_jpeg() -> None:
    picture = decode(thumbnail(PIXELS, side=24))
    assert picture.format == "jpeg"
    assert picture.pixels.shape == (24, 24, 3)
