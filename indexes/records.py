"""The records that cross package borders: items, shards, sources, embeddings, neighbours."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from indexes.errors import InputError

__all__ = ["Embeddings", "Item", "Kind", "Neighbours", "Shard", "Skip", "Source", "Unusable", "count_reasons"]

Kind = Literal["image", "text", "vector"]


class Unusable(Exception):
    """One item cannot be used; its text is the short, countable reason. Never leaves the encoding loop."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item to audit, as stored in its source."""

    id: str  # stable, relative to the source: "cats/a.jpg", "00003.tar/000030001.jpg", "part.parquet#17"
    data: bytes | str | np.ndarray  # an encoded image, a text, or a vector (d,)


@dataclass(frozen=True, slots=True)
class Skip:
    """Something in a source that was not used, the reason to count it under, and how many items it represents."""

    path: str
    reason: str
    items: int | None = field(default=1, compare=False)  # 0: holds no items; None: unknown, estimated from `bytes`
    bytes: int | None = field(default=0, compare=False)  # stored bytes that were not examined; None: unknown
    is_plain: bool = field(default=False, compare=False)  # `bytes` are stored uncompressed; else they may be compressed
    was_read: bool = field(default=False, compare=False)  # one item, which was read and cannot be used
    entries: int = field(default=1, compare=False)  # number of equal skips in a run that this one represents


def count_reasons(skips: Iterable[Skip]) -> dict[str, int]:
    """The number of skipped entries for each reason, sorted by reason."""
    counts: Counter[str] = Counter()
    for skip in skips:
        counts[skip.reason] += skip.entries
    return dict(sorted(counts.items()))


class Shard(Protocol):
    """A part of a source that is read, encoded and marked as one piece; picklable."""

    @property
    def name(self) -> str:
        """Unique in its source and independent of the source's absolute location."""

    def identity(self) -> str:
        """Hex digest of the content: equal for equal content, whatever the path or time stamps."""

    def read(self) -> Iterator[Item | Skip]:
        """Yield every item or skip in a fixed order; never raises for damaged content."""


@dataclass(frozen=True, slots=True)
class Source:
    """A data set to read: its shards in canonical order."""

    spec: str
    kind: Kind
    shards: tuple[Shard, ...]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors with the ids they belong to and the fingerprint of the encoder that made them."""

    vectors: np.ndarray  # (n, d) float32, rows not normalised
    ids: tuple[str, ...]
    encoder: str  # name, weights digest, preprocessing version

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.ids) != len(self.vectors):
            raise InputError(
                f"got {len(self.ids)} ids for vectors of shape {self.vectors.shape}, expected one id per row"
            )
        if self.vectors.dtype != np.float32:
            raise InputError(f"got {self.vectors.dtype} vectors, expected float32: convert them first")


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The k nearest rows of a database for each query, nearest first."""

    distances: np.ndarray  # (n, k) float32, squared Euclidean
    indices: np.ndarray  # (n, k) int64

    def __post_init__(self) -> None:
        if self.distances.shape != self.indices.shape or self.distances.ndim != 2:
            raise InputError(f"distances {self.distances.shape} and indices {self.indices.shape} must agree")
