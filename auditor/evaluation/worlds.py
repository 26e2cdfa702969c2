"""Simulated sets of known diversity: ten modes in a space of any width, with a common mean like that of embeddings."""

from dataclasses import dataclass

import numpy as np

__all__ = ["MODES", "World", "world"]

MODES = 10


@dataclass(frozen=True)
class World:
    """A mixture of ten modes of equal size; distances between modes are large compared with their widths."""

    centres: np.ndarray  # (MODES, d)
    widths: np.ndarray  # (d,)
    offset: np.ndarray  # (d,)
    typical: np.ndarray  # (d,) deviation of an item from the centre of its mode

    def draw(
        self,
        n: int,
        rng: np.random.Generator,
        *,
        modes: int = MODES,
        shrink: float = 1.0,
        collapsed: float = 0.0,
        noise: float = 0.0,
    ) -> np.ndarray:
        """Draw n items (n, d) float32 from the first `modes` modes; `shrink` scales the variance around each mode.

        A share `collapsed` of the items lies close to a single point, which is the same in all draws. `noise` is the
        root mean squared length of the noise added to each item.
        """
        width = len(self.widths)
        rows = self.centres[rng.integers(0, modes, n)] + np.sqrt(shrink) * rng.normal(size=(n, width)) * self.widths
        copies = round(collapsed * n)
        if copies:
            rows[:copies] = self.centres[0] + self.typical + 0.05 * rng.normal(size=(copies, width)) * self.widths
        rows = rows + noise * rng.normal(size=(n, width)) / np.sqrt(width) + self.offset
        return np.asarray(rows[rng.permutation(n)], dtype=np.float32)


def world(width: int, rng: np.random.Generator, *, separation: float = 3.0, cosine: float = 0.0) -> World:
    """Make a random world; `cosine` is the mean cosine between two items, reached by adding a common mean."""
    centres = rng.normal(size=(MODES, width))
    centres *= separation / np.linalg.norm(centres, axis=1, keepdims=True)
    variances = 1 / np.sqrt(np.arange(1.0, width + 1))
    offset = rng.normal(size=width)
    offset *= np.sqrt((separation**2 + 1) * cosine / (1 - cosine)) / np.linalg.norm(offset)
    widths = np.sqrt(variances / variances.sum())
    return World(centres, widths, offset, rng.normal(size=width) * widths)
