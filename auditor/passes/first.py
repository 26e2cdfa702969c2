"""The first pass: read one shard, and write its evidence, its state and a completion mark to disk."""

import base64
import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from auditor.evidence.calibration import count_scores
from auditor.evidence.detector import Evidence
from auditor.evidence.novelty import NOVEL, novelty
from auditor.measures.set_sums import sums_of
from auditor.passes.state import AuditState, fold_states, load_state, save_state, smallest
from auditor.reference.reference import Reference
from auditor.reference.storage_traits import traits_of
from auditor.unread import Metered, ReadCounts
from indexes.encode import Batch, encode_shard
from indexes.encoders.protocol import Encoder
from indexes.errors import ArtifactError, InputError
from indexes.hashing import content_keys, sample_keys
from indexes.images import thumbnail
from indexes.records import Item, Shard, Skip, count_reasons
from indexes.sources.files import printable
from indexes.store import write_atomic

__all__ = [
    "EVIDENCE",
    "SKIPPED",
    "SampleRule",
    "ShardResult",
    "ShardTask",
    "audit_shard",
    "plan_shards",
    "read_gallery",
    "read_state",
    "sampled",
]

EVIDENCE, SKIPPED, STATE, GALLERY, MARK = (
    "evidence.parquet",
    "skipped.parquet",
    "state.npz",
    "gallery.json",
    "mark.json",
)
_GALLERY_SIZE = 16  # most suspicious items of a shard that are kept to be shown
_VERSION = 5  # version of a shard's output files; part of every key


@dataclass(frozen=True, slots=True)
class ShardResult:
    """Output of the first pass for one shard; the folder's name is the key by which a later run reuses the output."""

    name: str
    folder: Path

    @property
    def is_finished(self) -> bool:
        """Whether all output files are complete; the completion mark is written last and lists the file sizes."""
        try:
            sizes = json.loads((self.folder / MARK).read_bytes())["bytes"]
            return all((self.folder / name).stat().st_size == size for name, size in sizes.items())
        except (OSError, ValueError):
            return False


@dataclass(frozen=True, slots=True)
class SampleRule:
    """Rule for a simple random sample: items whose hash key is at most a threshold are used."""

    threshold: int  # largest `sample_keys` value of the sample
    seed: int
    set_size: int  # items of all shards together


@dataclass(frozen=True, slots=True)
class ShardTask:
    """A shard to process, and the folder for its results."""

    shard: Shard
    folder: Path
    batch_size: int
    threads: int  # decoding threads
    sample: SampleRule | None = None  # None: every item

    @property
    def result(self) -> ShardResult:
        return ShardResult(self.shard.name, self.folder)


def plan_shards(
    shards: Sequence[Shard], state: Path, *, configuration: str, batch_size: int, threads: int
) -> list[ShardTask]:
    """One task per shard, in canonical order.

    The key of a shard's folder depends on the shard's name, its content and the configuration, so another encoder gives
    another key.
    """
    tasks = []
    for shard in shards:
        content = f"{_VERSION}\n{shard.name}\n{shard.identity()}\n{configuration}"
        key = hashlib.blake2b(content.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
        tasks.append(ShardTask(shard, state / key, batch_size, threads))
    return tasks


def audit_shard(task: ShardTask, reference: Reference, encoders: Sequence[Encoder]) -> int:
    """Write a shard's evidence, skips, gallery, state and, last, a completion mark; return the number of items used."""
    task.folder.mkdir(parents=True, exist_ok=True)
    skips: list[Skip] = []
    states: list[AuditState] = []
    tables: list[pa.Table] = []
    gallery: list[tuple[float, str, str]] = []  # a heap of score, id, entry; least suspicious first
    metered = Metered(task.shard)
    for found in _encoded(task, metered, encoders):
        if isinstance(found, Skip):
            skips.append(found)
        elif found.ids:
            _check_width(found, reference)
            evidence = reference.detector.evidence(found.vectors[0], found.digests)
            novelties = novelty(evidence.nearest.min(1), reference.nearest)
            states.append(_state_of(found, evidence, novelties, reference))
            tables.append(_evidence_table(found, evidence, novelties, reference))
            _keep_suspicious(gallery, found, evidence)
    states.append(_state_of_skips(skips, metered.finished(skips), reference))
    state = fold_states(states)
    empty = _evidence_table(*_no_items(reference), reference)
    pq.write_table(pa.concat_tables([empty, *tables]), task.folder / EVIDENCE)
    pq.write_table(_skip_table(skips, task.shard.name), task.folder / SKIPPED)
    shown = [json.loads(entry) for _, _, entry in sorted(gallery, key=lambda e: (-e[0], e[1]))]
    write_atomic(task.folder / GALLERY, json.dumps(shown).encode())
    save_state(task.folder / STATE, state)
    sizes = {name: (task.folder / name).stat().st_size for name in (EVIDENCE, SKIPPED, STATE, GALLERY)}
    mark = {"shard": task.shard.name, "items": state.n, "skipped": len(skips), "bytes": sizes}
    write_atomic(task.folder / MARK, json.dumps(mark).encode())
    return state.n


def _encoded(task: ShardTask, metered: Metered, encoders: Sequence[Encoder]) -> Iterator[Batch | Skip]:
    shard: Shard = metered if task.sample is None else _Sampled(metered, task.sample)
    return encode_shard(shard, encoders, batch_size=task.batch_size, threads=task.threads)


@dataclass(frozen=True, slots=True)
class _Sampled:
    """A shard restricted to the items that a sampling rule selects; all skipped entries are still counted."""

    shard: Shard
    rule: SampleRule

    @property
    def name(self) -> str:
        return self.shard.name

    def identity(self) -> str:
        return self.shard.identity()

    def read(self) -> Iterator[Item | Skip]:
        for found in self.shard.read():
            if isinstance(found, Skip) or sample_keys([found.id], seed=self.rule.seed)[0] <= self.rule.threshold:
                yield found


def sampled(tasks: Sequence[ShardTask], limit: int, *, seed: int) -> list[ShardTask]:
    """Restrict the tasks to a simple random sample of `limit` items from all shards together.

    All items are read, and only the sample is encoded. A random sample is needed because the first items of a sorted
    source do not represent the whole source.
    """
    keys = np.concatenate([_keys(task.shard, seed) for task in tasks]) if tasks else np.zeros(0, dtype=np.uint64)
    if len(keys) <= limit:
        return list(tasks)
    rule = SampleRule(int(np.partition(keys, limit - 1)[limit - 1]), seed, len(keys))
    return [
        replace(task, sample=rule, folder=task.folder.with_name(f"{task.folder.name}-{rule.threshold:016x}"))
        for task in tasks
    ]


def _keys(shard: Shard, seed: int) -> np.ndarray:
    return sample_keys([found.id for found in shard.read() if isinstance(found, Item)], seed=seed)


def _check_width(batch: Batch, reference: Reference) -> None:
    found, expected = batch.vectors[0].shape[1], reference.embeddings.vectors.shape[1]
    if found != expected:
        raise InputError(
            f"the vectors have width {found}, but the reference {reference.name!r} has width {expected}: embed both "
            "with the same encoder"
        )


def _state_of(batch: Batch, evidence: Evidence, novelties: np.ndarray, reference: Reference) -> AuditState:
    semantic = reference.semantic
    rows = batch.vectors[-1] if semantic is not None else np.zeros((len(batch.ids), 0), dtype=np.float32)
    contents = content_keys(batch.digests, seed=reference.seed)
    return AuditState(
        n=len(batch.ids),
        skipped={},
        formats=dict(sorted(Counter(batch.formats).items())),
        traits=traits_of(batch.shapes, batch.compressions, batch.details, reference.evidence.kind),
        novel=int((novelties > NOVEL).sum()),
        scores=count_scores(evidence, reference.calibration.edges),
        sample=smallest(sample_keys(batch.ids, seed=reference.seed), batch.ids, batch.vectors[0]),
        distinct=smallest(contents, batch.ids, rows, by_content=True),
        semantic=None if semantic is None else sums_of(rows, contents, semantic),
    )


def _state_of_skips(skips: Sequence[Skip], counts: ReadCounts, reference: Reference) -> AuditState:
    empty, evidence, novelties = _no_items(reference)
    state = _state_of(empty, evidence, novelties, reference)
    reasons = count_reasons(skips)
    return replace(state, skipped=reasons, formats={}, traits={}, counts=counts)


def _no_items(reference: Reference) -> tuple[Batch, Evidence, np.ndarray]:
    width = reference.embeddings.vectors.shape[1]
    vectors = [np.zeros((0, width), dtype=np.float32)]
    if reference.semantic is not None:
        vectors.append(np.zeros((0, reference.semantic.vectors.shape[1]), dtype=np.float32))
    batch = Batch(
        (), np.zeros((0, 16), dtype=np.uint8), (), (), (), np.zeros((0, 2), dtype=np.int32), (), tuple(vectors)
    )  # fmt: skip
    k = len(reference.labels)
    return batch, Evidence(np.zeros((0, k)), np.zeros((0, k), dtype=np.float32), reference.n_real), np.zeros(0)


def _evidence_table(batch: Batch, evidence: Evidence, novelties: np.ndarray, reference: Reference) -> pa.Table:
    """Table of item data for the second pass: posteriors at equal weights, distances, novelty and digest."""
    k = evidence.posteriors.shape[1]
    posteriors = pa.FixedSizeListArray.from_arrays(pa.array(evidence.posteriors.ravel(), pa.float64()), k)
    nearest = pa.FixedSizeListArray.from_arrays(pa.array(evidence.nearest.ravel(), pa.float32()), k)
    return pa.table(
        {
            "id": pa.array([printable(i) for i in batch.ids], pa.string()),
            "posteriors": posteriors,
            "nearest": nearest,
            "novelty": pa.array(novelties, pa.float64()),
            "digest": pa.array([row.tobytes() for row in batch.digests], pa.binary(16)),
            "cells": pa.FixedSizeListArray.from_arrays(pa.array(_cells_of(batch, reference).ravel(), pa.int32()), 2),
        }
    )


def _cells_of(batch: Batch, reference: Reference) -> np.ndarray:
    """The numbers (n, 2) of each item's cells in the semantic space; -1 if there are no cells."""
    if reference.semantic is None or not reference.semantic.cells:
        return np.full((len(batch.ids), 2), -1)
    return np.stack([cells.assign(batch.vectors[-1]) for cells in reference.semantic.cells], axis=1)


def _skip_table(skips: Sequence[Skip], shard: str) -> pa.Table:
    return pa.table(
        {
            "path": pa.array([printable(s.path) for s in skips], pa.string()),
            "reason": pa.array([s.reason for s in skips], pa.string()),
            "items": pa.array([s.items for s in skips], pa.int64()),  # null: unknown
            "bytes": pa.array([s.bytes for s in skips], pa.int64()),  # stored bytes that were not read
            "shard": pa.array([printable(shard)] * len(skips), pa.string()),
        }
    )


def _keep_suspicious(gallery: list[tuple[float, str, str]], batch: Batch, evidence: Evidence) -> None:
    scores = evidence.scores
    for row in np.argsort(-scores, kind="stable")[:_GALLERY_SIZE]:
        score, item = float(scores[row]), batch.ids[row]
        if len(gallery) == _GALLERY_SIZE and (score, item) <= gallery[0][:2]:
            break
        entry = (score, item, json.dumps({"id": printable(item), "score": score, **_preview(batch.data[row])}))
        (heapq.heappush if len(gallery) < _GALLERY_SIZE else heapq.heappushpop)(gallery, entry)


def _preview(data: Any) -> dict[str, str]:
    if isinstance(data, str):
        return {"text": printable(data[:400])}
    if data.ndim == 3:
        return {"jpeg": base64.b64encode(thumbnail(data)).decode()}
    return {}


def read_state(shard: ShardResult) -> AuditState:
    """Read the stored state of a finished shard; raises ArtifactError if the shard is not finished."""
    if not shard.is_finished:
        raise ArtifactError(f"shard {shard.name} in {shard.folder} is not finished: run the audit again")
    return load_state(shard.folder / STATE)


def read_gallery(shard: ShardResult) -> list[dict[str, Any]]:
    """The most suspicious items of a finished shard, most suspicious first."""
    entries: list[dict[str, Any]] = json.loads((shard.folder / GALLERY).read_bytes())
    return entries
