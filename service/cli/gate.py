"""Printing of an audit's result, and the exit code for its verdict."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from indexes.errors import without_controls
from service.cli.options import JUDGING, print_json

if TYPE_CHECKING:
    from auditor.results import AuditResult

__all__ = ["FailOn", "FailOnStatus", "end_with", "exit_code"]


class FailOn(StrEnum):
    """Choices of --fail-on: the least severe verdict that makes the command fail."""

    undetermined = "undetermined"
    warn = "warn"
    fail = "fail"
    never = "never"


FailOnStatus = Annotated[
    FailOn,
    typer.Option(
        "--fail-on",
        help="Least severe verdict that makes the command fail (exit code 1 or 4).",
        rich_help_panel=JUDGING,
    ),
]


def end_with(result: "AuditResult", *, as_json: bool, fail_on: FailOn) -> NoReturn:
    """Print the result and exit with the exit code of its verdict."""
    if as_json:
        print_json(result.to_dict())
    else:
        _print_summary(result)
    raise typer.Exit(exit_code(result.verdict, fail_on.value))


def _print_summary(result: "AuditResult") -> None:
    from auditor.folder import AuditFolder

    for line in result.lines():
        typer.echo(line)
    typer.echo(without_controls(f"  report              {AuditFolder(Path(result.run.out)).report}"))


def exit_code(verdict: str, fail_on: str) -> int:
    """Exit code: 0 for success, 4 if the verdict `undetermined` counts as failure, 1 for any other failing verdict."""
    order = ("pass", "warn", "undetermined", "fail")
    if fail_on == "never" or order.index(verdict) < order.index(fail_on) or verdict == "pass":
        return 0
    return 4 if verdict == "undetermined" else 1
