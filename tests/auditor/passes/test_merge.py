import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from auditor.folder import AuditFolder
from auditor.passes.merge import merge_into
from auditor.passes.request import AuditRequest
from auditor.reference.reference import Reference
from auditor.results import AuditResult, read_result
from auditor.run import AuditOptions, audit
from indexes.errors import ArtifactError, InputError


@pytest.fixture
def reference(references: dict[str, Reference]) -> Reference:
    return references["vectors"]


@pytest.fixture
def parts(reference: Reference, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator) -> list[Path]:
    """Audits of three folders of two files each; beside them `whole`, of all six."""
    folders = []
    (tmp_path / "all").mkdir()
    for part in range(3):
        folder = tmp_path / f"data{part}"
        folder.mkdir()
        for i in range(2):
            np.save(folder / f"{2 * part + i}.npy", make.real_vectors(30, rng))
            shutil.copy(folder / f"{2 * part + i}.npy", tmp_path / "all")
        audit(folder, reference, out=tmp_path / f"audit{part}")
        folders.append(tmp_path / f"audit{part}")
    audit(tmp_path / "all", reference, out=tmp_path / "whole")
    return folders


def merged(out: Path, parts: list[Path], reference: Reference) -> AuditResult:
    return merge_into(AuditFolder(out), [AuditFolder(part) for part in parts], reference, AuditRequest())


def without_source(result: AuditResult) -> dict[str, Any]:
    return {k: v for k, v in result.to_dict().items() if k not in ("run", "timing", "source", "created")}


def test_parts_in_the_order_of_the_whole_give_its_bytes(
    parts: list[Path], tmp_path: Path, reference: Reference
) -> None:
    whole = read_result(AuditFolder(tmp_path / "whole"))
    assert without_source(merged(tmp_path / "m", parts, reference)) == without_source(whole)
    files = [sorted((tmp_path / name / "items").iterdir()) for name in ("whole", "m")]
    assert [p.read_bytes() for p in files[0]] == [p.read_bytes() for p in files[1]]


def test_merging_merged_audits_agrees_with_merging_all_at_once(
    parts: list[Path], tmp_path: Path, reference: Reference
) -> None:
    merged(tmp_path / "two", parts[1:], reference)
    nested = merged(tmp_path / "nested", [parts[0], tmp_path / "two"], reference)
    flat = merged(tmp_path / "flat", parts, reference)
    assert without_source(nested) == without_source(flat)


def test_the_source_names_every_part(parts: list[Path], tmp_path: Path, reference: Reference) -> None:
    result = merged(tmp_path / "m", parts, reference)
    assert result.source == " + ".join(str(tmp_path / f"data{i}") for i in range(3))
    assert result.run.reused_shards == 6


def test_merging_again_into_the_same_folder_gives_the_same(
    parts: list[Path], tmp_path: Path, reference: Reference
) -> None:
    first, second = (merged(tmp_path / "m", parts, reference) for _ in range(2))
    assert without_source(first) == without_source(second)


def test_a_copy_that_was_interrupted_is_made_again(parts: list[Path], tmp_path: Path, reference: Reference) -> None:
    whole = merged(tmp_path / "m", parts, reference)
    state = next((tmp_path / "m" / "state").glob("*/state.npz"))
    state.write_bytes(state.read_bytes()[:50])
    again = merged(tmp_path / "m", parts, reference)
    assert without_source(again) == without_source(whole)


def test_the_parts_are_left_as_they_were(parts: list[Path], tmp_path: Path, reference: Reference) -> None:
    before = {p: p.read_bytes() for p in parts[0].rglob("*") if p.is_file()}
    merged(tmp_path / "m", parts, reference)
    assert {p: p.read_bytes() for p in parts[0].rglob("*") if p.is_file()} == before


def test_a_part_that_is_not_finished_is_refused(parts: list[Path], tmp_path: Path, reference: Reference) -> None:
    (parts[1] / "state" / "shards.json").unlink()
    with pytest.raises(ArtifactError, match="finish this audit first"):
        merged(tmp_path / "m", parts, reference)


def test_a_part_of_another_batch_size_is_refused(parts: list[Path], tmp_path: Path, reference: Reference) -> None:
    audit(tmp_path / "data0", reference, out=tmp_path / "odd", options=AuditOptions(batch_size=8))
    with pytest.raises(InputError, match="audited with another configuration"):
        merged(tmp_path / "m", [tmp_path / "odd", parts[1]], reference)


def test_a_part_given_twice_is_refused(parts: list[Path], tmp_path: Path, reference: Reference) -> None:
    with pytest.raises(InputError, match=r"0\.npy is in several"):
        merged(tmp_path / "m", [parts[0], parts[0]], reference)


def test_another_reference_than_that_of_the_parts_is_refused(
    parts: list[Path], tmp_path: Path, references: dict[str, Reference]
) -> None:
    with pytest.raises(InputError, match="another build"):
        merged(tmp_path / "m", parts, references["images"])
