"""Command-line options that several commands share, and functions that print output."""

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
    "Planned training, for the MAD risk",
    "Execution",
    "Output",
    "Judgement",
)

Home = Annotated[
    Path | None,
    typer.Option(
        "--home", help="Folder of the references and the database. (default: $MADAUDIT_HOME)", rich_help_panel=RUNNING
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print only one JSON document to standard output.", rich_help_panel=OUTPUT),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Do not print progress.", rich_help_panel=OUTPUT)]
Device = Annotated[
    str,
    typer.Option("--device", help="Compute device: auto, cpu, cuda or cuda:N.", rich_help_panel=RUNNING),
]
Column = Annotated[str | None, typer.Option("--column", help="Table column or JSON key that holds the items.")]
Generations = Annotated[
    int, typer.Option("--generations", min=2, help="Number of generations to forecast.", rich_help_panel=PLAN)
]
NInitial = Annotated[
    int | None,
    typer.Option(
        "--n-initial",
        min=1,
        help="Number of items in the first training set. (default: size of the audited set)",
        rich_help_panel=PLAN,
    ),
]
NReal = Annotated[
    int | None,
    typer.Option(
        "--n-real",
        min=0,
        help="Number of real items in each later training set. (default: size of the audited set)",
        rich_help_panel=PLAN,
    ),
]
NSynthetic = Annotated[
    int | None,
    typer.Option(
        "--n-synthetic",
        min=0,
        help="Number of synthetic items that each generation adds. (default: size of the audited set)",
        rich_help_panel=PLAN,
    ),
]
Bias = Annotated[
    float,
    typer.Option(
        "--bias",
        min=0,
        max=1,
        help="Sampling bias λ: 1 means no bias; smaller values mean higher quality and lower diversity of the samples.",
        rich_help_panel=PLAN,
    ),
]
BatchSize = Annotated[
    int,
    typer.Option("--batch-size", min=1, help="Number of items that an encoder reads at once.", rich_help_panel=RUNNING),
]


def examples(*lines: str) -> str:
    """Help text with usage examples, one per line, shown below the options of a command."""
    return "\n\n".join(["Examples:", *lines])


def say(line: str) -> None:
    """Print one line to standard error."""
    print(one_line(line), file=sys.stderr, flush=True)


def print_json(document: Any) -> None:
    """Print one JSON document to standard output."""
    print(json.dumps(document, indent=1, allow_nan=False))  # in ASCII, which any terminal and locale can carry
