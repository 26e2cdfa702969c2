"""The command line: arguments in, exit codes and JSON out."""

import io
import json
import signal
import sys
import traceback
from concurrent.futures.process import BrokenProcessPool
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import yaml

from indexes.errors import AuditError, InputError
from service.loop_commands import loop_app

__all__ = ["app", "main"]

_INTERRUPTED = 130  # what typer makes of Ctrl-C

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Audit a dataset before training on it: synthetic fraction, lost diversity, risk of model autophagy.",
)
references = typer.Typer(no_args_is_help=True, help="Build and look after trusted references.")
app.add_typer(references, name="reference")
app.add_typer(loop_app, name="loop")


class FailOn(StrEnum):
    """From which status on the gate fails."""

    undetermined = "undetermined"
    warn = "warn"
    fail = "fail"
    never = "never"


class Workflow(StrEnum):
    """How the audited data would be used."""

    replace_ = "replace"
    augment = "augment"
    accumulate = "accumulate"
    fresh = "fresh"


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


Home = Annotated[Path | None, typer.Option("--home", help="Where references and the ledger lie.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Column = Annotated[str | None, typer.Option("--column", help="Column of a table, or key, that holds the items.")]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Items an encoder sees at once.")]


def _read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Take the options in a YAML file as defaults: what stands on the command line wins."""
    if path is None:
        return None
    try:
        options = yaml.safe_load(path.read_text()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"cannot read the configuration {path}: {error}") from None
    known = {name.lstrip("-"): parameter for parameter in context.command.params for name in parameter.opts}
    del known["config"]
    named = {str(key).replace("_", "-"): value for key, value in options.items()} if isinstance(options, dict) else {}
    if not isinstance(options, dict) or set(named) - set(known):
        unknown = ", ".join(sorted(set(named) - set(known))) or repr(options)
        raise InputError(f"{path}: {unknown} is no option of this command, expected some of {', '.join(sorted(known))}")
    context.default_map = {
        str(known[key].name): [value] if getattr(known[key], "multiple", False) and isinstance(value, str) else value
        for key, value in named.items()
    }
    return path


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
    from service.demo import run_demo

    rows = run_demo(out, seed=seed, say=lambda line: None if quiet else _say(line))
    if as_json:
        _print_json({"schema": "madaudit/demo/1", "audits": rows})
        return
    typer.echo(f"{'true':>6} {'estimate':>9} {'95 % interval':>17}  verdict       report")
    for row in rows:
        interval = f"{row['low']:.3f} – {row['high']:.3f}"
        estimate = "–" if row["estimate"] is None else f"{row['estimate']:.3f}"
        typer.echo(f"{row['true']:6.2f} {estimate:>9} {interval:>17}  {row['verdict']:<12}  {row['report']}")


@references.command("build")
def reference_build(
    name: str,
    real: Annotated[list[str], typer.Option("--real", help="[LABEL=]SRC of data you trust; repeat for more.")],
    encoder: Annotated[str, typer.Option("--encoder", help="Evidence of origin, e.g. forensic, lexical, embeddings.")],
    synthetic: Annotated[
        list[str] | None, typer.Option("--synthetic", help="[LABEL=]SRC of a known generator; repeat for more.")
    ] = None,
    simulate: Annotated[
        list[str] | None, typer.Option("--simulate", help="FAMILY fitted to the real data, as a stand-in; repeat.")
    ] = None,
    semantic_encoder: Annotated[
        str | None, typer.Option("--semantic-encoder", help="Space of diversity and fidelity, if not --encoder's.")
    ] = None,
    column: Column = None,
    batch_size: BatchSize = 256,
    device: Device = "auto",
    seed: Annotated[int, typer.Option("--seed", help="Of folds, samples and probes.")] = 0,
    match_storage: Annotated[
        bool, typer.Option("--match-storage", help="Store lossless synthetic images as the real JPEGs.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a reference of this name.")] = False,
    home: Home = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Build a reference from trusted data and examples of known generators."""
    from service.pipeline import describe, make_reference, parse_labelled
    from service.progress import ShardProgress

    with ShardProgress("encoding", quiet=quiet) as progress:
        reference = make_reference(
            name,
            [parse_labelled(text, default="real") for text in real],
            [parse_labelled(text, default="synthetic") for text in synthetic or ()],
            encoder=encoder,
            semantic_encoder=semantic_encoder,
            settings=_settings(home),
            column=column,
            batch_size=batch_size,
            device=device,
            seed=seed,
            match_storage=match_storage,
            simulate=simulate or (),
            overwrite=overwrite,
            report=progress.count,
        )
    if as_json:
        _print_json(describe(reference))
    else:
        _print_reference(describe(reference))


@references.command("list")
def reference_list(home: Home = None, as_json: Json = False) -> None:
    """List the references."""
    from service.store import Ledger

    found = Ledger(_settings(home).database).references()
    if as_json:
        _print_json(found)
        return
    for reference in found:
        _print_reference(reference)
    if not found:
        typer.echo("no references yet: build one with madaudit reference build")


@references.command("show")
def reference_show(name: str, home: Home = None, as_json: Json = False) -> None:
    """Show one reference."""
    from auditor.reference import load_reference
    from service.pipeline import describe, find_reference

    folder = find_reference(name, _settings(home))
    description = {**describe(load_reference(folder)), "folder": str(folder)}
    if as_json:
        _print_json(description)
        return
    for key, value in description.items():
        typer.echo(f"{key}: {json.dumps(value, ensure_ascii=False)}")


@references.command("delete")
def reference_delete(name: str, home: Home = None, as_json: Json = False) -> None:
    """Delete a reference."""
    from service.pipeline import delete_reference

    delete_reference(name, _settings(home))
    if as_json:
        _print_json({"deleted": name})
    else:
        typer.echo(f"deleted {name}")


@app.command()
def audit(
    source: Annotated[str | None, typer.Argument(help="Path, pattern or URL of the set.")] = None,
    reference: Annotated[str | None, typer.Option("--reference", help="Name of a built reference.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the audit [madaudit-NAME].")] = None,
    policy: Annotated[Path | None, typer.Option("--policy", help="YAML with thresholds.")] = None,
    workflow: Annotated[Workflow | None, typer.Option("--workflow")] = None,
    generations: Annotated[int | None, typer.Option("--generations", min=1)] = None,
    real: Annotated[int | None, typer.Option("--real", min=0, help="Real items a generation trains on.")] = None,
    bias: Annotated[float | None, typer.Option("--bias", min=0, max=1, help="Sampling bias λ.")] = None,
    engine: Annotated[Engine, typer.Option("--engine")] = Engine.local,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Processes; the answer is the same.")] = None,
    device: Device = "auto",
    fail_on: Annotated[FailOn, typer.Option("--fail-on", help="Exit code 1 from this status on.")] = FailOn.fail,
    declare: Annotated[list[Declaration] | None, typer.Option("--declare", help="What you assert.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Reuse finished shards (the default).")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Discard another audit in --out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the policy and the plan, audit nothing.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Use a random sample of so many items.")] = None,
    level: Annotated[float, typer.Option("--level", min=0.5, max=0.999, help="Of the intervals.")] = 0.95,
    column: Column = None,
    batch_size: BatchSize = 256,
    seed: Annotated[int, typer.Option("--seed", help="Of the resampling in the second pass.")] = 0,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="YAML with any of these options.", callback=_read_config, is_eager=True),
    ] = None,
    home: Home = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Audit SOURCE against a reference: result.json, items/*.parquet, skipped.parquet and report.html in --out."""
    from auditor.audit import AuditOptions
    from auditor.finalise import Intent
    from auditor.policy import load_policy
    from service.pipeline import find_reference, run_audit
    from service.progress import ShardProgress

    intended = {
        "name": workflow.value if workflow else None, "generations": generations, "real": real, "bias": bias,
    }  # fmt: skip
    intent = Intent(
        policy=load_policy(policy),
        workflow={k: v for k, v in intended.items() if v is not None},
        level=level,
        declared=frozenset(d.value for d in declare or ()),
        seed=seed,
    )
    options = AuditOptions(batch_size=batch_size, column=column, limit=limit, overwrite=overwrite)
    settings = _settings(home)
    if reference is not None:
        find_reference(reference, settings)
    if dry_run:
        plan = {"source": source, "reference": reference, "workflow": dict(intent.workflow)}
        _print_json({**plan, "policy": intent.policy.as_json()})
        return
    if source is None or reference is None:
        missing = "source" if source is None else "reference"
        raise InputError(f"no {missing} was named: write madaudit audit SOURCE --reference NAME")
    out = out or Path(f"madaudit-{Path(source.rstrip('/')).name.split('.')[0] or 'audit'}")
    with ShardProgress("auditing", quiet=quiet) as progress:
        result = run_audit(
            source, reference, out, settings=settings, intent=intent, options=options, workers=workers,
            device=device, progress=progress,
        )  # fmt: skip
    if as_json:
        _print_json(result)
    else:
        _print_summary(result, out)
    raise typer.Exit(exit_code(result["verdict"], fail_on.value))


@app.command()
def report(
    folder: Path,
    form: Annotated[ReportForm, typer.Option("--format")] = ReportForm.html,
    out: Annotated[Path | None, typer.Option("--out", help="File [standard output; html: DIR/report.html].")] = None,
) -> None:
    """Write the report of a finished audit again, as html, md or json."""
    from service.report import read_result, render

    result = read_result(folder)
    text = json.dumps(result, indent=1) if form is ReportForm.json else render(folder, result, form.value)
    if out is None and form is ReportForm.html:
        out = folder / "report.html"
    if out is None:
        typer.echo(text)
        return
    out.write_text(text, encoding="utf-8")
    _say(f"wrote {out}")


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
    fail_on: Annotated[FailOn, typer.Option("--fail-on", help="Exit code 1 from this status on.")] = FailOn.fail,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Discard another review, with its labels.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the draw.")] = 0,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Draw items of an audit for a person to label, and take the labels: files in DIR/review, then a new answer."""
    from service.review import finish_review, start_review

    if labels is None:
        drawn = start_review(
            folder, n=n, seed=seed, known_real=known_real or (), known_synthetic=known_synthetic or (),
            overwrite=overwrite,
        )  # fmt: skip
        if as_json:
            _print_json(drawn.as_json())
            return
        if not (drawn.kind == "text" and sys.stdin.isatty()):
            _print_next(drawn.as_json(), folder)
            return
        labels = _ask(drawn)
    result = finish_review(folder, labels, settings=_settings(home))
    if as_json:
        _print_json(result)
    else:
        _print_summary(result, folder)
    raise typer.Exit(exit_code(result["verdict"], fail_on.value))


def _print_next(drawn: dict[str, Any], folder: Path) -> None:
    typer.echo(f"review {drawn['review']}: {drawn['items']} items to label")
    typer.echo(f"  open {drawn['page']} or fill in the column label of {drawn['table']}: real, synthetic or unsure")
    typer.echo(f"  then run madaudit review {folder} --labels FILE.csv")


def _ask(drawn: Any) -> Path:
    """The file of labels given on the terminal, text by text: it has each at once, and those of an earlier time."""
    from service.review_sheet import read_labels, write_labels

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
    fail_on: Annotated[FailOn, typer.Option("--fail-on")] = FailOn.fail,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Merge audits of parts of a dataset into the audit of the whole, without reading the data again."""
    from auditor.finalise import Intent
    from auditor.policy import load_policy
    from service.pipeline import merge_audits

    result = merge_audits(folders, out, settings=_settings(home), intent=Intent(policy=load_policy(policy)))
    if as_json:
        _print_json(result)
    else:
        _print_summary(result, out)
    raise typer.Exit(exit_code(result["verdict"], fail_on.value))


def exit_code(verdict: str, fail_on: str) -> int:
    """0 or 1: whether the verdict is at least as bad as what the gate fails on."""
    order = ("pass", "undetermined", "warn", "fail")
    return int(fail_on != "never" and order.index(verdict) >= order.index(fail_on))


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
        status = _fail(2, " ".join(str(error).split()))
    except typer.TyperException as error:
        status = _fail(2, " ".join(error.format_message().split()) or "expected a command, see --help")
    except (BrokenProcessPool, MemoryError, OSError) as error:
        found = " ".join(str(error).split()) or type(error).__name__
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
    typer.echo(f"madaudit: {line}", err=True)
    return code


def _settings(home: Path | None) -> Any:
    from service.settings import read_settings

    return read_settings(home)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _print_json(document: Any) -> None:
    print(json.dumps(document, indent=1, allow_nan=False))  # in ASCII, which any terminal and locale can carry


def _print_reference(description: dict[str, Any]) -> None:
    items = ", ".join(f"{label} {count}" for label, count in description["items"].items())
    semantic = description["semantic_encoder"] or "none: diversity is not measured"
    typer.echo(f"{description['name']}: {items}; encoder {description['encoder']}, semantic encoder {semantic}")
    for label, reasons in description["skipped"].items():
        typer.echo(f"  skipped of {label}: {', '.join(f'{count} × {reason}' for reason, count in reasons.items())}")
    typer.echo(f"  separation of real and synthetic scores: {description['separation']:.2f} (an answer needs 0.25)")


def _print_summary(result: dict[str, Any], out: Path) -> None:
    fraction, loss = result["synthetic_fraction"], result["diversity"]["loss"]
    typer.echo(f"{result['verdict'].upper()}: {result['n_items']} items, {sum(result['skipped'].values())} skipped")
    for check in result["checks"]:
        if check["name"] in result["policy"]["required"] and check["status"] in ("warn", "fail"):
            typer.echo(f"  {check['status']}: {check['name'].replace('_', ' ')}, {check['reason']}")
    typer.echo(f"  synthetic fraction  {_interval(fraction)}")
    if fraction["estimate"] is None and fraction["if_reference_matches"]["estimate"] is not None:
        typer.echo(f"  if reference holds  {_interval(fraction['if_reference_matches'])}")
    typer.echo(f"  diversity loss      {_interval(loss)}")
    typer.echo(f"  MAD risk            {result['mad_risk']['reason']}")
    typer.echo(f"  report              {out / 'report.html'}")


def _interval(answer: dict[str, Any]) -> str:
    if answer["low"] is None:
        return f"not determined ({answer['reason']})"
    interval = f"{answer['low']:.3f} – {answer['high']:.3f}"
    if answer["estimate"] is None:
        return f"{interval} ({answer['reason']})"
    return f"{answer['estimate']:.3f} ({interval})"
