"""States merge exactly, in one fixed order, and survive the disk."""

from dataclasses import replace

import numpy as np
import pytest

from auditor.evidence.calibration import ScoreCounts
from auditor.measures.set_sums import SetSums
from auditor.passes import state as state_module
from auditor.passes.state import AuditState, fold_states, load_state, save_state, smallest
from auditor.statistics.moments import moments_of
from auditor.unread import ReadCounts
from indexes.errors import ArtifactError, InputError
from indexes.hashing import sample_keys


def state_of(rows, first=0, with_semantic=True):
    """The state of some items whose ids are numbered from `first`."""
    n = len(rows)
    ids = tuple(f"item-{first + i}" for i in range(n))
    vectors = rows.astype(np.float32)
    semantic = None
    if with_semantic:
        totals = np.bincount((first + np.arange(n)) % 11, minlength=11)
        semantic = SetSums(
            raw=moments_of(rows), precise=n // 2, ball_squares=7 * n, totals=totals, sole_items=totals // 2,
            only_items=np.where(totals == 1, first + 1, 0).astype(np.uint64),
        )  # fmt: skip
    histogram = np.bincount(np.arange(n) % 5, minlength=5)
    return AuditState(
        n=n,
        skipped={"not an image": 1, "empty": n},
        formats={"png": n},
        traits={"size": {"64–127 px": n}},
        novel=n // 3,
        scores=ScoreCounts(histogram, moments_of(np.abs(rows[:, :2]))),
        sample=smallest(sample_keys(ids, seed=1), ids, vectors),
        distinct=smallest(sample_keys(ids, seed=2), ids, vectors[:, : 3 * with_semantic], by_content=True),
        semantic=semantic,
        counts=ReadCounts(read=n + 1, read_bytes=40 * n, unusable=1, unread=n, unknown=first, unknown_bytes=9),
    )


def shards(count, rng, size=6):
    return [state_of(rng.normal(size=(size, 4)), first=size * i) for i in range(count)]


def content(state):
    """Every number of a state as bytes."""
    s = state.semantic
    moments = [state.scores.posteriors] + ([] if s is None else [s.raw])
    arrays = [m.total for m in moments] + [m.outer for m in moments]
    arrays += [state.scores.histogram, state.sample.keys, state.sample.vectors]
    arrays += [state.distinct.keys, state.distinct.vectors]
    arrays += [] if s is None else [s.totals, s.sole_items, s.only_items]
    plain = [
        state.n,
        state.counts,
        dict(state.skipped),
        dict(state.formats),
        dict(state.traits),
        state.novel,
        state.sample.ids,
    ]
    plain += [[m.n for m in moments]] + ([] if s is None else [s.precise, s.ball_squares])
    return plain, [(a.dtype.str, a.shape, np.ascontiguousarray(a).tobytes()) for a in arrays]


def test_the_counts_of_a_merged_state_are_sums(rng):
    a, b = state_of(rng.normal(size=(6, 4))), state_of(rng.normal(size=(9, 4)), first=6)
    merged = a + b
    assert merged.n == 15
    assert merged.skipped == {"empty": 15, "not an image": 2}
    assert merged.counts == a.counts + b.counts
    assert (merged.counts.read, merged.counts.unread, merged.counts.unknown) == (17, 15, 6)
    assert merged.novel == 5
    assert merged.scores.histogram.sum() == 15
    assert merged.semantic.ball_squares == 7 * 15
    assert merged.semantic.totals.tolist() == (a.semantic.totals + b.semantic.totals).tolist()


def test_integer_valued_vectors_merge_to_exactly_the_whole(rng):
    rows = rng.integers(-9, 9, (20, 4)).astype(np.float64)
    merged, whole = state_of(rows[:7]) + state_of(rows[7:], first=7), state_of(rows)
    assert merged.semantic.raw.outer.tolist() == whole.semantic.raw.outer.tolist()
    assert merged.sample.ids == whole.sample.ids


def test_the_sample_is_the_items_with_the_smallest_keys(rng, monkeypatch):
    monkeypatch.setattr(state_module, "SAMPLE_SIZE", 10)
    parts = shards(9, rng)
    whole = fold_states(parts)
    ids = [i for part in parts for i in part.sample.ids]
    expected = sorted(zip(sample_keys(ids, seed=1).tolist(), ids, strict=True))[:10]
    assert whole.sample.ids == tuple(i for _, i in expected)
    assert whole.sample.keys.tolist() == [k for k, _ in expected]


def test_a_sampled_item_keeps_its_own_vectors(rng, monkeypatch):
    monkeypatch.setattr(state_module, "SAMPLE_SIZE", 5)
    rows = rng.normal(size=(30, 4)).astype(np.float32)
    whole = fold_states([state_of(rows[i : i + 10], first=i) for i in (0, 10, 20)])
    numbers = [int(i.partition("-")[2]) for i in whole.sample.ids]
    assert np.array_equal(whole.sample.vectors, rows[numbers])
    numbers = [int(i.partition("-")[2]) for i in whole.distinct.ids]
    assert np.array_equal(whole.distinct.vectors, rows[numbers, :3])


def test_equal_keys_are_ordered_by_id():
    vectors = np.arange(3, dtype=np.float32)[:, None]
    assert smallest(np.zeros(3, dtype=np.uint64), ("b", "c", "a"), vectors).ids == ("a", "b", "c")


def test_a_sample_by_content_holds_each_content_once_wherever_its_copies_lie():
    keys, vectors = np.array([5, 3, 5, 9], dtype=np.uint64), np.arange(4, dtype=np.float32)[:, None]
    whole = smallest(keys, ("d", "c", "a", "b"), vectors, by_content=True)
    first = smallest(keys[:2], ("d", "c"), vectors[:2], by_content=True)
    second = smallest(keys[2:], ("a", "b"), vectors[2:], by_content=True)
    assert whole.ids == ("c", "a", "b")
    assert (first + second).ids == (second + first).ids == whole.ids


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13])
def test_the_fold_is_the_fixed_binary_tree(count, rng):
    parts = shards(count, rng)

    def tree(states):
        if len(states) == 1:
            return states[0]
        half = 1 << (len(states) - 1).bit_length() - 1
        return tree(states[:half]) + tree(states[half:])

    assert content(fold_states(parts)) == content(tree(parts))


@pytest.mark.parametrize("block", [1, 2, 4, 8])
def test_folding_aligned_blocks_first_gives_the_same_bytes(block, rng):
    parts = shards(13, rng)
    blocks = [fold_states(parts[i : i + block]) for i in range(0, len(parts), block)]
    assert content(fold_states(blocks)) == content(fold_states(parts))


def test_another_order_gives_the_same_counts_and_sample(rng):
    parts = shards(6, rng)
    forwards, backwards = fold_states(parts), fold_states(parts[::-1])
    assert forwards.sample.ids == backwards.sample.ids
    assert forwards.skipped == backwards.skipped
    np.testing.assert_allclose(forwards.semantic.raw.outer, backwards.semantic.raw.outer)


def test_no_shard_cannot_be_folded():
    with pytest.raises(InputError, match="no finished shard"):
        fold_states([])


def test_states_with_and_without_semantics_do_not_merge(rng):
    rows = rng.normal(size=(5, 4))
    with pytest.raises(InputError, match="audit both with the same encoders"):
        _ = state_of(rows) + state_of(rows, with_semantic=False)


@pytest.mark.parametrize("with_semantic", [True, False])
@pytest.mark.parametrize("n", [0, 1, 40])
def test_a_saved_state_loads_as_it_was(n, with_semantic, rng, tmp_path):
    state = state_of(rng.normal(size=(n, 4)), with_semantic=with_semantic)
    save_state(tmp_path / "state.npz", state)
    assert content(load_state(tmp_path / "state.npz")) == content(state)


def test_ids_of_any_script_and_surrogates_survive(tmp_path):
    vectors = np.zeros((2, 4), dtype=np.float32)
    ids = ("Ünï/文.png", "bad\udcff.png")
    state = state_of(np.zeros((2, 4)))
    replaced = replace(state, sample=smallest(np.arange(2, dtype=np.uint64), ids, vectors))
    save_state(tmp_path / "state.npz", replaced)
    assert load_state(tmp_path / "state.npz").sample.ids == ids


@pytest.mark.parametrize("kept", [0, 10, 1000, -30])
def test_a_truncated_state_is_a_damaged_artefact(kept, rng, tmp_path):
    path = tmp_path / "state.npz"
    save_state(path, state_of(rng.normal(size=(9, 4))))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ArtifactError, match="run the audit again"):
        load_state(path)


def test_a_flipped_byte_is_a_damaged_artefact(rng, tmp_path):
    path = tmp_path / "state.npz"
    save_state(path, state_of(rng.normal(size=(500, 4))))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="run the audit again"):
        load_state(path)


def test_a_missing_state_is_a_damaged_artefact(tmp_path):
    with pytest.raises(ArtifactError):
        load_state(tmp_path / "none.npz")
