from pathlib import Path

import numpy as np
import pytest

from indexes.errors import InputError
from loops.data.image_arrays import read_image_array
from loops.samples import Space


def saved(folder: Path, **arrays: np.ndarray) -> str:
    np.savez(folder / "images.npz", **arrays)
    return str(folder / "images.npz")


def test_grey_images_keep_their_layout_values_and_labels(tmp_path: Path, rng: np.random.Generator) -> None:
    images = rng.integers(0, 256, (7, 4, 5), dtype=np.uint8)
    labels = np.array([0, 1, 2, 0, 1, 2, 0])
    found = read_image_array(saved(tmp_path, images=images, labels=labels))
    assert found is not None
    np.testing.assert_array_equal(found[0].reshape(7, 4, 5), images)
    np.testing.assert_array_equal(found[1], labels)
    assert found[2] == Space(20, image=(1, 4, 5), bounds=(0.0, 255.0), classes=3)


def test_channels_come_first(tmp_path: Path, rng: np.random.Generator) -> None:
    images = rng.random((3, 4, 5, 2))
    found = read_image_array(saved(tmp_path, arr_0=images))
    assert found is not None
    assert found[2].image == (2, 4, 5)
    np.testing.assert_allclose(found[0].reshape(3, 2, 4, 5)[:, 1], images[..., 1], rtol=1e-6)


def test_the_bounds_of_fractions_are_their_extremes(tmp_path: Path, rng: np.random.Generator) -> None:
    images = rng.normal(size=(3, 4, 5))
    found = read_image_array(saved(tmp_path, images=images))
    assert found is not None
    assert found[2].bounds == pytest.approx((images.min(), images.max()))


@pytest.mark.parametrize("arrays", [{"vectors": np.ones((4, 3))}, {"arr_0": np.ones((4, 3))}])
def test_arrays_that_are_no_images_are_left_to_others(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    assert read_image_array(saved(tmp_path, **arrays)) is None


def test_the_bounds_of_wide_integers_are_their_extremes(tmp_path: Path, rng: np.random.Generator) -> None:
    images = rng.integers(-3, 17, (5, 4, 4))
    found = read_image_array(saved(tmp_path, images=images))
    assert found is not None
    assert found[2].bounds == (images.min(), images.max())


def test_images_of_one_value_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one value"):
        read_image_array(saved(tmp_path, images=np.full((4, 3, 3), 2.5)))


def test_labels_with_gaps_are_numbered_without(tmp_path: Path, rng: np.random.Generator) -> None:
    labels = np.array([7, 20_000_000, 7])
    found = read_image_array(saved(tmp_path, images=rng.random((3, 2, 2)), labels=labels))
    assert found is not None
    np.testing.assert_array_equal(found[1], [0, 1, 0])
    assert found[2].classes == 2


@pytest.mark.parametrize("labels", [np.zeros(3, dtype=int), np.full(7, -1), np.zeros(7)])
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, labels: np.ndarray) -> None:
    with pytest.raises(InputError, match="labels"):
        read_image_array(saved(tmp_path, images=np.zeros((7, 2, 2)), labels=labels))


def test_pickled_images_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "images.npz"
    np.savez(path, images=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="cannot be read"):
        read_image_array(str(path))
