import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from auditor import audit
from auditor.folder import AuditFolder
from auditor.passes.request import AuditRequest
from auditor.reference.reference import Reference
from auditor.results import AuditResult
from auditor.run import AuditOptions, audit_into, run_here
from indexes.errors import ArtifactError, InputError
from indexes.records import Item, Source


@pytest.fixture
def reference(references: dict[str, Reference]) -> Reference:
    return references["vectors"]


@pytest.fixture
def rows(make: SimpleNamespace, rng: np.random.Generator) -> np.ndarray:
    both: np.ndarray = np.concatenate([make.real_vectors(150, rng), make.fake_vectors(50, rng)])
    return both


def test_an_array_a_file_and_a_source_get_the_same_answers(
    reference: Reference, rows: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", rows)
    by_array, by_file = audit(rows, reference), audit(tmp_path / "a.npy", reference)
    for key in ("synthetic_fraction", "fidelity", "n_items", "verdict"):
        assert by_array.to_dict()[key] == by_file.to_dict()[key]


def test_without_out_nothing_is_left_on_disk(
    reference: Reference, rows: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert audit(rows, reference).n_items == 200
    assert list(tmp_path.iterdir()) == []


def test_with_out_the_folder_holds_the_result_the_items_and_the_skips(
    reference: Reference, rows: np.ndarray, tmp_path: Path
) -> None:
    rows[7] = np.nan
    result = audit(rows, reference, out=tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"result.json", "items", "skipped.parquet", "state"}
    assert AuditResult.from_dict(json.loads((tmp_path / "result.json").read_bytes())).to_dict() == result.to_dict()
    assert (result.n_items, result.skipped) == (199, {"not finite": 1})


def test_an_audit_interrupted_between_shards_resumes_to_the_same_result(
    reference: Reference, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    class Stop(Exception):
        pass

    for i in range(4):
        (tmp_path / "data").mkdir(exist_ok=True)
        np.save(tmp_path / "data" / f"{i}.npy", make.real_vectors(40, rng))
    whole = audit(tmp_path / "data", reference, out=tmp_path / "whole")

    def stop_after_two(done: int, total: int, items: int) -> None:
        if done == 2 and items:
            raise Stop

    with pytest.raises(Stop):
        audit(tmp_path / "data", reference, out=tmp_path / "o", on_progress=stop_after_two)
    assert not (tmp_path / "o" / "result.json").exists()
    again = audit(tmp_path / "data", reference, out=tmp_path / "o")
    assert again.run.reused_shards == 2
    assert make.comparable(again) == make.comparable(whole)


def test_progress_begins_with_what_was_reused_and_counts_every_shard(
    reference: Reference, rows: np.ndarray, tmp_path: Path
) -> None:
    calls: list[tuple[int, int, int]] = []
    for _ in range(2):
        audit(rows, reference, out=tmp_path, on_progress=lambda *call: calls.append(call))
    assert calls == [(0, 1, 0), (1, 1, 200), (1, 1, 0)]


def test_the_order_in_which_shards_are_worked_on_changes_nothing(
    reference: Reference, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    (tmp_path / "data").mkdir()
    for i in range(5):
        np.save(tmp_path / "data" / f"{i}.npy", make.real_vectors(30, rng))
    results = [
        audit_into(AuditFolder(tmp_path / name), tmp_path / "data", reference, AuditRequest(), run=run)
        for name, run in (("a", run_here), ("b", lambda tasks, r: run_here(list(tasks)[::-1], r)))
    ]
    assert make.comparable(results[0]) == make.comparable(results[1])


def test_another_batch_size_changes_no_count_and_no_float_beyond_rounding(
    reference: Reference, rows: np.ndarray
) -> None:
    one, other = (audit(rows, reference, options=AuditOptions(batch_size=b)) for b in (7, 256))
    assert one.synthetic_fraction.histogram == other.synthetic_fraction.histogram
    assert one.synthetic_fraction.estimate == pytest.approx(other.synthetic_fraction.estimate, abs=1e-9, nan_ok=True)
    for name, measure in one.fidelity.measures.items():
        assert measure.estimate == pytest.approx(other.fidelity.measures[name].estimate, rel=1e-9)


def test_a_changed_encoder_is_refused(reference: Reference) -> None:
    changed = replace(reference, evidence=replace(reference.evidence, fingerprint="embeddings:old"))
    with pytest.raises(ArtifactError, match="rebuild the reference"):
        changed.encoders(device="cpu")


def test_one_encoder_is_loaded_where_it_plays_both_roles(reference: Reference) -> None:
    assert len(reference.encoders(device="cpu")) == 1


def test_an_unknown_kind_of_item_is_refused(reference: Reference) -> None:
    class Texts:
        name = "t"

        def identity(self) -> str:
            return "1"

        def read(self) -> list[Item]:
            return iter([Item("a", "a text")])  # type: ignore[return-value]  # as a plain shard would

    with pytest.raises(InputError, match="holds str"):
        audit(Source("s", "vector", (Texts(),)), reference)


def test_a_folder_is_claimed_once_and_for_one_configuration(tmp_path: Path) -> None:
    AuditFolder(tmp_path).claim("s", {"seed": 1}, overwrite=False)
    AuditFolder(tmp_path).claim("s", {"seed": 1}, overwrite=False)
    assert AuditFolder(tmp_path).read_claim() == {"source": "s", "seed": 1}
    with pytest.raises(InputError, match="another seed"):
        AuditFolder(tmp_path).claim("s", {"seed": 2}, overwrite=False)
    with pytest.raises(InputError, match="another source"):
        AuditFolder(tmp_path).claim("t", {"seed": 1}, overwrite=False)
    AuditFolder(tmp_path).claim("t", {"seed": 2}, overwrite=True)
    assert AuditFolder(tmp_path).read_claim() == {"source": "t", "seed": 2}


def test_overwriting_removes_the_shards_of_the_other_audit(tmp_path: Path) -> None:
    AuditFolder(tmp_path).claim("s", {}, overwrite=False)
    (tmp_path / "state" / "shard").mkdir()
    AuditFolder(tmp_path).claim("s", {}, overwrite=True)
    assert (tmp_path / "state" / "shard").exists()
    AuditFolder(tmp_path).claim("t", {}, overwrite=True)
    assert not (tmp_path / "state" / "shard").exists()


def test_a_damaged_claim_is_an_artifact_error_that_overwriting_mends(tmp_path: Path) -> None:
    AuditFolder(tmp_path).claim("s", {}, overwrite=False)
    (tmp_path / "state" / "audit.json").write_text("{")
    with pytest.raises(ArtifactError, match="use --overwrite"):
        AuditFolder(tmp_path).claim("s", {}, overwrite=False)
    AuditFolder(tmp_path).claim("s", {}, overwrite=True)
    assert AuditFolder(tmp_path).read_claim() == {"source": "s"}


@pytest.mark.parametrize("name", ["items", "result.json", "report.html", "skipped.parquet"])
def test_a_folder_with_files_that_would_be_replaced_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=name):
        AuditFolder(tmp_path).claim("s", {}, overwrite=False)
    assert (tmp_path / name).read_text() == "mine"


def test_other_files_in_the_folder_are_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("mine")
    AuditFolder(tmp_path).claim("s", {}, overwrite=False)
    assert (tmp_path / "log.txt").read_text() == "mine"


def _dangling(folder: Path) -> Path:
    (folder / "link").symlink_to("/nonexistent/place")
    return folder / "link"


def _loop(folder: Path) -> Path:
    (folder / "loop").symlink_to("loop")
    return folder / "loop" / "audit"


def _below_a_file(folder: Path) -> Path:
    (folder / "file").write_text("")
    return folder / "file" / "audit"


IMPOSSIBLE = [
    _dangling, _loop, _below_a_file, lambda folder: folder / "\0", lambda folder: folder / ("n" * 300),
    lambda folder: Path("/dev/null"),
]  # fmt: skip


@pytest.mark.parametrize("place", IMPOSSIBLE)
def test_an_out_that_can_be_no_folder_is_an_input_error(
    reference: Reference, rows: np.ndarray, tmp_path: Path, place: Callable[[Path], Path]
) -> None:
    with pytest.raises(InputError, match="choose another --out"):
        audit(rows, reference, out=place(tmp_path))
