"""Data types that the modules of a loop exchange: form of the items (space), real distribution, and samples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from indexes.errors import InputError

__all__ = ["Samples", "Space", "Truth", "concatenate"]


@dataclass(frozen=True, slots=True)
class Space:
    """The form of the items: each item is a row of `width` numbers (pixels if `image` is set) or `width` tokens."""

    width: int
    image: tuple[int, int, int] | None = None  # channels, height, width of an image; their product is `width`
    bounds: tuple[float, float] | None = None  # least and largest possible value of an image
    vocabulary: int = 0  # number of distinct tokens; 0: the items are real-valued
    classes: int = 0  # number of distinct labels; 0: the items have none


@dataclass(frozen=True, slots=True)
class Truth:
    """Known properties of the real distribution: exact for a formula, computed from all items for finite data."""

    mean: np.ndarray  # (d,) mean of the embedded vectors
    covariance: np.ndarray  # (d, d), of d real columns; unbiased for data
    probabilities: np.ndarray | None = None  # (vocabulary,) probability of each token
    coefficients: np.ndarray | None = None  # (width − 1,) of a linear regression; the last column is the response


@dataclass(frozen=True, slots=True)
class Samples:
    """Items of one chain, with values (n, width), or of several chains, with values (chains, n, width).

    Token values are int64, and all other values are float32 or float64. Labels are int64 with the shape of the values
    without the last axis, or None if the items have no labels.
    """

    values: np.ndarray
    labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.values.ndim not in (2, 3):
            raise InputError(f"got values of shape {self.values.shape}, expected (n, width) or (chains, n, width)")
        if self.labels is not None and self.labels.shape != self.values.shape[:-1]:
            raise InputError(
                f"got labels of shape {self.labels.shape}, expected shape {self.values.shape[:-1]} as in the values"
            )

    @property
    def n(self) -> int:
        """Number of items per chain."""
        return self.values.shape[-2]

    def take(self, rows: np.ndarray | slice) -> "Samples":
        """The items at row numbers `rows`, with the same rows in every chain."""
        return Samples(self.values[..., rows, :], None if self.labels is None else self.labels[..., rows])

    def pick(self, rows: np.ndarray) -> "Samples":
        """The items at row numbers `rows` (chains, m), with separate rows for each chain."""
        labels = None if self.labels is None else np.take_along_axis(self.labels, rows, axis=1)
        return Samples(np.take_along_axis(self.values, rows[:, :, None], axis=1), labels)

    def chain(self, index: int) -> "Samples":
        """The samples of one chain."""
        return Samples(self.values[index], None if self.labels is None else self.labels[index])


def concatenate(parts: Sequence[Samples], *, axis: int = -2) -> Samples:
    """Join samples along the items, or along the chains with `axis` 0; the result has labels only if all parts do."""
    values = np.concatenate([part.values for part in parts], axis=axis)
    labels = [part.labels for part in parts if part.labels is not None]
    if len(labels) < len(parts):
        return Samples(values)
    return Samples(values, np.concatenate(labels, axis=0 if axis == 0 else -1))
