import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

SMALL = ("--chains", 6, "--n-initial", 30, "--n-measure", 30, "--measured-chains", 2, "--generations", 3, "--quiet")


@pytest.fixture
def loop(make: SimpleNamespace) -> Callable[..., Any]:
    """`madaudit loop …` in this process."""
    return lambda *arguments: make.run("loop", *arguments)


def test_a_run_prints_one_json_document_with_a_row_for_every_generation(loop: Callable[..., Any]) -> None:
    found = loop("run", "--family", "gaussian", *SMALL, "--json")
    assert (found.code, found.err) == (0, "")
    document = found.json
    assert document["schema"] == "madaudit/loop/1"
    assert [row["generation"] for row in document["generations"]] == [1, 2, 3]
    assert [(row["n_real"], row["n_synthetic"]) for row in document["generations"]] == [(30, 0), (0, 30), (0, 30)]
    for row in document["generations"]:
        for name in ("frechet", "precision", "recall", "density", "coverage", "vendi"):
            assert row[name]["low"] <= row[name]["estimate"] <= row[name]["high"]


def test_the_document_names_the_data_and_every_count_that_was_filled_in(loop: Callable[..., Any]) -> None:
    config = loop("run", "--family", "gaussian", "--workflow", "fresh", *SMALL, "--json").json["config"]
    assert (config["data"], config["n_real"], config["n_synthetic"], config["n_initial"]) == ("normal:1", 30, 30, 30)


def test_a_closed_form_stands_beside_the_simulation_where_there_is_one(loop: Callable[..., Any]) -> None:
    theory = loop("run", "--family", "gaussian", *SMALL, "--json").json["theory"]
    np.testing.assert_allclose(theory["variance"], [1, 1, 1])
    assert loop("run", "--family", "kde", "--data", "normal:2", *SMALL, "--json").json["theory"] == {}


def test_options_override_the_file(loop: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "loop.yaml"
    file.write_text("family: gaussian\ngenerations: 7\nchains: 3\nn-initial: 20\nn_measure: 20\nsettings: {ddof: 0}\n")
    config = loop("run", file, "--generations", 2, "--json", "--quiet").json["config"]
    assert (config["generations"], config["chains"], config["n_initial"]) == (2, 3, 20)
    assert config["settings"] == {"ddof": 0}


def test_settings_of_the_family_are_set_one_by_one(loop: Callable[..., Any]) -> None:
    found = loop("run", "--family", "gmm", "--data", "grid:2", "--set", "components=4", *SMALL, "--json")
    assert found.json["config"]["settings"] == {"components": 4}


def test_the_same_seed_gives_the_same_document(loop: Callable[..., Any]) -> None:
    def run(seed: int) -> str:
        return str(loop("run", *SMALL, "--seed", seed, "--json").out)

    assert run(3) == run(3)
    assert run(3) != run(4)


def test_a_kept_run_leaves_its_result_and_tables(loop: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "kept"
    document = loop("run", *SMALL, "--out", out, "--json").json
    assert json.loads((out / "result.json").read_text()) == document
    rows = pq.read_table(out / "generations.parquet").to_pylist()
    assert [row["frechet"] for row in rows] == [row["frechet"]["estimate"] for row in document["generations"]]
    chains = pq.read_table(out / "chains.parquet").to_pylist()
    assert [(row["generation"], row["chain"]) for row in chains] == [(g, c) for g in (1, 2, 3) for c in range(6)]


def test_the_same_command_again_reads_back_what_is_kept(loop: Callable[..., Any], tmp_path: Path) -> None:
    first = loop("run", *SMALL, "--out", tmp_path / "kept", "--json")
    stamp = (tmp_path / "kept/generations/0003.json").stat().st_mtime_ns
    again = loop("run", *SMALL, "--out", tmp_path / "kept", "--json")
    assert again.out == first.out
    assert (tmp_path / "kept/generations/0003.json").stat().st_mtime_ns == stamp


def test_another_loop_in_the_same_folder_is_refused_and_nothing_lost(loop: Callable[..., Any], tmp_path: Path) -> None:
    loop("run", *SMALL, "--out", tmp_path / "kept", "--json")
    kept = (tmp_path / "kept/result.json").read_bytes()
    refused = loop("run", *SMALL, "--seed", 9, "--out", tmp_path / "kept", "--json")
    assert (refused.code, refused.out) == (2, "")
    assert "--overwrite" in refused.err
    assert refused.err.count("\n") == 1
    assert (tmp_path / "kept/result.json").read_bytes() == kept
    assert loop("run", *SMALL, "--seed", 9, "--out", tmp_path / "kept", "--overwrite", "--json").code == 0


def test_the_effective_size_of_a_loop_without_synthetic_items_is_its_real_size(loop: Callable[..., Any]) -> None:
    found = loop(
        "run", "--workflow", "fresh", "--n-real", 40, "--n-synthetic", 0, "--chains", 4000, "--generations", 2,
        "--n-measure", 20, "--measured-chains", 1, "--quiet", "--effective-size", "--json",
    ).json  # fmt: skip
    assert found["generations"][1]["effective_ratio"]["estimate"] == pytest.approx(1, abs=0.1)
    assert found["real_only"]["sizes"] == [5, 10, 20, 40, 80, 160, 320]


def test_a_bias_of_zero_is_a_document_too(loop: Callable[..., Any]) -> None:
    found = loop("run", *SMALL, "--bias", 0, "--json")
    assert found.code == 0
    assert found.json["theory"]["log_det"][2] is None


def test_the_table_on_the_terminal_has_a_line_for_every_generation(loop: Callable[..., Any]) -> None:
    lines = loop("run", *SMALL).out.splitlines()
    assert lines[0].split() == ["generation", "real", "synthetic", "frechet", "precision", "recall", "vendi"]
    assert [line.split()[:3] for line in lines[1:]] == [["1", "30", "0"], ["2", "0", "30"], ["3", "0", "30"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--family", "gauss"), "expected one of gaussian"),
        (("--workflow", "again"), "expected one of replace"),
        (("--bias", 1.5), "bias is 1.5"),
        (("--generations", 0), "at least 1"),
        (("--set", "ddof"), "KEY=VALUE"),
        (("--set", "ddof=["), "--set"),
        (("--data", "normal:1e30"), "whole number"),
        (("--set", "depth=3"), "no setting depth"),
        (("--contamination", 0.2), "--contaminant"),
        (("--data", "tokens:4"), "reads vectors"),
        (("--data", "normal:two"), "expected a number"),
        (("--data", "/nowhere/at.npy"), "no such file"),
        (("--mixing", "often"), "fixed or binomial"),
        (("--data", "digits", "--n-initial", 5000), "1797"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(
    loop: Callable[..., Any], arguments: tuple[object, ...], said: str
) -> None:
    found = loop("run", "--chains", 2, "--generations", 2, "--quiet", *arguments)
    assert (found.code, found.out) == (2, "")
    assert said in found.err
    assert found.err.count("\n") == 1


def test_an_unknown_field_of_the_file_is_named(loop: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").write_text("famly: gaussian\n")
    found = loop("run", tmp_path / "loop.yaml")
    assert found.code == 2
    assert "no field famly" in found.err


def test_a_sweep_writes_a_row_for_every_generation(loop: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "base: {generations: 2, chains: 4, n_initial: 20, n_measure: 20, measured_chains: 1}\n"
        "grid: {workflow: [replace, fresh], bias: [1, 0.5]}\n"
    )
    found = loop("sweep", file, "--out", tmp_path / "out", "--json", "--quiet")
    assert (found.code, found.json["loops"], found.json["failed"]) == (0, 4, {})
    rows = pq.read_table(tmp_path / "out/sweep.parquet").to_pylist()
    assert [(r["workflow"], r["bias"], r["generation"]) for r in rows] == [
        (workflow, bias, t) for workflow in ("replace", "fresh") for bias in (1.0, 0.5) for t in (1, 2)
    ]


def test_a_loop_of_a_sweep_that_fails_is_named_and_the_others_are_kept(
    loop: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text("base: {generations: 1, chains: 2, n_measure: 20, data: digits}\ngrid: {n_initial: [50, 5000]}\n")
    found = loop("sweep", file, "--out", tmp_path / "out", "--quiet")
    assert found.code == 3
    assert "1 of 2 loops finished" in found.out
    assert "1797" in found.err
    assert pq.read_table(tmp_path / "out/sweep.parquet").num_rows == 1


def test_the_families_say_what_the_bias_does_and_what_can_be_set(loop: Callable[..., Any]) -> None:
    found = {family["name"]: family for family in loop("families", "--json").json}
    assert len(found) >= 12
    assert found["gaussian"]["settings"] == {"ddof": 1}
    assert all(
        family["bias"] and family["summary"] and family["reads"] in ("vectors", "tokens") for family in found.values()
    )
    listing = loop("families").out
    assert all(name in listing for name in found)


def test_the_workflows_are_those_of_the_contract(loop: Callable[..., Any]) -> None:
    assert {workflow["name"] for workflow in loop("workflows", "--json").json} == {
        "replace", "augment", "augment-accumulate", "fresh", "accumulate", "accumulate-subsample", "weighted",
        "curated", "verified",
    }  # fmt: skip
    assert "augment-accumulate" in loop("workflows").out


def test_a_kept_run_can_be_drawn(loop: Callable[..., Any], tmp_path: Path) -> None:
    loop("run", *SMALL, "--out", tmp_path / "kept")
    drawn = [Path(path) for path in loop("plot", tmp_path / "kept", "--json").json]
    assert drawn
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn if path.suffix == ".png")


def test_a_folder_without_loops_cannot_be_drawn(loop: Callable[..., Any], tmp_path: Path) -> None:
    found = loop("plot", tmp_path)
    assert found.code == 2
    assert found.err.count("\n") == 1


def test_numbers_in_scientific_notation_are_numbers(loop: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "loop.yaml"
    file.write_text("family: gmm\ndata: grid:2\nbias: 5e-1\nsettings: {components: 4, regularisation: 1e-6}\n")
    config = loop("run", file, "--set", "regularisation=1e-3", *SMALL, "--json").json["config"]
    assert config["bias"] == 0.5
    assert config["settings"] == {"components": 4, "regularisation": 1e-3}


def test_columns_of_the_table_never_touch(loop: Callable[..., Any]) -> None:
    rows = loop("run", *SMALL).out.splitlines()[1:]
    assert all(len(row.replace("[", " [").split("  ")) >= 7 for row in rows if row[:10].strip().isdigit())


def test_the_effective_size_is_shown_on_the_terminal(loop: Callable[..., Any]) -> None:
    arguments = ("--workflow", "fresh", *SMALL, "--effective-size")
    assert "n_e/n_real by generation: " in loop("run", *arguments).out


def test_a_sweep_does_not_touch_a_folder_of_other_files(loop: Callable[..., Any], tmp_path: Path) -> None:
    config = tmp_path / "sweep.yaml"
    config.write_text("base: {generations: 1, chains: 3, n_initial: 20, n_measure: 20}\n")
    found = loop("sweep", config, "--out", tmp_path)
    assert found.code == 2
    assert "holds sweep.yaml, which is not part of a sweep: choose another --out" in found.err
    assert [file.name for file in tmp_path.iterdir() if file.name != "home"] == ["sweep.yaml"]
