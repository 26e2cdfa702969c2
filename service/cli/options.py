"""The options that several commands share, and how commands print."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from indexes.errors import one_line

__all__ = [
    "JUDGING",
    "OUTPUT",
    "PLAN",
    "RUNNING",
    "BatchSize",
    "Bias",
    "Column",
    "Device",
    "Generations",
    "Home",
    "Json",
    "NInitial",
    "NReal",
    "NSynthetic",
    "Quiet",
    "examples",
    "print_json",
    "say",
]

PLAN, RUNNING, OUTPUT, JUDGING = (  # titles under which `--help` groups options
    "The training you intend, for the MAD risk",
    "How it runs",
    "What it prints",
    "How it judges",
)

Home = Annotated[
    Path | None,
    typer.Option("--home", help="Folder of references and ledger, by default $MADAUDIT_HOME.", rich_help_panel=RUNNING),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document and nothing else on standard output.", rich_help_panel=OUTPUT),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress.", rich_help_panel=OUTPUT)]
Device = Annotated[
    str,
    typer.Option("--device", help="Device that computes: auto, cpu, cuda or cuda:N.", rich_help_panel=RUNNING),
]
Column = Annotated[str | None, typer.Option("--column", help="Column of a table, or key, that holds the items.")]
Generations = Annotated[
    int, typer.Option("--generations", min=2, help="Number of generations to look ahead.", rich_help_panel=PLAN)
]
NInitial = Annotated[
    int | None,
    typer.Option(
        "--n-initial",
        min=1,
        help="Items of the first training set; by default as many as the set holds.",
        rich_help_panel=PLAN,
    ),
]
NReal = Annotated[
    int | None,
    typer.Option(
        "--n-real",
        min=0,
        help="Real items of each later training set; by default as many as the set holds.",
        rich_help_panel=PLAN,
    ),
]
NSynthetic = Annotated[
    int | None,
    typer.Option(
        "--n-synthetic",
        min=0,
        help="Synthetic items that each generation adds; by default as many as the set holds.",
        rich_help_panel=PLAN,
    ),
]
Bias = Annotated[
    float,
    typer.Option(
        "--bias",
        min=0,
        max=1,
        help="Sampling bias λ: 1 for none, towards 0 for samples of high quality and low diversity.",
        rich_help_panel=PLAN,
    ),
]
BatchSize = Annotated[
    int, typer.Option("--batch-size", min=1, help="Items that an encoder reads at once.", rich_help_panel=RUNNING)
]


def examples(*lines: str) -> str:
    """The text below a command's options: one example a line."""
    return "\n\n".join(["Examples:", *lines])


def say(line: str) -> None:
    """A line on standard error."""
    print(one_line(line), file=sys.stderr, flush=True)


def print_json(document: Any) -> None:
    """One document on standard output."""
    print(json.dumps(document, indent=1, allow_nan=False))  # in ASCII, which any terminal and locale can carry
