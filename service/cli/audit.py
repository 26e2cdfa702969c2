"""The command `audit`, and the command `merge`, which combines the audits of parts of a dataset."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from auditor.plan import GENERATIONS
from indexes.errors import InputError
from service.cli.forecast import ModelSamples, Pilot, RiskModelFile, SimulateForecast, WeightsPaths
from service.cli.gate import FailOn, FailOnStatus, end_with
from service.cli.options import (
    JUDGING,
    OUTPUT,
    PLAN,
    RUNNING,
    BatchSize,
    Bias,
    Column,
    Device,
    Generations,
    Home,
    Json,
    NInitial,
    NReal,
    NSynthetic,
    Quiet,
    print_json,
    say,
)
from service.presence import refuse_while_served
from service.settings import Settings, read_settings, read_weights

if TYPE_CHECKING:
    from auditor.results import AuditResult

__all__ = ["audit", "merge"]


class Engine(StrEnum):
    """Choices of --engine: where the shards are processed."""

    local = "local"


class Declaration(StrEnum):
    """Choices of --declare: what the user states about the completeness of the reference."""

    reference_complete = "reference-complete"
    generators_complete = "generators-complete"


def default_folder(source: str) -> Path:
    """The default output folder for an audit of this source."""
    return Path(f"madaudit-{Path(source.rstrip('/')).name.split('.')[0] or 'audit'}")


def _read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Read options from a YAML file as defaults; the command line wins."""
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
        raise InputError(
            f"{path}: {unknown} is not an option of this command, expected some of {', '.join(sorted(known))}"
        )
    if structured := [key for key, value in named.items() if not _is_plain(value)]:
        raise InputError(f"{path}: the option {structured[0]} is nested, expected one value or a list of values")
    context.default_map = {
        str(known[key].name): [value] if getattr(known[key], "multiple", False) and isinstance(value, str) else value
        for key, value in named.items()
    }
    return path


def _is_plain(value: Any) -> bool:
    """Whether a YAML value is a scalar or a list of scalars."""
    values = value if isinstance(value, list) else [value]
    return not any(isinstance(each, list | dict | set | tuple) for each in values)


def audit(
    source: Annotated[str | None, typer.Argument(help="Path, pattern or URL of the dataset to audit.")] = None,
    reference: Annotated[str | None, typer.Option("--reference", help="Name of the reference to compare with.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Output folder of the audit. (default: madaudit-NAME)")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="YAML file with the policy's thresholds.", rich_help_panel=JUDGING)
    ] = None,
    workflow: Annotated[
        str | None,
        typer.Option(
            "--workflow",
            help="Planned training workflow; madaudit loop workflows lists the choices.",
            rich_help_panel=PLAN,
        ),
    ] = None,
    generations: Generations = GENERATIONS,
    n_initial: NInitial = None,
    n_real: NReal = None,
    n_synthetic: NSynthetic = None,
    bias: Bias = 1.0,
    model_samples: ModelSamples = None,
    pilot: Pilot = None,
    risk_model: RiskModelFile = None,
    simulate_forecast: SimulateForecast = None,
    engine: Annotated[
        Engine, typer.Option("--engine", help="Where the shards are processed.", rich_help_panel=RUNNING)
    ] = Engine.local,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            help="Number of worker processes; the result does not depend on this number.",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    device: Device = "auto",
    weights: WeightsPaths = None,
    fail_on: FailOnStatus = FailOn.undetermined,
    declare: Annotated[
        list[Declaration] | None,
        typer.Option(
            "--declare",
            help="Declare that the reference covers all real sources or all generators; repeat for both.",
            rich_help_panel=JUDGING,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--no-resume",
            help="Reuse the shards that an earlier run has finished in --out.",
            rich_help_panel=RUNNING,
        ),
    ] = True,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace a different audit that is already in --out.", rich_help_panel=RUNNING
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print the plan and the policy without running the audit.", rich_help_panel=OUTPUT
        ),
    ] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Largest number of items to audit, drawn at random.")
    ] = None,
    level: Annotated[
        float,
        typer.Option("--level", min=0.5, max=0.999, help="Confidence level of all intervals.", rich_help_panel=JUDGING),
    ] = 0.95,
    column: Column = None,
    batch_size: BatchSize = 256,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random draws.", rich_help_panel=RUNNING)] = 0,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            help="YAML file with options of this command; options on the command line take precedence.",
            callback=_read_config,
            is_eager=True,
            rich_help_panel=RUNNING,
        ),
    ] = None,
    home: Home = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Audit SOURCE against a reference: synthetic fraction, lost diversity, and risk of model autophagy in training.

    Writes result.json, report.html, items/*.parquet and skipped.parquet into --out.
    """
    settings = read_settings(home)
    if not dry_run:
        refuse_while_served(settings.home)
    from auditor.passes.request import AuditRequest
    from auditor.plan import plan_named
    from auditor.policy import load_policy
    from auditor.reference.relocation import Weights
    from auditor.run import AuditOptions
    from service.cli.progress import ShardProgress
    from service.forecasts import RiskSources
    from service.pipeline import run_audit
    from service.references.shelf import find_reference

    if source is not None and not source.strip():
        raise InputError("the source is an empty name: give a path, pattern or URL")
    plan = plan_named(
        workflow, generations=generations, n_initial=n_initial, n_real=n_real, n_synthetic=n_synthetic, bias=bias
    )
    risk = RiskSources(
        model_samples=model_samples, pilot=pilot, risk_model=risk_model, simulate=simulate_forecast, seed=seed
    )
    request = AuditRequest(
        policy=load_policy(policy),
        plan=plan,
        level=level,
        declared=frozenset(d.value for d in declare or ()),
        seed=seed,
        command=tuple(sys.argv),
    )
    options = AuditOptions(batch_size=batch_size, column=column, limit=limit, overwrite=overwrite, resume=resume)
    if reference is not None:
        find_reference(reference, settings)
    if dry_run:
        from service.audit_plan import audit_plan

        print_json(
            audit_plan(source, reference, out, settings=settings, request=request, options=options, workers=workers)
        )
        return
    if source is None or reference is None:
        missing = "source" if source is None else "reference"
        raise InputError(f"no {missing} was given: run madaudit audit SOURCE --reference NAME")
    out = out or default_folder(source)
    with ShardProgress("auditing", quiet=quiet) as progress:
        result = run_audit(
            source, reference, out, settings=settings, request=request, options=options, workers=workers,
            device=device, on_progress=progress, risk=risk, weights=Weights(tuple(weights or ()), read_weights()),
        )  # fmt: skip
    result = _reviewed(out, result, settings)
    end_with(result, as_json=as_json, fail_on=fail_on)


def _reviewed(out: Path, result: "AuditResult", settings: Settings) -> "AuditResult":
    """The result updated with the labels of an earlier review; labels of another audit are ignored with a warning."""
    from auditor.folder import AuditFolder
    from service.review import renew_review

    try:
        return renew_review(AuditFolder(out), settings=settings) or result
    except InputError as error:
        say(f"madaudit: the labels in {out}/review do not match this audit and were ignored: {error}")
        return result


def merge(
    folders: Annotated[list[Path], typer.Argument(help="Folders of audits that used the same reference.")],
    out: Annotated[Path, typer.Option("--out", help="Output folder of the merged audit.")],
    policy: Annotated[
        Path | None, typer.Option("--policy", help="YAML file with the policy's thresholds.", rich_help_panel=JUDGING)
    ] = None,
    fail_on: FailOnStatus = FailOn.undetermined,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Merge audits of parts of a dataset into the audit of the whole, without reading the data again."""
    settings = read_settings(home)
    refuse_while_served(settings.home)
    from auditor.folder import AuditFolder
    from auditor.passes.request import AuditRequest
    from auditor.policy import load_policy
    from auditor.results import read_result
    from service.pipeline import merge_audits

    for folder in folders:
        if read_result(AuditFolder(folder)).review:
            say(f"madaudit: the merge ignores the review labels in {folder}: review the merged audit instead")
    request = AuditRequest(policy=load_policy(policy), command=tuple(sys.argv))
    result = merge_audits(folders, out, settings=settings, request=request)
    end_with(result, as_json=as_json, fail_on=fail_on)
