from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from auditor.passes.first import ShardTask, audit_shard, plan_shards, read_gallery, read_state, sampled
from auditor.reference.reference import Reference
from indexes.errors import ArtifactError, InputError
from indexes.hashing import sample_keys
from indexes.records import Item, Skip
from indexes.sources.memory import source_of_array


@dataclass(frozen=True)
class Listed:
    """A shard that is a list."""

    entries: tuple[Item | Skip, ...]
    name: str = "listed"
    content: str = "1"

    def identity(self) -> str:
        return self.content

    def read(self) -> Iterator[Item | Skip]:
        yield from self.entries


def vectors_shard(rows: np.ndarray, name: str = "listed") -> Listed:
    return Listed(tuple(Item(f"{name}/{i}", row) for i, row in enumerate(rows)), name)


def task_of(shard: Any, folder: Path, **changes: Any) -> ShardTask:
    return replace(ShardTask(shard, folder / shard.name, batch_size=16, threads=1), **changes)


@pytest.fixture
def reference(references: dict[str, Reference]) -> Reference:
    return references["vectors"]


@pytest.fixture
def encoders(reference: Reference) -> Any:
    return reference.encoders(device="cpu")


# planning


def keys(shards: tuple[Any, ...], tmp_path: Path, configuration: str = "c") -> list[str]:
    tasks = plan_shards(shards, tmp_path, configuration=configuration, batch_size=16, threads=1)
    return [task.folder.name for task in tasks]


def test_the_same_shard_has_the_same_key_and_anything_else_another(tmp_path: Path) -> None:
    shard = Listed((), "a", "1")
    first = keys((shard,), tmp_path)
    assert keys((shard,), tmp_path) == first
    assert keys((replace(shard, content="2"),), tmp_path) != first
    assert keys((replace(shard, name="b"),), tmp_path) != first
    assert keys((shard,), tmp_path, configuration="d") != first


def test_name_and_content_do_not_run_into_each_other(tmp_path: Path) -> None:
    assert keys((Listed((), "ab", "c"),), tmp_path) != keys((Listed((), "a", "bc"),), tmp_path)


def test_tasks_come_in_the_order_of_the_shards(tmp_path: Path) -> None:
    shards = tuple(Listed((), name) for name in "cab")
    tasks = plan_shards(shards, tmp_path, configuration="", batch_size=16, threads=1)
    assert [task.result.name for task in tasks] == ["c", "a", "b"]


# working


def test_a_shard_counts_its_items_and_skips(
    reference: Reference, encoders: Any, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    items = [Item(str(i), row) for i, row in enumerate(make.real_vectors(40, rng))]
    entries = [*items[:20], Skip("x", "broken"), *items[20:], Skip("y", "broken"), Item("w", np.zeros(3, np.float32))]
    task = task_of(Listed(tuple(entries)), tmp_path)
    assert audit_shard(task, reference, encoders) == 40
    state = read_state(task.result)
    assert (state.n, state.skipped) == (40, {"broken": 2, "vector of width 3, expected 6": 1})
    listed = pq.read_table(task.folder / "skipped.parquet").to_pydict()
    assert list(zip(listed["path"], listed["reason"], strict=True)) == [
        ("x", "broken"),
        ("y", "broken"),
        ("w", "vector of width 3, expected 6"),
    ]


def test_evidence_has_a_row_an_item_in_order(
    reference: Reference, encoders: Any, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    task = task_of(vectors_shard(make.real_vectors(40, rng)), tmp_path)
    audit_shard(task, reference, encoders)
    table = pq.read_table(task.folder / "evidence.parquet")
    assert table["id"].to_pylist() == [f"listed/{i}" for i in range(40)]
    posteriors = np.array(table["posteriors"].to_pylist())
    np.testing.assert_allclose(posteriors.sum(1), 1, atol=1e-12)
    assert posteriors.shape == (40, 2)


def test_working_again_gives_the_same_bytes(
    reference: Reference, encoders: Any, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    shard = vectors_shard(make.real_vectors(40, rng))
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, threads in zip(folders, (1, 3), strict=True):
        audit_shard(task_of(shard, folder, threads=threads), reference, encoders)
    for name in ("evidence.parquet", "skipped.parquet", "gallery.json", "mark.json"):
        contents = [(folder / "listed" / name).read_bytes() for folder in folders]
        assert contents[0] == contents[1]


def test_a_shard_is_finished_when_its_mark_is_there_and_every_file_is_whole(
    reference: Reference, encoders: Any, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    task = task_of(vectors_shard(make.real_vectors(20, rng)), tmp_path)
    assert not task.result.is_finished
    audit_shard(task, reference, encoders)
    assert task.result.is_finished
    for name in ("state.npz", "evidence.parquet", "mark.json"):
        content = (task.folder / name).read_bytes()
        (task.folder / name).write_bytes(content[:-1])
        assert not task.result.is_finished
        (task.folder / name).write_bytes(content)
    assert task.result.is_finished


def test_the_mark_is_written_after_all_else(
    reference: Reference, encoders: Any, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def stopped(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("auditor.passes.first.save_state", stopped)
    task = task_of(vectors_shard(make.real_vectors(20, rng)), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        audit_shard(task, reference, encoders)
    assert not (task.folder / "mark.json").exists()
    with pytest.raises(ArtifactError, match="not finished"):
        read_state(task.result)


def test_an_empty_shard_is_finished_with_nothing(reference: Reference, encoders: Any, tmp_path: Path) -> None:
    task = task_of(Listed(()), tmp_path)
    assert audit_shard(task, reference, encoders) == 0
    state = read_state(task.result)
    assert (state.n, dict(state.skipped)) == (0, {})
    assert pq.read_table(task.folder / "evidence.parquet").num_rows == 0
    assert read_gallery(task.result) == []


def test_a_limit_takes_the_items_with_the_smallest_keys_of_all_shards_and_every_skip(
    reference: Reference, encoders: Any, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    shards = [Listed((Skip("x", "broken"), *vectors_shard(make.real_vectors(20, rng)).entries)) for _ in range(2)]
    shards[1] = Listed(tuple(Item(f"b{f.id}", f.data) if isinstance(f, Item) else f for f in shards[1].entries))
    tasks = sampled([task_of(shard, tmp_path / str(i)) for i, shard in enumerate(shards)], 7, seed=3)
    assert sum(audit_shard(task, reference, encoders) for task in tasks) == 7
    ids = [f.id for shard in shards for f in shard.entries if isinstance(f, Item)]
    expected = set(np.array(ids)[np.argsort(sample_keys(ids, seed=3))[:7]])
    used = [i for t in tasks for i in pq.read_table(t.folder / "evidence.parquet")["id"].to_pylist()]
    assert set(used) == expected
    assert sum(read_state(task.result).skipped["broken"] for task in tasks) == 2


def test_a_limit_beyond_the_set_changes_nothing(tmp_path: Path) -> None:
    tasks = [task_of(Listed((Item("a", np.zeros(2)),)), tmp_path)]
    assert sampled(tasks, 1, seed=0) == tasks


def test_the_state_does_not_depend_on_how_items_fall_into_shards(
    reference: Reference, encoders: Any, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    items = vectors_shard(make.real_vectors(60, rng)).entries
    states = []
    for name, cuts in (("whole", (0, 60)), ("parts", (0, 7, 33, 60))):
        parts = []
        for first, last in pairwise(cuts):
            task = task_of(Listed(items[first:last], f"{name}-{first}"), tmp_path)
            audit_shard(task, reference, encoders)
            parts.append(read_state(task.result))
        states.append(parts)
    (whole,), (a, b, c) = states
    for merged in ((a + b) + c, a + (b + c), c + (a + b)):
        assert (merged.n, merged.novel, merged.formats) == (whole.n, whole.novel, whole.formats)
        np.testing.assert_array_equal(merged.scores.histogram, whole.scores.histogram)
        np.testing.assert_allclose(merged.scores.posteriors.outer, whole.scores.posteriors.outer, atol=1e-10)
        assert merged.sample.ids == whole.sample.ids
        np.testing.assert_array_equal(merged.sample.vectors, whole.sample.vectors)
        assert merged.distinct.ids == whole.distinct.ids
        np.testing.assert_array_equal(merged.distinct.vectors, whole.distinct.vectors)
        assert merged.semantic is not None
        assert whole.semantic is not None
        np.testing.assert_array_equal(merged.semantic.totals, whole.semantic.totals)
        assert merged.semantic.ball_squares == whole.semantic.ball_squares
        np.testing.assert_allclose(merged.semantic.raw.outer, whole.semantic.raw.outer, rtol=1e-10)


def test_the_gallery_holds_the_sixteen_highest_scores(
    reference: Reference, encoders: Any, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    rows = np.concatenate([make.real_vectors(40, rng), make.fake_vectors(10, rng, shift=8)])
    task = task_of(vectors_shard(rows), tmp_path)
    audit_shard(task, reference, encoders)
    posteriors = np.array(pq.read_table(task.folder / "evidence.parquet")["posteriors"].to_pylist())
    highest = np.argsort(np.log(posteriors[:, 0]) - np.log(posteriors[:, 1]), kind="stable")[:16]
    assert {entry["id"] for entry in read_gallery(task.result)} == {f"listed/{i}" for i in highest}
    scores = [entry["score"] for entry in read_gallery(task.result)]
    assert scores == sorted(scores, reverse=True)


def test_texts_and_images_are_kept_to_be_shown(references: dict[str, Reference], tmp_path: Path, make: Any) -> None:
    images = references["images"]
    entries = tuple(Item(str(i), make.png(p)) for i, p in enumerate(make.real_images(3, np.random.default_rng(0))))
    task = task_of(Listed(entries), tmp_path)
    audit_shard(task, images, images.encoders(device="cpu"))
    assert all(entry["jpeg"] for entry in read_gallery(task.result))
    texts = references["texts"]
    task = task_of(Listed((Item("t", "a long text " * 100),), "texts"), tmp_path)
    audit_shard(task, texts, texts.encoders(device="cpu"))
    (shown,) = read_gallery(task.result)
    assert shown["text"] == ("a long text " * 100)[:400]


def test_a_text_with_half_a_surrogate_pair_is_one_skip(references: dict[str, Reference], tmp_path: Path) -> None:
    texts = references["texts"]
    shard = Listed((Item("t", "half a pair \ud83d"), Item("u", "a whole one \U0001f600")), "texts")
    task = task_of(shard, tmp_path)
    assert audit_shard(task, texts, texts.encoders(device="cpu")) == 1
    assert read_state(task.result).skipped == {"not valid Unicode": 1}


def test_vectors_of_another_width_are_refused(reference: Reference, tmp_path: Path) -> None:
    from indexes.encoders import load_encoder

    task = task_of(vectors_shard(np.zeros((3, 4), np.float32)), tmp_path)
    with pytest.raises(InputError, match="width 4, but the reference 'vectors' has width 6"):
        audit_shard(task, reference, [load_encoder("embeddings")])


def test_rows_that_are_not_finite_are_skipped(
    reference: Reference, encoders: Any, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    rows = make.real_vectors(20, rng)
    rows[3, 2], rows[5, 0] = np.nan, np.inf
    task = task_of(source_of_array(rows).shards[0], tmp_path)
    assert audit_shard(task, reference, encoders) == 18
    assert read_state(task.result).skipped == {"not finite": 2}


def test_a_vector_too_long_for_float32_products_is_one_skip(
    reference: Reference, encoders: Any, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    rows = make.real_vectors(20, rng)
    rows[3] *= 1e30
    task = task_of(vectors_shard(rows), tmp_path)
    assert audit_shard(task, reference, encoders) == 19
    assert read_state(task.result).skipped == {"values beyond 1e+15": 1}
