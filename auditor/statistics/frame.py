"""A frame of reference for vectors: an origin and a unit, so that no result depends on offset or scale."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Frame", "frame_of"]


@dataclass(frozen=True)
class Frame:
    """Coordinates relative to an origin, in units of a scale."""

    origin: np.ndarray  # (d,) float64
    scale: float

    def place(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors (n, d) minus the origin and divided by the scale, float64."""
        return np.asarray((vectors - self.origin) / self.scale)


def frame_of(vectors: np.ndarray) -> Frame:
    """Frame with its origin near the mean of vectors (n, d), and their root mean squared distance from it as scale.

    The scale is rounded to a power of two, and the origin to a multiple of the scale. Equal distances between vectors
    of few digits, such as integers, then remain equal. The scale is 1 if all vectors are equal.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    mean = rows.mean(0)
    largest = np.abs(rows - mean).max(initial=0.0)
    if not 0 < largest < np.inf:
        return Frame(mean, 1.0)
    spread = largest * np.sqrt((((rows - mean) / largest) ** 2).sum(1).mean())  # squares of tiny numbers vanish
    scale = float(2.0 ** np.round(np.log2(spread)))
    return Frame(np.round(mean / scale) * scale, scale)
