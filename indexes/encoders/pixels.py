"""The encoder `pixels[:SIZE]`, which uses an image's pixels at a small size, for small images and for tests."""

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from indexes.encoders.protocol import Sees
from indexes.errors import InputError
from indexes.images import CANONICAL, resize
from indexes.records import Kind

__all__ = ["Pixels", "load_pixels"]


@final
class Pixels:
    """Encodes an image as the pixel values in [0, 1] of its centre square, resized to `size` and flattened."""

    kind: Kind = "image"
    sees: Sees = "content"

    def __init__(self, size: int) -> None:
        self.size = size
        self.dim = 3 * size * size
        self.spec = f"pixels:{size}"
        self.fingerprint = f"pixels:{size}:{CANONICAL}"

    def prepare(self, data: np.ndarray) -> np.ndarray:
        return resize(data, self.size)

    def __call__(self, batch: Sequence[Any]) -> np.ndarray:
        return np.asarray(batch, dtype=np.float32).reshape(len(batch), self.dim) / 255


def load_pixels(args: str, *, device: str) -> Pixels:
    """The encoder `pixels` with SIZE (default 32 pixels), on the CPU; InputError unless SIZE is a positive integer."""
    if args and (not args.isdecimal() or int(args) == 0):
        raise InputError(f"got pixels:{args}, expected a positive integer such as pixels:32")
    return Pixels(int(args or 32))
