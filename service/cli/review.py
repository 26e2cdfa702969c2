"""The commands `review` and `report`, which work on the folder of a finished audit."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.gate import FailOn, FailOnStatus, end_with
from service.cli.options import Home, Json, print_json, say
from service.presence import refuse_while_served
from service.settings import read_settings

if TYPE_CHECKING:
    from service.review import DrawnReview

__all__ = ["report", "review"]


class ReportForm(StrEnum):
    """Choices of --format: the file format of a report."""

    html = "html"
    md = "md"
    json = "json"


def report(
    folder: Path,
    form: Annotated[ReportForm, typer.Option("--format")] = ReportForm.html,
    out: Annotated[
        Path | None, typer.Option("--out", help="Output file. (default: standard output; FOLDER/report.html for html)")
    ] = None,
) -> None:
    """Write the report of a finished audit as html, md or json."""
    from auditor.folder import AuditFolder
    from auditor.results import read_result
    from service.reports.report import render

    audited = AuditFolder(folder)
    result = read_result(audited)
    text = json.dumps(result.to_dict(), indent=1) if form is ReportForm.json else render(audited, result, form.value)
    if out is None and form is ReportForm.html:
        out = audited.report
    if out is None:
        typer.echo(text)
        return
    out.write_text(text, encoding="utf-8")
    say(f"wrote {out}")


def review(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished audit.")],
    n: Annotated[int, typer.Option("--n", min=20, help="Number of audited items to label.")] = 50,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="CSV file with labels, which update the audit's answer.")
    ] = None,
    known_real: Annotated[
        list[str] | None,
        typer.Option("--known-real", help="SRC: known real items to mix with the drawn items; repeat for more."),
    ] = None,
    known_synthetic: Annotated[
        list[str] | None,
        typer.Option(
            "--known-synthetic", help="SRC: known synthetic items to mix with the drawn items; repeat for more."
        ),
    ] = None,
    fail_on: FailOnStatus = FailOn.undetermined,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace an earlier review; items that are drawn again keep their labels."),
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random draw.")] = 0,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Draw items of an audit for a person to label (files in FOLDER/review), or update the audit with the labels."""
    settings = read_settings(home)
    if labels is not None:
        refuse_while_served(settings.home)
    from auditor.folder import AuditFolder
    from service.review import finish_review, start_review

    audited = AuditFolder(folder)
    if labels is None:
        drawn = start_review(
            audited, n=n, seed=seed, known_real=known_real or (), known_synthetic=known_synthetic or (),
            overwrite=overwrite,
        )  # fmt: skip
        if as_json:
            print_json(drawn.as_json())
            return
        if not (drawn.kind == "text" and sys.stdin.isatty()):
            _print_next(drawn.as_json(), folder)
            return
        labels = _ask(drawn)
    result = finish_review(audited, labels, settings=settings)
    end_with(result, as_json=as_json, fail_on=fail_on)


def _print_next(drawn: dict[str, Any], folder: Path) -> None:
    kept = f", {drawn['labels_kept']} of them labelled before" if drawn["labels_kept"] else ""
    typer.echo(f"review {drawn['review']}: {drawn['items']} items to label{kept}")
    typer.echo(
        f"  open {drawn['page']}, or fill in the column label of {drawn['table']} with real, synthetic or unsure"
    )
    typer.echo(f"  then run madaudit review {folder} --labels FILE.csv")


def _ask(drawn: "DrawnReview") -> Path:
    """Ask for a label of each text on the terminal, and return the file with the labels.

    Each label is saved immediately, and labels from an earlier session are kept.
    """
    from service.reports.review_sheet import read_labels, write_labels

    words = {"r": "real", "s": "synthetic", "u": "unsure"}
    path = drawn.folder.labels
    answers = read_labels(path, drawn.name, [item.number for item in drawn.items]) if path.exists() else {}
    for item in drawn.items:
        if answers.get(item.number):
            continue
        typer.echo(f"\n--- {item.number} of {len(drawn.items)} ---\n{item.content.decode()}\n")
        answer = ""
        while answer not in (*words, "q"):
            answer = typer.prompt("real, synthetic, unsure or quit [r/s/u/q]").strip().lower()[:1]
        if answer == "q":
            break
        answers[item.number] = words[answer]
        write_labels(path, drawn.name, drawn.items, answers)
    write_labels(path, drawn.name, drawn.items, answers)
    return path
