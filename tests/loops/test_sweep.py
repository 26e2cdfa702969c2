from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from indexes.errors import InputError
from loops.run import run_loop
from loops.sweep import plan_sweep, run_sweep

BASE = {"generations": 2, "n_initial": 20, "chains": 2, "n_measure": 20, "measured_chains": 1}
SWEEP = {"base": BASE, "grid": {"workflow": ["replace", "augment"], "bias": [1, 0.5]}}


def table(document: Any, out: Path, workers: int = 1) -> bytes:
    assert run_sweep(plan_sweep(document), out, workers=workers) == {}
    return (out / "sweep.parquet").read_bytes()


def test_every_combination_is_planned_the_last_field_fastest() -> None:
    found = [(p.config.workflow, p.config.bias) for p in plan_sweep(SWEEP)]
    assert found == [("replace", 1.0), ("replace", 0.5), ("augment", 1.0), ("augment", 0.5)]


def test_each_further_run_is_combined_with_the_grid() -> None:
    planned = plan_sweep({**SWEEP, "runs": [{"seed": 1}, {"seed": 2, "n-real": 5}]})
    assert [(p.config.seed, p.config.n_real) for p in planned] == [(1, None)] * 4 + [(2, 5)] * 4


def test_the_grid_wins_over_runs_and_runs_over_the_base() -> None:
    document = {"base": {"seed": 1, "bias": 0.1}, "runs": [{"seed": 2, "bias": 0.2}], "grid": {"seed": [3]}}
    (planned,) = plan_sweep(document)
    assert (planned.config.seed, planned.config.bias) == (3, 0.2)


def test_a_loop_that_is_asked_for_twice_is_run_once() -> None:
    assert len(plan_sweep({"grid": {"seed": [1, 1]}, "runs": [{}, {"bias": 1}]})) == 1


def test_settings_of_the_family_can_be_swept() -> None:
    planned = plan_sweep({"base": {"settings": {"ddof": 0}}, "grid": {"settings.ddof": [0, 1]}})
    assert [p.config.settings for p in planned] == [{"ddof": 0}, {"ddof": 1}]


def test_a_loops_key_depends_on_nothing_but_its_configuration() -> None:
    (alone,), among = plan_sweep({"base": {**BASE, "workflow": "augment", "bias": 0.5}}), plan_sweep(SWEEP)
    assert alone.key == among[3].key


@pytest.mark.parametrize("document", [
    None, [], "x", {"colour": 1}, {"base": [1]}, {"grid": [1]}, {"grid": {"seed": 1}}, {"grid": {"seed": []}},
    {"runs": {"seed": 1}}, {"runs": [1]}, {"base": {"colour": 1}}, {"grid": {"colour": [1]}}, {"runs": [{"colour": 1}]},
    {"base": {"settings.colour": 1}}, {"base": {"settings": {"colour": 1}}}, {"base": {"settings": [1]}},
    {"grid": {"settings.ddof": [1, "a"]}}, {"grid": {"bias": [0.5, 2]}}, {"grid": {"bias": ["1e-1"]}},
    {"grid": {"workflow": ["replace", "recycle"]}}, {"grid": {"family": ["gaussian", "vampire"]}}, {"base": {1: 2}},
    {"base": {"data": 5}},
], ids=str)  # fmt: skip
def test_what_no_loop_can_be_is_refused_before_anything_runs(document: Any) -> None:
    with pytest.raises(InputError) as raised:
        plan_sweep(document)
    assert "\n" not in str(raised.value)


def test_the_table_has_a_row_for_every_generation_in_the_order_of_the_plan(tmp_path: Path) -> None:
    table(SWEEP, tmp_path / "s")
    found = pq.read_table(tmp_path / "s" / "sweep.parquet").to_pydict()
    assert found["key"] == [p.key for p in plan_sweep(SWEEP) for _ in range(2)]
    assert found["generation"] == [1, 2] * 4


def test_the_tables_numbers_are_those_of_the_loops(tmp_path: Path) -> None:
    table(SWEEP, tmp_path / "s")
    found = pq.read_table(tmp_path / "s" / "sweep.parquet").to_pydict()["frechet"]
    expected = [r.measures["frechet"].estimate for p in plan_sweep(SWEEP) for r in run_loop(p.config)]
    assert found == expected


def test_an_interrupted_sweep_gives_the_same_table(tmp_path: Path) -> None:
    planned = plan_sweep(SWEEP)
    list(run_loop(planned[2].config, folder=tmp_path / "s" / "runs" / planned[2].key))
    next(run_loop(planned[0].config, folder=tmp_path / "s" / "runs" / planned[0].key))
    assert table(SWEEP, tmp_path / "s") == table(SWEEP, tmp_path / "whole")


def test_a_sweep_that_is_run_again_trains_nothing(tmp_path: Path) -> None:
    first = table(SWEEP, tmp_path)
    marks = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("generations/*")}
    assert table(SWEEP, tmp_path) == first
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("generations/*")} == marks


def test_two_workers_give_the_same_table(tmp_path: Path) -> None:
    assert table(SWEEP, tmp_path / "two", workers=2) == table(SWEEP, tmp_path / "one")


def test_a_loop_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    planned = plan_sweep({"base": BASE, "grid": {"data": ["normal:1", "normal:0", "normal:2"]}})
    failed = run_sweep(planned, tmp_path)
    assert list(failed) == [planned[1].key]
    assert "expected a positive whole number" in failed[planned[1].key]
    assert set(pq.read_table(tmp_path / "sweep.parquet")["key"].to_pylist()) == {planned[0].key, planned[2].key}


def test_progress_tells_of_every_loop(tmp_path: Path) -> None:
    told: list[str] = []
    run_sweep(plan_sweep(SWEEP), tmp_path, on_progress=told.append)
    assert [line.split(",")[0] for line in told] == [f"{i}/4 loops" for i in range(1, 5)]
