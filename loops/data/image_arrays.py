"""Read `.npz` files with an array `images` (or `arr_0`), n × height × width [× channels], and optional `labels`."""

import zipfile
from pathlib import Path

import numpy as np

from indexes.errors import InputError
from loops.samples import Space

__all__ = ["read_image_array"]


def read_image_array(path: str) -> tuple[np.ndarray, np.ndarray | None, Space] | None:
    """Flattened images (n, pixels) float32, labels (n,) or None, and the items' form; None if there are no images.

    The bounds of pixel values are 0 and 255 for uint8 images, 0 and 65,535 for uint16 images, and for other types the
    smallest and largest pixel value in the file. Pickled objects are never loaded. Raises InputError for an unreadable
    file, invalid images, or labels that do not match the images.
    """
    if not path.endswith(".npz") or not Path(path).is_file():
        return None
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            name = next((key for key in ("images", "arr_0") if key in stored.files), None)
            images = None if name is None else stored[name]
            labels = stored["labels"] if "labels" in stored.files else None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} cannot be read ({error}): expected arrays saved by numpy.savez") from None
    if images is None or images.ndim not in (3, 4):
        return None
    if images.size == 0 or (np.issubdtype(images.dtype, np.floating) and not np.isfinite(images).all()):
        raise InputError(f"{path} holds images of shape {images.shape}, expected at least one image and finite values")
    if not (np.issubdtype(images.dtype, np.integer) or np.issubdtype(images.dtype, np.floating)):
        raise InputError(f"{path} holds images of type {images.dtype}, expected numbers")
    images = images.transpose(0, 3, 1, 2) if images.ndim == 4 else images[:, None]
    depth = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}.get(images.dtype)
    bounds = (float(images.min()), float(images.max())) if depth is None else (0.0, depth)
    if bounds[0] == bounds[1]:
        raise InputError(
            f"{path} holds images of only one value, {bounds[0]:g}: expected at least two different pixel values"
        )
    values = np.ascontiguousarray(images.reshape(len(images), -1), dtype=np.float32)
    classes = 0
    if labels is not None:
        if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
            raise InputError(
                f"{path} holds labels of shape {labels.shape}, expected {len(images)} integers ≥ 0, one per image"
            )
        names, labels = np.unique(labels, return_inverse=True)
        labels, classes = labels.astype(np.int64), len(names)
    return values, labels, Space(values.shape[1], image=images.shape[1:], bounds=bounds, classes=classes)
