"""What is saved comes back, and what is damaged or foreign is refused."""

import json

import numpy as np
import pytest

from indexes.errors import ArtifactError
from indexes.records import Embeddings
from indexes.search.approximate import build_index, load_index, save_index
from indexes.store import (
    load_embeddings,
    read_manifest,
    save_embeddings,
    write_atomic,
    write_manifest,
)


@pytest.fixture
def embeddings():
    vectors = np.random.default_rng(3).standard_normal((40, 6)).astype(np.float32)
    return Embeddings(vectors=vectors, ids=tuple(f"ä/{i}.jpg" for i in range(40)), encoder="forensic-1")


@pytest.fixture
def saved(embeddings, tmp_path):
    save_embeddings(tmp_path / "saved", embeddings)
    return tmp_path / "saved"


def test_embeddings_come_back_as_they_were_saved(saved, embeddings):
    loaded = load_embeddings(saved, encoder="forensic-1")
    np.testing.assert_array_equal(loaded.vectors, embeddings.vectors)
    assert (loaded.ids, loaded.encoder) == (embeddings.ids, embeddings.encoder)


def test_loaded_vectors_are_memory_mapped_and_read_only(saved):
    vectors = load_embeddings(saved).vectors
    assert isinstance(vectors, np.memmap)
    assert not vectors.flags.writeable


def test_no_embeddings_at_all_come_back_too(tmp_path):
    save_embeddings(tmp_path, Embeddings(vectors=np.empty((0, 3), dtype=np.float32), ids=(), encoder="e"))
    assert load_embeddings(tmp_path).vectors.shape == (0, 3)


def test_a_save_leaves_no_temporary_files(saved):
    assert sorted(path.name for path in saved.iterdir()) == ["ids.json", "manifest.json", "vectors.npy"]


def test_a_missing_manifest_means_an_interrupted_save(saved):
    (saved / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match="interrupted"):
        load_embeddings(saved)


def test_a_save_that_fails_half_way_does_not_leave_the_old_manifest(saved, embeddings, monkeypatch):
    monkeypatch.setattr("indexes.store.write_atomic", _full_disk)
    with pytest.raises(OSError, match="no space"):
        save_embeddings(saved, embeddings)
    with pytest.raises(ArtifactError, match="interrupted"):
        load_embeddings(saved)


def _full_disk(path, data):
    raise OSError("no space")


@pytest.mark.parametrize("name", ["vectors.npy", "ids.json"])
def test_a_truncated_file_is_refused(saved, name):
    content = (saved / name).read_bytes()
    (saved / name).write_bytes(content[:-7])
    with pytest.raises(ArtifactError, match=f"has {len(content) - 7} bytes, expected {len(content)}"):
        load_embeddings(saved)


def test_a_missing_file_is_refused(saved):
    (saved / "vectors.npy").unlink()
    with pytest.raises(ArtifactError, match="has no bytes"):
        load_embeddings(saved)


def test_a_damaged_file_of_the_right_size_is_refused(saved):
    (saved / "vectors.npy").write_bytes(b"x" * (saved / "vectors.npy").stat().st_size)
    with pytest.raises(ArtifactError, match="damaged"):
        load_embeddings(saved)


def test_vectors_of_another_shape_than_the_manifest_says_are_refused(saved):
    manifest = json.loads((saved / "manifest.json").read_bytes())
    write_manifest(saved, {**manifest, "shape": [20, 12]})
    with pytest.raises(ArtifactError, match=r"manifest says \[\[20, 12\]"):
        load_embeddings(saved)


def test_another_encoder_is_refused(saved):
    with pytest.raises(ArtifactError, match="made by encoder 'forensic-1', expected 'pixels-1'"):
        load_embeddings(saved, encoder="pixels-1")


def test_an_unknown_schema_is_refused(saved):
    with pytest.raises(ArtifactError, match="expected 'madaudit/index/1'"):
        read_manifest(saved, "madaudit/index/1")


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff"])
def test_an_unreadable_manifest_is_refused(saved, content):
    (saved / "manifest.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        load_embeddings(saved)


def test_a_manifest_without_its_fields_is_refused(saved):
    write_manifest(saved, {"schema": "madaudit/embeddings/1"})
    with pytest.raises(ArtifactError, match="without"):
        load_embeddings(saved)


def test_write_atomic_keeps_the_old_file_when_writing_fails(tmp_path):
    write_atomic(tmp_path / "a", b"old")
    with pytest.raises(TypeError):
        write_atomic(tmp_path / "a", "not bytes")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old"}


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_an_index_answers_the_same_after_loading(kind, tmp_path):
    vectors = np.random.default_rng(3).standard_normal((500, 6)).astype(np.float32)
    index = build_index(vectors, kind=kind)
    save_index(tmp_path, index, encoder="e")
    loaded = load_index(tmp_path, encoder="e").search(vectors, 4)
    expected = index.search(vectors, 4)
    np.testing.assert_array_equal(loaded.indices, expected.indices)
    np.testing.assert_array_equal(loaded.distances, expected.distances)


@pytest.fixture
def saved_index(tmp_path):
    save_index(tmp_path, build_index(np.eye(9, 4, dtype=np.float32), kind="flat"), encoder="e")
    return tmp_path


def test_an_index_of_another_encoder_is_refused(saved_index):
    with pytest.raises(ArtifactError, match="expected 'f'"):
        load_index(saved_index, encoder="f")


def test_a_truncated_index_is_refused(saved_index):
    (saved_index / "knn.index").write_bytes((saved_index / "knn.index").read_bytes()[:-3])
    with pytest.raises(ArtifactError, match="bytes, expected"):
        load_index(saved_index)


def test_a_damaged_index_is_refused(saved_index):
    (saved_index / "knn.index").write_bytes(b"x" * (saved_index / "knn.index").stat().st_size)
    with pytest.raises(ArtifactError, match="not a readable faiss index"):
        load_index(saved_index)
