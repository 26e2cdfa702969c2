"""Use items in memory, or the rows of an array, as a data source."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from indexes.errors import InputError
from indexes.records import Item, Skip, Source

__all__ = ["ArrayShard", "ItemShard", "source_of_array"]

_ROWS = 8192  # rows per shard


@dataclass(frozen=True, slots=True, eq=False)
class ArrayShard:
    """A shard of consecutive rows of an array; an item's id is its row number."""

    vectors: np.ndarray  # (n, d) float32
    first: int

    @property
    def name(self) -> str:
        return f"rows-{self.first:012d}"

    def identity(self) -> str:
        return hashlib.blake2b(np.ascontiguousarray(self.vectors).tobytes(), digest_size=16).hexdigest()

    def read(self) -> Iterator[Item | Skip]:
        for number, row in enumerate(self.vectors, start=self.first):
            if np.isfinite(row).all():
                yield Item(f"row#{number}", row)
            else:
                yield Skip(f"row#{number}", "not finite", was_read=True)


@dataclass(frozen=True, slots=True)
class ItemShard:
    """A shard of items that are already in memory."""

    name: str
    items: tuple[Item, ...]

    def identity(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for item in self.items:
            digest.update(item.data.encode() if isinstance(item.data, str) else bytes(memoryview(item.data).cast("B")))
        return digest.hexdigest()

    def read(self) -> Iterator[Item | Skip]:
        yield from self.items


def source_of_array(vectors: np.ndarray) -> Source:
    """A source whose items are the rows of an array (n, d); raises InputError for any other shape."""
    if vectors.ndim != 2 or len(vectors) == 0:
        raise InputError(f"got an array of shape {vectors.shape}, expected vectors (n ≥ 1, d)")
    if vectors.dtype.kind not in "fiub":
        raise InputError(f"got an array of {vectors.dtype}, expected real numbers")
    with np.errstate(over="ignore"):  # values beyond float32 become infinite, and the row is then skipped
        rows = np.ma.filled(np.ma.asarray(vectors, dtype=np.float32), np.nan)  # masked values become NaN
    shards = tuple(ArrayShard(rows[i : i + _ROWS], i) for i in range(0, len(rows), _ROWS))
    return Source(f"array of shape {rows.shape}", "vector", shards)
