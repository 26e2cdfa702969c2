"""AuditState: everything an audit stores about the items it has read; states can be merged."""

import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from auditor.evidence.calibration import ScoreCounts
from auditor.measures.real_part import SAMPLE_SIZE
from auditor.measures.set_sums import SetSums
from auditor.reference.storage_traits import Traits
from auditor.statistics.moments import Moments
from auditor.unread import ReadCounts
from indexes.errors import ArtifactError, InputError

__all__ = ["AuditState", "Sample", "fold_states", "load_state", "save_state", "smallest"]


@dataclass(frozen=True, slots=True)
class Sample:
    """The items with the smallest keys: a simple random sample that does not depend on order or sharding.

    Keys made from ids give a sample of all items. Keys made from contents give a sample of the distinct items, because
    copies have the same key.
    """

    keys: np.ndarray  # (k,) uint64, ascending
    ids: tuple[str, ...]
    vectors: np.ndarray  # (k, d) float32
    by_content: bool = False

    def __add__(self, other: "Sample") -> "Sample":
        return smallest(
            np.concatenate([self.keys, other.keys]),
            self.ids + other.ids,
            np.concatenate([self.vectors, other.vectors]),
            by_content=self.by_content,
        )


def smallest(keys: np.ndarray, ids: tuple[str, ...], vectors: np.ndarray, *, by_content: bool = False) -> Sample:
    """The items with the SAMPLE_SIZE smallest keys, ordered by key and id; `by_content` removes copies."""
    order = np.lexsort((np.array(ids, dtype=object), keys))
    if by_content:
        order = order[np.unique(keys[order], return_index=True)[1]]
    order = order[:SAMPLE_SIZE]
    return Sample(keys[order], tuple(ids[i] for i in order), vectors[order], by_content)


@dataclass(frozen=True, slots=True)
class AuditState:
    """Mergeable state of an audit; counts merge exactly, and `fold_states` fixes the order of float additions."""

    n: int
    skipped: Mapping[str, int]  # reason → count of entries
    formats: Mapping[str, int]
    traits: Traits  # size, compression and detail, where the items have them: class → count
    novel: int  # items further out than 95 % of the reference
    scores: ScoreCounts
    sample: Sample
    distinct: Sample  # distinct items in the semantic space; width 0 without a semantic encoder
    semantic: SetSums | None
    counts: ReadCounts = field(default_factory=ReadCounts)  # what was offered, read and unread

    def __add__(self, other: "AuditState") -> "AuditState":
        if (self.semantic is None) != (other.semantic is None):
            raise InputError(
                "cannot merge a state with a semantic encoder and one without: audit both with the same encoders"
            )
        return AuditState(
            self.n + other.n,
            _added(self.skipped, other.skipped),
            _added(self.formats, other.formats),
            {k: _added(self.traits.get(k, {}), other.traits.get(k, {})) for k in sorted({*self.traits, *other.traits})},
            self.novel + other.novel,
            self.scores + other.scores,
            self.sample + other.sample,
            self.distinct + other.distinct,
            None if self.semantic is None or other.semantic is None else self.semantic + other.semantic,
            self.counts + other.counts,
        )


def _added(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted((Counter(first) + Counter(second)).items()))


def fold_states(states: Iterable[AuditState]) -> AuditState:
    """Sum of the states of all shards in canonical order, added in a fixed binary tree: ((0+1)+(2+3))+((4+5)+…).

    Only aligned blocks of 2^i shards are merged, so the bytes of the sum do not depend on which worker computed a
    shard, or when. At most log₂(shards) states are in memory at a time.
    """
    blocks: list[tuple[int, AuditState]] = []  # (height, sum of 2^height shards), heights descending
    for state in states:
        height = 0
        while blocks and blocks[-1][0] == height:
            state = blocks.pop()[1] + state
            height += 1
        blocks.append((height, state))
    if not blocks:
        raise InputError("no finished shard found: run the audit again")
    return reduce(lambda right, left: left + right, [block for _, block in reversed(blocks)])


def save_state(path: Path, state: AuditState) -> None:
    """Write a state as .npz without pickles; only the upper triangle of symmetric matrices is stored."""
    arrays: dict[str, Any] = {
        "counts": np.array([state.n, state.novel], dtype=np.int64),
        "tables": np.array(
            json.dumps([dict(state.skipped), dict(state.formats), dict(state.traits), asdict(state.counts)])
        ),
        "histogram": state.scores.histogram,
        "keys": state.sample.keys,
        "ids": np.array(json.dumps(state.sample.ids)),
        "vectors": state.sample.vectors,
        "distinct_keys": state.distinct.keys,
        "distinct_ids": np.array(json.dumps(state.distinct.ids)),
        "distinct_vectors": state.distinct.vectors,
        **_packed("posteriors", state.scores.posteriors),
    }
    if state.semantic is not None:
        s = state.semantic
        arrays |= {
            "balls": np.array([s.precise, s.ball_squares], dtype=np.int64),
            "totals": s.totals,
            "sole_items": s.sole_items,
            "only_items": s.only_items,
            **_packed("raw", s.raw),
        }
    np.savez(path, allow_pickle=False, **arrays)


def load_state(path: Path) -> AuditState:
    """Read a stored audit state; raises ArtifactError if the file is damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as a:
            skipped, formats, traits, counts = json.loads(str(a["tables"]))
            n, novel = (int(v) for v in a["counts"])
            scores = ScoreCounts(a["histogram"], _unpacked("posteriors", a))
            sample = Sample(a["keys"], tuple(json.loads(str(a["ids"]))), a["vectors"])
            ids = tuple(json.loads(str(a["distinct_ids"])))
            distinct = Sample(a["distinct_keys"], ids, a["distinct_vectors"], by_content=True)
            semantic = None
            if "balls" in a:
                precise, squares = (int(v) for v in a["balls"])
                semantic = SetSums(
                    raw=_unpacked("raw", a), precise=precise, ball_squares=squares, totals=a["totals"],
                    sole_items=a["sole_items"], only_items=a["only_items"],
                )  # fmt: skip
            return AuditState(
                n, skipped, formats, traits, novel, scores, sample, distinct, semantic, ReadCounts(**counts)
            )
    except (OSError, ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ArtifactError(
            f"{path} is not a readable audit state ({error}): delete its folder and run the audit again"
        ) from None


def _packed(name: str, moments: Moments) -> dict[str, np.ndarray]:
    upper = moments.outer[np.triu_indices(len(moments.total))]
    return {f"{name}_n": np.array(moments.n), f"{name}_total": moments.total, f"{name}_outer": upper}


def _unpacked(name: str, arrays: Mapping[str, np.ndarray]) -> Moments:
    total = arrays[f"{name}_total"]
    outer = np.zeros((len(total), len(total)))
    rows, columns = np.triu_indices(len(total))
    outer[rows, columns] = outer[columns, rows] = arrays[f"{name}_outer"]
    return Moments(int(arrays[f"{name}_n"]), total, outer)
