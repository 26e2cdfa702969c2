"""Tests of the tasks of a worker, run in this process: results, progress, and the checks before the work."""

import itertools
import json
import shutil
import typing
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from auditor.folder import AuditFolder
from auditor.reference.reference import load_reference
from auditor.results import AuditResult, read_result
from indexes.errors import InputError
from service.allowed_roots import AllowedRoots, Forbidden
from service.http.schemas import AuditRequest, ForecastQuestion, ReferenceRequest
from service.jobs.tasks import TASKS, Place, perform
from service.settings import Settings
from service.storage.job_queue import Kind

LOOP = {"family": "gaussian", "workflow": "replace", "generations": 3, "n_initial": 40, "chains": 2, "seed": 5}
FORECAST = ForecastQuestion(workflow="augment", synthetic_fraction=0.1, n_initial=500).model_dump(mode="json")


@pytest.fixture
def place(tmp_path: Path, built_home: tuple[Path, Path]) -> Place:
    """A home with the reference `vectors`, and the folder of its data as the allowed root."""
    home, data = built_home
    shutil.copytree(home, tmp_path / "home")
    return Place(Settings(tmp_path / "home"), AllowedRoots.of([str(data)]))


@pytest.fixture
def data(built_home: tuple[Path, Path]) -> Path:
    return built_home[1]


class Heard(list[tuple[int, int]]):
    """The progress that a job told."""

    def __call__(self, done: int, total: int) -> None:
        self.append((done, total))


def unheard(done: int, total: int) -> None: ...


def audit_of(data: Path, **fields: Any) -> dict[str, Any]:
    """A request for an audit as the queue holds it."""
    asked = {"source": f"{data}/incoming.npy", "reference": "vectors", **fields}
    return AuditRequest(**asked).model_dump(mode="json")


def audited(place: Place, job: str, request: dict[str, Any]) -> AuditResult:
    perform("audit", job, request, place, unheard)
    return read_result(AuditFolder(place.folder(job)))


def reference_of(data: Path, **fields: Any) -> dict[str, Any]:
    asked = {
        "name": "new", "real": f"{data}/real.npy", "encoder": "embeddings",
        "synthetic": [{"label": "fake", "source": f"{data}/fake.npy"}], **fields,
    }  # fmt: skip
    return ReferenceRequest(**asked).model_dump(mode="json")


def document(place: Place, job: str) -> Any:
    return json.loads((place.folder(job) / "result.json").read_bytes())


def test_every_kind_of_job_and_question_has_its_task() -> None:
    assert set(TASKS) == {*typing.get_args(Kind), "forecast", "search"}


def test_a_loop_leaves_the_generations_that_the_command_prints(place: Place, make: SimpleNamespace) -> None:
    heard = Heard()
    assert perform("loop", "one", {"config": LOOP}, place, heard) == {}
    options = itertools.chain(*((f"--{name.replace('_', '-')}", value) for name, value in LOOP.items()))
    printed = make.run("loop", "run", *options, "--device", "cpu", "--json")
    assert printed.code == 0, printed.err
    assert document(place, "one")["generations"] == printed.json["generations"]
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_an_interrupted_loop_gives_the_same_result_when_it_is_run_again(place: Place) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    perform("loop", "whole", {"config": LOOP}, place, unheard)
    with pytest.raises(KeyboardInterrupt):
        perform("loop", "cut", {"config": LOOP}, place, interrupt)
    perform("loop", "cut", {"config": LOOP}, place, unheard)
    assert document(place, "cut")["generations"] == document(place, "whole")["generations"]


def test_a_loop_runs_on_the_device_of_the_service_and_not_on_the_one_asked_for(place: Place) -> None:
    perform("loop", "one", {"config": {**LOOP, "device": "cuda:7"}}, place, unheard)
    assert document(place, "one")["config"]["device"] == "cpu"


def test_a_sweep_runs_every_combination_and_reports_each_as_progress(place: Place) -> None:
    biases, sizes = [1.0, 0.8], [30, 40]
    grid = {"bias": biases, "n_initial": sizes}
    heard = Heard()
    found = perform("sweep", "all", {"sweep": {"base": {**LOOP, "generations": 2}, "grid": grid}}, place, heard)
    table = pq.read_table(place.folder("all") / "sweep.parquet").to_pylist()
    combinations = {(row["bias"], row["n_initial"], row["generation"]) for row in table}
    assert combinations == set(itertools.product(biases, sizes, (1, 2)))
    assert (found, len(table)) == ({"failed": {}}, 8)
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_failed_loop_of_a_sweep_is_named_and_the_others_are_kept(place: Place, data: Path) -> None:
    grid = {"data": ["normal:1", f"{data}/none.npy"]}
    failed = perform("sweep", "some", {"sweep": {"base": LOOP, "grid": grid}}, place, unheard)["failed"]
    assert len(failed) == 1
    assert "none.npy" in next(iter(failed.values()))
    table = pq.read_table(place.folder("some") / "sweep.parquet").to_pylist()
    assert {row["key"] for row in table}.isdisjoint(failed)
    assert [row["generation"] for row in table] == [1, 2, 3]


def test_a_sweep_whose_loops_all_fail_is_an_error_with_a_reason(place: Place, data: Path) -> None:
    sweep = {"base": {**LOOP, "data": f"{data}/none.npy"}, "grid": {"seed": [1, 2]}}
    with pytest.raises(InputError, match=r"all 2 loops failed, the first with: .*none.npy"):
        perform("sweep", "none", {"sweep": sweep}, place, unheard)


def test_a_built_reference_lies_in_the_folder_of_its_job(place: Place, data: Path) -> None:
    heard = Heard()
    found = perform("reference", "build", reference_of(data), place, heard)
    built = load_reference(place.folder("build"))
    assert (built.name, built.identity) == ("new", found["identity"])
    assert found["summary"]["items"] == {"real": 200, "fake": 200}
    assert heard[-1] == (400, 0)
    assert not (place.settings.references / "new").exists()


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"limit": 50}, lambda result: (result.n_items, result.run.sampled_from) == (50, 120)),
        ({"declare": ["reference-complete"]}, lambda result: set(result.run.declared) == {"reference-complete"}),
        ({"policy": {"unread": {"warn": 0.5, "fail": 1}}}, lambda result: result.policy.unread.warn == 0.5),
        ({"workflow": "fresh", "n_real": 60}, lambda result: result.mad_risk.plan.sizes == (120, 60, 120)),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_an_audit_uses_what_it_was_asked_with(
    place: Place, data: Path, fields: dict[str, Any], found: Callable[[AuditResult], bool]
) -> None:
    assert found(audited(place, "one", audit_of(data, **fields)))


def test_a_lower_confidence_level_gives_a_narrower_interval(place: Place, data: Path) -> None:
    narrow, wide = (
        audited(place, str(level), audit_of(data, level=level)).diversity.measures["vendi"] for level in (0.5, 0.99)
    )
    assert wide.low < narrow.low < narrow.high < wide.high


def test_the_result_of_an_upload_shows_its_name_and_not_its_path(place: Place, data: Path) -> None:
    assert audited(place, "one", {**audit_of(data), "name": "crawl"}).source == "crawl"


@pytest.mark.parametrize(
    ("kind", "request_of"),
    [
        ("audit", lambda data, link: audit_of(data, source=link)),
        ("audit", lambda data, link: audit_of(data, workflow="fresh", model_samples=link)),
        ("reference", lambda data, link: reference_of(data, real=link)),
        ("reference", lambda data, link: reference_of(data, encoder=f"onnx:{link}")),
        ("loop", lambda data, link: {"config": {"data": link}}),
        ("sweep", lambda data, link: {"sweep": {"grid": {"data": [link]}}}),
        ("forecast", lambda data, link: {**FORECAST, "model_samples": link}),
    ],
)
def test_a_path_that_became_a_link_while_the_job_waited_is_refused(
    place: Place, data: Path, tmp_path: Path, kind: str, request_of: Callable[[Path, str], dict[str, Any]]
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "given.npy").symlink_to(data / "real.npy")
    inside = Place(place.settings, AllowedRoots.of([str(root)]))
    with pytest.raises(Forbidden, match="is outside the allowed roots"):
        perform(kind, "one", request_of(root, str(root / "given.npy")), inside, unheard)
    assert not inside.folder("one").exists()


def test_a_forecast_names_the_calibration_and_not_where_it_lies(place: Place) -> None:
    place.folder("0" * 32).mkdir(parents=True)
    shipped = resources.files("auditor.risk") / "risk_model.npz"
    (place.folder("0" * 32) / "risk_model.npz").write_bytes(shipped.read_bytes())
    found = perform("forecast", "question", {**FORECAST, "risk_model": "0" * 32}, place, unheard)
    assert found["model"]["file"] == "0" * 32
    assert str(place.settings.home) not in json.dumps(found)


def test_a_calibration_on_a_sweep_that_was_not_observed_leaves_no_model(place: Place) -> None:
    perform("sweep", "plain", {"sweep": {"base": LOOP}}, place, unheard)
    with pytest.raises(InputError, match="run a sweep with observe: true"):
        perform("calibration", "fit", {"sweeps": ["plain"]}, place, unheard)
    assert not place.folder("fit").exists()


@pytest.mark.parametrize("name", ["unknown", "../references/vectors", "", "vectors\0"])
def test_an_unknown_reference_is_refused_in_one_line(place: Place, data: Path, name: str) -> None:
    query = {"vectors": np.zeros((1, 8)).tolist(), "image": None, "text": None, "k": 1}
    for kind, request in (("audit", {**audit_of(data), "reference": name}), ("search", {**query, "reference": name})):
        with pytest.raises(InputError, match=r"(no reference is called|is not a valid reference name)") as refused:
            perform(kind, "one", request, place, unheard)
        assert "\n" not in str(refused.value)


def test_a_sweep_runs_on_the_device_of_the_service(place: Place) -> None:
    sweep = {"base": {**LOOP, "device": "cuda"}}
    assert perform("sweep", "on-this-device", {"sweep": sweep}, place, Heard()) == {"failed": {}}
