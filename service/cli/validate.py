"""The command `validate`: what an encoder can tell on labelled data of the user."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from indexes.errors import without_controls
from service.cli.options import RUNNING, BatchSize, Column, Device, Json, Quiet, print_json

if TYPE_CHECKING:
    from auditor.evaluation import EvaluatedDraw, ScenarioResult, Summary, Validation
    from auditor.statistics.intervals import Measure

__all__ = ["validate"]

_DRAWING = "Random draws"


def validate(
    encoder: Annotated[str, typer.Option("--encoder", help="Encoder to measure, e.g. forensic, lexical, embeddings.")],
    real: Annotated[list[str], typer.Option("--real", help="[LABEL=]SRC: real data; repeat for more.")],
    synthetic: Annotated[
        list[str], typer.Option("--synthetic", help="[LABEL=]SRC: samples of one generator; repeat for more.")
    ],
    column: Column = None,
    draws: Annotated[
        int, typer.Option("--draws", min=1, help="Number of times each reference is drawn.", rich_help_panel=_DRAWING)
    ] = 4,
    reference: Annotated[
        int | None,
        typer.Option(
            "--reference",
            help="Items of each label in a reference. (default: half of the smallest label, at most 1500)",
            rich_help_panel=_DRAWING,
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            "--size", help="Items of a set. (default: as many as are left, at most 1000)", rich_help_panel=_DRAWING
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random draws.", rich_help_panel=_DRAWING)] = 0,
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            min=1,
            help="Number of worker processes; the answer does not depend on it.",
            rich_help_panel=RUNNING,
        ),
    ] = 1,
    batch_size: BatchSize = 256,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure an encoder on your labelled data: separation, and estimates of sets whose synthetic fraction is known."""
    from auditor.evaluation import validate_encoder
    from service.cli.progress import ShardProgress
    from service.engines import local_map
    from service.references.build import by_label, parse_labelled

    with ShardProgress("validating", quiet=quiet, unit="references") as progress, local_map(workers) as run:
        found = validate_encoder(
            by_label([parse_labelled(text, default="real") for text in real]),
            by_label([parse_labelled(text, default="synthetic") for text in synthetic]),
            encoder=encoder,
            column=column,
            draws=draws,
            reference=reference,
            size=size,
            seed=seed,
            batch_size=batch_size,
            device=device,
            run=run,
            on_progress=progress.count,
            on_reference=lambda done, total: progress(done, total, 0),
        )
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)


def _print(found: "Validation") -> None:
    _say(f"encoder {found.encoder.spec}, which sees {found.encoder.sees}")
    _print_table(
        ("label", "origin", "items", "left out"),
        [(each.label, "real" if each.is_real else "synthetic", str(each.items), _counts(each.skipped.items()))
         for each in found.labels],
    )  # fmt: skip
    _say("\nDifferences between the labels that could pass for evidence of origin:")
    for confound in found.confounds:
        _say(f"  {confound.detail}")
    if not found.confounds:
        _say("  none of format, size, compression or detail")
    _say("\nSeparation (AUROC .5 or variation 0: the labels look the same; 1: they never look the same):")
    _print_table(
        ("real", "other", "AUROC", "total variation"),
        [(each.real, each.other + (" (real too)" if each.other_is_real else ""),
          _interval(each.auroc, 3), _interval(each.total_variation)) for each in found.separation],
    )  # fmt: skip
    for scenario in found.scenarios:
        _print_scenario(scenario, found)
    for name, reason in found.not_tried.items():
        _say(f"\n{name}: not tried, as {reason}")
    for line in _MEANINGS:
        _say(line)


def _print_scenario(scenario: "ScenarioResult", found: "Validation") -> None:
    _say(f"\n{scenario.name}: {scenario.about}")
    _say(
        f"  {scenario.overall.draws} sets of {found.size} items, references with {found.reference} items of each label"
    )
    rows = [
        (", ".join((*each.pair.real_sources, *each.pair.known)), _content(each.pair.foreign or each.pair.real,
         each.pair.incoming), *_figures(each.summary))
        for each in scenario.pairs
    ]  # fmt: skip
    if len(rows) > 1:
        rows.append(("all", "", *_figures(scenario.overall)))
    _print_table(("reference holds", "set holds", *_FIGURES), rows)
    if len(fractions := sorted({draw.prevalence for draw in scenario.draws})) > 1:
        _say("")
        _print_table(("true fraction", *_FIGURES), [(f"{f:.2f}", *_figures(_at(scenario.draws, f))) for f in fractions])


def _content(real: str, generator: str | None) -> str:
    return real if generator is None else f"{real}, {generator}"


def _at(draws: "Sequence[EvaluatedDraw]", fraction: float) -> "Summary":
    from auditor.evaluation import summarise

    return summarise([draw for draw in draws if draw.prevalence == fraction])


_FIGURES = ("sets", "holds the truth", "width", "determined", "error", "let through", "cleared")
_MEANINGS = (
    "\nholds the truth: share of the stated intervals that hold the true fraction, with its 95 % limits",
    "width: mean width of the stated intervals",
    "determined: share of the sets for which an estimate is stated",
    "error: mean absolute error of the estimate under the condition that the reference knows all generators",
    "let through: share of the sets with a fifth or more synthetic items that the default policy does not stop",
    "cleared: share of the purely real sets that the default policy does not stop",
)


def _figures(summary: "Summary") -> tuple[str, ...]:
    return (
        str(summary.draws),
        _interval(summary.stated.coverage),
        _number(summary.stated.width, 3),
        _number(summary.status["determined"]),
        _number(summary.if_generators_known.error, 3),
        _number(summary.let_through),
        _number(summary.clean_cleared),
    )


def _interval(measure: "Measure", digits: int = 2) -> str:
    if not measure.is_known:
        return "–"
    return f"{measure.estimate:.{digits}f} ({measure.low:.{digits}f} – {measure.high:.{digits}f})"


def _number(measure: "Measure", digits: int = 2) -> str:
    return f"{measure.estimate:.{digits}f}" if measure.is_known else "–"


def _counts(reasons: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{count} × {reason}" for reason, count in reasons) or "–"


def _print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns; the width of a column is that of its longest cell."""
    widths = [max(len(row[k]) for row in (header, *rows)) for k in range(len(header))]
    for row in (header, *rows):
        _say("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _say(line: str) -> None:
    typer.echo(without_controls(line))
