import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from auditor.folder import AuditFolder
from service.cli import gate

Command = Any
World = Any


@pytest.fixture
def mixed(tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator) -> Path:
    """150 real and 50 synthetic vectors."""
    path = tmp_path / "mixed.npy"
    np.save(path, np.concatenate([make.real_vectors(150, rng), make.fake_vectors(50, rng)]))
    return path


def one_line(text: str) -> bool:
    return text.startswith("madaudit: ") and text.endswith("\n") and text.count("\n") == 1


# what an audit answers


def test_the_estimate_of_a_known_mixture_lies_in_its_interval_and_near_the_truth(
    madaudit: Command, mixed: Path, tmp_path: Path
) -> None:
    fraction = madaudit("audit", mixed, "--reference", "vectors", "--out", tmp_path / "o", "--json").json[
        "synthetic_fraction"
    ]
    assert fraction["low"] <= 0.25 <= fraction["high"]
    for condition in ("if_generators_known", "if_both"):
        assert fraction[condition]["low"] <= 0.25 <= fraction[condition]["high"]
        assert abs(fraction[condition]["estimate"] - 0.25) < 0.12  # three standard errors at this overlap


def test_the_document_on_standard_output_is_the_result_file(madaudit: Command, mixed: Path, tmp_path: Path) -> None:
    printed = madaudit("audit", mixed, "--reference", "vectors", "--out", tmp_path / "o", "--json").json
    assert printed == json.loads((tmp_path / "o" / "result.json").read_bytes())


def test_a_result_has_every_field_of_the_contract(madaudit: Command, mixed: Path, tmp_path: Path) -> None:
    result = madaudit("audit", mixed, "--reference", "vectors", "--out", tmp_path / "o", "--json").json
    assert result["schema"] == "madaudit/result/2"
    assert {"verdict", "n_items", "skipped", "synthetic_fraction", "diversity", "fidelity", "mad_risk", "checks"} | {
        "unread", "confounds", "reference", "encoder", "index", "policy", "run", "timing", "version", "created",
        "source",
    } <= result.keys()  # fmt: skip
    assert {"estimate", "low", "high", "level", "status", "method", "reason", "by_generator", "unexplained"} | {
        "if_reference_matches",
        "of_the_whole_set",
    } <= result["synthetic_fraction"].keys()
    assert {"share", "items", "files", "bytes"} <= result["unread"].keys()
    assert {"estimate", "low", "high"} <= result["unread"]["share"].keys()
    assert {"vendi", "coverage", "recall", "effective_rank", "duplicates"} <= result["diversity"]["measures"].keys()
    assert {"frechet", "precision", "density"} <= result["fidelity"]["measures"].keys()
    assert {
        "probability",
        "status",
        "reason",
        "event",
        "plan",
        "tier",
        "skill",
        "space",
        "trajectory",
        "advice",
    } <= result["mad_risk"].keys()


def test_the_workflow_named_is_in_the_result(madaudit: Command, mixed: Path, law_model: Path, tmp_path: Path) -> None:
    result = madaudit(
        "audit", mixed, "--reference", "vectors", "--out", tmp_path / "o", "--json", "--workflow", "augment",
        "--generations", 5, "--n-real", 1000, "--bias", 0.9, "--risk-model", law_model,
    ).json  # fmt: skip
    assert result["mad_risk"]["plan"] == {
        "workflow": "augment",
        "generations": 5,
        "n_initial": 200,
        "n_real": 1000,
        "n_synthetic": 200,
        "bias": 0.9,
    }


def test_a_limit_uses_a_random_sample_and_widens_the_interval(madaudit: Command, mixed: Path, tmp_path: Path) -> None:
    options = ("--reference", "vectors", "--json", "--declare", "generators-complete")
    whole = madaudit("audit", mixed, *options, "--out", tmp_path / "a").json
    beyond = madaudit("audit", mixed, *options, "--out", tmp_path / "b", "--limit", 1000).json
    cut = madaudit("audit", mixed, *options, "--out", tmp_path / "c", "--limit", 100).json
    assert (whole["n_items"], beyond["n_items"], cut["n_items"]) == (200, 200, 100)
    widths = [r["synthetic_fraction"]["high"] - r["synthetic_fraction"]["low"] for r in (whole, beyond, cut)]
    assert widths[0] == widths[1]
    assert widths[2] > 1.5 * widths[0]  # half the items alone: 1.41; the sample's composition is uncertain too


def test_a_limit_holds_for_all_shards_together(
    madaudit: Command, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    for i in range(3):
        make.write_tar(tmp_path / "tars" / f"{i}.tar", make.real_images(20, rng))
    result = madaudit(
        "audit", tmp_path / "tars", "--reference", "images", "--out", tmp_path / "o", "--json", "--limit", 30
    ).json
    assert (result["n_items"], result["run"]["shards"]) == (30, 3)


def test_parts_audited_with_a_limit_are_not_merged(madaudit: Command, mixed: Path, tmp_path: Path) -> None:
    madaudit("audit", mixed, "--reference", "vectors", "--out", tmp_path / "a", "--limit", 50)
    refused = madaudit("merge", tmp_path / "a", "--out", tmp_path / "m")
    assert refused.code == 2
    assert "--limit" in refused.err


def test_a_folder_that_another_audit_writes_into_is_refused(madaudit: Command, mixed: Path, tmp_path: Path) -> None:
    with AuditFolder(tmp_path / "o").only_writer():
        refused = madaudit("audit", mixed, "--reference", "vectors", "--out", tmp_path / "o")
    assert refused.code == 2
    assert "another audit is writing" in refused.err


def test_a_declaration_is_recorded(madaudit: Command, mixed: Path, tmp_path: Path) -> None:
    result = madaudit(
        "audit", mixed, "--reference", "vectors", "--out", tmp_path / "o", "--json", "--declare", "reference-complete"
    ).json
    assert result["run"]["declared"] == ["reference-complete"]


# exit codes


def test_a_good_set_passes_with_exit_code_0(madaudit: Command, tmp_path: Path, make: SimpleNamespace) -> None:
    images = make.write_images(tmp_path / "im", make.real_images(150, np.random.default_rng(3)))
    outcome = madaudit(
        "audit", images, "--reference", "images", "--out", tmp_path / "o", "--json", "--declare", "generators-complete"
    )  # 150 items could hide more than 5 % of a generator never seen
    assert (outcome.json["verdict"], outcome.code) == ("pass", 0)


def test_a_failed_gate_is_exit_code_1_and_says_nothing_on_standard_error(
    madaudit: Command, mixed: Path, tmp_path: Path
) -> None:
    outcome = madaudit("audit", mixed, "--reference", "vectors", "--out", tmp_path / "o")
    assert (outcome.code, outcome.err) == (1, "")
    assert outcome.out.startswith("FAIL: 200 items")


@pytest.mark.parametrize(
    ("verdict", "fail_on", "code"),
    [
        ("pass", "undetermined", 0),
        ("pass", "warn", 0),
        ("undetermined", "undetermined", 4),
        ("undetermined", "warn", 4),
        ("undetermined", "fail", 0),
        ("undetermined", "never", 0),
        ("warn", "undetermined", 0),
        ("warn", "warn", 1),
        ("warn", "fail", 0),
        ("fail", "warn", 1),
        ("fail", "undetermined", 1),
        ("fail", "fail", 1),
        ("fail", "never", 0),
    ],
)
def test_the_gate_fails_from_the_status_asked_for(verdict: str, fail_on: str, code: int) -> None:
    assert gate.exit_code(verdict, fail_on) == code


def test_fail_on_never_passes_what_fails(madaudit: Command, mixed: Path, tmp_path: Path) -> None:
    outcome = madaudit(
        "audit", mixed, "--reference", "vectors", "--out", tmp_path / "o", "--fail-on", "never", "--json"
    )
    assert (outcome.json["verdict"], outcome.code) == ("fail", 0)


def test_a_reference_without_generators_is_undetermined_and_says_why(
    madaudit: Command, world: World, mixed: Path, tmp_path: Path
) -> None:
    built = madaudit("reference build", "lonely", "--real", world.data / "real.npy", "--encoder", "embeddings")
    assert built.code == 0
    options = ("--reference", "lonely", "--out", tmp_path / "o", "--json")
    outcome = madaudit("audit", mixed, *options)
    fraction = outcome.json["synthetic_fraction"]
    assert (fraction["status"], fraction["estimate"], fraction["low"], fraction["high"]) == ("undetermined", None, 0, 1)
    assert "holds no synthetic examples" in fraction["reason"]
    assert 0 < fraction["if_reference_matches"]["low"] < fraction["if_reference_matches"]["estimate"]
    assert (outcome.json["verdict"], outcome.code) == ("undetermined", 4)
    assert madaudit("audit", mixed, *options, "--fail-on", "fail").code == 0


def _wrong(case: str, tmp_path: Path, mixed: Path, world: World) -> tuple[object, ...]:
    """The arguments of a command with one thing wrong."""
    ok = ("audit", mixed, "--out", tmp_path / "o", "--reference")
    if case == "unknown reference":
        return *ok, "nowhere"
    if case == "no reference":
        return ok[:-1]
    if case == "missing source":
        return "audit", tmp_path / "absent", "--out", tmp_path / "o", "--reference", "vectors"
    if case == "bad policy":
        (tmp_path / "p.yaml").write_text("synthetic_fraction: {warn: 0.5, fail: 0.1}\n")
        return *ok, "vectors", "--policy", tmp_path / "p.yaml"
    if case == "bad configuration":
        (tmp_path / "c.yaml").write_text("refference: vectors\n")
        return *ok, "vectors", "--config", tmp_path / "c.yaml"
    if case == "configuration that is no YAML":
        (tmp_path / "c.yaml").write_text("a: [\n b")
        return *ok, "vectors", "--config", tmp_path / "c.yaml"
    if case == "configuration of lists in lists":
        (tmp_path / "c.yaml").write_text("column: &a [1, 2]\nlimit: [*a, *a]\n")
        return *ok, "vectors", "--config", tmp_path / "c.yaml"
    if case == "day that does not exist in the configuration":
        (tmp_path / "c.yaml").write_text("limit: 2024-99-99")
        return *ok, "vectors", "--config", tmp_path / "c.yaml"
    if case == "wrong value in the configuration":
        (tmp_path / "c.yaml").write_text("limit: many\n")
        return *ok, "vectors", "--config", tmp_path / "c.yaml"
    if case == "another width":
        np.save(tmp_path / "w.npy", np.zeros((30, 4), np.float32))
        return "audit", tmp_path / "w.npy", "--out", tmp_path / "o", "--reference", "vectors"
    if case == "another kind":
        return "audit", world.data / "real", "--out", tmp_path / "o", "--reference", "vectors"
    if case == "unknown option":
        return *ok, "vectors", "--refrence", "x"
    if case == "out is a file":
        return "audit", mixed, "--out", mixed, "--reference", "vectors"
    if case == "unknown encoder":
        return "reference build", "x", "--real", world.data / "real", "--encoder", "clip"
    if case == "absent checkpoint":
        return "reference build", "x", "--real", world.data / "real", "--encoder", "open_clip:ViT-B-32:/absent/x.pt"
    if case == "too few items":
        np.save(tmp_path / "few.npy", np.eye(6, dtype=np.float32))
        return "reference build", "x", "--real", tmp_path / "few.npy", "--encoder", "embeddings"
    if case == "a name that leaves the home":
        return "reference build", "../x", "--real", world.data / "real", "--encoder", "pixels:8"
    if case == "a generator called real":
        fake = f"real={world.data / 'fake'}"
        return "reference build", "x", "--real", world.data / "real", "--synthetic", fake, "--encoder", "pixels:8"
    if case == "traces as semantic encoder":
        return (
            "reference build", "x", "--real", world.data / "real", "--encoder", "pixels:8", "--semantic-encoder",
            "forensic",
        )  # fmt: skip
    if case == "report of nothing":
        return "report", tmp_path
    if case == "merge of nothing":
        return "merge", tmp_path / "absent", "--out", tmp_path / "o"
    return "", ""


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("unknown reference", "images, "),
        ("no reference", "--reference NAME"),
        ("missing source", "no such file or folder"),
        ("bad policy", "warn 0.5 lies above fail 0.1"),
        ("bad configuration", "refference is not an option"),
        ("configuration that is no YAML", "cannot read the configuration"),
        ("configuration of lists in lists", "limit is nested"),
        ("day that does not exist in the configuration", "cannot read the configuration"),
        ("wrong value in the configuration", "--limit"),
        ("another width", "vector of width 4, expected 6"),
        ("another kind", "found nothing that can hold vectors"),
        ("unknown option", "--reference"),
        ("out is a file", "is a file"),
        ("unknown encoder", "no encoder is called 'clip'"),
        ("absent checkpoint", "there is no checkpoint at /absent/x.pt"),
        ("too few items", "at least"),
        ("a name that leaves the home", "not a valid reference name"),
        ("a generator called real", "another label"),
        ("traces as semantic encoder", "traces only"),
        ("report of nothing", "result.json is missing"),
        ("merge of nothing", "result.json is missing"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_code_2(
    madaudit: Command, world: World, mixed: Path, tmp_path: Path, case: str, said: str
) -> None:
    command, *arguments = _wrong(case, tmp_path, mixed, world)
    outcome = madaudit(command, *arguments, *(("--json",) if command == "audit" else ()))
    assert (outcome.code, outcome.out) == (2, "")
    assert said in outcome.err
    assert one_line(outcome.err)


@pytest.mark.parametrize("below", ["x", "x/y"])
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_an_out_below_a_file_is_one_line_and_exit_code_2(
    madaudit: Command, mixed: Path, below: str, more: tuple[str, ...]
) -> None:
    outcome = madaudit("audit", mixed, "--reference", "vectors", "--out", mixed / below, *more)
    assert outcome.code == 2
    assert one_line(outcome.err)
    assert f"{mixed} is a file" in outcome.err


@pytest.mark.parametrize("source", ["", " "])
def test_a_source_without_a_name_is_exit_code_2(madaudit: Command, source: str) -> None:
    for outcome in (
        madaudit("audit", source, "--reference", "vectors"),
        madaudit("audit", source, "--reference", "vectors", "--dry-run"),
        madaudit("reference build", "nameless", "--real", source, "--encoder", "embeddings"),
    ):
        assert outcome.code == 2
        assert "empty name" in outcome.err


def test_a_dry_run_of_a_source_that_is_not_there_is_exit_code_2(madaudit: Command, tmp_path: Path) -> None:
    for options in (("--reference", "vectors"), ()):
        outcome = madaudit("audit", tmp_path / "nowhere", *options, "--dry-run")
        assert (outcome.code, outcome.out) == (2, "")
        assert "no such file or folder" in outcome.err


def test_a_dry_run_prints_the_plan(madaudit: Command, tmp_path: Path, make: SimpleNamespace) -> None:
    images = make.write_images(tmp_path / "im", make.real_images(5, np.random.default_rng(3)))
    (images / ".DS_Store").write_bytes(b"x")
    plan = madaudit("audit", images, "--reference", "images", "--dry-run", "--limit", 3, "--no-resume").json
    assert (plan["source"], plan["shards"], plan["loose_files"]) == (str(images), 1, 5)
    assert (plan["skipped"], plan["limit"], plan["resume"]) == ({"hidden system file": 1}, 3, False)
    assert plan["encoder"] == "pixels:8"


def test_the_same_source_written_otherwise_goes_on_where_it_stopped(
    madaudit: Command, mixed: Path, tmp_path: Path, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = ("--reference", "vectors", "--out", tmp_path / "o", "--json")
    whole = madaudit("audit", mixed, *out).json
    monkeypatch.chdir(mixed.parent)
    (tmp_path / "link").symlink_to(mixed.parent)
    for spelling in (mixed.name, f"./{mixed.name}", f"file://{mixed}", f"{mixed.parent}/./{mixed.name}"):
        again = madaudit("audit", spelling, *out).json
        assert make.comparable(again) == make.comparable(whole)
        assert again["run"]["reused_shards"] == 1
    assert madaudit("audit", tmp_path / "link" / mixed.name, *out).json["run"]["reused_shards"] == 1


def test_no_resume_reads_everything_again(madaudit: Command, mixed: Path, tmp_path: Path) -> None:
    out = ("--reference", "vectors", "--out", tmp_path / "o", "--json")
    runs = [madaudit("audit", mixed, *out, *more).json["run"] for more in ((), (), ("--no-resume",))]
    assert [run["reused_shards"] for run in runs] == [0, 1, 0]


def test_what_nobody_foresaw_is_not_taken_for_a_failed_gate(
    madaudit: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("auditor.results.read_result", lambda folder: {}["verdict"])
    outcome = madaudit("report", tmp_path)
    assert outcome.code == 3
    assert outcome.err.splitlines()[-1].startswith("madaudit: the run failed (KeyError)")


def test_a_reader_that_left_is_not_taken_for_a_failed_gate(
    madaudit: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def closed(folder: Path) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("auditor.results.read_result", closed)
    before = sys.stdout, sys.stderr  # typer wraps them
    outcome = madaudit("report", tmp_path)
    assert (sys.stdout, sys.stderr) == before
    assert outcome.code == 3


def test_an_interruption_is_exit_code_3_and_says_how_to_go_on(
    madaudit: Command, mixed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("service.pipeline.audit_into", interrupted)
    outcome = madaudit("audit", mixed, "--reference", "vectors", "--out", tmp_path / "o")
    assert outcome.code == 3
    assert one_line(outcome.err)
    assert "run the same command again" in outcome.err


_FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import service.cli.entry, service.pipeline
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # no file may grow over this: EFBIG instead of ENOSPC
service.cli.main()
"""


def test_a_disk_that_is_full_is_one_line_and_exit_code_3(world: World, mixed: Path, tmp_path: Path) -> None:
    arguments = ["audit", mixed, "--reference", "vectors", "--out", tmp_path / "o", "--home", world.home, "--quiet"]
    ended = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 3
    assert one_line(ended.stderr)
    assert "File too large" in ended.stderr


def test_an_audit_goes_on_after_the_disk_was_full(
    madaudit: Command, world: World, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: SimpleNamespace
) -> None:
    whole = madaudit("audit", mixed, "--reference", "vectors", "--out", tmp_path / "a", "--json").json

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("auditor.passes.first.save_state", full)
        assert madaudit("audit", mixed, "--reference", "vectors", "--out", tmp_path / "b").code == 3
    again = madaudit("audit", mixed, "--reference", "vectors", "--out", tmp_path / "b", "--json").json
    assert make.comparable(again) == make.comparable(whole)


# streams


def test_progress_goes_to_standard_error_and_the_document_stands_alone(
    world: World, mixed: Path, tmp_path: Path, make: SimpleNamespace
) -> None:
    outcome = make.run(
        "audit", mixed, "--reference", "vectors", "--out", tmp_path / "o", "--home", world.home, "--json"
    )
    assert outcome.json["n_items"] == 200
    assert outcome.err.splitlines()[-1] == "auditing: 1/1 shards, 200 items"


def test_a_terminal_that_knows_only_latin_letters_gets_the_report(
    madaudit: Command, mixed: Path, tmp_path: Path
) -> None:
    madaudit("audit", mixed, "--reference", "vectors", "--out", tmp_path / "o")
    env = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-c", "from service.cli import main; main()", "report", str(tmp_path / "o"), "--format"]
    ended = subprocess.run([*command, "md"], capture_output=True, env=env, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert rb"\u2013" in ended.stdout  # the dash of an interval


# options


def test_a_dry_run_prints_the_policy_and_touches_nothing(madaudit: Command, mixed: Path, tmp_path: Path) -> None:
    outcome = madaudit("audit", mixed, "--reference", "vectors", "--out", tmp_path / "o", "--dry-run")
    assert outcome.json["policy"] == {
        "synthetic_fraction": {"warn": 0.05, "fail": 0.20, "compare": "interval"},
        "diversity_loss": {"warn": 0.10, "fail": 0.25, "compare": "interval"},
        "mad_risk": {"warn": 0.20, "fail": 0.50, "compare": "estimate"},
        "unread": {"warn": 0.01, "fail": 0.10, "compare": "estimate"},
        "duplicates": {"warn": 0.05, "fail": 0.50, "compare": "interval"},
        "required": ["synthetic_fraction", "diversity_loss", "unread"],
        "mad_event": {"frechet_ratio": 2.0, "diversity_ratio": 0.8, "when": "at"},
    }
    assert (outcome.code, (tmp_path / "o").exists()) == (0, False)


def test_a_dry_run_alone_prints_the_policy(madaudit: Command) -> None:
    assert madaudit("audit", "--dry-run").json["policy"]["synthetic_fraction"]["fail"] == 0.20


def test_a_dry_run_of_an_unknown_reference_is_exit_code_2(madaudit: Command, mixed: Path) -> None:
    assert madaudit("audit", mixed, "--reference", "nowhere", "--dry-run").code == 2


def test_a_policy_file_moves_the_verdict(madaudit: Command, mixed: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("synthetic_fraction: {warn: 0.6, fail: 0.9}\nrequired: [synthetic_fraction]\n")
    known = ("--declare", "generators-complete", "--policy", policy, "--json")
    outcome = madaudit("audit", mixed, "--reference", "vectors", "--out", tmp_path / "o", *known)
    assert (outcome.json["verdict"], outcome.code) == ("pass", 0)


def test_an_undetermined_gate_says_what_would_settle_it(
    madaudit: Command, tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator
) -> None:
    np.save(tmp_path / "real.npy", make.real_vectors(200, rng))
    outcome = madaudit("audit", tmp_path / "real.npy", "--reference", "vectors", "--out", tmp_path / "o")
    assert outcome.code == 4
    condition = "if you know that the reference knows every generator"
    assert f"To settle it: {condition}, --declare generators-complete makes it" in outcome.out
    assert "madaudit review" in outcome.out
    assert outcome.out.count("may hide up to") == 1  # told once
    declared = madaudit(
        "audit", tmp_path / "real.npy", "--reference", "vectors", "--out", tmp_path / "d",
        "--declare", "generators-complete",
    )  # fmt: skip
    assert "assuming that there are no generators but the known ones, as was declared" in declared.out


def test_a_configuration_gives_defaults_that_the_command_line_overrides(
    madaudit: Command, mixed: Path, tmp_path: Path
) -> None:
    config = tmp_path / "c.yaml"
    options = {"reference": "nowhere", "limit": 50, "fail-on": "never", "json": True, "declare": "reference-complete"}
    config.write_text(yaml.safe_dump({**options, "source": str(mixed)}))
    outcome = madaudit("audit", "--config", config, "--reference", "vectors", "--out", tmp_path / "o")
    assert (outcome.code, outcome.json["n_items"]) == (0, 50)
    assert outcome.json["run"]["declared"] == ["reference-complete"]


def test_the_version_is_the_distributions(make: SimpleNamespace) -> None:
    outcome = make.run("--version")
    assert (outcome.code, outcome.out.strip()) == (0, f"madaudit {version('madaudit')}")


def test_no_command_shows_the_help_with_exit_code_2(make: SimpleNamespace) -> None:
    outcome = make.run()
    assert outcome.code == 2
    assert "reference" in outcome.out


def test_the_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['madaudit', '--help']\n"
        "from service.cli import main\n"
        "try: main()\n"
        "except SystemExit: print(*{'torch', 'duckdb', 'sklearn', 'matplotlib', 'pyarrow'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1].strip() == ""


# references


def test_a_reference_is_listed_shown_and_deleted(madaudit: Command, world: World, make: SimpleNamespace) -> None:
    fake = f"model-x={world.data / 'fake.npy'}"
    arguments = ("--real", world.data / "real.npy", "--synthetic", fake, "--encoder", "embeddings")
    built = madaudit("reference build", "passing", *arguments, "--json").json
    assert built["items"] == {"real": 120, "model-x": 120}
    assert "passing" in [r["name"] for r in madaudit("reference list", "--json").json]
    shown = madaudit("reference show", "passing", "--json").json
    assert Path(shown.pop("folder")).is_dir()
    assert shown == built
    assert madaudit("reference delete", "passing", "--json").json == {"deleted": "passing"}
    assert "passing" not in [r["name"] for r in madaudit("reference list", "--json").json]
    assert madaudit("reference show", "passing").code == 2
    assert not (world.home / "references" / "passing").exists()


def test_a_name_is_not_taken_twice_unless_overwriting(madaudit: Command, world: World) -> None:
    arguments = ("twice", "--real", world.data / "real.npy", "--encoder", "embeddings", "--json")
    first = madaudit("reference build", *arguments).json
    assert madaudit("reference build", *arguments).code == 2
    again = madaudit("reference build", *arguments, "--overwrite", "--seed", 1).json
    assert again["identity"] != first["identity"]


def test_an_empty_home_lists_no_references(tmp_path: Path, make: SimpleNamespace) -> None:
    assert make.run("reference", "list", "--home", tmp_path / "new", "--json").json == []


def test_a_damaged_reference_is_exit_code_2(
    madaudit: Command, world: World, tmp_path: Path, make: SimpleNamespace
) -> None:
    shutil.copytree(world.home, tmp_path / "home")
    fitted = tmp_path / "home" / "references" / "vectors" / "fitted.npz"
    content = bytearray(fitted.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    fitted.write_bytes(content)
    outcome = make.run("reference", "show", "vectors", "--home", tmp_path / "home")
    assert outcome.code == 2
    assert one_line(outcome.err)
    assert "rebuild the reference" in outcome.err


# reports


def test_a_report_is_written_as_markdown_and_json_on_standard_output(
    madaudit: Command, mixed: Path, tmp_path: Path
) -> None:
    result = madaudit("audit", mixed, "--reference", "vectors", "--out", tmp_path / "o", "--json").json
    assert madaudit("report", tmp_path / "o", "--format", "json").json == result
    assert madaudit("report", tmp_path / "o", "--format", "md").out.startswith(f"# Audit of {mixed}\n")


def test_a_report_is_written_to_a_file_of_any_name(madaudit: Command, mixed: Path, tmp_path: Path) -> None:
    madaudit("audit", mixed, "--reference", "vectors", "--out", tmp_path / "o")
    first = (tmp_path / "o" / "report.html").read_text()
    assert madaudit("report", tmp_path / "o", "--out", tmp_path / "x.html").code == 0
    assert (tmp_path / "x.html").read_text() == first


def test_a_result_of_another_schema_is_refused(madaudit: Command, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"schema": "other/1"}')
    outcome = madaudit("report", tmp_path, "--format", "md")
    assert outcome.code == 2
    assert one_line(outcome.err)
