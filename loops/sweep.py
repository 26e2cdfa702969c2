"""Run a grid of loops, each in a folder named by a digest of its settings, and write one table of all generations."""

import dataclasses
import hashlib
import itertools
import json
import multiprocessing
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexes.device import resolve_device
from indexes.errors import AuditError, InputError
from indexes.store import write_atomic
from loops.calibration.observe import write_observed
from loops.config import LoopConfig, config_from
from loops.data.open import default_data
from loops.generation.folder import generation_rows, make_folder, read_generations, read_loop, write_table
from loops.models import make_family
from loops.models.catalogue import plain_name
from loops.run import prepare_loop, run_loop

__all__ = ["Planned", "plan_sweep", "run_sweep"]

_KEYS = ("base", "grid", "runs", "observe")


@dataclass(frozen=True, slots=True)
class Planned:
    """One loop of a sweep."""

    key: str  # digest of the configuration; also the name of the loop's folder
    config: LoopConfig
    is_observed: bool = False  # whether to store what a team could know beforehand (`observe`)


def plan_sweep(document: Any) -> list[Planned]:
    """The loops described by the YAML document of a sweep, in order and without duplicates.

    `base` holds the fields common to all loops. `grid` maps fields to lists of values; every combination of values is
    run, and the last field changes fastest. `runs` is a list of further field changes; each entry is combined with the
    whole grid. A field `settings.NAME` sets the setting NAME of the model family. With `observe: true`, the module
    `loops.calibration.observe` runs for each loop. Raises InputError for an invalid loop, before any loop is run.
    """
    if not isinstance(document, Mapping) or set(document) - set(_KEYS):
        found = sorted(map(str, document)) if isinstance(document, Mapping) else type(document).__name__
        raise InputError(f"the sweep document has {found}, expected a mapping with keys among {', '.join(_KEYS)}")
    is_observed = document.get("observe") is True
    base, grid, runs = document.get("base") or {}, document.get("grid") or {}, document.get("runs") or [{}]
    if not isinstance(base, Mapping) or not isinstance(runs, list) or not all(isinstance(r, Mapping) for r in runs):
        raise InputError(
            "invalid base or runs in the sweep document: expected base as a mapping and runs as a list of mappings"
        )
    if not isinstance(grid, Mapping) or not all(isinstance(v, list) and v for v in grid.values()):
        raise InputError(
            "invalid grid in the sweep document: expected a mapping from fields to lists of one or more values"
        )
    planned: dict[str, Planned] = {}
    for changes in runs:
        for values in itertools.product(*grid.values()):
            config = _config({**base, **changes, **dict(zip(grid, values, strict=True))})
            config = dataclasses.replace(
                config,
                family=plain_name(config.family),
                data=config.data or default_data(config.family),
                device=resolve_device(config.device),
            )
            make_family(config.family, config.settings)  # an unknown setting must fail before any loop is run
            key = hashlib.blake2b(json.dumps(config.as_json(), sort_keys=True).encode(), digest_size=8).hexdigest()
            planned.setdefault(key, Planned(key, config, is_observed))
    return list(planned.values())


def run_sweep(
    planned: list[Planned],
    out: Path,
    *,
    workers: int = 1,
    on_progress: Callable[[str], None] = lambda line: None,
) -> dict[str, str]:
    """Run the unfinished loops, write `sweep.parquet`, and return the error messages of failed loops by key.

    The table `sweep.parquet` has one row per generation, with loops in the order of the plan. The table does not depend
    on the number of workers or on interruptions. A failed loop does not stop other loops and has no rows in the table.
    """
    _claim(out)
    listing = [{"key": p.key, **p.config.as_json()} for p in planned]
    write_atomic(out / "sweep.json", json.dumps(listing, indent=1).encode())
    failed: dict[str, str] = {}
    for done, (key, problem) in enumerate(_outcomes(planned, out, workers), start=1):
        if problem:
            failed[key] = problem
        on_progress(f"{done}/{len(planned)} loops, {key}{': ' + problem if problem else ''}")
    rows = []
    for entry in planned:
        folder = out / "runs" / entry.key
        if entry.key not in failed:
            rows += [
                {"key": entry.key, **row}
                for row in generation_rows(read_loop(folder)["config"], read_generations(folder))
            ]
    write_table(out / "sweep.parquet", rows)
    return failed


def _claim(out: Path) -> None:
    """Create the output folder; raises InputError if the folder holds files that a sweep does not write."""
    make_folder(out)
    own = {"runs", "sweep.json", "sweep.parquet", "plots"}
    strangers = [file.name for file in sorted(out.iterdir()) if file.name not in own and not file.name.startswith(".")]
    if strangers and not (out / "sweep.json").exists():
        raise InputError(f"{out} holds {strangers[0]}, which is not part of a sweep: choose another --out")


def _outcomes(planned: list[Planned], out: Path, workers: int) -> Any:
    if workers == 1:
        for entry in planned:
            yield _run_one(entry, out)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        waiting: list[Future[tuple[str, str]]] = [pool.submit(_run_one, entry, out) for entry in planned]
        try:
            for future in as_completed(waiting):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _run_one(entry: Planned, out: Path) -> tuple[str, str]:
    """Run one loop; returns the loop's key and an error message, which is empty on success.

    Only AuditError is caught, so that bugs in the code are not hidden.
    """
    try:
        loop = prepare_loop(entry.config)
        for _ in run_loop(loop, folder=out / "runs" / entry.key):
            pass
        if entry.is_observed:
            write_observed(loop, out / "runs" / entry.key)
    except AuditError as error:
        return entry.key, " ".join(str(error).split())
    return entry.key, ""


def _config(fields: Mapping[str, Any]) -> LoopConfig:
    given = fields.get("settings") or {}
    if not isinstance(given, Mapping):
        raise InputError(f"settings are {given!r}, expected a mapping from names of family settings to values")
    settings = dict(given)
    plain = {}
    for name, value in fields.items():
        if str(name).startswith("settings."):
            settings[str(name).removeprefix("settings.")] = value
        elif name != "settings":
            plain[name] = value
    return config_from({**plain, "settings": settings})
