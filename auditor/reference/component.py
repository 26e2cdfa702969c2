"""A part of a reference: the encoded items of one labelled source."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from auditor.answers import Unread
from auditor.policy import Check, Threshold
from auditor.unread import Metered, ReadCounts, check_unread, unread_of, unread_share
from indexes.encode import Batch, encode_shard
from indexes.encoders.protocol import Encoder
from indexes.errors import InputError
from indexes.records import Skip, Source, count_reasons

__all__ = ["Part", "encode_part"]


@dataclass(frozen=True, slots=True)
class Part:
    """Vectors of the items under one label, and the data needed to compare another set with these items."""

    label: str
    ids: tuple[str, ...]
    digests: np.ndarray  # (n, 16) uint8
    vectors: tuple[np.ndarray, ...]  # (n, d) float32 of each encoder
    formats: tuple[str, ...]
    compressions: tuple[str, ...]
    details: tuple[str, ...]
    shapes: np.ndarray  # (n, 2) int32
    skipped: Mapping[str, int]
    counts: ReadCounts = field(default_factory=ReadCounts)  # what the sources offered, read and unread

    def check_read(self, threshold: Threshold) -> Check:
        """Policy check of the share of items in this part that could not be read."""
        return check_unread(threshold, self.unread.share)

    @property
    def unread(self) -> Unread:
        """Counts of the items and files of this part that could not be read."""
        tried = self.counts.read - self.counts.unusable
        return unread_of(self.counts, unread_share(self.counts, tried))

    def without(self, digests: set[bytes], reason: str) -> "Part":
        """Copy of this part without the items that have these digests; removed items count as skipped for `reason`."""
        kept = np.array([row.tobytes() not in digests for row in self.digests], dtype=bool)
        return self if kept.all() else self.take(np.flatnonzero(kept), reason)

    def take(self, rows: np.ndarray, reason: str) -> "Part":
        """Copy of this part with only these rows (k,); the other items count as skipped for `reason`."""
        ids, formats, compressions, details = (
            tuple(column[i] for i in rows) for column in (self.ids, self.formats, self.compressions, self.details)
        )
        return Part(
            self.label,
            ids,
            self.digests[rows],
            tuple(v[rows] for v in self.vectors),
            formats,
            compressions,
            details,
            self.shapes[rows],
            {**self.skipped, reason: len(self.ids) - len(rows)},
            self.counts,
        )


def encode_part(
    label: str,
    sources: Sequence[Source],
    encoders: Sequence[Encoder],
    *,
    batch_size: int,
    threads: int,
    on_progress: Callable[[int], None] = lambda items: None,
) -> Part:
    """Encode all items of several sources under one label; raises InputError if no item can be used."""
    batches: list[Batch] = []
    skips: list[Skip] = []
    metered = [Metered(shard) for source in sources for shard in source.shards]
    counts = ReadCounts()
    for shard in metered:
        before = len(skips)
        for found in encode_shard(shard, encoders, batch_size=batch_size, threads=threads):
            if isinstance(found, Skip):
                skips.append(found)
            else:
                batches.append(_without_data(found))
                on_progress(len(found.ids))
        counts += shard.finished(skips[before:])
    if not any(batch.ids for batch in batches):
        reasons = ", ".join(f"{count} × {reason}" for reason, count in Counter(count_reasons(skips)).most_common(3))
        names = ", ".join(source.spec for source in sources)
        raise InputError(f"nothing in {names} could be used ({reasons or 'it is empty'}): expected {encoders[0].kind}s")
    return Part(
        label,
        tuple(i for batch in batches for i in batch.ids),
        np.concatenate([batch.digests for batch in batches]),
        tuple(_stacked([batch.vectors[e] for batch in batches]) for e in range(len(encoders))),
        tuple(f for batch in batches for f in batch.formats),
        tuple(c for batch in batches for c in batch.compressions),
        tuple(d for batch in batches for d in batch.details),
        np.concatenate([batch.shapes for batch in batches]),
        count_reasons(skips),
        counts,
    )


def _stacked(vectors: list[np.ndarray]) -> np.ndarray:
    widths = {v.shape[1] for v in vectors}
    if len(widths) > 1:
        raise InputError(f"found vectors of widths {sorted(widths)}, expected one width: use one encoder for all")
    return np.concatenate(vectors)


def _without_data(batch: Batch) -> Batch:
    return replace(batch, data=())
