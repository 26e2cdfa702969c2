from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from auditor.answers import Power
from auditor.folder import AuditFolder
from auditor.fraction.estimate import FractionEstimate
from auditor.passes.first import ShardResult
from auditor.passes.items import DuplicateCounts, write_items
from auditor.reference.reference import Reference
from auditor.run import AuditOptions, prepare, run_here
from auditor.statistics.intervals import Measure
from indexes.records import Source
from indexes.sources.memory import ArrayShard


def an_estimate(value: float, **changes: Any) -> FractionEstimate:
    answer = FractionEstimate(
        estimate=value, low=0.0, high=1.0, level=0.95, status="determined", method="m", reason=None,
        by_generator={"gen": Measure(value)}, by_source={}, if_reference_matches=Measure(value),
        if_generators_known=Measure(value), if_both=Measure(value), estimators={},
        power=Power(smallest_noticed=0.1, may_hide=0.5),
        fit_p_value=0.5, departure=0.0, separation=0.8, n=40,
    )  # fmt: skip
    return replace(answer, **changes)


@pytest.fixture
def reference(references: dict[str, Reference]) -> Reference:
    return references["vectors"]


def finished(out: Path, reference: Reference, *arrays: np.ndarray) -> list[ShardResult]:
    """Finished shards, one an array."""
    shards = tuple(
        ArrayShard(rows.astype(np.float32), 100 * i) for i, rows in enumerate(arrays)
    )  # fmt: skip
    tasks = prepare(AuditFolder(out), Source("arrays", "vector", shards), reference, AuditOptions())
    list(run_here(tasks, reference))
    return [task.result for task in tasks]


def read(folder: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.iterdir())])


@pytest.fixture
def rows(make: SimpleNamespace, rng: np.random.Generator) -> np.ndarray:
    both: np.ndarray = np.concatenate([make.real_vectors(30, rng), make.fake_vectors(10, rng)])
    return both


def test_every_shard_has_a_file_with_its_items_in_order(reference: Reference, rows: np.ndarray, tmp_path: Path) -> None:
    shards = finished(tmp_path, reference, rows[:25], rows[25:])
    write_items(shards, tmp_path / "items", reference, an_estimate(0.25))
    files = sorted((tmp_path / "items").iterdir())
    assert [pq.read_metadata(path).num_rows for path in files] == [25, 15]
    assert read(tmp_path / "items")["id"].to_pylist() == [f"row#{i}" for i in [*range(25), *range(100, 115)]]


def test_the_score_is_bayes_rule_at_the_estimated_fraction(
    reference: Reference, rows: np.ndarray, tmp_path: Path
) -> None:
    shards = finished(tmp_path, reference, rows)
    write_items(shards, tmp_path / "items", reference, an_estimate(0.2))
    posteriors = np.array(pq.read_table(shards[0].folder / "evidence.parquet")["posteriors"].to_pylist())
    real, fake = 0.8 * posteriors[:, 0], 0.2 * posteriors[:, 1]
    np.testing.assert_allclose(read(tmp_path / "items")["score"].to_numpy(), fake / (real + fake), rtol=1e-9)


def test_as_many_items_are_dropped_as_the_fraction_says_and_they_score_highest(
    reference: Reference, rows: np.ndarray, tmp_path: Path
) -> None:
    shards = finished(tmp_path, reference, rows)
    write_items(shards, tmp_path / "items", reference, an_estimate(0.3))
    table = read(tmp_path / "items")
    keep, score = np.array(table["keep"].to_pylist()), table["score"].to_numpy()
    assert (~keep).sum() == 12
    assert score[~keep].min() >= score[keep].max()


@pytest.mark.parametrize(("fraction", "dropped"), [(0.0, 0), (1.0, 40)])
def test_at_the_ends_all_are_kept_or_dropped_and_scores_stay_probabilities(
    reference: Reference, rows: np.ndarray, tmp_path: Path, fraction: float, dropped: int
) -> None:
    shards = finished(tmp_path, reference, rows)
    write_items(shards, tmp_path / "items", reference, an_estimate(fraction))
    table = read(tmp_path / "items")
    assert table["keep"].to_pylist().count(False) == dropped
    score = table["score"].to_numpy()
    assert np.isfinite(score).all()
    assert score.min() >= 0
    assert score.max() <= 1


def test_without_an_estimate_nothing_is_recommended(reference: Reference, rows: np.ndarray, tmp_path: Path) -> None:
    shards = finished(tmp_path, reference, rows)
    write_items(shards, tmp_path / "items", reference, an_estimate(float("nan"), by_generator={}))
    table = read(tmp_path / "items")
    assert table["keep"].null_count == 40
    assert table["score"].null_count == 0


def test_evidence_beyond_the_range_of_exp_gives_a_score_of_nought_or_one(
    reference: Reference, rows: np.ndarray, tmp_path: Path
) -> None:
    shards = finished(tmp_path, reference, rows[:2])
    path = shards[0].folder / "evidence.parquet"
    table = pq.read_table(path)
    extreme = pa.FixedSizeListArray.from_arrays(pa.array([0.0, 1.0, 1.0, 0.0]), 2)
    column = table.schema.get_field_index("posteriors")
    pq.write_table(table.set_column(column, "posteriors", extreme), path)
    write_items(shards, tmp_path / "items", reference, an_estimate(1.0))
    assert read(tmp_path / "items")["score"].to_pylist() == [1.0, pytest.approx(0.0, abs=1e-200)]


def test_the_nearest_distances_are_those_of_brute_force(reference: Reference, rows: np.ndarray, tmp_path: Path) -> None:
    shards = finished(tmp_path, reference, rows)
    write_items(shards, tmp_path / "items", reference, an_estimate(0.2))
    known = np.asarray(reference.embeddings.vectors, dtype=np.float64)
    scaled = (rows[:, None] - known[None]) / known.std(0)
    apart = np.sqrt((scaled**2).mean(2))
    table = read(tmp_path / "items")
    np.testing.assert_allclose(table["nearest_real"].to_numpy(), apart[:, :120].min(1), rtol=1e-4)
    np.testing.assert_allclose(table["nearest_synthetic"].to_numpy(), apart[:, 120:].min(1), rtol=1e-4)


def test_copies_name_the_first_of_their_kind_across_shards_and_in_the_reference(
    reference: Reference, rows: np.ndarray, tmp_path: Path
) -> None:
    known = np.asarray(reference.embeddings.vectors[3:4])
    shards = finished(tmp_path, reference, rows[:10], np.concatenate([rows[4:5], known, known]))
    counts = write_items(shards, tmp_path / "items", reference, an_estimate(0.2))
    copies = dict(zip(*(read(tmp_path / "items")[c].to_pylist() for c in ("id", "duplicate_of")), strict=True))
    original = f"reference:{reference.embeddings.ids[3]}"
    assert {k: v for k, v in copies.items() if v} == {"row#100": "row#4", "row#101": original, "row#102": "row#101"}
    assert counts == DuplicateCounts(within=2, of_reference=2, n=13)


def test_files_of_an_earlier_set_go_and_files_of_others_stay(
    reference: Reference, rows: np.ndarray, tmp_path: Path
) -> None:
    first, second = finished(tmp_path, reference, rows[:20], rows[20:])
    folder = tmp_path / "items"
    write_items([first, second], folder, reference, an_estimate(0.2))
    (folder / "notes.txt").write_text("mine")
    write_items([second], folder, reference, an_estimate(0.2))
    assert len(list(folder.iterdir())) == 2
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_shard_without_items_has_an_empty_file_of_the_same_columns(
    reference: Reference, rows: np.ndarray, tmp_path: Path
) -> None:
    shards = finished(tmp_path, reference, np.full((3, 6), np.nan), rows)
    write_items(shards, tmp_path / "items", reference, an_estimate(0.2))
    empty, full = (pq.read_table(path) for path in sorted((tmp_path / "items").iterdir()))
    assert (empty.num_rows, full.num_rows) == (0, 40)
    assert empty.schema == full.schema
