"""The command `calibrate`, which fits a risk model to finished loops, and `forecast`, which predicts the MAD risk."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditor.plan import GENERATIONS
from service.cli.options import (
    JUDGING,
    PLAN,
    RUNNING,
    Bias,
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
from service.settings import read_settings, read_weights

if TYPE_CHECKING:
    from auditor.answers import Advice
    from auditor.results import ForecastResult
    from auditor.statistics.intervals import Measure

__all__ = ["ModelSamples", "Pilot", "RiskModelFile", "SimulateForecast", "WeightsPaths", "calibrate", "forecast"]

ModelSamples = Annotated[
    str | None,
    typer.Option(
        "--model-samples",
        help="Source with samples of your model after one training on the data.",
        rich_help_panel=PLAN,
    ),
]
Pilot = Annotated[
    str | None,
    typer.Option("--pilot", help="Source with samples of your second-generation model.", rich_help_panel=PLAN),
]
SimulateForecast = Annotated[
    str | None,
    typer.Option(
        "--simulate-forecast",
        help="Model family for an additional simulation of the loop on the vectors of the audited set.",
        rich_help_panel=PLAN,
    ),
]
WeightsPaths = Annotated[
    list[str] | None,
    typer.Option(
        "--weights",
        help="SPEC=PATH: where the weights of the reference's encoder SPEC are on this machine; repeat for more.",
        rich_help_panel=RUNNING,
    ),
]
RiskModelFile = Annotated[
    Path | None, typer.Option("--risk-model", help="Risk model written by madaudit calibrate.", rich_help_panel=PLAN)
]


class When(StrEnum):
    """Choices of --event-when: which generations are checked for the MAD event."""

    at = "at"
    ever = "ever"


def calibrate(
    folders: Annotated[list[Path], typer.Argument(help="Folders of finished sweeps that were run with observe: true.")],
    out: Annotated[Path, typer.Option("--out", help="Output file of the risk model (.npz).")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit a risk model to finished loops, and print its skill on held-out model families and data sets."""
    from loops.calibration.fit import calibrate as fit
    from loops.calibration.rows import read_rows

    rows = read_rows(folders)
    model = fit(rows, on_progress=lambda line: None if quiet else say(line))
    model.save(out)
    skill: dict[str, Any] = {
        tier: {kind: dict(s) for kind, s in found.skill.items()} for tier, found in model.tiers.items()
    }
    if as_json:
        print_json({"schema": "madaudit/calibration/1", "rows": len(rows), "model": str(out), "skill": skill})
        return
    families, data = model.manifest["families"], model.manifest["data"]
    typer.echo(
        f"fitted to {len(rows)} loops of {len(families)} families and {len(data)} data sets; skill on held-out "
        "families and data sets:"
    )
    typer.echo(
        f"{'tier':<14} {'loops':<10} {'n':>4} {'event':>6} {'Brier skill':>11} {'in class':>9} {'F ratio':>12} "
        f"{'F level':>8} {'diversity':>9} {'bands':>6} {'ECE':>6}"
    )
    for tier, kinds in {"share alone": model.manifest["share_alone"], **skill}.items():
        for kind, found in kinds.items():
            typer.echo(_line(tier, kind, found))


def _line(tier: str, kind: str, s: dict[str, float]) -> str:
    return (
        f"{tier:<14} {kind:<10} {s['n']:>4} {s['event_rate']:>6.2f} {s['brier_skill']:>11.2f} "
        f"{s['brier_skill_in_class']:>9.2f} {s['spearman_frechet_ratio']:>12.2f} {s['spearman_frechet_level']:>8.2f} "
        f"{s['spearman_diversity_ratio']:>9.2f} {s['coverage']:>6.2f} {s['calibration_error']:>6.3f}"
    )


def forecast(
    workflow: Annotated[str, typer.Option("--workflow", help="See madaudit loop workflows.")],
    generations: Generations = GENERATIONS,
    audit: Annotated[Path | None, typer.Option("--from", help="Folder of a finished audit.")] = None,
    synthetic_fraction: Annotated[
        float | None, typer.Option("--synthetic-fraction", help="Share of synthetic items (only without --from).")
    ] = None,
    diversity_ratio: Annotated[
        float | None,
        typer.Option(
            "--diversity-ratio",
            help="Vendi score of the data divided by the Vendi score of real data (only without --from).",
        ),
    ] = None,
    n_initial: NInitial = None,
    n_real: NReal = None,
    n_synthetic: NSynthetic = None,
    bias: Bias = 1.0,
    model_samples: ModelSamples = None,
    pilot: Pilot = None,
    policy: Annotated[
        Path | None,
        typer.Option(
            "--policy",
            help="YAML file with the policy's thresholds and its definition of the MAD event.",
            rich_help_panel=JUDGING,
        ),
    ] = None,
    frechet_ratio: Annotated[
        float | None,
        typer.Option(
            "--event-frechet-ratio",
            help="Fréchet ratio above which a loop counts as MAD. (default: 2)",
            rich_help_panel=JUDGING,
        ),
    ] = None,
    diversity: Annotated[
        float | None,
        typer.Option(
            "--event-diversity-ratio",
            help="Diversity ratio below which a loop counts as MAD. (default: 0.8)",
            rich_help_panel=JUDGING,
        ),
    ] = None,
    when: Annotated[
        When | None,
        typer.Option(
            "--event-when",
            help="Check the last generation (`at`) or all generations (`ever`) for the MAD event. (default: at)",
            rich_help_panel=JUDGING,
        ),
    ] = None,
    model: RiskModelFile = None,
    simulate_forecast: SimulateForecast = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the simulation.")] = 0,
    weights: WeightsPaths = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Forecast the probability and the course of model autophagy if models are trained on the data."""
    from auditor.plan import Plan
    from auditor.policy import load_policy
    from auditor.reference.relocation import Weights
    from service.forecasts import ForecastRequest, forecast_of

    stated: dict[str, Any] = {"frechet_ratio": frechet_ratio, "diversity_ratio": diversity, "when": when and when.value}
    rules = load_policy(policy)
    event = replace(rules.mad_event, **{name: value for name, value in stated.items() if value is not None})
    plan = Plan(
        workflow, generations=generations, n_initial=n_initial, n_real=n_real, n_synthetic=n_synthetic, bias=bias
    )
    asked = ForecastRequest(
        plan=plan, audit=audit, synthetic_fraction=synthetic_fraction, diversity_ratio=diversity_ratio,
        model_samples=model_samples, pilot=pilot, risk_model=model, simulate=simulate_forecast, seed=seed,
    )  # fmt: skip
    found = forecast_of(
        asked, replace(rules, mad_event=event), settings=read_settings(home),
        weights=Weights(tuple(weights or ()), read_weights()),
    )  # fmt: skip
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)


def _print(found: "ForecastResult") -> None:
    typer.echo(f"{found.status}: probability of MAD {_chance(found.probability)}")
    typer.echo(f"  MAD event: {found.event.sentence}; forecast based on: {found.tier}")
    if (plan := found.plan) is not None:
        amounts = f"{plan.n_real} real and {plan.n_synthetic} synthetic items per generation, λ = {plan.bias:g}"
        typer.echo(f"  plan: workflow {plan.workflow}, {plan.n_initial} initial items, {amounts}")
    if found.reason:
        typer.echo(f"  {found.reason}")
    typer.echo(f"{'generation':>10} {'Fréchet level':>22} {'Fréchet ratio':>22} {'diversity ratio':>22}")
    for row in found.trajectory:
        cells = [row.frechet_level, row.frechet_ratio, row.diversity_ratio]
        columns = " ".join(f"{c.estimate:>6.2f} ({c.low:.2f} – {c.high:.2f})".rjust(22) for c in cells)
        typer.echo(f"{row.generation:>10} {columns}")
    if found.advice is not None and plan is not None:
        _print_advice(found.advice, plan.workflow)
    if (ran := found.simulation) is not None:
        typer.echo(f"simulation with {ran.family}: {ran.event_in} of {ran.chains} loops reached the MAD event")


def _print_advice(advice: "Advice", workflow: str) -> None:
    typer.echo("forecasts by workflow, with the available data:")
    for beside in advice.plans:
        plan = beside.plan
        typer.echo(
            f"  {plan.workflow:<20} {plan.n_real:>8} real and {plan.n_synthetic:>8} synthetic items: "
            f"probability of MAD {_chance(beside.probability)} {beside.status}"
        )
    fresh, share = advice.fresh_real_data, advice.largest_synthetic_share
    typer.echo(
        f"data that keep the upper end of the MAD risk interval at {advice.limit:g} (forecast based on: {fresh.tier}):"
    )
    typer.echo(f"  needed fresh real items per generation    {fresh.reason or fresh.n_real}")
    stated = share.reason if share.share is None else f"{share.share:.2f}"
    typer.echo(f"  largest allowed share of synthetic items  {stated} (workflow {workflow})")


def _chance(chance: "Measure") -> str:
    stated = f"{chance.estimate:.2f}" if chance.is_known else "–"
    return f"{stated:>4} ({chance.low:.2f} – {chance.high:.2f})"
