"""Run a loop for the command `loop run`, store its generations, and write its results as one document."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from indexes.device import resolve_device
from indexes.store import write_atomic
from loops.config import LoopConfig
from loops.generation.folder import generation_rows, write_columns, write_table
from loops.generation.record import Generation
from loops.run import Loop, prepare_loop, run_loop
from loops.theory.closed_forms import predicted
from loops.theory.effective_size import effective_ratio, real_only_curve

__all__ = ["finish_run", "run_and_keep"]


def run_and_keep(
    config: LoopConfig,
    *,
    out: Path | None,
    overwrite: bool = False,
    on_progress: Callable[[int, int, int], None] = lambda generation, chains, total: None,
    on_generation: Callable[[Generation, int], None] = lambda record, last: None,
    on_message: Callable[[str], None] = lambda line: None,
) -> tuple[Loop, list[Generation]]:
    """Run a loop; returns the loop and its generations without training data and models.

    The callback `on_generation` receives each finished generation before training data and models are dropped.
    """
    loop = prepare_loop(dataclasses.replace(config, device=resolve_device(config.device)))
    if skipped := loop.world.clean.skipped:
        on_message(
            f"skipped items of {loop.config.data}: "
            f"{', '.join(f'{count} × {reason}' for reason, count in skipped.items())}"
        )
    total, found = loop.config.chains or 1, []
    generations = run_loop(
        loop, folder=out, overwrite=overwrite, on_progress=lambda t, chains: on_progress(t, chains, total)
    )
    for record in generations:
        on_generation(record, loop.config.generations)
        found.append(dataclasses.replace(record, training=None, models=None))
    return loop, found


def finish_run(
    loop: Loop,
    generations: list[Generation],
    *,
    out: Path | None,
    effective_size: bool = False,
    on_message: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """The result document of a finished loop.

    If `out` is given, also writes `result.json`, `generations.parquet` and `chains.parquet` to that folder.
    """
    document = {**loop.identity}
    if effective_size:
        on_message("training models only on real items, to determine the effective sample size")
        curve = real_only_curve(loop.config, folder=None if out is None else out / "real-only")
        n_real = loop.config.n_real or loop.config.n_initial or 1
        document["real_only"] = {"sizes": curve.sizes.tolist(), "frechet": curve.distances.tolist()}
        generations = [
            dataclasses.replace(g, measures={**g.measures, "effective_ratio": effective_ratio(g, curve, n_real)})
            for g in generations
        ]
    theory = predicted(loop.config, width=loop.world.clean.space.width)
    document["theory"] = {
        name: [float(value) if math.isfinite(value) else None for value in curve] for name, curve in theory.items()
    }
    document["generations"] = [record.as_json() for record in generations]
    if out is not None:
        write_table(out / "generations.parquet", generation_rows(loop.config.as_json(), generations))
        write_columns(out / "chains.parquet", _by_chain(generations))
        write_atomic(out / "result.json", json.dumps(document, indent=1, allow_nan=False).encode())
    return document


def _by_chain(generations: list[Generation]) -> dict[str, np.ndarray]:
    """Columns of a table with one row per generation and chain."""
    sizes = [len(next(iter(record.chains.values()))) for record in generations]
    names = list(dict.fromkeys(name for record in generations for name in record.chains))
    missing = [np.full(size, np.nan) for size in sizes]
    return {
        "generation": np.repeat([record.generation for record in generations], sizes),
        "chain": np.concatenate([np.arange(size) for size in sizes]),
        **{n: np.concatenate([g.chains.get(n, m) for g, m in zip(generations, missing, strict=True)]) for n in names},
    }
