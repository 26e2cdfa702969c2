"""A part of a reference: one labelled source, encoded."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from indexes.encode import Batch, encode_shard
from indexes.encoders.protocol import Encoder
from indexes.errors import InputError
from indexes.records import Skip, Source

__all__ = ["Part", "encode_part"]


@dataclass(frozen=True, slots=True)
class Part:
    """Vectors of one source and what is needed to compare another set with it."""

    label: str
    ids: tuple[str, ...]
    digests: np.ndarray  # (n, 16) uint8
    vectors: tuple[np.ndarray, ...]  # (n, d) float32 of each encoder
    formats: tuple[str, ...]
    shapes: np.ndarray  # (n, 2) int32
    skipped: Mapping[str, int]

    def without(self, digests: set[bytes], reason: str) -> "Part":
        """The part without the items of these contents, counted as skipped for a reason."""
        kept = np.array([row.tobytes() not in digests for row in self.digests], dtype=bool)
        if kept.all():
            return self
        return Part(
            self.label,
            tuple(i for i, k in zip(self.ids, kept, strict=True) if k),
            self.digests[kept],
            tuple(v[kept] for v in self.vectors),
            tuple(f for f, k in zip(self.formats, kept, strict=True) if k),
            self.shapes[kept],
            {**self.skipped, reason: int((~kept).sum())},
        )


def encode_part(
    label: str,
    sources: Sequence[Source],
    encoders: Sequence[Encoder],
    *,
    batch_size: int,
    threads: int,
    report: Callable[[int], None] = lambda items: None,
) -> Part:
    """All items of some sources under one label; raises InputError when nothing in them can be used."""
    batches: list[Batch] = []
    skips: list[Skip] = []
    for source in sources:
        for shard in source.shards:
            for found in encode_shard(shard, encoders, batch_size=batch_size, threads=threads):
                if isinstance(found, Skip):
                    skips.append(found)
                else:
                    batches.append(_without_data(found))
                    report(len(found.ids))
    if not any(batch.ids for batch in batches):
        reasons = ", ".join(f"{count} × {reason}" for reason, count in Counter(s.reason for s in skips).most_common(3))
        names = ", ".join(source.spec for source in sources)
        raise InputError(f"nothing in {names} could be used ({reasons or 'it is empty'}): expected {encoders[0].kind}s")
    return Part(
        label,
        tuple(i for batch in batches for i in batch.ids),
        np.concatenate([batch.digests for batch in batches]),
        tuple(_stacked([batch.vectors[e] for batch in batches]) for e in range(len(encoders))),
        tuple(f for batch in batches for f in batch.formats),
        np.concatenate([batch.shapes for batch in batches]),
        dict(sorted(Counter(skip.reason for skip in skips).items())),
    )


def _stacked(vectors: list[np.ndarray]) -> np.ndarray:
    widths = {v.shape[1] for v in vectors}
    if len(widths) > 1:
        raise InputError(f"found vectors of widths {sorted(widths)}, expected one width: use one encoder for all")
    return np.concatenate(vectors)


def _without_data(batch: Batch) -> Batch:
    return Batch(batch.ids, batch.digests, batch.formats, batch.shapes, (), batch.vectors)
