import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from auditor.folder import AuditFolder
from auditor.passes.first import ShardResult
from auditor.passes.request import AuditedSet, AuditRequest
from auditor.passes.second import finalise, most_suspicious
from auditor.policy import Policy, Threshold
from auditor.reference.reference import Reference
from auditor.results import AuditResult
from auditor.run import AuditOptions, prepare, run_here
from indexes.errors import ArtifactError, InputError
from indexes.records import Source
from indexes.sources.memory import ArrayShard


@pytest.fixture
def reference(references: dict[str, Reference]) -> Reference:
    return references["vectors"]


def finished(out: Path, reference: Reference, *arrays: np.ndarray) -> list[ShardResult]:
    """Finished shards, one an array."""
    shards = tuple(ArrayShard(rows.astype(np.float32), 1000 * i) for i, rows in enumerate(arrays))
    tasks = prepare(AuditFolder(out), Source("arrays", "vector", shards), reference, AuditOptions())
    list(run_here(tasks, reference))
    return [task.result for task in tasks]


@pytest.fixture
def shards(reference: Reference, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator) -> list[ShardResult]:
    return finished(tmp_path, reference, make.real_vectors(100, rng), make.fake_vectors(50, rng))


def answer(
    shards: list[ShardResult], out: Path, reference: Reference, *, sampled_from: int | None = None, **request: Any
) -> AuditResult:
    audited = AuditedSet(
        source="s", shards=tuple(shards), reused=0, started=0.0, limit=None, column=None, batch_size=256,
        sampled_from=sampled_from,
    )  # fmt: skip
    return finalise(AuditFolder(out), audited, reference, AuditRequest(**request))


def test_finalising_twice_gives_the_same_answer_and_files(
    shards: list[ShardResult], tmp_path: Path, reference: Reference
) -> None:
    first = answer(shards, tmp_path, reference)
    files = {p: p.read_bytes() for p in (tmp_path / "items").iterdir()}
    assert replace(answer(shards, tmp_path, reference), created=first.created).to_dict() == first.to_dict()
    assert {p: p.read_bytes() for p in (tmp_path / "items").iterdir()} == files


def test_the_histogram_counts_every_item_once(shards: list[ShardResult], tmp_path: Path, reference: Reference) -> None:
    histogram = answer(shards, tmp_path, reference).synthetic_fraction.histogram
    assert sum(histogram.incoming) == 150
    assert {label: sum(counts) for label, counts in histogram.reference.items()} == {"real": 120, "gen": 120}
    assert len(histogram.edges) == len(histogram.incoming) - 1


@pytest.mark.parametrize(("copies", "noise", "status"), [(1, 0.0, "pass"), (3, 0.0, "fail"), (3, 1e-3, "fail")])
def test_the_check_of_duplicates_counts_copies_and_near_copies(
    copies: int, noise: float, status: str, tmp_path: Path, reference: Reference, make: SimpleNamespace,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    items = np.repeat(make.real_vectors(100, rng), copies, axis=0)
    moved = items + noise * rng.normal(size=items.shape)
    policy = Policy(synthetic_fraction=Threshold(math.inf, math.inf, "high"), required=("duplicates",))
    result = answer(finished(tmp_path, reference, moved), tmp_path, reference, policy=policy)
    judged = next(c for c in result.checks if c.name == "duplicates")
    assert result.verdict == judged.status == status
    assert judged.value == pytest.approx(1 - 1 / copies, abs=0.02)


def test_the_verdict_is_the_worst_of_the_required_checks(
    shards: list[ShardResult], tmp_path: Path, reference: Reference
) -> None:
    lenient, strict = Threshold(math.inf, math.inf, "high"), Threshold(-1.0, -0.9, "low")
    policy = Policy(synthetic_fraction=lenient, diversity_loss=strict)
    result = answer(shards, tmp_path, reference, policy=policy)
    assert {c.name: c.status for c in result.checks} == {
        "synthetic_fraction": "pass",
        "diversity_loss": "fail",
        "mad_risk": "undetermined",
        "unread": "pass",
        "duplicates": "pass",
    }
    assert result.verdict == "fail"
    relaxed = replace(policy, required=("synthetic_fraction",))
    assert answer(shards, tmp_path, reference, policy=relaxed).verdict == "pass"


def test_a_higher_level_gives_a_wider_interval(shards: list[ShardResult], tmp_path: Path, reference: Reference) -> None:
    widths = []
    for level in (0.8, 0.95, 0.99):
        fraction = answer(shards, tmp_path, reference, level=level).synthetic_fraction
        assert fraction.level == level
        widths.append(fraction.high - fraction.low)
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]


def test_counts_of_duplicates_are_exact_unless_the_set_is_a_sample(
    reference: Reference, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    rows = make.real_vectors(100, rng)
    rows[50:60] = rows[:10]
    shards = finished(tmp_path, reference, rows)
    exact = answer(shards, tmp_path, reference).diversity.measures["duplicates"]
    assert (exact.low, exact.estimate, exact.high) == (0.1, 0.1, 0.1)
    sampled = answer(shards, tmp_path, reference, sampled_from=10_000).diversity.measures["duplicates"]
    assert sampled.low < 0.1 < sampled.high


def test_nothing_usable_is_an_input_error_that_counts_why_and_still_lists_the_skips(
    reference: Reference, tmp_path: Path
) -> None:
    shards = finished(tmp_path, reference, np.full((3, 6), np.nan))
    with pytest.raises(InputError, match=r"nothing in s could be used \(3 × not finite\)"):
        answer(shards, tmp_path, reference)
    assert pq.read_table(tmp_path / "skipped.parquet").num_rows == 3


def test_one_item_is_enough_for_an_answer(reference: Reference, tmp_path: Path, make: SimpleNamespace) -> None:
    shards = finished(tmp_path, reference, make.real_vectors(1, np.random.default_rng(0)))
    result = answer(shards, tmp_path, reference)
    assert result.n_items == 1
    assert result.synthetic_fraction.high > 0.5
    assert not result.diversity.loss.is_known
    assert "too few distinct items" in str(result.diversity.loss.reason)
    json.dumps(result.to_dict(), allow_nan=False)


@pytest.mark.parametrize("value", [0.0, 1e6])
def test_a_set_of_one_repeated_vector_is_answered_without_nan(
    reference: Reference, tmp_path: Path, value: float
) -> None:
    shards = finished(tmp_path, reference, np.full((30, 6), value))
    result = answer(shards, tmp_path, reference)
    json.dumps(result.to_dict(), allow_nan=False)
    assert result.diversity.loss.estimate > 0.5
    assert result.diversity.measures["duplicates"].estimate == 29 / 30


def test_a_shard_that_is_not_finished_is_an_artifact_error(
    shards: list[ShardResult], tmp_path: Path, reference: Reference
) -> None:
    (shards[1].folder / "mark.json").unlink()
    with pytest.raises(ArtifactError, match="not finished"):
        answer(shards, tmp_path, reference)


def test_the_gallery_of_the_set_is_sorted_over_all_shards(shards: list[ShardResult]) -> None:
    shown = most_suspicious(shards)
    scores = [entry["score"] for entry in shown]
    assert scores == sorted(scores, reverse=True)
    assert len(shown) == 24
    assert {entry["id"] for entry in shown[:5]} & {f"row#{i}" for i in range(1000, 1050)}


def test_a_format_that_differs_from_the_reference_is_named_as_a_confound(
    references: dict[str, Reference], tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    from PIL import Image

    from auditor.run import audit

    (tmp_path / "jpegs").mkdir()
    for i, pixels in enumerate(make.real_images(20, rng)):
        Image.fromarray(pixels).resize((40, 40)).save(tmp_path / "jpegs" / f"{i}.jpg")
    result = audit(tmp_path / "jpegs", references["images"])
    named = ["incoming-format", "incoming-compression", "incoming-detail", "incoming-size"]
    assert [c.name for c in result.confounds] == named
    assert result.formats == {"jpeg": 20}
