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

_EXAMPLES = 500  # images whose storage is examined


def storages_of(sources: Sequence[Source]) -> tuple[JpegStorage, ...]:
    """The JPEG settings of the first 500 images of the sources; images that are not JPEGs are left out."""
    items = (item for source in sources for shard in source.shards for item in shard.read() if isinstance(item, Item))
    found = (jpeg_storage(item.data) for item in islice(items, _EXAMPLES) if isinstance(item.data, bytes))
    return tuple(storage for storage in found if storage is not None)


@dataclass(frozen=True, slots=True)
class StoredAlike:
    """A shard with lossless images re-encoded as JPEG, with settings chosen from `storages` by a hash of the id."""

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
        except Unusable:  # the encoding loop counts the reason
            return item
        if "lossless" not in picture.compression:
            return item
        chosen = int(sample_keys([item.id], seed=self.seed)[0] % np.uint64(len(self.storages)))
        return replace(item, data=stored_as(picture.pixels, self.storages[chosen]))


def stored_alike(source: Source, storages: tuple[JpegStorage, ...], *, seed: int) -> Source:
    """The source with lossless images re-encoded as JPEG; returned unchanged without `storages` or images."""
    if source.kind != "image" or not storages:
        return source
    return replace(source, shards=tuple(StoredAlike(shard, storages, seed) for shard in source.shards))
