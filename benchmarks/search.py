"""Exact search beside faiss' flat index, and ball counts beside the prdc library: same data, same threads, one run."""

import argparse
import gc
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import prdc

from indexes.device import compute_threads
from indexes.search import ball_counts, knn


def measured(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What `work` returns, its seconds, and by how many MiB the process grew at most meanwhile."""
    gc.collect()
    before, peak, done = _resident(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, _resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    return result, seconds, max(0.0, peak - before)


def _resident() -> float:
    """Resident memory of this process, MiB (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def compare_knn(rows: np.ndarray, k: int) -> None:
    index = faiss.IndexFlatL2(rows.shape[1])
    index.add(rows)
    (_, ours), seconds, peak = measured(lambda: knn(rows, rows, k))
    (_, theirs), faiss_seconds, faiss_peak = measured(lambda: index.search(rows, k))
    same = f"{(ours == theirs).mean():.6f}"
    print(
        f"{len(rows):>7} {seconds:>8.2f} {faiss_seconds:>8.2f} {faiss_seconds / seconds:>6.1f} {same:>10}"
        f" {peak:>8.0f} {faiss_peak:>9.0f}",
        flush=True,
    )


def four_measures(real: np.ndarray, candidate: np.ndarray, k: int) -> dict[str, float]:
    """Precision, recall, density and coverage from ball counts; a row's own distance 0 is its first neighbour."""
    real_radii, candidate_radii = (knn(rows, rows, k + 1)[0][:, k] for rows in (real, candidate))
    counts, covered = ball_counts(candidate, real, real_radii)
    recalled, _ = ball_counts(real, candidate, candidate_radii)
    return {
        "precision": float((counts > 0).mean()),
        "recall": float((recalled > 0).mean()),
        "density": float(counts.mean() / k),
        "coverage": float(covered.mean()),
    }


def compare_prdc(real: np.ndarray, candidate: np.ndarray, k: int) -> None:
    ours, seconds, peak = measured(lambda: four_measures(real, candidate, k))
    theirs, prdc_seconds, prdc_peak = measured(lambda: prdc.compute_prdc(real, candidate, k))
    print(f"\nprdc, n = {len(real)}, k = {k}: ours {seconds:.2f} s, {peak:.0f} MiB; ", end="")
    print(f"library {prdc_seconds:.2f} s, {prdc_peak:.0f} MiB; ratio {prdc_seconds / seconds:.1f}")
    for name, value in ours.items():
        print(f"  {name:<10} ours {value:.6f}  library {theirs[name]:.6f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, nargs="+", default=[10_000, 50_000], help="rows")
    parser.add_argument("--d", type=int, default=512, help="width")
    parser.add_argument("--k", type=int, default=6, help="neighbours")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    print(
        f"d = {options.d}, k = {options.k}, {options.threads} threads, Gaussian rows, self-search; memory above inputs"
    )
    print("      n   ours s  faiss s  ratio  identical ours MiB faiss MiB")
    with compute_threads(options.threads):
        knn(*2 * (np.eye(100, options.d),), 5)  # start the thread pools
        for n in options.n:
            compare_knn(rng.standard_normal((n, options.d), dtype=np.float32), options.k)
        real, candidate = rng.standard_normal((2, 10_000, options.d), dtype=np.float32)
        compare_prdc(real, candidate * np.float32(0.98), 5)


if __name__ == "__main__":
    main()
