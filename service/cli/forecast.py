"""The commands of the risk model: calibrate it on loops that were run, and forecast with it."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.options import Home, Json, Quiet, print_json, say
from service.settings import read_settings, read_weights

__all__ = ["ModelSamples", "Pilot", "RiskModelFile", "SimulateForecast", "WeightsPaths", "calibrate", "forecast"]

ModelSamples = Annotated[
    str | None, typer.Option("--model-samples", help="SRC of samples of your model trained on the data.")
]
Pilot = Annotated[str | None, typer.Option("--pilot", help="SRC of samples of a second generation of the workflow.")]
SimulateForecast = Annotated[
    str | None,
    typer.Option("--simulate-forecast", help="Family: also simulate the loop on the audited set's own vectors."),
]
WeightsPaths = Annotated[
    list[str] | None,
    typer.Option(
        "--weights",
        help="SPEC=PATH: where the weights of the reference's encoder SPEC lie on this machine; repeat for more.",
    ),
]
RiskModelFile = Annotated[Path | None, typer.Option("--risk-model", help="File that madaudit calibrate wrote.")]


class When(StrEnum):
    """When the event counts."""

    at = "at"
    ever = "ever"


def calibrate(
    folders: Annotated[list[Path], typer.Argument(help="Folders of sweeps that were run with observe: true.")],
    out: Annotated[Path, typer.Option("--out", help="File of the model, .npz.")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit a risk model to loops that were run, and print how it does on families and data it has not seen."""
    from loops.calibration.fit import calibrate as fit
    from loops.calibration.rows import read_rows

    rows = read_rows(folders)
    model = fit(rows, report=lambda line: None if quiet else say(line))
    model.save(out)
    skill = {tier: {kind: dict(s) for kind, s in found.skill.items()} for tier, found in model.tiers.items()}
    if as_json:
        print_json({"schema": "madaudit/calibration/1", "rows": len(rows), "model": str(out), "skill": skill})
        return
    families, data = model.manifest["families"], model.manifest["data"]
    typer.echo(f"{len(rows)} loops, {len(families)} families, {len(data)} data sets; on families and data held out:")
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
    generations: Annotated[int, typer.Option("--generations", min=2, help="How far to look.")] = 8,
    audit: Annotated[Path | None, typer.Option("--from", help="Folder of a finished audit.")] = None,
    synthetic_fraction: Annotated[
        float | None, typer.Option("--synthetic-fraction", help="Without an audit: share of synthetic items.")
    ] = None,
    diversity_ratio: Annotated[
        float | None, typer.Option("--diversity-ratio", help="Without an audit: Vendi score over that of real data.")
    ] = None,
    n: Annotated[int | None, typer.Option("--n", min=1, help="Items of the first training set.")] = None,
    real: Annotated[
        int | None, typer.Option("--real", min=0, help="Real items beside synthetic ones, by default as in the audit.")
    ] = None,
    synthetic: Annotated[
        int | None, typer.Option("--synthetic", min=0, help="Synthetic items that a generation adds; the same default.")
    ] = None,
    bias: Annotated[float, typer.Option("--bias", help="Sampling bias λ, 1 for none.")] = 1.0,
    model_samples: ModelSamples = None,
    pilot: Pilot = None,
    policy: Annotated[Path | None, typer.Option("--policy", help="YAML with the risk's thresholds and event.")] = None,
    frechet_ratio: Annotated[
        float | None, typer.Option("--event-frechet-ratio", help="Above which a loop is MAD, by default 2.")
    ] = None,
    diversity: Annotated[
        float | None, typer.Option("--event-diversity-ratio", help="Below which a loop is MAD, by default 0.8.")
    ] = None,
    when: Annotated[
        When | None, typer.Option("--event-when", help="At the last generation (the default), or ever.")
    ] = None,
    model: RiskModelFile = None,
    simulate_forecast: SimulateForecast = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the simulation.")] = 0,
    weights: WeightsPaths = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Forecast how likely training on the data starts model autophagy, and its course, before it is done."""
    from auditor.policy import load_policy
    from auditor.reference.relocation import Weights
    from service.forecasts import ForecastRequest, forecast_of

    stated: dict[str, Any] = {"frechet_ratio": frechet_ratio, "diversity_ratio": diversity, "when": when and when.value}
    rules = load_policy(policy)
    event = replace(rules.mad_event, **{name: value for name, value in stated.items() if value is not None})
    asked = ForecastRequest(
        workflow, generations, audit, synthetic_fraction, diversity_ratio, n, real, synthetic, bias, model_samples,
        pilot, model, simulate_forecast, seed,
    )  # fmt: skip
    found = forecast_of(
        asked, replace(rules, mad_event=event), settings=read_settings(home),
        weights=Weights(tuple(weights or ()), read_weights()),
    )  # fmt: skip
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    typer.echo(f"{found['status']}: probability of MAD {_chance(found['probability'])}")
    typer.echo(f"  event: {found['event']}; known: {found['tier']}")
    plan = found["workflow"]
    amounts = f"{plan['n_real']} real and {plan['n_synthetic']} synthetic a generation, λ = {plan['bias']:g}"
    typer.echo(f"  plan: {plan['name']}, {plan['n_initial']} items at first, {amounts}")
    if found["reason"]:
        typer.echo(f"  {found['reason']}")
    typer.echo(f"{'generation':>10} {'Fréchet level':>22} {'Fréchet ratio':>22} {'diversity ratio':>22}")
    for row in found["trajectory"]:
        cells = [row[name] for name in ("frechet_level", "frechet_ratio", "diversity_ratio")]
        columns = " ".join(f"{c['estimate']:>6.2f} ({c['low']:.2f} – {c['high']:.2f})".rjust(22) for c in cells)
        typer.echo(f"{row['generation']:>10} {columns}")
    advice = found["advice"]
    typer.echo("workflows, with the data at hand:")
    for beside in advice["workflows"]:
        chance = beside["probability"]
        typer.echo(
            f"  {beside['name']:<20} {beside['n_real']:>8} real {beside['n_synthetic']:>8} synthetic   "
            f"{_chance(chance)} {beside['status']}"
        )
    fresh, share = advice["fresh_real_data"], advice["largest_synthetic_share"]
    typer.echo(f"to keep the risk's upper end at {advice['limit']:g}, knowing the {fresh['tier']}:")
    typer.echo(f"  fresh real items a generation   {fresh['reason'] or fresh['n_real']}")
    name = found["workflow"]["name"]
    typer.echo(f"  share of synthetic items        {share['reason'] or format(share['share'], '.2f')} (under {name})")
    if "simulation" in found:
        ran = found["simulation"]
        typer.echo(f"simulated with {ran['family']}: {ran['event_in']} of {ran['chains']} loops went MAD")


def _chance(chance: dict[str, float | None]) -> str:
    stated = "–" if chance["estimate"] is None else f"{chance['estimate']:.2f}"
    return f"{stated:>4} ({chance['low']:.2f} – {chance['high']:.2f})"
