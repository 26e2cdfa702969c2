"""A reference from arrays or sources: one call, the same answer, and what it refuses."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from auditor import audit, build_reference
from indexes.errors import InputError
from indexes.sources import open_source


@pytest.fixture(scope="module")
def data(make: SimpleNamespace) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    return make.real_vectors(120, rng), make.fake_vectors(80, rng)


def test_arrays_files_and_sources_give_the_same_reference(data: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    for name, rows in zip(("real", "fake"), data, strict=True):
        np.save(tmp_path / f"{name}.npy", rows)
    by_array = build_reference(real=data[0], synthetic={"g": data[1]}, encoder="embeddings")
    by_path = build_reference(
        real=tmp_path / "real.npy", synthetic={"g": str(tmp_path / "fake.npy")}, encoder="embeddings"
    )
    opened = open_source(str(tmp_path / "fake.npy"), kind="vector")
    by_source = build_reference(real=[data[0]], synthetic={"g": [opened]}, encoder="embeddings")
    assert by_array.identity == by_path.identity == by_source.identity
    assert by_array.counts == {"real": 120, "g": 80}


def test_several_real_sources_keep_their_labels(data: tuple[np.ndarray, np.ndarray]) -> None:
    real = {"near": data[0][:60], "far": data[0][60:] + 3}
    reference = build_reference(real=real, synthetic={"g": data[1] - 3}, encoder="embeddings")
    assert reference.summary().real_sources == ("near", "far")
    assert reference.labels == ("near", "far", "g")


def test_a_reference_needs_no_generator(data: tuple[np.ndarray, np.ndarray]) -> None:
    reference = build_reference(real=data[0], encoder="embeddings")
    assert reference.labels == ("real",)
    assert "no synthetic examples" in str(audit(data[1], reference).synthetic_fraction.reason)


def test_vectors_of_another_width_than_the_reference_s_are_refused(data: tuple[np.ndarray, np.ndarray]) -> None:
    reference = build_reference(real=data[0], synthetic={"g": data[1]}, encoder="embeddings")
    assert reference.evidence.spec == "embeddings:6"
    with pytest.raises(InputError, match="nothing in array of shape"):
        audit(np.ones((20, 5)), reference)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"synthetic": {"real": np.ones((60, 6))}}, "labels real and synthetic data"),
        ({"encoder": "pixels"}, "array|vector"),
        ({"real": np.ones((3, 6, 2))}, "expected vectors"),
        ({"real": np.full((60, 6), np.nan)}, "no usable vector"),
        ({"semantic_encoder": "forensic"}, "sees processing traces only"),
        ({"synthetic": {"g": np.zeros((5, 6))}}, "expected at least"),
    ],
)
def test_what_cannot_be_a_reference_is_refused_in_one_line(
    data: tuple[np.ndarray, np.ndarray], changes: dict[str, object], said: str
) -> None:
    fields = {"real": data[0], "synthetic": {"g": data[1]}, "encoder": "embeddings", **changes}
    with pytest.raises(InputError, match=said) as refused:
        build_reference(**fields)
    assert "\n" not in str(refused.value)


def test_a_part_of_which_too_much_is_unreadable_is_refused(data: tuple[np.ndarray, np.ndarray]) -> None:
    damaged = data[0].copy()
    damaged[:30] = np.nan
    with pytest.raises(InputError, match=r"30 unread \(25 % of what was offered\).*expected a share under 0\.1"):
        build_reference(real=damaged, synthetic={"g": data[1]}, encoder="embeddings")


def test_progress_counts_every_item_under_its_label(data: tuple[np.ndarray, np.ndarray]) -> None:
    seen: dict[str, int] = {}

    def count(label: str, items: int) -> None:
        seen[label] = seen.get(label, 0) + items

    build_reference(real=data[0], synthetic={"g": data[1]}, encoder="embeddings", batch_size=16, on_progress=count)
    assert seen == {"real": 120, "g": 80}
