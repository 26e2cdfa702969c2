"""Results for each item: calibrated score, nearest generator, duplicates, and the recommendation to keep the item."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import special

from auditor.evidence.detector import log_odds
from auditor.fraction.estimate import REAL_SIDE, FractionEstimate
from auditor.passes.first import EVIDENCE, ShardResult
from auditor.reference.reference import Reference
from auditor.statistics.distinct import duplicates
from auditor.statistics.intervals import Measure
from indexes.sources.files import printable

__all__ = ["DuplicateCounts", "write_items"]

_OWN_FILE = re.compile(r"\d{5,}-[0-9a-f]{12}\.(parquet|partial)")  # other files in the folder are not removed


@dataclass(frozen=True, slots=True)
class DuplicateCounts:
    """Numbers of items that are exact copies, compared by decoded content."""

    within: int  # items that repeat an earlier item of the set
    of_reference: int  # items that are also in the reference
    n: int


def write_items(
    shards: Sequence[ShardResult],
    folder: Path,
    reference: Reference,
    fraction: FractionEstimate,
    regions: np.ndarray | None = None,
) -> DuplicateCounts:
    """Write one Parquet file of items per shard, and remove files of shards that are no longer part of the set."""
    folder.mkdir(parents=True, exist_ok=True)
    evidence = [pq.read_table(shard.folder / EVIDENCE) for shard in shards]
    table = pa.concat_tables(evidence)
    odds, posteriors = _log_odds(table, fraction, reference)
    copies, counts = _duplicates_of(table, reference)
    keep = _keep(odds, fraction)
    start, written = 0, set()
    for number, (shard, part) in enumerate(zip(shards, evidence, strict=True)):
        rows = slice(start, start + len(part))
        path = folder / f"{number:05d}-{shard.folder.name[:12]}.parquet"
        temporary = path.with_suffix(".partial")
        pq.write_table(
            _item_table(part, shard.name, odds[rows], posteriors[rows], copies[rows], keep[rows], reference, regions),
            temporary,
        )
        temporary.replace(path)
        written.add(path)
        start += len(part)
    for path in set(folder.iterdir()) - written:
        if _OWN_FILE.fullmatch(path.name):
            path.unlink()
    return counts


def _item_table(
    part: pa.Table,
    shard: str,
    odds: np.ndarray,
    posteriors: np.ndarray,
    copies: Sequence[str | None],
    keep: np.ndarray,
    reference: Reference,
    regions: np.ndarray | None,
) -> pa.Table:
    nearest, m = _matrix(part["nearest"], len(reference.labels)), reference.n_real
    has_generators = len(reference.labels) > m
    labels = _nearest_components(posteriors, reference)
    sources = set(reference.labels[:m])
    score = pa.array(special.expit(odds)) if has_generators else pa.nulls(len(part), pa.float64())
    return pa.table(
        {
            "id": part["id"],
            "shard": pa.array([printable(shard)] * len(part), pa.string()),
            "score": score,
            "generator": pa.array([None if label in sources else label for label in labels], pa.string()),
            "nearest_real": pa.array(nearest[:, :m].min(1), pa.float32()),
            "nearest_synthetic": pa.array(
                nearest[:, m:].min(1) if has_generators else [None] * len(part), pa.float32()
            ),
            "novelty": part["novelty"],
            "duplicate_of": pa.array(copies, pa.string()),
            "keep": pa.array(keep, pa.bool_()),
            "source": pa.array([label if label in sources else None for label in labels], pa.string()),
            "region": pa.nulls(len(part), pa.int32())
            if regions is None
            else pa.array(regions[_matrix(part["cells"], 2)[:, 0]], pa.int32()),
        }
    )


def _matrix(column: pa.ChunkedArray, width: int) -> np.ndarray:
    return column.combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, width)


def _log_odds(table: pa.Table, fraction: FractionEstimate, reference: Reference) -> tuple[np.ndarray, np.ndarray]:
    """Each item's log odds of being synthetic, and its posteriors with all components weighted equally.

    The prior is the likely synthetic fraction of the set. Without an estimate of the fraction, the prior is one half
    and only the order of the scores is meaningful.
    """
    posteriors, m = _matrix(table["posteriors"], len(reference.labels)), reference.n_real
    prior = 0.5 if np.isnan(fraction.likely) else float(np.clip(fraction.likely, 1e-6, 1 - 1e-6))
    if len(reference.labels) == m:
        return np.zeros(len(posteriors)), posteriors
    real = _shares(fraction.by_source, m)
    synthetic = _shares(fraction.by_generator, len(reference.labels) - m)
    odds = log_odds(posteriors, m, np.concatenate([real, synthetic]))
    return odds + np.log(prior / (1 - prior)), posteriors


def _shares(measures: Mapping[str, Measure], count: int) -> np.ndarray:
    """Estimated shares (count,) of the components within the real or synthetic part; equal shares without estimates."""
    shares = np.array([measure.estimate for measure in measures.values()])
    return shares / shares.sum() if shares.sum() > 0 else np.full(count, 1 / count)


def _nearest_components(posteriors: np.ndarray, reference: Reference) -> list[str]:
    """Label of each item's most probable component, within the side (real or synthetic) that is more probable."""
    m = reference.n_real
    best = posteriors[:, :m].argmax(1)
    if len(reference.labels) > m:
        is_synthetic = log_odds(posteriors, m) > 0
        best = np.where(is_synthetic, posteriors[:, m:].argmax(1) + m, best)
    return [reference.labels[b] for b in best]


def _duplicates_of(table: pa.Table, reference: Reference) -> tuple[list[str | None], DuplicateCounts]:
    n = len(table)
    digests = np.frombuffer(b"".join(table["digest"].to_pylist()), dtype=np.uint8).reshape(n, 16)
    ids = table["id"].to_pylist()
    known = {row.tobytes(): i for row, i in zip(reference.digests, reference.embeddings.ids, strict=True)}
    first = duplicates(digests)
    copies: list[str | None] = [ids[f] if f != row else None for row, f in enumerate(first)]
    of_reference = 0
    for row in range(n):
        original = known.get(digests[row].tobytes())
        of_reference += original is not None
        if original is not None and copies[row] is None:
            copies[row] = f"reference:{original}"
    return copies, DuplicateCounts(int((first != np.arange(n)).sum()), of_reference, n)


def _keep(odds: np.ndarray, fraction: FractionEstimate) -> np.ndarray:
    """Whether to keep each item: False for the most suspicious items, as many as the estimated synthetic count.

    All values of `keep` are null without an estimate of the fraction, or if the estimate comes from the real side,
    which does not use item scores.
    """
    keep = np.full(len(odds), None, dtype=object)
    if not np.isnan(fraction.likely) and fraction.method != REAL_SIDE:
        keep[:] = True
        keep[np.argsort(-odds, kind="stable")[: round(fraction.likely * len(odds))]] = False
    return keep
