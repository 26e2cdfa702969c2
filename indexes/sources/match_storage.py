"""Re-encode lossless images with another source's JPEG settings, so that the file format does not reveal the origin."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from indexes.compression import JpegStorage, jpeg_storage, stored_as
from indexes.hashing import sample_keys
from indexes.images import decode
from indexes.records import Item, Shard, Skip, Source, Unusable

__all__ = ["StoredAlike", "storages_of", "stored_alike"]

_EXAMPLES = 500  # images whose storage is looked at


def storages_of(sources: Sequence[Source]) -> tuple[JpegStorage, ...]:
    """How the first images of some sources are stored, as far as they are JPEGs."""
    items = (item for source in sources for shard in source.shards for item in shard.read() if isinstance(item, Item))
    found = (jpeg_storage(item.data) for item in islice(items, _EXAMPLES) if isinstance(item.data, bytes))
    return tuple(storage for storage in found if storage is not None)


@dataclass(frozen=True, slots=True)
class StoredAlike:
    """A shard whose lossless images are stored as one of some JPEGs, chosen by a hash of the id."""

    shard: Shard
    storages: tuple[JpegStorage, ...]
    seed: int

    @property
    def name(self) -> str:
        return self.shard.name

    def identity(self) -> str:
        return self.shard.identity()

    def read(self) -> Iterator[Item | Skip]:
        for found in self.shard.read():
            if isinstance(found, Item) and isinstance(found.data, bytes):
                found = self._stored(found, found.data)
            yield found

    def _stored(self, item: Item, data: bytes) -> Item:
        try:
            picture = decode(data)
        except Unusable:  # left to whoever counts the reasons
            return item
        if "lossless" not in picture.compression:
            return item
        chosen = int(sample_keys([item.id], seed=self.seed)[0] % np.uint64(len(self.storages)))
        return replace(item, data=stored_as(picture.pixels, self.storages[chosen]))


def stored_alike(source: Source, storages: tuple[JpegStorage, ...], *, seed: int) -> Source:
    """The source with its lossless images stored that way; itself where there is no JPEG to follow."""
    if source.kind != "image" or not storages:
        return source
    return replace(source, shards=tuple(StoredAlike(shard, storages, seed) for shard in source.shards))
