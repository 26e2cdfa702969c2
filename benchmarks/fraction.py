"""The synthetic fraction where the truth is known: error, coverage, width and abstention, by scenario.

    python benchmarks/fraction.py essays-unseen --draws 240
    python benchmarks/fraction.py all --draws 200 --workers 2

Every draw splits reference and pool anew and takes the next of the scenario's prevalences. Coverage comes with its 95 %
Clopper–Pearson limits, overall and given the status. `conditional` is `if_reference_matches`, `stated` the interval at
the top of the result.
"""

import argparse
import multiprocessing
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from fraction_scenarios import SCENARIOS, Draw, draw_of
from scipy import stats
from threadpoolctl import threadpool_limits

from auditor.calibration import calibration_of, count_scores
from auditor.contrast import contrast_with
from auditor.copies import copy_groups, design_effect
from auditor.detector import fit_detector
from auditor.fraction import FractionEstimate, estimate_fraction


def estimate(draw: Draw, *, complete: bool = False) -> FractionEstimate:
    """The answer an audit gives: the same functions, on vectors in memory."""
    vectors = np.concatenate(draw.components)
    component = np.repeat(np.arange(len(draw.components)), [len(part) for part in draw.components])
    digests = np.concatenate(draw.component_digests)
    detector, own = fit_detector(vectors, component, digests, n_real=draw.n_real, seed=draw.seed)
    calibration = calibration_of(own, component, draw.labels, effects=detector.effects)
    observed = count_scores(detector.evidence(draw.incoming, draw.incoming_digests), calibration.edges)

    near = copy_groups(draw.incoming, beside=vectors)

    def contrast(shares: np.ndarray) -> object:
        folds = [detector.folds[component == k] for k in range(len(draw.components))]
        return contrast_with(
            draw.components, draw.incoming, shares, n_real=draw.n_real, seed=draw.seed, folds=folds,
            effects=detector.effects, groups=near,
        )  # fmt: skip

    return estimate_fraction(
        calibration, observed, rng=np.random.default_rng(draw.seed), contrast=contrast,
        copies=design_effect(np.bincount(near)),
        assume_generators_complete=complete,
    )  # fmt: skip


def one(name: str, number: int) -> dict[str, object]:
    """The row of one draw."""
    with threadpool_limits(1):
        draw = draw_of(name, number)
        found = estimate(draw, complete=SCENARIOS[name].complete)
    conditional = found.if_reference_matches
    return {
        "part": draw.part, "true": draw.truth, "status": found.status, "low": found.low, "high": found.high,
        "estimate": conditional.value, "conditional_low": conditional.low, "conditional_high": conditional.high,
        "departure": found.departure, "p": found.fit_p_value, "separation": found.separation,
    }  # fmt: skip


def rows_of(name: str, draws: int, workers: int) -> Iterator[dict[str, object]]:
    """Draws in order, in this process or in several."""
    SCENARIOS[name].items()  # encoded once; forked workers share it
    if workers == 1:
        yield from map(partial(one, name), range(draws))
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        yield from pool.map(partial(one, name), range(draws), chunksize=4)


HEADER = (
    "| part | draws | determined | bounds | undetermined | MAE | bias | conditional covers | determined | bounds "
    "| width | stated covers | width | high − true | low > .01 | determined, low > .01 |"
)


def line(part: str, rows: Sequence[dict[str, object]]) -> str:
    """One line of the table."""
    column = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    true, status = column["true"].astype(float), column["status"]
    within = (column["conditional_low"] <= true + 1e-9) & (true <= column["conditional_high"] + 1e-9)
    stated = (column["low"] <= true + 1e-9) & (true <= column["high"] + 1e-9)
    errors = column["estimate"].astype(float) - true
    shares = [f"{(status == kind).mean():.3f}" for kind in ("determined", "bounds", "undetermined")]
    told = np.isfinite(errors)
    cells = [
        part, str(len(rows)), *shares,
        f"{np.abs(errors[told]).mean():.4f}" if told.any() else "–",
        f"{errors[told].mean():+.4f}" if told.any() else "–",
        _covered(within), _covered(within[status == "determined"]), _covered(within[status == "bounds"]),
        f"{(column['conditional_high'] - column['conditional_low']).mean():.3f}",
        _covered(stated), f"{(column['high'] - column['low']).mean():.3f}", f"{(column['high'] - true).mean():+.3f}",
        f"{(column['low'] > 0.01).mean():.3f}", f"{((column['low'] > 0.01) & (status == 'determined')).mean():.3f}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _covered(hits: np.ndarray) -> str:
    """Share and its 95 % Clopper–Pearson limits."""
    if len(hits) == 0:
        return "–"
    interval = stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(method="exact")
    return f"{hits.mean():.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def report(name: str, rows: Sequence[dict[str, object]]) -> None:
    """The scenario's table: a line for each part, each prevalence, and all."""
    scenario = SCENARIOS[name]
    print(f"\n## {name}\n\n{scenario.summary}\n\n{HEADER}\n|{'---|' * 16}")
    groups: dict[str, list[dict[str, object]]] = defaultdict(list)
    for row in rows:
        groups[f"{row['part']}"].append(row)
    if len(groups) > 1:
        for part in sorted(groups):
            print(line(part, groups[part]))
    for prevalence in sorted({row["true"] for row in rows}):
        print(line(f"true {prevalence:g}", [row for row in rows if row["true"] == prevalence]))
    print(line("all", rows), flush=True)


def main() -> None:
    """Run the scenarios asked for and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="+", help=f"all, or some of {', '.join(SCENARIOS)}")
    parser.add_argument("--draws", type=int, default=200, help="of each scenario")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    wanted = list(SCENARIOS) if options.scenarios == ["all"] else options.scenarios
    if unknown := sorted(set(wanted) - set(SCENARIOS)):
        sys.exit(f"no scenario is called {', '.join(unknown)}, expected some of {', '.join(SCENARIOS)}")
    print(f"# Synthetic fraction, {options.draws} draws a scenario")
    for name in wanted:
        report(name, list(rows_of(name, options.draws, options.workers)))


if __name__ == "__main__":
    main()
