"""Diversity measures where the truth is known: error, and coverage of the intervals with the reference redrawn.

    python benchmarks/diversity.py simulated --draws 200 --workers 2
    python benchmarks/diversity.py cost

Each draw of `simulated` makes a new reference and a new set from one world of ten modes. For the kinds and the spread
the truth is known. For the other measures the truth is the mean estimate over the draws. `cost` prints what the
measures cost on top of the search, in seconds on one core for a million items of 512 columns.
"""

import argparse
import itertools
import os
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from scipy import stats
from threadpoolctl import threadpool_limits

from auditor.evaluation.worlds import world
from auditor.measures.audited import AuditedSpace, measured
from auditor.measures.real_part import RealPart, real_part_of
from auditor.measures.set_sums import sums_of
from auditor.statistics.intervals import Measure
from auditor.statistics.moments import moments_of
from indexes.hashing import content_keys

CHANGES: dict[str, dict[str, Any]] = {
    "second real sample": {},
    **{f"{modes} of 10 modes": {"modes": modes} for modes in (9, 7, 5, 3, 1)},
    **{f"shrunk by {shrink}": {"shrink": shrink} for shrink in (0.9, 0.8, 0.5)},
    **{f"{share:.0%} collapsed": {"collapsed": share} for share in (0.1, 0.3, 0.5)},
    "noise": {"noise": 1.0},
    "noise, 5 modes": {"noise": 1.0, "modes": 5},
}
COSINES = (0.0, 0.5, 0.8, 0.95)

Row = dict[str, tuple[float, float, float]]  # measure → estimate, low, high


def digests_of(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random digests (n, 16): all items count as distinct."""
    return rng.integers(0, 256, (len(rows), 16)).astype(np.uint8)


def audited(rows: np.ndarray, real: RealPart, rng: np.random.Generator) -> dict[str, Measure]:
    """All measures of a set, as an audit states them, and the share of the real items in missing regions."""
    keys = content_keys(digests_of(rows, rng), seed=0)
    counts = tuple(np.bincount(cells.assign(rows), minlength=len(cells.centres)) for cells in real.cells)
    space = AuditedSpace(
        sums=sums_of(rows, keys, real),
        vectors=rows[:4096],
        ids=tuple(map(str, range(len(rows)))),
        counts=counts,
        copies=1.0,
    )
    fidelity, diversity = measured(space, real, level=0.95)
    missing = sum(region.share_reference for region in diversity.regions if region.status == "missing")
    named = {"missing": Measure(missing), "regions": Measure(float(len(diversity.regions)))}
    return {"loss": diversity.loss, **diversity.measures, **fidelity.measures, **named}


def reference_of(rows: np.ndarray, rng: np.random.Generator) -> RealPart:
    """The real part of a reference with these items."""
    return real_part_of(rows, list(map(str, range(len(rows)))), digests_of(rows, rng), seed=0)


def one(number: int, *, width: int, n: int, n_real: int, cosine: float, change: str) -> Row:
    """One draw."""
    with threadpool_limits(1):
        rng = np.random.default_rng([number, width, n, n_real, round(100 * cosine), list(CHANGES).index(change)])
        drawn = world(width, np.random.default_rng(width), cosine=cosine)  # the same in all draws
        real = reference_of(drawn.draw(n_real, rng), rng)
        found = audited(drawn.draw(n, rng, **CHANGES[change]), real, rng)
        return {name: (m.estimate, m.low, m.high) for name, m in found.items()}


def truth_of(name: str, change: str) -> float | None:
    """The true loss; None where no closed form is known."""
    changes = CHANGES[change]
    if "collapsed" in changes:
        return None
    lost, narrowed = 1 - changes.get("modes", 10) / 10, 1 - np.sqrt(changes.get("shrink", 1.0))
    if name == "kinds":
        return lost if "shrink" not in changes else None
    if name == "spread":
        return float(narrowed) if "noise" not in changes else None
    return float(lost) if name == "loss" and "shrink" not in changes else None


def simulated(options: argparse.Namespace) -> None:
    """Print a row for each cell: kinds, spread and loss with their coverage, the worst of the other measures."""
    print(
        "| width | set | real | mean cosine | change | kinds | covers | spread | covers | loss | covers "
        "| loss reaches .10 | other measures: worst coverage | share missing | a region named |\n|" + "---|" * 15
    )
    everything: dict[str, list[bool]] = defaultdict(list)
    with ProcessPoolExecutor(options.workers) as pool:
        for width, n, cosine, change in itertools.product(
            options.widths, options.sizes, options.cosines, options.changes
        ):
            task = partial(one, width=width, n=n, n_real=options.real or 2 * n, cosine=cosine, change=change)
            rows = list(pool.map(task, range(options.draws)))
            columns = {name: np.array([row[name] for row in rows], dtype=float) for name in rows[0]}
            cells = [str(width), str(n), str(options.real or 2 * n), f"{cosine}", change]
            for name in ("kinds", "spread", "loss"):
                values = columns[name]
                truth = truth_of(name, change)
                held = _held(values, np.nanmean(values[:, 0]) if truth is None else truth)
                everything[name if truth is not None else f"{name}, mean over the draws"] += held.tolist()
                cells += [f"{np.nanmean(values[:, 0]):.3f}", f"{held.mean():.3f}"]
            cells.append(f"{np.mean(columns['loss'][:, 2] >= 0.1):.2f}")
            worst = (1.1, "")
            for name in set(columns) - {"kinds", "spread", "loss", "missing", "regions", "near_duplicates"}:
                held = _held(columns[name], np.nanmean(columns[name][:, 0]))
                everything[name] += held.tolist()
                worst = min(worst, (float(held.mean()), name))
            cells += [f"{worst[1]} {worst[0]:.3f}", f"{columns['missing'][:, 0].mean():.3f}"]
            cells.append(f"{np.mean(columns['regions'][:, 0] > 0):.3f}")
            print("| " + " | ".join(cells) + " |", flush=True)
    print("\n| measure | intervals | covers |\n|---|---|---|")
    for name, held in everything.items():
        limits = stats.binomtest(int(np.sum(held)), len(held)).proportion_ci(method="exact")
        print(f"| {name} | {len(held)} | {np.mean(held):.3f} [{limits.low:.3f}, {limits.high:.3f}] |")


def cost(options: argparse.Namespace) -> None:
    """Print the cost of placing items in cells and of their moments, with the core's product rates."""
    del options
    rng, n = np.random.default_rng(0), 20_000
    drawn = world(512, rng)
    real, rows = reference_of(drawn.draw(8000, rng), rng), drawn.draw(n, rng)
    square = rng.normal(size=(2000, 2000))
    with threadpool_limits(1):
        seconds = {
            "cells of both halves": _seconds(lambda: [cells.assign(rows) for cells in real.cells]) * 1e6 / n,
            "moments": _seconds(lambda: moments_of(rows)) * 1e6 / n,
        }
        rates = [2 * 2000**3 / _seconds(lambda a=a: a @ a) / 1e9 for a in (square, square.astype(np.float32))]
    print(f"| work | s for 10⁶ × 512 |\n|---|---|\n| products | {rates[0]:.0f} GFLOP/s fp64, {rates[1]:.0f} fp32 |")
    for work, spent in {**seconds, "together": sum(seconds.values())}.items():
        print(f"| {work} | {spent:.1f} |")


def _seconds(work: Callable[[], object]) -> float:
    """Least processor time of three runs."""
    spent = []
    for _ in range(3):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent)


def _held(values: np.ndarray, truth: float) -> np.ndarray:
    known = np.isfinite(values[:, 0])
    return np.asarray((values[known, 1] <= truth) & (truth <= values[known, 2]))


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = {"simulated": simulated, "cost": cost}
    parser.add_argument("what", choices=sorted(commands))
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 1000, 4000])
    parser.add_argument("--real", type=int, help="real items of the reference; default twice the set's")
    parser.add_argument("--cosines", type=float, nargs="+", default=[0.0])
    parser.add_argument("--changes", nargs="+", default=list(CHANGES), choices=list(CHANGES))
    options = parser.parse_args()
    commands[options.what](options)


if __name__ == "__main__":
    main()
