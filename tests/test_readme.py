"""The README's commands are real: the tests run or parse what stands there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from service.cli.entry import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README + GUIDE, re.S) for line in block.splitlines()]


def marked(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n```sh\n(.*?)\n```\n<!-- end -->", README, re.S)
    assert found, f"README.md marks no {name} command"
    return found[1]


@pytest.mark.parametrize("line", sorted({c for c in COMMANDS if c.startswith("madaudit ")}))
def test_every_madaudit_command_in_the_readme_and_the_guide_parses(line: str) -> None:
    command, arguments = typer.main.get_command(app), shlex.split(line)[1:]
    while hasattr(command, "commands"):
        command = command.commands[arguments.pop(0)]
    assert command.make_context("madaudit", list(arguments)).params


@pytest.mark.parametrize("name", ["demo", "tests"])
def test_both_commands_set_up_their_own_environment_under_the_constraints(name: str) -> None:
    command = marked(name)
    assert "\n" not in command
    assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e '.[cpu")


def test_continuous_integration_runs_the_readme_s_test_command() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    read = next(line for line in script.splitlines() if line.startswith("command="))
    printed = subprocess.run(["bash", "-c", f'{read}; echo "$command"'], cwd=ROOT, capture_output=True, text=True)
    assert printed.stdout.strip() == marked("tests")


def test_the_demo_command_s_job_runs_as_the_readme_says(tmp_path: Path) -> None:
    assert marked("demo").endswith(".venv/bin/madaudit demo")
    run = [sys.executable, "-c", "from service.cli import main; main()", "demo", "--out", str(tmp_path / "demo")]
    finished = subprocess.run(run, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert len(finished.stdout.splitlines()) == 6
    assert (tmp_path / "demo" / "audit-0.3" / "report.html").is_file()


def test_the_lines_of_python_run_as_they_stand(capsys: pytest.CaptureFixture[str]) -> None:
    """A reference from arrays, an audit, its interval, and the items as a data frame."""
    found = re.search(r"<!-- python -->\n```python\n(.*?)```", README, re.S)
    assert found
    names: dict[str, Any] = {}
    exec(compile(found[1], "README.md", "exec"), names)  # what a reader would paste
    result, suspicious = names["result"], names["suspicious"]
    assert result.synthetic_fraction.low <= 0.3 <= result.synthetic_fraction.high
    assert set(suspicious["generator"].dropna()) <= {"model-a", "model-b"}
    assert 60 < len(suspicious) < 120  # 90 of the 300 rows are synthetic
    assert "synthetic fraction" in capsys.readouterr().out


@pytest.mark.parametrize("page", ["README.md", "docs/guide.md", "docs/architecture.md", "CONTRIBUTING.md"])
def test_every_file_that_a_page_links_to_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []
