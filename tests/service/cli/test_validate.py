"""The command `validate`: one document, tables in words, progress, and errors in one line."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

Command = Any
SMALL = ("--draws", 1, "--reference", 50, "--size", 20, "--device", "cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make: SimpleNamespace) -> Path:
    """Vectors of a real source and of two generators."""
    folder, rng = tmp_path_factory.mktemp("labelled"), np.random.default_rng(0)
    np.save(folder / "real.npy", make.real_vectors(120, rng, 2))
    for name, shift in (("a", 4.0), ("b", -4.0)):
        np.save(folder / f"{name}.npy", make.fake_vectors(100, rng, 2, shift))
    return folder


@pytest.fixture(scope="module", autouse=True)
def two_fractions() -> Iterator[None]:
    """Draws take time, and two fractions of them are enough here; every line of progress is shown."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("auditor.evaluation.validate._FRACTIONS", (0.0, 0.25))
        patch.setattr("service.cli.progress._EVERY_S", -1.0)
        yield


@pytest.fixture(scope="module")
def sources(data: Path) -> tuple[object, ...]:
    return ("--encoder", "embeddings", "--real", data / "real.npy", "--synthetic", f"a={data / 'a.npy'}")


@pytest.fixture(scope="module")
def printed(make: SimpleNamespace, sources: tuple[object, ...]) -> Any:
    """What the command prints without --json and --quiet."""
    return make.run("validate", *sources, *SMALL)


def test_with_json_there_is_one_document_that_meets_its_schema(
    data: Path, make: SimpleNamespace, sources: tuple[object, ...], meets_schema: Any
) -> None:
    printed = make.run("validate", *sources, "--synthetic", f"b={data / 'b.npy'}", *SMALL, "--json", "--quiet")
    assert (printed.code, printed.err) == (0, "")
    document = json.loads(printed.out)
    assert meets_schema("validation.json", document)
    assert [each["name"] for each in document["scenarios"]] == ["known", "unseen"]
    assert [each["label"] for each in document["labels"]] == ["real", "a", "b"]
    assert (document["encoder"]["spec"], document["draws"], document["size"]) == ("embeddings", 1, 20)


def test_the_references_are_worked_on_by_as_many_processes_as_asked_for(
    make: SimpleNamespace, sources: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    @contextmanager
    def local_map(workers: int) -> Iterator[Any]:
        asked.append(workers)
        yield lambda work, numbers: ()

    monkeypatch.setattr("service.engines.local_map", local_map)
    assert make.run("validate", *sources, *SMALL, "--workers", 3, "--json").code == 0
    assert asked == [3]


def test_unseen_generators_and_other_real_sources_have_tables_of_their_own(
    data: Path, make: SimpleNamespace, sources: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auditor.evaluation.validate.evaluate_reference", lambda *a, **k: ())
    np.save(data / "news.npy", np.load(data / "real.npy") + 1)
    others = ("--synthetic", f"b={data / 'b.npy'}", "--real", f"news={data / 'news.npy'}")
    printed = make.run("validate", *sources, *others, *SMALL, "--quiet").out
    lines = [line.split("  ") for line in printed.splitlines()]
    rows = {tuple(cell.strip() for cell in line if cell)[:2] for line in lines}
    assert {("real, a, b", "real, a"), ("news, b", "news, a"), ("news, a, b", "real"), ("all", "0")} <= rows
    assert "news (real too)" in printed
    assert "not tried" not in printed


def test_tables_say_in_words_what_was_found(printed: Any) -> None:
    assert printed.code == 0
    for words in (
        "real   real       120    –",
        "none of format, size, compression or detail",
        "holds the truth",
        "known: The reference knows all generators",
        "unseen: not tried, as it needs two generators",
        "cleared: share of the purely real sets",
    ):
        assert words in printed.out
    assert all(len(line) < 160 for line in printed.out.splitlines())


def test_progress_is_on_standard_error(printed: Any) -> None:
    assert printed.err.splitlines() == [
        "validating: 120 items (real)", "validating: 220 items (a)", "validating: 0/1 references, 220 items",
        "validating: 1/1 references, 220 items",
    ]  # fmt: skip
    assert "validating" not in printed.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--size", 19), "--size is 19"),
        (("--draws", 0), "--draws"),
        (("--seed", -1), "--seed is -1"),
        (("--encoder", "no-such"), "no-such"),
        (("--synthetic", "a=no-such.npy"), "no-such.npy"),
        (("--synthetic", "real=no-such.npy"), "labels real and synthetic data"),
        (("--device", "toaster"), "toaster"),
        (("--no-such",), "--no-such"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_code_2(
    arguments: tuple[object, ...], said: str, make: SimpleNamespace, sources: tuple[object, ...]
) -> None:
    printed = make.run("validate", *sources, *SMALL, "--quiet", *arguments)
    assert (printed.code, printed.out, printed.err.count("\n")) == (2, "", 1)
    assert said in printed.err


def test_the_command_needs_synthetic_data(make: SimpleNamespace, data: Path) -> None:
    printed = make.run("validate", "--encoder", "embeddings", "--real", data / "real.npy")
    assert (printed.code, printed.err.count("\n")) == (2, 1)
    assert "--synthetic" in printed.err


def test_the_help_groups_the_options_and_ends_with_examples(make: SimpleNamespace) -> None:
    printed = make.run("validate", "--help")
    assert printed.code == 0
    assert "Random draws" in printed.out
    assert "madaudit validate --encoder forensic" in printed.out
