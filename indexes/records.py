"""Record types that all packages share: items, skips, shards, sources, embeddings and neighbours."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from indexes.errors import InputError

__all__ = ["Embeddings", "Item", "Kind", "Neighbours", "Shard", "Skip", "Source", "Unusable", "count_reasons"]

Kind = Literal["image", "text", "vector"]


class Unusable(Exception):
    """One item cannot be used; the error text is a short skip reason. The encoding loop catches every `Unusable`."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item to audit, as stored in its source."""

    id: str  # stable, relative to the source: "cats/a.jpg", "00003.tar/000030001.jpg", "part.parquet#17"
    data: bytes | str | np.ndarray  # an encoded image, a text, or a vector (d,)


@dataclass(frozen=True, slots=True)
class Skip:
    """A part of a source that was not used, with the reason and the number of items that the part represents."""

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
    """A part of a source that is read, encoded and marked as complete as one unit; shards can be pickled."""

    @property
    def name(self) -> str:
        """The shard's name, unique in its source and independent of the source's absolute location."""

    def identity(self) -> str:
        """Hex digest of the shard's content; equal content gives an equal digest, whatever its path and time stamps."""

    def read(self) -> Iterator[Item | Skip]:
        """Yield every item or skip of the shard in a fixed order; damaged content never raises an error."""


@dataclass(frozen=True, slots=True)
class Source:
    """A data set to read: its shards in canonical order."""

    spec: str
    kind: Kind
    shards: tuple[Shard, ...]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors, the id of each vector's item, and the fingerprint of the encoder that computed the vectors."""

    vectors: np.ndarray  # (n, d) float32, rows not normalised
    ids: tuple[str, ...]
    encoder: str  # name, weights digest, preprocessing version

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.ids) != len(self.vectors):
            raise InputError(
                f"got {len(self.ids)} ids for vectors of shape {self.vectors.shape}, expected one id per row"
            )
        if self.vectors.dtype != np.float32:
            raise InputError(f"got {self.vectors.dtype} vectors, expected float32 vectors: convert the vectors first")


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The k nearest rows of a database for each query, nearest first."""

    distances: np.ndarray  # (n, k) float32, squared Euclidean
    indices: np.ndarray  # (n, k) int64

    def __post_init__(self) -> None:
        if self.distances.shape != self.indices.shape or self.distances.ndim != 2:
            raise InputError(
                f"got distances {self.distances.shape} and indices {self.indices.shape}, expected equal shapes (n, k)"
            )
