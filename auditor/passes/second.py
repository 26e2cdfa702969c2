"""The second pass: compute the result from the finished shards; this pass can be repeated."""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from auditor.answers import (
    Timing,
)
from auditor.evidence.near_duplicates import copy_groups, design_effect, groups_within, joined
from auditor.folder import AuditFolder
from auditor.fraction.estimate import estimate_fraction
from auditor.fraction.set_classifier import Contrast, contrast_with, rows_of_components
from auditor.passes.assembly import assemble
from auditor.passes.first import EVIDENCE, SKIPPED, ShardResult, read_gallery, read_state
from auditor.passes.items import write_items
from auditor.passes.request import AuditedSet, AuditRequest
from auditor.passes.space import answers_in_space, regions_of_cells
from auditor.passes.state import AuditState, fold_states
from auditor.reference.reference import Reference
from auditor.reference.storage_traits import stored_otherwise, total
from auditor.results import AuditResult, write_result
from auditor.statistics.scaling import standardise
from indexes.device import compute_threads
from indexes.errors import InputError
from indexes.sources.files import printable
from indexes.store import write_atomic

__all__ = ["conclude", "finalise", "most_suspicious"]

_GALLERY_SHOWN = 24
_FEWEST = 10  # distinct items of a set for which a classifier can be trained
_NEARER, _RARE = 0.5, 0.01  # items count as one within _NEARER of the _RARE quantile of the reference's distances


def conclude(folder: AuditFolder, audited: AuditedSet, reference: Reference, request: AuditRequest) -> AuditResult:
    """Run the second pass: write the list of shards, the item tables, the gallery and, last, result.json."""
    encoded, shards = time.time(), audited.shards
    folder.write_shards((shard.name, shard.folder) for shard in shards)
    with compute_threads(1):
        result = finalise(folder, audited, reference, request)
    write_atomic(folder.gallery, json.dumps(most_suspicious(shards)).encode())
    timing = Timing(evidence_s=encoded - audited.started, finalise_s=time.time() - encoded)
    result = replace(result, timing=timing)
    write_result(folder, result)
    return result


def finalise(folder: AuditFolder, audited: AuditedSet, reference: Reference, request: AuditRequest) -> AuditResult:
    """Write items/*.parquet and skipped.parquet, and return the result without its timing.

    Raises InputError if no item could be used.
    """
    shards = audited.shards
    state = fold_states(read_state(shard) for shard in shards)
    write_skipped(shards, folder.skipped)
    if state.n == 0:
        reasons = ", ".join(f"{count} × {reason}" for reason, count in state.skipped.items()) or "it is empty"
        raise InputError(
            f"nothing in {printable(audited.source)} could be used ({reasons}): expected {reference.evidence.kind}s"
        )
    near = near_copies(reference, state.sample.vectors)
    distinct = distinct_items(reference, state.sample.vectors, near)
    copies = copies_in(shards)
    fraction = estimate_fraction(
        reference.calibration,
        state.scores,
        rng=np.random.default_rng(request.seed),
        contrast=partial(contrast_to, reference, state.sample.vectors, near, distinct, seed=request.seed),
        left_out=reference.left_out,
        level=request.level,
        copies=max(copies, design_effect(np.bincount(near))),
        distinct=distinct,
        distrust=reference.distrust or _stored_otherwise(state, reference),
        is_sample=audited.sampled_from is not None,
        assume_reference_complete="reference-complete" in request.declared,
        assume_generators_complete="generators-complete" in request.declared,
    )
    fidelity, diversity = answers_in_space(state, shards, reference, copies=copies, level=request.level)
    regions = regions_of_cells(reference, diversity)
    duplicates = write_items(shards, folder.items, reference, fraction, regions)
    return assemble(state, fraction, (fidelity, diversity), duplicates, reference, request, audited, folder)


def copies_in(shards: Sequence[ShardResult]) -> float:
    """Design effect of exact copies (items with the same content) in the audited set."""
    digests = [pq.read_table(shard.folder / EVIDENCE, columns=["digest"])["digest"] for shard in shards]
    counts = pa.chunked_array([chunk for column in digests for chunk in column.chunks]).value_counts()
    return design_effect(counts.field("counts").to_numpy())


def near_copies(reference: Reference, sample: np.ndarray) -> np.ndarray:
    """Group number (n,) of each vector in a sample (n, d) of the incoming vectors; near copies share a group."""
    chosen = rows_of_components(reference.detector.component, n_real=reference.n_real, seed=reference.seed)
    beside = np.asarray(reference.embeddings.vectors[np.concatenate(chosen)])
    return copy_groups(sample, beside=beside)


def distinct_items(reference: Reference, sample: np.ndarray, near: np.ndarray) -> int:
    """Number of distinct items in a sample of the incoming vectors (n, d); copies and near copies count once.

    If a set consists only of near copies, the distances within the set cannot show that the items are copies. Therefore
    items also count as one if their distance is below half of the 1 % quantile of the nearest-neighbour distances in
    the reference.
    """
    detector = reference.detector
    rows = standardise(sample, detector.mean, detector.scale)
    per_dimension = _NEARER * float(np.quantile(reference.nearest, _RARE))
    within = groups_within(rows, per_dimension * math.sqrt(rows.shape[1]))
    return len(np.unique(joined(near, within)))


def contrast_to(
    reference: Reference, vectors: np.ndarray, groups: np.ndarray, distinct: int, shares: np.ndarray, *, seed: int
) -> Contrast | None:
    """Train a classifier of sampled incoming vectors against the reference; `groups` are near copies in the sample.

    Returns None if too few vectors are distinct; copies of one item count as one item.
    """
    if distinct < _FEWEST:
        return None
    chosen = rows_of_components(reference.detector.component, n_real=reference.n_real, seed=seed)
    components = [np.asarray(reference.embeddings.vectors[rows]) for rows in chosen]
    detector = reference.detector
    return contrast_with(
        components, vectors, shares, n_real=reference.n_real, seed=seed,
        folds=[detector.folds[rows] for rows in chosen], effects=detector.effects, groups=groups,
    )  # fmt: skip


def _stored_otherwise(state: AuditState, reference: Reference) -> str | None:
    """Why scores of an encoder that sees only processing traces are invalid for this set; None if they are valid."""
    if reference.evidence.sees != "traces":
        return None
    incoming, kind = {"format": state.formats, **state.traits}, reference.evidence.kind
    storage = {what: table for what, table in incoming.items() if what != "detail"}  # generators may differ in detail
    by_either = stored_otherwise(incoming, total(reference.sides), kind)
    return by_either or stored_otherwise(storage, reference.sides[0], kind, "the reference's real part")


def write_skipped(shards: Sequence[ShardResult], path: Path) -> None:
    """Write one Parquet file that lists all unusable entries with path and reason."""
    table = pa.concat_tables([pq.read_table(shard.folder / SKIPPED) for shard in shards])
    temporary = path.with_name(f"{path.name}.partial")
    pq.write_table(table, temporary)
    temporary.replace(path)


def most_suspicious(shards: Sequence[ShardResult]) -> list[dict[str, Any]]:
    """Gallery of the whole set: its most suspicious items, most suspicious first."""
    entries = [entry for shard in shards for entry in read_gallery(shard)]
    return sorted(entries, key=lambda e: (-e["score"], e["id"]))[:_GALLERY_SHOWN]
