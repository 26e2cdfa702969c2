"""Forecasts beside what then happened: loops that the shipped calibration has not seen, and its advice followed.

    python benchmarks/forecast.py end-to-end --out /tmp/unseen    24 loops on other data, audited, forecast and run
    python benchmarks/forecast.py advice --out /tmp/unseen        the same again with the advised fresh data
    python benchmarks/forecast.py reliability SWEEP... --image FILE     of forecasts held out from a calibration

Every loop is audited, its own model sampled and a pilot run with another seed before it is run (`observe: true`).
"""

import argparse
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import datasets

from auditor.event import Event
from auditor.plan import Plan
from auditor.risk.advice import advise
from auditor.risk.inputs import TIERS, ForecastInputs, workflow_class
from auditor.risk.tier import OUTPUTS
from loops.calibration.rows import CalibrationRow, read_row, read_rows
from loops.calibration.tier_fit import happened_in
from loops.calibration.validation import held_out, reliability
from loops.config import LoopConfig, config_from
from loops.sweep import Planned, plan_sweep, run_sweep
from service.forecasts import risk_model

_LIMIT = 0.2  # the default policy's, at which a risk warns
_CONTINUATIONS = 2  # loops of other seeds for each advice
_FAMILIES: dict[str, dict[str, Any]] = {
    "gaussian": {}, "gmm": {}, "kde": {"bandwidth": 0.5}, "flow": {"steps": 200, "layers": 6}, "vae": {"steps": 300},
    "gan": {"steps": 200, "hidden": 128, "penalty": 1.0}, "diffusion": {"steps": 300}, "ngram": {},
}  # fmt: skip


def unseen_data(folder: Path) -> list[str]:
    """Data that the calibration does not hold, as sources."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        "classes": datasets.make_classification(4000, 20, n_informative=8, n_classes=4, random_state=1)[0],
        "low-rank": datasets.make_low_rank_matrix(4000, 40, effective_rank=8, random_state=2),
        "blobs": datasets.make_blobs(4000, n_features=16, centers=8, random_state=3)[0],
        "s-curve": datasets.make_s_curve(4000, noise=0.1, random_state=4)[0],
    }
    for name, rows in made.items():
        np.save(folder / f"{name}.npy", ((rows - rows.mean(0)) / rows.std(0)).astype(np.float32))
    return [*(str(folder / f"{name}.npy") for name in made), "normal:20"]


def unseen_loops(folder: Path, count: int) -> list[Planned]:
    """Loops over that data, families by turns, everything else drawn at random."""
    data, rng, runs = unseen_data(folder / "data"), np.random.default_rng(77), []
    for number in range(count):
        family = list(_FAMILIES)[number % len(_FAMILIES)]
        workflow = ("replace", "augment", "fresh", "accumulate")[number // 2 % 4]
        n = round(float(np.exp(rng.uniform(np.log(150), np.log(1500)))))
        runs.append({
            "family": family, "workflow": workflow, "seed": 9000 + number, "n_initial": n, "n_measure": 2000,
            "data": str(rng.choice(data)) if family != "ngram" else str(rng.choice(data[:4])),
            "n_synthetic": round(n * float(rng.choice([0.5, 1, 2]))), "bias": float(rng.choice([1.0, 1.0, 0.9, 0.8])),
            "settings": _FAMILIES[family], "contamination": float(rng.choice([0.1, 0.25, 0.5, 0.7])),
            "contaminant": "ngram" if family == "ngram" else str(rng.choice(["gaussian", "gmm", "kde"])),
        })  # fmt: skip
        if workflow in ("augment", "fresh"):
            runs[-1]["n_real"] = n if workflow == "augment" else round(n * float(rng.choice([0.25, 0.5, 1])))
    return plan_sweep({"observe": True, "base": {"generations": 8, "chains": 1}, "runs": runs})


def rows_of(folder: Path, count: int, workers: int) -> list[tuple[LoopConfig, CalibrationRow]]:
    """The loops, run where they are not yet."""
    planned = unseen_loops(folder, count)
    if failed := run_sweep(
        planned, folder / "loops", workers=workers, on_progress=lambda line: print(line, flush=True)
    ):
        raise SystemExit(f"{len(failed)} loops failed: {failed}")
    found = [(entry.config, read_row(folder / "loops" / "runs" / entry.key)) for entry in planned]
    return [(config, row) for config, row in found if row is not None]


def happened(outputs: np.ndarray, event: Event) -> bool:
    """Whether a trajectory (4, T) met the event."""
    return bool(happened_in(outputs[None], event)[0])


def at_tier(known: ForecastInputs, tier: str) -> ForecastInputs:
    """What is known at a tier."""
    model, pilot = (known.model if tier != TIERS[0] else None), (known.pilot if tier == TIERS[2] else None)
    return dataclasses.replace(known, model=model, pilot=pilot)


def end_to_end(rows: Sequence[tuple[LoopConfig, CalibrationRow]]) -> None:
    """Each loop's forecasts beside its course, and their errors at each tier."""
    model, event = risk_model(None), Event()
    print("\n| family | data | workflow | n | λ | contamination | F level, generation 8 | forecast: audit | + model "
          "samples | + pilot | event | probability: audit | + model samples | + pilot |")  # fmt: skip
    print("|---" * 14 + "|")
    chances: dict[str, list[float]] = {tier: [] for tier in TIERS}
    states: dict[str, list[str]] = {tier: [] for tier in TIERS}
    inside: dict[str, list[bool]] = {tier: [] for tier in TIERS}
    errors: dict[str, list[float]] = {tier: [] for tier in TIERS}
    met = [happened(row.outputs, event) for _, row in rows]
    for (config, row), event_met in zip(rows, met, strict=True):
        truth = np.concatenate([np.exp(row.outputs[:3]), row.outputs[3:]])
        cells: list[list[str]] = [[], []]
        for tier in TIERS:
            found = model.predict(at_tier(row.known, tier), event=event)
            course = found.trajectory
            level = course["frechet_level"][-1]
            errors[tier].append(abs(math.log(level.estimate / truth[0, -1])))
            inside[tier] += [
                all(m.low - 1e-9 <= v <= m.high + 1e-9 for m, v in zip(course[name], truth[i], strict=True))
                for i, name in enumerate(OUTPUTS)
            ]
            chances[tier].append(found.probability.estimate)
            states[tier].append(found.status)
            cells[0].append(f"{level.estimate:.1f} ({level.low:.1f} – {level.high:.1f})")
            cells[1].append(
                f"{found.probability.estimate:.2f}{'' if found.status == 'determined' else ' ' + found.status}"
            )
        named = (
            config.family, Path(str(config.data)).stem, config.workflow, config.n_initial, config.bias,
            config.contamination, f"{truth[0, -1]:.1f}", *cells[0], "yes" if event_met else "no", *cells[1],
        )  # fmt: skip
        print("| " + " | ".join(map(str, named)) + " |")
    columns = (
        "tier", "determined", "Brier score", "of the rate of the workflow class", "told", "Brier score",
        "of the base rate", "median factor between level and forecast", "in bands",
    )  # fmt: skip
    print(f"\n| {' | '.join(columns)} |")
    print("|---" * 9 + "|")
    for tier in TIERS:
        sure = [
            (c, m, model.tiers[tier].skill[workflow_class(row.known.plan)]["event_rate"])
            for c, m, s, (_, row) in zip(chances[tier], met, states[tier], rows, strict=True)
            if s == "determined"
        ]
        ours, theirs = (float(np.mean([(row[i] - row[1]) ** 2 for row in sure])) for i in (0, 2))
        told = [(c, m) for c, m in zip(chances[tier], met, strict=True) if not math.isnan(c)]
        brier = float(np.mean([(c - m) ** 2 for c, m in told])) if told else math.nan
        rate = float(np.mean([m for _, m in told])) if told else math.nan
        cells = (
            len(sure), f"{ours:.3f}", f"{theirs:.3f}", f"{len(told)} of {len(met)}", f"{brier:.3f}",
            f"{rate * (1 - rate):.3f}", f"{math.exp(float(np.median(errors[tier]))):.2f}",
            f"{np.mean(inside[tier]):.3f}",
        )  # fmt: skip
        print(f"| {tier} | {' | '.join(map(str, cells))} |")


def follow_advice(rows: Sequence[tuple[LoopConfig, CalibrationRow]], folder: Path, workers: int) -> None:
    """Run the loops again, fresh, with the advised amount of real data, and count those that stay within tolerance."""
    model, event, planned, amounts = risk_model(None), Event(), [], []
    for number, (config, row) in enumerate(rows):
        known = at_tier(row.known, "model-samples")
        forecast = model.predict(known, event=event)
        advised = advise(known, model, forecast, event=event, limit=_LIMIT)["fresh_real_data"]["n_real"]
        amounts.append(advised)
        if advised is None:
            continue
        for again in range(_CONTINUATIONS):
            fields = {
                **config.as_json(), "workflow": "fresh", "n_real": advised, "seed": 20_000 + 10 * number + again,
            }  # fmt: skip
            planned.append((row.known.plan, config_from({k: v for k, v in fields.items() if k != "budget"})))
    entries = [Planned(f"{number:04d}", config, is_observed=True) for number, (_, config) in enumerate(planned)]
    if failed := run_sweep(
        entries, folder / "advised", workers=workers, on_progress=lambda line: print(line, flush=True)
    ):
        raise SystemExit(f"{len(failed)} loops failed: {failed}")
    kept = []
    print(
        "\n| family | data | planned | advised fresh real items of n | stays within tolerance |\n|---|---|---|---|---|"
    )
    for (plan, config), entry in zip(planned, entries, strict=True):
        row = read_row(folder / "advised" / "runs" / entry.key)
        assert row is not None
        kept.append(not happened(row.outputs, event))
        print(f"| {config.family} | {Path(str(config.data)).stem} | {_planned(plan)} | {config.n_real} of "
              f"{config.n_initial} | {'yes' if kept[-1] else 'no'} |")  # fmt: skip
    given = sum(amount is not None for amount in amounts)
    print(f"\nadvice for {given} of {len(amounts)} loops; {sum(kept)} of {len(kept)} continuations stayed within "
          f"tolerance ({np.mean(kept):.3f})")  # fmt: skip


def _planned(plan: Plan) -> str:
    return f"{plan.workflow}, {plan.n_real} real and {plan.n_synthetic} synthetic, λ = {plan.bias:g}"


def draw_reliability(rows: Sequence[CalibrationRow], image: Path | None) -> None:
    """How often the event happened among forecasts of about the same probability, at each tier."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 2.8), layout="constrained")
    print("| tier | forecast | happened | loops |\n|---|---|---|---|")
    for axes, tier in zip(figure.subplots(1, len(TIERS), sharey=True), TIERS, strict=True):
        found = reliability(held_out(rows, tier))
        for forecast, rate, count in found.bins:
            print(f"| {tier} | {forecast:.2f} | {rate:.2f} | {count} |")
        print(f"| {tier} | expected calibration error | {found.error:.3f} | {sum(c for _, _, c in found.bins)} |")
        axes.plot([0, 1], [0, 1], color="#95a5a6", lw=1)
        axes.plot([f for f, _, _ in found.bins], [r for _, r, _ in found.bins], "o-", color="#1b6ca8", ms=4)
        axes.set_title(f"{tier}, ECE {found.error:.3f}", fontsize=9)
        axes.set_xlabel("forecast")
    figure.axes[0].set_ylabel("happened")
    if image is not None:
        figure.savefig(image, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("end-to-end", "advice", "reliability"))
    parser.add_argument("sweeps", nargs="*", type=Path, help="folders of the calibration, for reliability")
    parser.add_argument("--out", type=Path, default=Path("unseen-loops"), help="folder that keeps finished loops")
    parser.add_argument("--loops", type=int, default=24)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--image", type=Path)
    given = parser.parse_args()
    if given.what == "reliability":
        draw_reliability(read_rows(given.sweeps), given.image)
        return
    rows = rows_of(given.out, given.loops, given.workers)
    if given.what == "end-to-end":
        end_to_end(rows)
    else:
        follow_advice(rows, given.out, given.workers)


if __name__ == "__main__":
    main()
