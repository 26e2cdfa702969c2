"""Whether a sweep killed by kill -9 at random instants ends, run again, with the table of an undisturbed one."""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_SWEEP = """
base: {generations: 6, n_initial: 60, n_measure: 60, measured_chains: 2}
runs:
  - {family: gaussian, workflow: fresh, memory: 2, chains: 2000}
  - {family: kde, workflow: augment-accumulate, data: digits, chains: 2}
  - {family: gmm, workflow: accumulate-subsample, data: "grid:3", settings: {components: 9}, chains: 2}
  - {family: diffusion, workflow: fresh, data: digits, settings: {steps: 40}, contamination: 0.2, contaminant: kde}
grid:
  seed: [0, 1, 2]
"""


def _sweep(config: Path, out: Path, workers: int) -> "subprocess.Popen[bytes]":
    code = "from service.cli import main; main()"
    command = [sys.executable, "-c", code, "loop", "sweep", config, "--out", out, "--workers", workers, "--quiet"]
    return subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instants", type=int, default=10)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "sweep.yaml"
        config.write_text(_SWEEP)
        began = time.perf_counter()
        if _sweep(config, folder / "whole", options.workers).wait() != 0:
            raise RuntimeError("the undisturbed sweep failed")
        whole_s = time.perf_counter() - began
        expected = (folder / "whole" / "sweep.parquet").read_bytes()
        print(f"undisturbed: 12 loops of 6 generations in {whole_s:.1f} s")
        print(f"{'killed after':>12} {'generations done':>17} {'table':>10}")
        good, killed = 0, 0
        for number in range(options.instants):
            out, instant_s = folder / f"out{number}", chance.uniform(0.2 * whole_s, 0.9 * whole_s)
            process = _sweep(config, out, options.workers)
            time.sleep(instant_s)
            process.kill()
            was_killed = process.wait() == -signal.SIGKILL
            done = len(list(out.glob("runs/*/generations/[0-9][0-9][0-9][0-9].json")))
            if _sweep(config, out, options.workers).wait() != 0:
                raise RuntimeError("the second sweep failed")
            same = (out / "sweep.parquet").read_bytes() == expected
            good, killed = good + same, killed + was_killed
            after = f"{instant_s:.2f} s" if was_killed else "ended"
            print(f"{after:>12} {done:>17} {'identical' if same else 'DIFFERENT':>10}", flush=True)
    print(f"{good} of {options.instants} identical, {killed} killed at work")
    sys.exit(int(good < options.instants))


if __name__ == "__main__":
    main()
