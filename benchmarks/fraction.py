"""The synthetic fraction where the truth is known: every pair of known and incoming generators, share and size.

    python benchmarks/fraction.py essays --references 60 --workers 2
    python benchmarks/fraction.py all --references 60 --workers 2 --keep rows.jsonl > table.md

Every reference splits its pools anew and is asked about a set of every incoming generator, share and size. A cell is a
pair, a size and a share. Coverage comes with its 95 % Clopper–Pearson limits. `let through`: verdict pass or warn where
the true share reaches the default policy's `fail`. `cleared`: the same where nothing is synthetic; `failed`: verdict
fail there.
"""

import argparse
import json
import multiprocessing
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from fraction_scenarios import SCENARIOS, Draw, draws_of, references_of
from scipy import stats
from threadpoolctl import threadpool_limits

from auditor.evidence.calibration import Calibration, calibration_of, count_scores
from auditor.evidence.detector import Detector, fit_detector
from auditor.evidence.near_duplicates import copy_groups, design_effect
from auditor.fraction.estimate import FractionEstimate, estimate_fraction
from auditor.fraction.set_classifier import contrast_with
from auditor.fraction.unseen_generators import LeftOut, leave_one_out
from auditor.policy import Policy, check
from auditor.statistics.intervals import Measure

_THRESHOLD = Policy().synthetic_fraction
_OPEN = ("pass", "warn")
_BAR, _AIM = 0.9, 0.95  # coverage that each cell is to reach, and its upper confidence limit where it does not


@dataclass(frozen=True)
class Fitted:
    """What a reference holds, as a build makes it."""

    component: np.ndarray
    vectors: np.ndarray
    detector: Detector
    calibration: Calibration
    left_out: LeftOut
    nearest: np.ndarray  # (n,) ascending: from each item to the nearest other one


def fitted_to(draw: Draw) -> Fitted:
    """The reference of a draw."""
    vectors, digests = np.concatenate(draw.components), np.concatenate(draw.component_digests)
    component = np.repeat(np.arange(len(draw.components)), [len(part) for part in draw.components])
    detector, own = fit_detector(vectors, component, digests, n_real=draw.n_real, seed=draw.seed)
    calibration = calibration_of(own, component, draw.labels, effects=detector.effects)
    generators = draw.labels[draw.n_real :]
    left_out = leave_one_out(
        vectors, component, digests, draw.labels, generators, n_real=draw.n_real, seed=draw.seed
    )  # fmt: skip
    return Fitted(component, vectors, detector, calibration, left_out, np.sort(own.nearest.min(1)))


def estimate(draw: Draw, fitted: Fitted, *, complete: bool = False) -> FractionEstimate:
    """The answer an audit gives: the same functions, on vectors in memory."""
    observed = count_scores(fitted.detector.evidence(draw.incoming, draw.incoming_digests), fitted.calibration.edges)
    near = copy_groups(draw.incoming, beside=fitted.vectors)

    def contrast(shares: np.ndarray) -> object:
        folds = [fitted.detector.folds[fitted.component == k] for k in range(len(draw.components))]
        return contrast_with(
            draw.components, draw.incoming, shares, n_real=draw.n_real, seed=draw.seed, folds=folds,
            effects=fitted.detector.effects, groups=near,
        )  # fmt: skip

    return estimate_fraction(
        fitted.calibration, observed, rng=np.random.default_rng(draw.seed), contrast=contrast,
        left_out=fitted.left_out, copies=design_effect(np.bincount(near)), assume_generators_complete=complete,
    )  # fmt: skip


def one(name: str, number: int) -> list[dict[str, object]]:
    """The rows of one reference."""
    with threadpool_limits(1):
        drawn = draws_of(name, number)
        fitted = fitted_to(drawn[0])
        return [_row(draw, estimate(draw, fitted, complete=SCENARIOS[name].complete)) for draw in drawn]


def _row(draw: Draw, found: FractionEstimate) -> dict[str, object]:
    def fields(name: str, measure: Measure) -> dict[str, float]:
        return {name: measure.estimate, f"{name}_low": measure.low, f"{name}_high": measure.high}

    return {
        "part": draw.part, "generators": len(draw.labels) - draw.n_real,
        "n": draw.n, "wanted": draw.wanted, "true": draw.truth, "status": found.status,
        **fields("stated", Measure(found.estimate, low=found.low, high=found.high)),
        **fields("matches", found.if_reference_matches), **fields("known", found.if_generators_known),
        "verdict": verdict(found), "separation": found.separation, "departure": found.departure,
        "p": found.fit_p_value, "noticed": found.power.smallest_noticed, "hide": found.power.may_hide,
    }  # fmt: skip


def verdict(found: FractionEstimate) -> str:
    """What the default policy's check of the fraction says."""
    reason = found.reason if found.status == "undetermined" else None
    return verdict_on(Measure(found.estimate, low=found.low, high=found.high), reason, otherwise=found.if_both)


def verdict_on(answer: Measure, reason: str | None = None, *, otherwise: Measure | None = None) -> str:
    """The same of an estimate, nan where none is stated, and its interval."""
    return check("synthetic_fraction", _THRESHOLD, answer, reason=reason, otherwise=otherwise).status


Rows = list[dict[str, object]]
Reference = Callable[[int], Rows]  # the rows of the reference of a number


def rows_of(name: str, references: int, workers: int, rows: Reference | None = None) -> Rows:
    """The rows of so many references in order, in this process or in several."""
    return [row for found in _computed(name, range(references), workers, rows or partial(one, name)) for row in found]


def rows_kept(name: str, references: int, workers: int, file: Path) -> Rows:
    """The same; those of every finished reference are added to the file, and not computed again."""
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    found = {line["reference"]: line["rows"] for line in lines if line["scenario"] == name}
    missing = [number for number in range(references) if number not in found]
    with file.open("a") as out:
        for number, rows in zip(missing, _computed(name, missing, workers, partial(one, name)), strict=True):
            found[number] = rows
            record = {"scenario": name, "reference": number, "rows": rows}
            out.write(json.dumps(record, default=lambda number: number.item()) + "\n")
            out.flush()
    return [row for number in range(references) for row in found[number]]


def _computed(name: str, numbers: Sequence[int], workers: int, rows: Reference) -> Iterator[Rows]:
    SCENARIOS[name].items()  # encoded once; forked workers share it
    if workers == 1:
        yield from map(rows, numbers)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        yield from pool.map(rows, numbers)


HEADER = (
    "| known ← in the set | n | true | sets | stated covers | determined | of these cover | width "
    "| let through | if reference matches: MAE | covers | width | if generators known: MAE | covers | width |"
)
PAIRS = (
    "| known ← in the set | separation | may hide | sets | stated covers, worst cell | determined | of these cover "
    "| width | let through | clean: failed | clean: cleared |"
)


def covers(rows: Sequence[dict[str, object]], name: str = "stated") -> np.ndarray:
    """Which intervals hold the truth, (rows,) bool."""
    low, true, high = (column(rows, key) for key in (f"{name}_low", "true", f"{name}_high"))
    held: np.ndarray = (low <= true + 1e-9) & (true <= high + 1e-9)
    return held


def column(rows: Sequence[dict[str, object]], name: str) -> np.ndarray:
    """One field of all rows."""
    return np.array([row[name] for row in rows])


def cell(rows: Sequence[dict[str, object]]) -> list[str]:
    """The figures of one cell."""
    determined = [row for row in rows if row["status"] == "determined"]
    through = [row["verdict"] in _OPEN for row in rows if float(str(row["true"])) >= _THRESHOLD.fail]
    return [
        str(len(rows)), limits(covers(rows)), _share(len(determined), len(rows)),
        limits(covers(determined)) if determined else "–", _width(rows, "stated"),
        _mean(np.array(through, dtype=float)) if through else "–", *_conditional(rows, "matches"),
        *_conditional(rows, "known"),
    ]  # fmt: skip


def _conditional(rows: Sequence[dict[str, object]], name: str) -> list[str]:
    errors = np.abs(column(rows, name).astype(float) - column(rows, "true").astype(float))
    return [_mean(errors[np.isfinite(errors)], 4), limits(covers(rows, name)), _width(rows, name)]


def _width(rows: Sequence[dict[str, object]], name: str) -> str:
    return _mean(column(rows, f"{name}_high") - column(rows, f"{name}_low"))


def pooled(rows: Sequence[dict[str, object]]) -> list[str]:
    """The figures of a pair over all its cells."""
    cells = grouped(rows, "part", "n", "wanted")
    determined = [row for row in rows if row["status"] == "determined"]
    through = [row["verdict"] in _OPEN for row in rows if float(str(row["true"])) >= _THRESHOLD.fail]
    clean = [row["verdict"] for row in rows if row["true"] == 0]
    return [
        _mean(column(rows, "separation")), _mean(column(rows, "hide")), str(len(rows)),
        f"{min(covers(each).mean() for each in cells.values()):.2f}", _share(len(determined), len(rows)),
        limits(covers(determined)) if determined else "–", _width(rows, "stated"),
        limits(np.array(through)) if through else "–", limits(np.array([v == "fail" for v in clean])) if clean else "–",
        limits(np.array([v in _OPEN for v in clean])) if clean else "–",
    ]  # fmt: skip


def grouped(rows: Sequence[dict[str, object]], *keys: str) -> dict[tuple[object, ...], list[dict[str, object]]]:
    """Rows by the values of some fields, in order of first mention."""
    groups: dict[tuple[object, ...], list[dict[str, object]]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[key] for key in keys)].append(row)
    return groups


def limits(hits: np.ndarray) -> str:
    """Share and its 95 % Clopper–Pearson limits."""
    if len(hits) == 0:
        return "–"
    interval = stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(method="exact")
    return f"{hits.mean():.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def _mean(values: np.ndarray, digits: int = 3) -> str:
    return f"{values.mean():.{digits}f}" if len(values) else "–"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2f}"


SUMMARY = (
    "| scenario | generators known | sets | stated covers | worst cell | determined | of these cover | width "
    "| let through | clean: failed | clean: cleared |"
)


def report_summary(rows: Sequence[dict[str, object]]) -> None:
    """All pairs of a scenario together, by the number of generators that are known."""
    print(f"\n## By the number of known generators\n\n{SUMMARY}\n|{'---|' * SUMMARY.count(' |')}")
    for (name, count), members in grouped(rows, "scenario", "generators").items():
        _, _, sets, worst, *rest = pooled(members)
        print(line(str(name), str(count), sets, limits(covers(members)), worst, *rest))


def report(name: str, rows: Sequence[dict[str, object]]) -> None:
    """The scenario's tables: the pairs, then every cell, worst coverage first."""
    print(f"\n## {name}\n\n{SCENARIOS[name].summary}\n\n{PAIRS}\n|{'---|' * PAIRS.count(' |')}")
    for (part,), members in grouped(rows, "part").items():
        print(line(str(part), *pooled(members)))
    print(f"\n{HEADER}\n|{'---|' * HEADER.count(' |')}")
    for key, members in _worst_first(grouped(rows, "part", "n", "wanted")):
        print(line(*map(str, key), *cell(members)))
    sys.stdout.flush()


def report_worst(rows: Sequence[dict[str, object]], most: int = 20) -> None:
    """The worst cells of all scenarios, and how many lie below the bar of .90."""
    cells = _worst_first(grouped(rows, "scenario", "part", "n", "wanted"))
    below = [members for _, members in cells if covers(members).mean() < _BAR]
    plain = sum(float(stats.binomtest(int(covers(m).sum()), len(m)).proportion_ci().high) < _AIM for m in below)
    print(f"\n## The worst of {len(cells)} cells\n")
    print(f"{len(below)} cover less than {_BAR:.2f}; in {plain} of them the upper limit is below {_AIM:.2f} too.\n")
    print(f"| scenario {HEADER}\n|{'---|' * (HEADER.count(' |') + 1)}")
    for key, members in cells[:most]:
        print(line(*map(str, key), *cell(members)))


def _worst_first(cells: dict[tuple[object, ...], Rows]) -> list[tuple[tuple[object, ...], Rows]]:
    return sorted(cells.items(), key=lambda cell: covers(cell[1]).mean())


def line(*cells: str) -> str:
    """A row of a table."""
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Run the scenarios asked for and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="+", help=f"all, or some of {', '.join(SCENARIOS)}")
    parser.add_argument("--references", type=int, default=60, help="of each pair")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path(os.devnull), help="JSONL of what is finished, to go on with")
    options = parser.parse_args()
    print(f"# Synthetic fraction, {options.references} references a pair")
    everything = []
    for name in scenarios_named(options.scenarios):
        references = options.references * len(references_of(SCENARIOS[name]))
        rows = rows_kept(name, references, options.workers, options.keep)
        report(name, rows)
        everything += [{"scenario": name, **row} for row in rows]
    report_summary(everything)
    report_worst(everything)


def scenarios_named(names: Sequence[str]) -> list[str]:
    """The scenarios asked for; ends the program where there are none of that name."""
    wanted = list(SCENARIOS) if names == ["all"] else list(names)
    if unknown := sorted(set(wanted) - set(SCENARIOS)):
        sys.exit(f"no scenario is called {', '.join(unknown)}, expected some of {', '.join(SCENARIOS)}")
    return wanted


if __name__ == "__main__":
    main()
