"""The commands of the loop simulator: run, sweep, families, workflows, plot."""

import dataclasses
import re
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from indexes.errors import InputError
from service.cli.options import Json, Quiet, print_json, say

__all__ = ["loop_app"]

loop_app = typer.Typer(no_args_is_help=True, help="Simulate what happens when models train on their own output.")


@loop_app.command("run")
def run(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Argument(help="YAML file with fields of a loop, such as n_real: 100; options override it.")
    ] = None,
    family: Annotated[
        str | None, typer.Option("--family", help="Model family from madaudit loop families, or FILE.py:CLASS.")
    ] = None,
    workflow: Annotated[str | None, typer.Option("--workflow", help="Workflow from madaudit loop workflows.")] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="Real data: digits, a formula such as normal:2, or a source.")
    ] = None,
    generations: Annotated[int | None, typer.Option("--generations")] = None,
    n_real: Annotated[
        int | None, typer.Option("--n-real", help="Number of real items in each generation after the first.")
    ] = None,
    n_synthetic: Annotated[
        int | None, typer.Option("--n-synthetic", help="Number of synthetic items that each generation adds.")
    ] = None,
    n_initial: Annotated[int | None, typer.Option("--n-initial", help="Number of real items in generation 1.")] = None,
    bias: Annotated[
        float | None, typer.Option("--bias", help="Sampling bias λ from 1 (unbiased) to 0 (only the modes).")
    ] = None,
    memory: Annotated[
        int | None, typer.Option("--memory", help="Number of past generations that the synthetic items come from.")
    ] = None,
    chains: Annotated[
        int | None, typer.Option("--chains", help="Number of independent repetitions of the loop.")
    ] = None,
    contamination: Annotated[
        float | None, typer.Option("--contamination", help="Share of contaminants among the items called real.")
    ] = None,
    contaminant: Annotated[
        str | None, typer.Option("--contaminant", help="Contaminating items: a source, a formula or a model family.")
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE: a setting of the model family; repeat for more.")
    ] = None,
    real_weight: Annotated[
        float | None,
        typer.Option(
            "--real-weight", help="Workflow weighted: total weight of the real items in the loss, from 0 to 1."
        ),
    ] = None,
    candidates: Annotated[
        int | None,
        typer.Option("--candidates", help="Workflow curated: number K; the most typical of every K samples is kept."),
    ] = None,
    verifier_error: Annotated[
        float | None, typer.Option("--verifier-error", help="Workflow verified: error rate of the verifier.")
    ] = None,
    budget: Annotated[
        int | None, typer.Option("--budget", help="Workflow accumulate-subsample: number of items in a training set.")
    ] = None,
    mixing: Annotated[
        str | None,
        typer.Option("--mixing", help="Workflow fresh: numbers of real and synthetic items are fixed or binomial."),
    ] = None,
    n_measure: Annotated[
        int | None, typer.Option("--n-measure", help="Number of samples drawn from each chain to measure a generation.")
    ] = None,
    measured_chains: Annotated[
        int | None,
        typer.Option(
            "--measured-chains", help="Number of chains whose samples are measured; exact measures use all chains."
        ),
    ] = None,
    effective_size: Annotated[
        bool,
        typer.Option(
            "--effective-size", help="Also measure n_e/n_real: effective number of items / number of real items."
        ),
    ] = False,
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="Encoder for the items of a source. (default: pixels for images)")
    ] = None,
    column: Annotated[str | None, typer.Option("--column", help="Table column that holds the items.")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", help="Largest number of items to use, drawn at random.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed")] = None,
    device: Annotated[str | None, typer.Option("--device", help="Compute device: auto, cpu, cuda or cuda:N.")] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads", help="Number of compute threads; the same number gives the same results. (default: 1)"
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Output folder, which stores finished generations.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a different loop in --out.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run one self-consuming loop and print the measures of every generation."""
    from loops.config import LoopConfig, config_from
    from loops.results import finish_run, run_and_keep

    known = {field.name for field in dataclasses.fields(LoopConfig)}
    given = {key: value for key, value in context.params.items() if key in known and value is not None}
    fields = _fields(config)
    written = fields.get("settings") or {}
    settings = {**written, **_settings(setting or [])} if isinstance(written, dict) else written
    asked = {**fields, **given, "settings": settings}
    if "contaminant" in asked and "contamination" not in asked:
        raise InputError(
            f"the contaminant {asked['contaminant']} was given without its share: give --contamination too"
        )
    chosen = config_from(asked)
    show = _Lines(quiet=quiet, table=not as_json)
    loop, generations_run = run_and_keep(
        chosen,
        out=out,
        overwrite=overwrite,
        on_progress=show.progress,
        on_generation=show.generation,
        on_message=show.say,
    )
    document = finish_run(loop, generations_run, out=out, effective_size=effective_size, on_message=show.say)
    if as_json:
        print_json(document)
        return
    if effective_size:
        worth = [record["effective_ratio"] for record in document["generations"]]
        typer.echo("n_e/n_real by generation: " + ", ".join(_number(ratio["estimate"]) for ratio in worth))
    if out is not None:
        typer.echo(f"results stored in {out}; plot the loop with madaudit loop plot {out}")


@loop_app.command("sweep")
def sweep(
    config: Annotated[Path, typer.Argument(help="YAML file with the keys base, grid and runs.")],
    out: Annotated[Path, typer.Option("--out", help="Output folder; an interrupted sweep continues in its folder.")],
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Number of worker processes; the results do not depend on it.")
    ] = 1,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a grid of loops; sweep.parquet in --out gets one row per generation."""
    from loops.sweep import plan_sweep, run_sweep

    planned = plan_sweep(_document(config))
    failed = run_sweep(planned, out, workers=workers, on_progress=lambda line: None if quiet else say(f"sweep: {line}"))
    table = out / "sweep.parquet"
    if as_json:
        print_json({"loops": len(planned), "failed": failed, "table": str(table)})
    else:
        typer.echo(f"{len(planned) - len(failed)} of {len(planned)} loops finished; results in {table}")
    for key, problem in failed.items():
        say(f"madaudit: loop {key} failed: {problem}")
    raise typer.Exit(3 if failed else 0)


@loop_app.command("families")
def families(as_json: Json = False) -> None:
    """List the model families with their settings, and the effect of the sampling bias λ in each family."""
    from loops.models import catalogue

    found = catalogue.families()
    if as_json:
        print_json([dataclasses.asdict(family) for family in found])
        return
    for family in found:
        typer.echo(f"{family.name:<18} {family.summary}")
        typer.echo(f"{'':<18} reads {family.reads}; effect of the sampling bias λ: {family.bias}")
        if family.settings:
            typer.echo(f"{'':<18} settings: {', '.join(f'{k}={v}' for k, v in family.settings.items())}")


@loop_app.command("workflows")
def workflows(as_json: Json = False) -> None:
    """List the workflows, and what the training set of each generation consists of."""
    from auditor.workflows import WORKFLOWS

    if as_json:
        print_json([{"name": n, **dataclasses.asdict(w)} for n, w in WORKFLOWS.items()])
        return
    for name, workflow in WORKFLOWS.items():
        typer.echo(f"{name:<22} {workflow.summary}")


@loop_app.command("plot")
def plot(
    folder: Path,
    out: Annotated[
        Path | None, typer.Option("--out", help="Output folder of the images. (default: FOLDER/plots)")
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw plots of a loop, of a sweep, or of all loops in a folder."""
    from loops.plots.draw import draw_plots

    drawn = [str(path) for path in draw_plots(folder, out=out)]
    if as_json:
        print_json(drawn)
        return
    for path in drawn:
        typer.echo(path)


class _Lines:
    """Prints progress to standard error and, without --json, a table to standard output."""

    _COLUMNS = ("frechet", "precision", "recall", "vendi")

    def __init__(self, *, quiet: bool, table: bool) -> None:
        self._quiet, self._table, self._headed = quiet, table, False

    def say(self, line: str) -> None:
        if not self._quiet:
            say(line)

    def progress(self, generation: int, chains: int, total: int) -> None:
        if total > 1 and chains < total:
            self.say(f"generation {generation}: {chains}/{total} chains trained")

    def generation(self, record: Any, last: int) -> None:
        if not self._table:
            self.say(f"generation {record.generation}/{last} done")
            return
        if not self._headed:
            self._headed = True
            typer.echo(
                f"{'generation':>10} {'real':>7} {'synthetic':>9}" + "".join(f"  {c:>24}" for c in self._COLUMNS)
            )
        cells = (_cell(record.measures[name]) for name in self._COLUMNS)
        typer.echo(
            f"{record.generation:>10} {record.n_real:>7} {record.n_synthetic:>9}" + "".join(f"  {c:>24}" for c in cells)
        )


def _number(value: float | None) -> str:
    return "not determined" if value is None else f"{value:.3g}"


def _cell(measure: Any) -> str:
    if measure.low != measure.low:  # nan: a single chain has no interval
        return f"{measure.estimate:.4g}"
    return f"{measure.estimate:.3g} [{measure.low:.3g}, {measure.high:.3g}]"


class _Numbers(yaml.SafeLoader):
    """YAML loader that reads 1e-3 as a number, as in YAML 1.2, and not as a string."""


_Numbers.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+"), list("-+.0123456789")
)


def _document(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Numbers)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"cannot read the configuration {path}: {error}") from None


def _fields(path: Path | None) -> dict[str, Any]:
    found = None if path is None else _document(path)
    found = {} if found is None else found
    if not isinstance(found, dict):
        raise InputError(f"{path} holds {found!r}, expected fields of a loop such as family: gaussian")
    return found


def _settings(pairs: list[str]) -> dict[str, Any]:
    settings = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InputError(f"got --set {pair}, expected KEY=VALUE such as --set steps=500")
        try:
            settings[key] = yaml.load(value, Loader=_Numbers)
        except yaml.YAMLError:
            raise InputError(f"got --set {pair}, expected a value such as a number after the =") from None
    return settings
