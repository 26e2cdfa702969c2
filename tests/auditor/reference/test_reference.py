import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from auditor.answers import EncoderRole
from auditor.reference.component import Part, encode_part
from auditor.reference.reference import Reference, load_reference, reference_of_parts, save_reference
from indexes.encoders import load_encoder
from indexes.errors import ArtifactError, InputError
from indexes.sources.memory import source_of_array

ROLE = EncoderRole(spec="embeddings:6", fingerprint="embeddings:6", sees="content", kind="vector")


def a_part(label: str, rows: np.ndarray) -> Part:
    return encode_part(label, [source_of_array(rows)], [load_encoder("embeddings:6")], batch_size=64, threads=1)


def a_reference(*parts: Part, **changes: Any) -> Reference:
    options: dict[str, Any] = {"evidence": ROLE, "semantic": ROLE, "seed": 0, **changes}
    return reference_of_parts("r", parts, **options)


@pytest.fixture(scope="module")
def parts(make: SimpleNamespace) -> tuple[Part, ...]:
    rng = np.random.default_rng(0)
    return a_part("real", make.real_vectors(80, rng)), a_part("gen", make.fake_vectors(80, rng))


@pytest.fixture(scope="module")
def reference(parts: tuple[Part, ...]) -> Reference:
    return a_reference(*parts)


def test_equal_content_has_an_equal_identity_and_other_content_or_seed_another(
    reference: Reference, parts: tuple[Part, ...], make: SimpleNamespace
) -> None:
    assert a_reference(*parts).identity == reference.identity
    assert a_reference(*parts, seed=1).identity != reference.identity
    other = a_part("gen", make.fake_vectors(80, np.random.default_rng(9)))
    assert a_reference(parts[0], other).identity != reference.identity
    assert a_reference(*parts, semantic=None).identity != reference.identity


def test_a_summary_counts_the_items_of_each_component(reference: Reference) -> None:
    assert reference.summary().items == {"real": 80, "gen": 80}
    assert 0 < reference.summary().separation <= 1


def test_an_item_in_two_parts_is_left_out_of_both_and_counted(parts: tuple[Part, ...], make: SimpleNamespace) -> None:
    rng = np.random.default_rng(0)
    real, fake = make.real_vectors(80, rng), make.fake_vectors(80, rng)
    fake[:5] = real[:5]
    reference = a_reference(a_part("real", real), a_part("gen", fake))
    assert reference.counts == {"real": 75, "gen": 75}
    reason = "stands in another part of the reference too"
    assert reference.summary().skipped == {"real": {reason: 5}, "gen": {reason: 5}}


@pytest.mark.parametrize("shared", [40, 80])
def test_a_part_that_sharing_leaves_too_small_is_refused_with_the_reason(shared: int, make: SimpleNamespace) -> None:
    rng = np.random.default_rng(0)
    real, fake = make.real_vectors(200, rng), make.fake_vectors(80, rng)
    fake[:shared] = real[:shared]
    with pytest.raises(InputError, match=rf"'gen' has {80 - shared} usable items.*stands in another part"):
        a_reference(a_part("real", real), a_part("gen", fake))


def test_a_folder_may_be_named_by_a_string(reference: Reference, tmp_path: Path) -> None:
    save_reference(tmp_path, reference)
    assert load_reference(str(tmp_path)).identity == reference.identity


def test_nearest_distances_are_sorted_and_leave_the_item_itself_out(reference: Reference) -> None:
    assert (np.diff(reference.nearest) >= 0).all()
    assert reference.nearest[0] > 0
    assert len(reference.nearest) == 160


def test_without_a_semantic_encoder_there_is_no_semantic_space(parts: tuple[Part, ...]) -> None:
    reference = a_reference(*parts, semantic=None)
    assert (reference.semantic, reference.semantic_encoder) == (None, None)


def test_repeated_labels_are_refused(parts: tuple[Part, ...]) -> None:
    with pytest.raises(InputError, match="repeat"):
        a_reference(*parts, replace(parts[1], vectors=(parts[1].vectors[0] + 1,)))


def test_a_component_of_too_few_items_is_refused(parts: tuple[Part, ...], make: SimpleNamespace) -> None:
    with pytest.raises(InputError, match="expected at least 50"):
        a_reference(parts[0], a_part("gen", make.fake_vectors(30, np.random.default_rng(0))))


@pytest.mark.parametrize("semantic", [ROLE, None])
def test_a_stored_reference_gives_the_same_evidence_and_answers(
    parts: tuple[Part, ...], tmp_path: Path, make: SimpleNamespace, semantic: EncoderRole | None
) -> None:
    built = a_reference(*parts, semantic=semantic)
    save_reference(tmp_path / "r", built)
    loaded = load_reference(tmp_path / "r")
    rows = make.fake_vectors(30, np.random.default_rng(3))
    digests = np.random.default_rng(4).integers(0, 256, (30, 16), dtype=np.uint8)
    here, there = (r.detector.evidence(rows, digests) for r in (built, loaded))
    np.testing.assert_array_equal(here.posteriors, there.posteriors)
    np.testing.assert_array_equal(here.nearest, there.nearest)
    assert loaded.summary() == built.summary()
    np.testing.assert_array_equal(loaded.calibration.densities, built.calibration.densities)
    np.testing.assert_array_equal(loaded.nearest, built.nearest)
    assert (loaded.formats, loaded.traits, loaded.embeddings.ids) == (built.formats, built.traits, built.embeddings.ids)
    if semantic is not None:
        assert built.semantic is not None
        assert loaded.semantic is not None
        np.testing.assert_array_equal(loaded.semantic.vectors, built.semantic.vectors)


def test_a_save_that_was_interrupted_is_refused(reference: Reference, tmp_path: Path) -> None:
    save_reference(tmp_path, reference)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match="interrupted"):
        load_reference(tmp_path)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _blank(path: Path) -> None:
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(200) + content[middle + 200 :])


def _blank_the_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-60] + bytes(60))


def _forget_labels(path: Path) -> None:
    path.write_text(path.read_text().replace('"labels"', '"lables"'))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("fitted.npz", Path.unlink),
        ("fitted.npz", _truncate),
        ("fitted.npz", _blank),
        ("fitted.npz", _blank_the_end),
        ("manifest.json", _truncate),
        ("manifest.json", _forget_labels),
        ("evidence/vectors.npy", _truncate),
        ("semantic", shutil.rmtree),
    ],
)
def test_a_damaged_reference_is_an_artifact_error(reference: Reference, tmp_path: Path, name: str, damage: Any) -> None:
    save_reference(tmp_path, reference)
    damage(tmp_path / name)
    with pytest.raises(ArtifactError):
        load_reference(tmp_path)


def test_nothing_stored_is_pickled(reference: Reference, tmp_path: Path) -> None:
    save_reference(tmp_path, reference)
    with np.load(tmp_path / "fitted.npz", allow_pickle=False) as stored:
        assert all(stored[name].dtype != object for name in stored)
