"""The engine against the closed forms of loops/theory/closed_forms.py, all thirteen items, and its speed.

    python benchmarks/closed_forms.py > benchmarks/closed_forms.md      # on one core, minutes

Exact forms show z = (simulated − theory)/standard error over chains; limits show what remains, at n and at 2n.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from loops import LoopConfig, run_loop
from loops.theory import closed_forms as theory

SPEED = {"chains": 20_000, "generations": 50, "n_initial": 100}


@dataclass(frozen=True, slots=True)
class Row:
    """A number of the theory, and chains whose mean it should be."""

    item: int
    statement: str
    theory: float
    chains: np.ndarray
    is_limit: bool = False  # for large n: a remainder is expected
    error: float | None = None  # standard error, where it is not that of the mean over chains

    def line(self) -> str:
        """In Markdown."""
        simulated = float(self.chains.mean())
        error = self.chains.std(ddof=1) / math.sqrt(len(self.chains)) if self.error is None else self.error
        gap = simulated - self.theory
        verdict = f"remainder {gap:+.4g}" if self.is_limit else f"z = {gap / error:+.2f}"
        return f"| {self.item} | {self.statement} | {self.theory:.5g} | {simulated:.5g} | {error:.2g} | {verdict} |"


def chains_of(**settings: Any) -> list[dict[str, np.ndarray]]:
    """The measures of every chain, generation by generation."""
    loop = run_loop(LoopConfig(**{"measured_chains": 1, "n_measure": 10, "chains": 4000, **settings}))
    return [generation.chains for generation in loop]


def late(chains: list[dict[str, np.ndarray]], measure: str, *, first: int) -> np.ndarray:
    """The mean of every chain over generation `first` and later."""
    return np.mean([c[measure] for c in chains[first - 1 :]], axis=0)


def replace() -> Iterator[Row]:
    """Items 1 to 3."""
    for bias in (1.0, 0.9):
        last = chains_of(n_initial=100, generations=50, chains=20_000, bias=bias, seed=round(10 * bias))[-1]
        name = f"replace, n = 100, λ = {bias:g}, t = 50"
        yield Row(1, f"E Σ, {name}", float(theory.replace_variance(100, 50, bias)), last["variance"])
        yield Row(1, f"E log Σ, {name}", float(theory.replace_log_det(100, 1, 50, bias)), last["log_det"])
        log = last["log_det"]
        variance = float(theory.replace_log_det_variance(100, 1, 50))
        yield Row(
            1, f"Var log Σ, {name}", variance, (log - log.mean()) ** 2 * len(log) / (len(log) - 1),
        )  # fmt: skip
        root = float(theory.replace_standard_deviation(100, 50, bias))
        yield Row(1, f"E √Σ, {name}", root, last["standard_deviation"])
        yield Row(2, f"E W₂², {name}", float(theory.replace_wasserstein(100, 50, bias)), last["frechet"])
    last = chains_of(data="normal:5", n_initial=50, generations=20)[-1]
    determinant = float(theory.replace_log_det(50, 5, 20))
    yield Row(3, "E log det Σ, replace, d = 5, n = 50, t = 20", determinant, last["log_det"])


def fresh() -> Iterator[Row]:
    """Items 4 to 6."""
    for n_real, n_synthetic, bias in ((20, 60, 0.7), (20, 60, 1.0), (10, 5, 0.3)):
        sizes = {"n_initial": n_real, "n_real": n_real, "n_synthetic": n_synthetic}
        chains = chains_of(workflow="fresh", **sizes, bias=bias, generations=80)
        name = f"fresh, {n_real} + {n_synthetic}, λ = {bias:g}, limit"
        variance = theory.fresh_variance(n_real, n_synthetic, bias)
        yield Row(4, f"E Σ, {name}", variance, late(chains, "variance", first=40))
        error = theory.fresh_mean_error(n_real, n_synthetic, bias)
        yield Row(4, f"E μ², {name}", error, late(chains, "mean_error", first=40))
    for n in (40, 80):
        sizes = {"n_initial": n, "n_real": n // 4, "n_synthetic": 3 * n // 4}
        chains = chains_of(workflow="fresh", **sizes, bias=0.7, generations=40)
        statement = f"E Σ ≈ r/(1 − λs), {n // 4} + {3 * n // 4}, λ = 0.7"
        yield Row(4, statement, 0.25 / (1 - 0.7 * 0.75), late(chains, "variance", first=20), is_limit=True)
    for memory in (1, 2, 3):
        for n, n_synthetic in ((10, 10), (20, 20), (200, 200), (200, 50)):
            sizes = {"n_initial": n, "n_real": n, "n_synthetic": n_synthetic, "memory": memory}
            distance = late(chains_of(workflow="fresh", **sizes, generations=60), "frechet", first=15)
            worth = theory.effective_size(float(distance.mean())) / n
            error = worth * distance.std() / distance.mean() / math.sqrt(len(distance))
            expected = theory.effective_size_ratio(n, n_synthetic, memory)
            statement = f"n_e/n_r, fresh, {n} + {n_synthetic}, K = {memory}"
            yield Row(5, statement, expected, np.full(2, worth), is_limit=True, error=error)
    for d, n_real in ((1, 200), (1, 400), (3, 200), (3, 400)):
        base = {"data": f"normal:{d}", "workflow": "fresh", "n_initial": n_real, "n_real": n_real, "generations": 30}
        alone = late(chains_of(**base, n_synthetic=0), "frechet", first=5)
        admissible = theory.admissible_synthetic(0.5, d)
        for n_synthetic in (round(admissible / 2), round(admissible), round(2 * admissible)):
            distance = late(chains_of(**base, n_synthetic=n_synthetic, bias=0.5), "frechet", first=5)
            limit = d * n_synthetic * (n_synthetic - admissible) / 16
            sizes = f"d = {d}, n_r = {n_real}, n_s = {n_synthetic}, λ = 0.5 (n_s* = {admissible:g})"
            statement = f"n_r²(W₂² − that of real data alone), {sizes}"
            yield Row(6, statement, limit, n_real**2 * (distance - alone), is_limit=True)


def fixed_real() -> Iterator[Row]:
    """Items 7 and 11."""
    for n, n_synthetic in ((25, 25), (50, 50), (100, 100), (50, 200), (100, 400)):
        sizes = {"n_initial": n, "n_real": n, "n_synthetic": n_synthetic}
        distance = late(chains_of(workflow="augment", **sizes, generations=30, chains=20_000), "frechet", first=10)
        ratio = distance / float(theory.replace_wasserstein(n, 1))
        statement = f"W₂² over that of real data alone, augment, {n} + {n_synthetic}, λ = 1"
        yield Row(7, statement, theory.augment_error_ratio(n, n_synthetic), ratio, is_limit=True)
    for ratio_b in (0.25, 1.0, 3.0):
        for n in (500, 1000):
            sizes = {"n_initial": 4, "n_real": n, "n_synthetic": round(ratio_b * n)}
            second = chains_of(workflow="augment", **sizes, generations=2, chains=10_000)[1]["mean_error"]
            left = (second - theory.augment_error_ratio(n, round(ratio_b * n)) / n) / (1 / 4 - 1 / n)
            statement = f"squared first error left after a generation, s², augment, n_r = {n}, λ_B = {ratio_b:g}"
            yield Row(11, statement, theory.contraction(ratio_b) ** 2, left, is_limit=True)
    chains = chains_of(workflow="augment", n_initial=5, n_real=100, n_synthetic=45, generations=200, chains=1000)
    worst = max((c["frechet"] for c in chains[10:]), key=np.mean) / float(theory.replace_wasserstein(100, 1))
    statement = "largest W₂² of generations 11 … 200 over that of real data, λ_B = 0.45: at most 1.5"
    yield Row(11, statement, 1.5, worst, is_limit=True)
    statement = "the same against its large-n limit of item 7"
    yield Row(11, statement, theory.augment_error_ratio(100, 45), worst, is_limit=True)


def regression() -> Iterator[Row]:
    """Item 8."""
    for workflow, formula in (("replace", theory.regression_replace), ("accumulate", theory.regression_accumulate)):
        sizes = {"n_initial": 111, "generations": 10, "chains": 1000}
        last = chains_of(family="linear-regression", data="linear:10", workflow=workflow, **sizes)[-1]
        yield Row(8, f"E_10, {workflow}, d = 10, T = 111", float(formula(10, 111, 10)), last["test_error"])
    for n in (40, 80, 160):
        sizes = {"n_initial": n, "generations": 20, "chains": 3000}
        last = chains_of(family="linear-regression", data="linear:4", workflow="accumulate-subsample", **sizes)[-1]
        ratio = last["test_error"] / float(theory.regression_replace(1, n, 4))
        statement = f"E_20/E_1, accumulate-subsample, d = 4, T = {n}"
        yield Row(8, statement, float(theory.subsample_ratio(20)), ratio, is_limit=True)


def maximum_likelihood() -> Iterator[Row]:
    """Item 9."""
    sizes = {"n_initial": 10, "generations": 10, "chains": 20_000, "settings": {"ddof": 0}}
    for workflow, expected in (
        ("accumulate", theory.accumulate_variance(10, 10)),
        ("replace", theory.replace_variance(10, 10, ddof=0)),
    ):
        last = chains_of(workflow=workflow, **sizes)[-1]
        yield Row(9, f"E Σ, {workflow}, ddof = 0, n = 10, t = 10", float(expected), last["variance"])


def tokens() -> Iterator[Row]:
    """Items 10 and 13."""
    last = chains_of(family="categorical", data="tokens:10", n_initial=100, generations=50)[-1]
    expected = float(theory.collision(100, 50, np.full(10, 0.1)))
    yield Row(10, "E Σp², replace, K = 10, n = 100, t = 50", expected, last["collision"])
    for mixing in ("fixed", "binomial"):
        for n_real, n_synthetic in ((10, 10), (4, 16)):
            sizes = {"n_initial": 20, "n_real": n_real, "n_synthetic": n_synthetic, "mixing": mixing}
            chains = chains_of(
                family="categorical", workflow="fresh", data="bernoulli:0.3", **sizes, generations=120
            )  # fmt: skip
            expected = theory.fresh_probability_variance(n_real, n_synthetic, 0.3, mixing=mixing)
            statement = f"Var p, fresh, {n_real} + {n_synthetic}, {mixing} counts, p = 0.3, limit"
            yield Row(10, statement, expected, late(chains, "squared_error", first=60) / 2)
    for n in (1000, 2000, 10_000):
        first = chains_of(family="categorical", data="zipf:2", n_initial=n, generations=1, chains=100)[0]
        statement = f"mass missed by generation 1, zipf:2, T = {n}"
        yield Row(13, statement, float(theory.zipf_test_error(n, 2)), first["lost_mass"], is_limit=True)


def weighted() -> Iterator[Row]:
    """Item 12."""
    for n in (50, 100):
        for weight in (0.4, 0.5, theory.best_real_weight(), 0.75, 0.9):
            sizes = {"n_initial": n, "n_real": n, "n_synthetic": n, "real_weight": weight, "generations": 60}
            distance = late(chains_of(workflow="weighted", **sizes), "frechet", first=15)
            ratio = distance / float(theory.replace_wasserstein(n, 1))
            statement = f"W₂² over that of real data alone, weighted, {n} + {n}, w = {weight:.3f}"
            yield Row(12, statement, float(theory.weighted_error_ratio(weight)), ratio, is_limit=True)


def measure_speed() -> None:
    """Wall seconds and peak memory of one large loop, as JSON."""
    begin = time.perf_counter()
    for _ in run_loop(LoopConfig(**SPEED)):
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # from KiB
    print(json.dumps({"wall": time.perf_counter() - begin, "cpu": time.process_time(), "gib": peak}))


def main() -> None:
    """Print the table, and the speed of a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speed", action="store_true", help="only the speed, as JSON")
    if parser.parse_args().speed:
        measure_speed()
        return
    begin = time.perf_counter()
    print("# Closed forms, by simulation\n\nMade by `python benchmarks/closed_forms.py`; seed 0; 10 λ for 1 and 2.\n")
    print("| item | statement | theory | simulated | standard error | z, or remainder |\n|---|---|---|---|---|---|")
    rows = [
        row
        for part in (replace, fresh, fixed_real, regression, maximum_likelihood, tokens, weighted)
        for row in part()
    ]  # fmt: skip
    for row in sorted(rows, key=lambda row: row.item):
        print(row.line())
    print(f"\nTable: {time.perf_counter() - begin:.0f} s.", flush=True)
    done = subprocess.run([sys.executable, __file__, "--speed"], capture_output=True, text=True, check=True)
    speed = json.loads(done.stdout)
    print(
        f"Speed: {SPEED['chains']:,} chains × {SPEED['generations']} generations at n = {SPEED['n_initial']} took "
        f"{speed['wall']:.1f} s of wall time, {speed['cpu']:.1f} s of processor time with imports, and "
        f"{speed['gib']:.2f} GiB at the peak ({os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, one thread)."
    )


if __name__ == "__main__":
    main()
