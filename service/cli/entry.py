"""The command line: arguments in, exit codes and JSON out."""

import io
import json
import signal
import sys
import traceback
from concurrent.futures.process import BrokenProcessPool
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import yaml

from indexes.errors import AuditError, InputError, one_line
from service.cli.forecast import (
    ModelSamples,
    Pilot,
    RiskModelFile,
    SimulateForecast,
    WeightsPaths,
    calibrate,
    forecast,
)
from service.cli.loop import loop_app
from service.cli.options import BatchSize, Column, Device, Home, Json, Quiet, print_json, print_summary, say
from service.cli.reference import reference_app
from service.cli.serve import keys_app, serve
from service.presence import refuse_while_served
from service.settings import read_settings, read_weights

__all__ = ["app", "main"]

_INTERRUPTED = 130  # what typer makes of Ctrl-C

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Audit a dataset before training on it: synthetic fraction, lost diversity, risk of model autophagy.",
)
app.add_typer(reference_app, name="reference")
app.command()(calibrate)
app.command()(forecast)
app.add_typer(loop_app, name="loop")
app.command()(serve)
app.add_typer(keys_app, name="keys")


class FailOn(StrEnum):
    """From which status on the gate fails."""

    undetermined = "undetermined"
    warn = "warn"
    fail = "fail"
    never = "never"


class Engine(StrEnum):
    """Where the work is done."""

    local = "local"


class Declaration(StrEnum):
    """What the team asserts of its reference."""

    reference_complete = "reference-complete"
    generators_complete = "generators-complete"


class ReportForm(StrEnum):
    """How a report is written."""

    html = "html"
    md = "md"
    json = "json"


def default_folder(source: str) -> Path:
    """Where an audit of a source goes without --out."""
    return Path(f"madaudit-{Path(source.rstrip('/')).name.split('.')[0] or 'audit'}")


def _read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Take the options in a YAML file as defaults: what stands on the command line wins."""
    if path is None:
        return None
    try:
        options = yaml.safe_load(path.read_text()) or {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: a day that does not exist
        raise InputError(f"cannot read the configuration {path}: {error}") from None
    known = {name.lstrip("-"): parameter for parameter in context.command.params for name in parameter.opts}
    del known["config"]
    named = {str(key).replace("_", "-"): value for key, value in options.items()} if isinstance(options, dict) else {}
    if not isinstance(options, dict) or set(named) - set(known):
        unknown = ", ".join(sorted(set(named) - set(known))) or type(options).__name__
        raise InputError(f"{path}: {unknown} is no option of this command, expected some of {', '.join(sorted(known))}")
    if structured := [key for key, value in named.items() if not _is_plain(value)]:
        raise InputError(f"{path}: {structured[0]} is a structure, expected one value or a list of values")
    context.default_map = {
        str(known[key].name): [value] if getattr(known[key], "multiple", False) and isinstance(value, str) else value
        for key, value in named.items()
    }
    return path


def _is_plain(value: Any) -> bool:
    """Whether it is a value, or a list of values."""
    values = value if isinstance(value, list) else [value]
    return not any(isinstance(each, list | dict | set | tuple) for each in values)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"madaudit {version('madaudit')}")
        raise typer.Exit


@app.callback()
def _options(
    shown: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the data, the audits and their reports.")] = Path(
        "madaudit-demo"
    ),
    seed: Annotated[int, typer.Option("--seed")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Audit real handwritten digits mixed with synthetic ones, and compare with the truth. Needs no network."""
    from service.cli.demo import run_demo

    rows = run_demo(out, seed=seed, say=lambda line: None if quiet else say(line))
    if as_json:
        print_json({"schema": "madaudit/demo/1", "audits": rows})
        return
    typer.echo(f"{'true':>6} {'estimate':>9} {'95 % interval':>17}  verdict       report")
    for row in rows:
        interval = f"{row['low']:.3f} – {row['high']:.3f}"
        estimate = "–" if row["estimate"] is None else f"{row['estimate']:.3f}"
        typer.echo(f"{row['true']:6.2f} {estimate:>9} {interval:>17}  {row['verdict']:<12}  {row['report']}")


@app.command()
def audit(
    source: Annotated[str | None, typer.Argument(help="Path, pattern or URL of the set.")] = None,
    reference: Annotated[str | None, typer.Option("--reference", help="Name of a built reference.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the audit, by default madaudit-NAME.")] = None,
    policy: Annotated[Path | None, typer.Option("--policy", help="YAML with thresholds.")] = None,
    workflow: Annotated[
        str | None, typer.Option("--workflow", help="How the set will be used; see madaudit loop workflows.")
    ] = None,
    generations: Annotated[int, typer.Option("--generations", min=2, help="How far to look.")] = 8,
    real: Annotated[int | None, typer.Option("--real", min=0, help="Real items a generation trains on.")] = None,
    synthetic: Annotated[
        int | None, typer.Option("--synthetic", min=0, help="Synthetic items a generation adds.")
    ] = None,
    bias: Annotated[float, typer.Option("--bias", min=0, max=1, help="Sampling bias λ, 1 for none.")] = 1.0,
    model_samples: ModelSamples = None,
    pilot: Pilot = None,
    risk_model: RiskModelFile = None,
    simulate_forecast: SimulateForecast = None,
    engine: Annotated[Engine, typer.Option("--engine")] = Engine.local,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Processes; the answer is the same.")] = None,
    device: Device = "auto",
    weights: WeightsPaths = None,
    fail_on: Annotated[FailOn, typer.Option("--fail-on", help="Stop from this status on.")] = FailOn.undetermined,
    declare: Annotated[list[Declaration] | None, typer.Option("--declare", help="What you assert.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Reuse the shards that an earlier run into --out finished.")
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Discard another audit in --out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the policy and the plan, audit nothing.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Use a random sample of so many items.")] = None,
    level: Annotated[
        float, typer.Option("--level", min=0.5, max=0.999, help="Confidence level of all intervals.")
    ] = 0.95,
    column: Column = None,
    batch_size: BatchSize = 256,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the resampling in the second pass.")] = 0,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="YAML with any of these options.", callback=_read_config, is_eager=True),
    ] = None,
    home: Home = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Audit SOURCE against a reference: result.json, items/*.parquet, skipped.parquet and report.html in --out."""
    settings = read_settings(home)
    if not dry_run:
        refuse_while_served(settings.home)
    from auditor.passes.second import AuditRequest
    from auditor.policy import load_policy
    from auditor.reference.relocation import Weights
    from auditor.run import AuditOptions
    from service.cli.progress import ShardProgress
    from service.forecasts import RiskRequest
    from service.pipeline import run_audit
    from service.references.build import find_reference

    if source is not None and not source.strip():
        raise InputError("the source is an empty name: give a path, pattern or URL")
    asked = RiskRequest(
        workflow, generations, real=real, synthetic=synthetic, bias=bias, model_samples=model_samples, pilot=pilot,
        risk_model=risk_model, simulate=simulate_forecast, seed=seed,
    )  # fmt: skip
    intent = AuditRequest(
        policy=load_policy(policy),
        workflow=asked.named,
        level=level,
        declared=frozenset(d.value for d in declare or ()),
        seed=seed,
    )
    options = AuditOptions(batch_size=batch_size, column=column, limit=limit, overwrite=overwrite, resume=resume)
    if reference is not None:
        find_reference(reference, settings)
    if dry_run:
        from service.audit_plan import audit_plan

        print_json(
            audit_plan(source, reference, out, settings=settings, intent=intent, options=options, workers=workers)
        )
        return
    if source is None or reference is None:
        missing = "source" if source is None else "reference"
        raise InputError(f"no {missing} was named: write madaudit audit SOURCE --reference NAME")
    out = out or default_folder(source)
    with ShardProgress("auditing", quiet=quiet) as progress:
        result = run_audit(
            source, reference, out, settings=settings, intent=intent, options=options, workers=workers,
            device=device, progress=progress, risk=asked, weights=Weights(tuple(weights or ()), read_weights()),
        )  # fmt: skip
    result = _reviewed(out, result, settings)
    if as_json:
        print_json(result)
    else:
        print_summary(result, out)
    raise typer.Exit(exit_code(result["verdict"], fail_on.value))


def _reviewed(out: Path, result: dict[str, Any], settings: Any) -> dict[str, Any]:
    """The result answered by the labels of an earlier review, or a word that they do not fit it."""
    from service.review import renew_review

    try:
        return renew_review(out, settings=settings) or result
    except InputError as error:
        say(f"madaudit: the labels in {out}/review do not match this audit and were ignored: {error}")
        return result


@app.command()
def report(
    folder: Path,
    form: Annotated[ReportForm, typer.Option("--format")] = ReportForm.html,
    out: Annotated[
        Path | None, typer.Option("--out", help="File, by default standard output; html: DIR/report.html.")
    ] = None,
) -> None:
    """Write the report of a finished audit again, as html, md or json."""
    from service.reports.report import read_result, render

    result = read_result(folder)
    text = json.dumps(result, indent=1) if form is ReportForm.json else render(folder, result, form.value)
    if out is None and form is ReportForm.html:
        out = folder / "report.html"
    if out is None:
        typer.echo(text)
        return
    out.write_text(text, encoding="utf-8")
    say(f"wrote {out}")


@app.command()
def review(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished audit.")],
    n: Annotated[int, typer.Option("--n", min=20, help="Items of the set to label.")] = 50,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="CSV with the labels: answers the audit again.")
    ] = None,
    known_real: Annotated[
        list[str] | None, typer.Option("--known-real", help="SRC of real items to mix in; repeat for more.")
    ] = None,
    known_synthetic: Annotated[
        list[str] | None, typer.Option("--known-synthetic", help="SRC of synthetic items to mix in; repeat for more.")
    ] = None,
    fail_on: Annotated[FailOn, typer.Option("--fail-on", help="Stop from this status on.")] = FailOn.undetermined,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another review; labels of items drawn again are kept.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random draw.")] = 0,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Draw items of an audit for a person to label, and take the labels: files in DIR/review, then a new answer."""
    settings = read_settings(home)
    if labels is not None:
        refuse_while_served(settings.home)
    from service.review import finish_review, start_review

    if labels is None:
        drawn = start_review(
            folder, n=n, seed=seed, known_real=known_real or (), known_synthetic=known_synthetic or (),
            overwrite=overwrite,
        )  # fmt: skip
        if as_json:
            print_json(drawn.as_json())
            return
        if not (drawn.kind == "text" and sys.stdin.isatty()):
            _print_next(drawn.as_json(), folder)
            return
        labels = _ask(drawn)
    result = finish_review(folder, labels, settings=settings)
    if as_json:
        print_json(result)
    else:
        print_summary(result, folder)
    raise typer.Exit(exit_code(result["verdict"], fail_on.value))


def _print_next(drawn: dict[str, Any], folder: Path) -> None:
    kept = f", {drawn['labels_kept']} of them labelled before" if drawn["labels_kept"] else ""
    typer.echo(f"review {drawn['review']}: {drawn['items']} items to label{kept}")
    typer.echo(f"  open {drawn['page']} or fill in the column label of {drawn['table']}: real, synthetic or unsure")
    typer.echo(f"  then run madaudit review {folder} --labels FILE.csv")


def _ask(drawn: Any) -> Path:
    """The file of labels given on the terminal, text by text: it has each at once, and those of an earlier time."""
    from service.reports.review_sheet import read_labels, write_labels

    words = {"r": "real", "s": "synthetic", "u": "unsure"}
    path: Path = drawn.folder / "labels.csv"
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


@app.command()
def merge(
    folders: Annotated[list[Path], typer.Argument(help="Folders of audits against one reference.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the merged audit.")],
    policy: Annotated[Path | None, typer.Option("--policy", help="YAML with thresholds.")] = None,
    fail_on: Annotated[FailOn, typer.Option("--fail-on", help="Stop from this status on.")] = FailOn.undetermined,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Merge audits of parts of a dataset into the audit of the whole, without reading the data again."""
    settings = read_settings(home)
    refuse_while_served(settings.home)
    from auditor.passes.second import AuditRequest
    from auditor.policy import load_policy
    from service.pipeline import merge_audits
    from service.reports.report import read_result

    for folder in folders:
        if "review" in read_result(folder):
            say(f"madaudit: the labels of {folder}'s review are not used: review the merged audit")
    result = merge_audits(folders, out, settings=settings, intent=AuditRequest(policy=load_policy(policy)))
    if as_json:
        print_json(result)
    else:
        print_summary(result, out)
    raise typer.Exit(exit_code(result["verdict"], fail_on.value))


def exit_code(verdict: str, fail_on: str) -> int:
    """0: the gate opens; 1: the verdict is `fail`, or `warn` where warnings stop; 4: it is `undetermined` and stops."""
    order = ("pass", "warn", "undetermined", "fail")
    if fail_on == "never" or order.index(verdict) < order.index(fail_on) or verdict == "pass":
        return 0
    return 4 if verdict == "undetermined" else 1


def main() -> NoReturn:
    """Run the command line; errors become one line and an exit code, those nobody foresaw a traceback before it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that cannot show a dash is no reason to fail
    try:
        status = app(standalone_mode=False)
        if status == _INTERRUPTED:
            raise KeyboardInterrupt
    except AuditError as error:
        status = _fail(2, str(error))
    except typer.TyperException as error:
        status = _fail(2, error.format_message().strip() or "expected a command, see --help")
    except (BrokenProcessPool, MemoryError, OSError) as error:
        found = str(error).strip() or type(error).__name__
        status = _fail(3, f"the run broke ({found}): mend path, memory or disk, then run the same command to continue")
    except SystemExit:  # with 1, from typer, when whoever reads standard output is gone
        status = _fail(3, "standard output was closed before all was written: run the same command again")
    except (KeyboardInterrupt, typer.Abort):
        status = _fail(3, "interrupted: run the same command again to continue where it stopped")
    except Exception as error:  # must not leave with 1, which says that the gate failed
        traceback.print_exc()
        status = _fail(3, f"the run broke ({type(error).__name__}): this is a fault of madaudit, please report it")
    sys.exit(status if isinstance(status, int) else 0)


def _fail(code: int, line: str) -> int:
    typer.echo(f"madaudit: {one_line(line)}", err=True)
    return code
