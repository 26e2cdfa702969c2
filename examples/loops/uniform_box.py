"""A family of one's own, uniform in the box around the data: `--family examples/loops/uniform_box.py:UniformBox`."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from loops.models.bias import check_bias
from loops.samples import Samples, Space


@dataclass(frozen=True)
class UniformBoxModel:
    """The centre and half the sides of the box, (d,) each."""

    centre: np.ndarray
    half: np.ndarray

    def sample(self, n: int, *, bias: float, rng: np.random.Generator) -> Samples:
        """Uniform in the box shrunk to λ of its size."""
        moves = rng.uniform(-1, 1, (n, len(self.centre)))
        return Samples(self.centre + check_bias(bias) * self.half * moves)


@dataclass(frozen=True)
class UniformBox:
    """A uniform distribution on the box that the data span."""

    reads: ClassVar[str] = "vectors"
    vectorised: ClassVar[bool] = False
    conditional: ClassVar[bool] = False
    bias_means: ClassVar[str] = "the sides of the box are multiplied by λ"
    margin: float = 0.0  # by which the box is widened, as a share of its sides

    def fit(
        self, data: Samples, *, space: Space, weights: np.ndarray | None, rng: np.random.Generator
    ) -> UniformBoxModel:
        """The box of the items with a positive weight."""
        rows = data.values if weights is None else data.values[weights > 0]
        low, high = rows.min(0), rows.max(0)
        return UniformBoxModel((low + high) / 2, (1 + self.margin) * (high - low) / 2)
