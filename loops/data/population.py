"""Interfaces for the real data of a loop, and the implementation for a finite set of items."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from auditor.statistics.moments import moments_of
from indexes.errors import InputError
from indexes.search import knn
from loops.samples import Samples, Space, Truth
from loops.tokens import GridCodec, TextCodec

__all__ = ["Empirical", "Population", "Supply"]

_REFERENCE = 2000  # real items against which typicality is measured
_NEIGHBOUR = 5


class Supply(Protocol):
    """Interface of a supply of a loop's real training items, which may be contaminated."""

    @property
    def space(self) -> Space:
        """The form of the items: width, image shape, bounds, vocabulary and number of classes."""

    def draw(self, n: int, *, chains: int, fresh: bool, rng: np.random.Generator) -> Samples:
        """Draw n items for each chain; finite data are drawn with replacement if `fresh`, else without replacement."""


class Population(Supply, Protocol):
    """Interface of a supply of clean real items whose distribution has known properties."""

    @property
    def name(self) -> str:
        """The name of the data, as given by the user."""

    @property
    def skipped(self) -> Mapping[str, int]:
        """Number of items in the data source that could not be used, by reason."""

    @property
    def digest(self) -> str:
        """Digest of the data, which prevents continuing a stored loop on other data; empty for a formula."""

    @property
    def size(self) -> int | None:
        """Number of items in the data; None for a formula, which can produce any number of items."""

    @property
    def truth(self) -> Truth:
        """Moments and parameters of the real distribution."""

    @property
    def centres(self) -> np.ndarray | None:
        """Centres (modes, d) of the modes of a formula; None if no centres are known."""

    def embed(self, values: np.ndarray) -> np.ndarray:
        """Convert items (n, width) to the vectors (n, d) on which measures are computed."""

    def spell(self, values: np.ndarray) -> list[str] | None:
        """Convert items (n, width) to texts; None if the items are not texts."""

    def typicality(self, values: np.ndarray) -> np.ndarray:
        """Score (n,) of how typical each item (n, width) is of the real data; higher is more typical (no unit)."""

    def typical_floor(self, share: float, *, rng: np.random.Generator) -> float:
        """The typicality score below which a fraction `share` of the real items lies."""


@dataclass(frozen=True)
class Empirical:
    """A real distribution that is given by a finite set of items."""

    name: str
    space: Space
    values: np.ndarray  # (size, width)
    labels: np.ndarray | None = None  # (size,)
    embedding: Callable[[np.ndarray], np.ndarray] | None = None  # (n, width) → (n, d), for non-vector items
    spelling: Callable[[np.ndarray], list[str]] | None = None  # for items that are texts
    digest: str = ""  # digest of the data, so that a loop is not continued on other data
    seed: int = 0  # seed of the sample against which typicality is measured
    codec: TextCodec | GridCodec | None = None  # the codec that turned the items into tokens
    label_names: tuple[str, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)  # items of the source that could not be used, by reason

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or len(self.values) < 2 or self.values.shape[1] != self.space.width:
            raise InputError(
                f"got data of shape {self.values.shape}, expected at least 2 rows of {self.space.width} values"
            )

    @property
    def size(self) -> int:
        return len(self.values)

    @property
    def centres(self) -> None:
        return None

    @cached_property
    def truth(self) -> Truth:
        moments = moments_of(self.embed(self.values))
        probabilities = None
        if self.space.vocabulary:
            counts = np.bincount(self.values.ravel(), minlength=self.space.vocabulary)
            probabilities = counts / counts.sum()
        return Truth(moments.mean, moments.covariance, probabilities)

    def draw(self, n: int, *, chains: int, fresh: bool, rng: np.random.Generator) -> Samples:
        if not fresh and n > self.size:
            raise InputError(f"{self.name} holds {self.size} items, too few to draw {n} without replacement")
        if fresh:
            rows = rng.integers(self.size, size=(chains, n))
        else:
            rows = np.stack([rng.choice(self.size, n, replace=False) for _ in range(chains)])
        return Samples(self.values[rows], None if self.labels is None else self.labels[rows])

    def embed(self, values: np.ndarray) -> np.ndarray:
        return values if self.embedding is None else self.embedding(values)

    def spell(self, values: np.ndarray) -> list[str] | None:
        return None if self.spelling is None else self.spelling(values)

    def typicality(self, values: np.ndarray) -> np.ndarray:
        """Minus the squared distance from each item to the fifth nearest of up to 2,000 real items."""
        distances, _ = knn(_single(self.embed(values)), self._judges, min(_NEIGHBOUR, len(self._judges)))
        return -distances[:, -1].astype(np.float64)

    def typical_floor(self, share: float, *, rng: np.random.Generator) -> float:
        k = min(_NEIGHBOUR + 1, len(self._judges))  # the nearest is the item itself
        return float(np.quantile(-knn(self._judges, self._judges, k)[0][:, -1].astype(np.float64), share))

    @cached_property
    def _judges(self) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        rows = rng.choice(self.size, min(self.size, _REFERENCE), replace=False)
        return _single(self.embed(self.values[rows]))


def _single(vectors: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(vectors, dtype=np.float32)
