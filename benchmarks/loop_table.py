"""A Markdown table of a finished sweep: every measure by generation, mean over seeds with its 95 % t interval."""

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from loops.generation.measure import over_chains

_MEASURES = ("frechet", "precision", "recall", "density", "coverage", "vendi")


def _cell(values: list[float]) -> str:
    measure = over_chains(np.array(values, dtype=np.float64))
    if math.isnan(measure.low):
        return f"{measure.estimate:.3g}"
    return f"{measure.estimate:.3g} ± {measure.estimate - measure.low:.2g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of madaudit loop sweep --out")
    parser.add_argument("--measures", nargs="+", default=_MEASURES)
    parser.add_argument("--every", type=int, default=1, help="show only every so many generations, and the first")
    options = parser.parse_args()
    table = options.folder / "sweep.parquet"
    if not table.is_file():
        sys.exit(f"{table} is missing: run madaudit loop sweep CONFIG.yaml --out {options.folder} first")
    rows = pq.read_table(table).to_pylist()
    measures = [name for name in options.measures if any(row.get(name) is not None for row in rows)]
    print(f"| workflow | λ | generation | {' | '.join(measures)} |")
    print("|" + "---|" * (3 + len(measures)))
    groups: dict[tuple[str, float, int], list[dict[str, float]]] = {}
    for row in rows:
        groups.setdefault((row["workflow"], row["bias"], row["generation"]), []).append(row)
    for (workflow, bias, generation), found in groups.items():
        if generation == 1 or generation % options.every == 0:
            cells = " | ".join(_cell([row[name] for row in found if row[name] is not None]) for name in measures)
            print(f"| {workflow} | {bias:g} | {generation} | {cells} |")


if __name__ == "__main__":
    main()
