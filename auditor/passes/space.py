"""Fidelity and diversity of the audited set in the semantic space, from its state and its items' cells."""

from collections.abc import Sequence

import numpy as np
import pyarrow.parquet as pq

from auditor.answers import Diversity, Fidelity
from auditor.measures.audited import AuditedSpace, measured, unmeasured
from auditor.passes.first import EVIDENCE, ShardResult
from auditor.passes.state import AuditState
from auditor.reference.reference import Reference
from auditor.statistics.distinct import first_of_each

__all__ = ["TRACES_ONLY", "answers_in_space", "regions_of_cells"]

TRACES_ONLY = "the encoder sees processing traces and not content: name a --semantic-encoder to measure this"


def answers_in_space(
    state: AuditState, shards: Sequence[ShardResult], reference: Reference, *, copies: float, level: float
) -> tuple[Fidelity, Diversity]:
    """The measures of the set; all are unknown, with the reason, if the reference has no semantic encoder.

    `copies` is the design effect of copies among all items.
    """
    real = reference.semantic
    if real is None or state.semantic is None:
        return unmeasured(TRACES_ONLY)
    audited = AuditedSpace(
        sums=state.semantic,
        vectors=state.distinct.vectors,
        ids=state.distinct.ids,
        counts=_distinct_by_cell(shards, [len(cells.centres) for cells in real.cells]),
        copies=copies,
    )
    return measured(audited, real, level=level)


def regions_of_cells(reference: Reference, diversity: Diversity) -> np.ndarray | None:
    """Region number (K,) of each of the first cells, as in `diversity.regions`; None if there are no regions."""
    real = reference.semantic
    if real is None or diversity.cells == 0:
        return None
    return real.cells[0].merged(diversity.cells)


def _distinct_by_cell(shards: Sequence[ShardResult], sizes: Sequence[int]) -> tuple[np.ndarray, ...]:
    """The number (K,) of distinct items of the set in each cell, for the cells of each half of the real items."""
    tables = [pq.read_table(shard.folder / EVIDENCE, columns=["digest", "cells"]) for shard in shards]
    digests = [np.frombuffer(b"".join(table["digest"].to_pylist()), np.uint8).reshape(-1, 16) for table in tables]
    first = first_of_each(np.concatenate(digests))
    cells = np.concatenate([table["cells"].combine_chunks().flatten().to_numpy().reshape(-1, 2) for table in tables])
    return tuple(np.bincount(cells[first, half], minlength=size) for half, size in enumerate(sizes))
