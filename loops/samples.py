"""Records that the modules of a loop exchange: the space of the items, the real distribution, and samples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from indexes.errors import InputError

__all__ = ["Samples", "Space", "Truth", "concatenate"]


@dataclass(frozen=True, slots=True)
class Space:
    """The form of the items: rows of `width` numbers, which `image` may arrange as an image, or of `width` tokens."""

    width: int
    image: tuple[int, int, int] | None = None  # channels, height, width of an image; their product is `width`
    bounds: tuple[float, float] | None = None  # least and largest possible value of an image
    vocabulary: int = 0  # number of distinct tokens; 0: the items are real-valued
    classes: int = 0  # number of distinct labels; 0: the items have none


@dataclass(frozen=True, slots=True)
class Truth:
    """Known properties of the real distribution: exact for a formula, of the whole set for data."""

    mean: np.ndarray  # (d,) mean of the embedded vectors
    covariance: np.ndarray  # (d, d), of d real columns; unbiased for data
    probabilities: np.ndarray | None = None  # (vocabulary,) probability of each token
    coefficients: np.ndarray | None = None  # (width − 1,) of a linear regression; the last column is the response


@dataclass(frozen=True, slots=True)
class Samples:
    """Items of one chain, values (n, width), or of many chains side by side, values (chains, n, width).

    Values are float32 or float64, or int64 if the items are tokens. Labels, int64 and without the last axis, are None
    if the items have no labels.
    """

    values: np.ndarray
    labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.values.ndim not in (2, 3):
            raise InputError(f"got values of shape {self.values.shape}, expected (n, width) or (chains, n, width)")
        if self.labels is not None and self.labels.shape != self.values.shape[:-1]:
            raise InputError(f"got labels of shape {self.labels.shape} for values of shape {self.values.shape}")

    @property
    def n(self) -> int:
        """Number of items per chain."""
        return self.values.shape[-2]

    def take(self, rows: np.ndarray | slice) -> "Samples":
        """The items at `rows`, the same in every chain."""
        return Samples(self.values[..., rows, :], None if self.labels is None else self.labels[..., rows])

    def pick(self, rows: np.ndarray) -> "Samples":
        """The items at `rows` (chains, m), which may differ between chains."""
        labels = None if self.labels is None else np.take_along_axis(self.labels, rows, axis=1)
        return Samples(np.take_along_axis(self.values, rows[:, :, None], axis=1), labels)

    def chain(self, index: int) -> "Samples":
        """One chain of many."""
        return Samples(self.values[index], None if self.labels is None else self.labels[index])


def concatenate(parts: Sequence[Samples], *, axis: int = -2) -> Samples:
    """Parts one after the other, or as chains with `axis` 0; the result has labels only if every part has labels."""
    values = np.concatenate([part.values for part in parts], axis=axis)
    labels = [part.labels for part in parts if part.labels is not None]
    if len(labels) < len(parts):
        return Samples(values)
    return Samples(values, np.concatenate(labels, axis=0 if axis == 0 else -1))
