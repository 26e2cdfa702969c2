import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn

from indexes.encoders import load_encoder
from indexes.encoders.forensic import ForensicEncoder, statistics_of
from indexes.errors import InputError

SHAPES = [(20, 20), (31, 47), (32, 32), (33, 90), (64, 64), (100, 70), (128, 200), (300, 257), (256, 256)]


def noise(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def encode(*images: np.ndarray) -> np.ndarray:
    encoder = ForensicEncoder()
    return encoder([encoder.prepare(image) for image in images])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fill", [None, 0, 128, 255])
def test_any_size_and_any_constant_image_gives_finite_float32_of_the_stated_width(
    shape: tuple[int, int], fill: int | None
) -> None:
    image = noise(shape) if fill is None else np.full((*shape, 3), fill, dtype=np.uint8)
    vectors = encode(image)
    assert (vectors.dtype, vectors.shape) == (np.float32, (1, ForensicEncoder().dim))
    assert np.isfinite(vectors).all()


def test_a_grey_image_in_colour_is_finite_and_has_no_saturation() -> None:
    grey = np.repeat(noise((64, 64))[:, :, :1], 3, axis=2)
    assert np.isfinite(encode(grey)).all()
    assert not np.allclose(encode(grey), encode(noise((64, 64))))


def test_equal_images_give_equal_bits() -> None:
    images = [noise(shape) for shape in SHAPES]
    np.testing.assert_array_equal(encode(*images), encode(*images))


def test_the_cut_of_a_batch_changes_nothing_beyond_rounding() -> None:
    images = [noise(shape, seed) for seed in range(3) for shape in SHAPES]
    alone = np.concatenate([encode(image) for image in images])
    np.testing.assert_allclose(encode(*images), alone, atol=1e-5)
    np.testing.assert_allclose(encode(*images[::-1])[::-1], alone, atol=1e-5)


def test_no_images_give_no_rows() -> None:
    assert encode().shape == (0, ForensicEncoder().dim)


@pytest.mark.parametrize(("shape", "side"), [((300, 257), 256), ((255, 400), 128), ((127, 64), 64), ((20, 300), 32)])
def test_the_largest_square_that_fits_is_taken_at_native_resolution(shape: tuple[int, int], side: int) -> None:
    assert ForensicEncoder().prepare(noise(shape)).shape == (side, side, 3)


def test_the_crop_lies_on_the_grid_of_jpeg_blocks() -> None:
    image = noise((300, 281))
    crop = ForensicEncoder().prepare(image)
    top, left = next(
        (y, x) for y in range(45) for x in range(26) if np.array_equal(image[y : y + 256, x : x + 256], crop)
    )
    assert (top % 8, left % 8) == (0, 0)
    assert abs(top - 22) <= 8
    assert abs(left - 12) <= 8


def test_a_flip_of_sign_of_the_residuals_changes_no_co_occurrence() -> None:
    image = noise((64, 64))
    inverted = 255 - image
    first, second = encode(image, inverted)
    np.testing.assert_allclose(first[45 : 45 + 162], second[45 : 45 + 162], atol=1e-6)  # their place in the vector


def test_the_block_transform_is_scipys_averaged_over_blocks() -> None:
    image = noise((32, 32))
    luma = image @ np.array([0.299, 0.587, 0.114])
    blocks = [luma[y : y + 8, x : x + 8] for y in range(0, 32, 8) for x in range(0, 32, 8)]
    expected = np.log(np.mean([np.abs(dctn(block, norm="ortho")) for block in blocks], axis=0) + 0.3)
    found = statistics_of(image[None])[0]
    start = next(i for i in range(len(found)) if np.isclose(found[i], expected[0, 0], atol=1e-3))
    np.testing.assert_allclose(found[start : start + 64], expected.ravel(), atol=1e-3)


def test_compression_and_upsampling_leave_larger_traces_than_another_subject() -> None:
    rng = np.random.default_rng(1)

    def soft(seed: int) -> np.ndarray:
        coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((128, 128), Image.Resampling.BICUBIC), dtype=float)
        return np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)

    def resampled(image: np.ndarray) -> np.ndarray:
        small = Image.fromarray(image).resize((64, 64), Image.Resampling.BICUBIC)
        return np.asarray(small.resize((128, 128), Image.Resampling.BICUBIC))

    plain = np.stack([soft(seed) for seed in range(12)])
    vectors, traced = encode(*plain), encode(*(resampled(image) for image in plain))
    spread = vectors.std(0) + 1e-3
    apart = np.abs((traced - vectors).mean(0)) / spread
    assert (apart > 5).mean() > 0.3
    other = encode(*(soft(seed) for seed in range(100, 112)))
    assert (np.abs(other.mean(0) - vectors.mean(0)) / spread > 5).mean() == 0


def test_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="takes no arguments"):
        load_encoder("forensic:64")
