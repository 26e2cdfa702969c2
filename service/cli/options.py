"""What the commands share: their common options, and how they print."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from indexes.errors import one_line, without_controls

__all__ = ["BatchSize", "Column", "Device", "Home", "Json", "Quiet", "print_json", "print_summary", "say"]

Home = Annotated[Path | None, typer.Option("--home", help="Where references and the ledger lie.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Column = Annotated[str | None, typer.Option("--column", help="Column of a table, or key, that holds the items.")]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Items an encoder sees at once.")]


def say(line: str) -> None:
    """A line on standard error."""
    print(one_line(line), file=sys.stderr, flush=True)


def print_json(document: Any) -> None:
    """One document on standard output."""
    print(json.dumps(document, indent=1, allow_nan=False))  # in ASCII, which any terminal and locale can carry


def print_summary(result: dict[str, Any], out: Path) -> None:
    """The answers of an audit in a few lines."""
    from auditor.fraction.settling import CONDITIONS
    from auditor.unread import unread_in_words

    fraction, loss = result["synthetic_fraction"], result["diversity"]["loss"]
    typer.echo(f"{result['verdict'].upper()}: {result['n_items']} items used, {unread_in_words(result['unread'])}")
    told = ""
    for check in result["checks"]:
        if check["name"] in result["policy"]["required"] and check["status"] != "pass":
            told += check["reason"]
            typer.echo(f"  {check['status']}: {check['name'].replace('_', ' ')}, {check['reason']}")
    typer.echo(f"  synthetic fraction  {_interval(fraction, told)}")
    if (result["declared"] or "review" in result) and fraction["assumes"] != "nothing":
        typer.echo(f"    assuming that {fraction['assumes']}")
    if review := result.get("review"):
        typer.echo(f"    from {review['labelled']} labels of {review['drawn']} items drawn")
    for name, condition in CONDITIONS.items():
        if fraction[name]["estimate"] is not None and "review" not in result:
            typer.echo(f"    if {condition}: {_interval(fraction[name])}")
    if result["unread"]["share"]["high"] > 0:
        typer.echo(f"  of the whole set    {_interval(fraction['of_the_whole_set'])}")
    typer.echo(f"  diversity loss      {_interval(loss)}")
    typer.echo(f"  MAD risk            {_risk(result['mad_risk'])}")
    typer.echo(without_controls(f"  report              {out / 'report.html'}"))


def _risk(risk: dict[str, Any]) -> str:
    chance = risk["probability"]
    if chance["estimate"] is None:
        return f"{risk['status']}: {risk['reason']}"
    stated = f"{chance['estimate']:.3f} ({chance['low']:.3f} – {chance['high']:.3f}), knowing the {risk['tier']}"
    return stated if risk["status"] == "determined" else f"{stated}; {risk['status']}: {risk['reason']}"


def _interval(answer: dict[str, Any], told: str = "") -> str:
    """One line with an estimate and its interval; a missing estimate adds its reason, unless `told` contains it."""
    if answer["low"] is None:
        return f"not determined ({answer['reason']})"
    interval = f"{answer['low']:.3f} – {answer['high']:.3f}"
    if answer["estimate"] is None:
        return interval if answer["reason"] in told else f"{interval} ({answer['reason']})"
    return f"{answer['estimate']:.3f} ({interval})"
