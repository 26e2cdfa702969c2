"""Read stored loops, and group loops that differ only in their random seed."""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from auditor.records import read_record
from auditor.statistics.intervals import Measure
from auditor.workflows import WORKFLOWS
from indexes.errors import InputError
from loops.config import LoopConfig, config_from
from loops.generation.folder import read_generations, read_loop
from loops.generation.measure import over_chains
from loops.generation.record import Generation
from loops.samples import Space
from loops.theory.closed_forms import effective_size
from loops.theory.effective_size import RealOnly, effective_ratio

__all__ = ["Group", "Run", "effective_share", "find_runs", "grouped", "read_run"]

_MARKERS = 4  # a column with more markers is split by a further field
_DEPTH = 3  # levels of folders that are searched for loops
_SHARED = ("seed", "generations", "threads", "device")  # fields in which the runs of a group may differ
_FIRST = ("bias", "family", "data", "n_synthetic", "n_real", "n_initial", "memory")  # fields that labels prefer


@dataclass(frozen=True, slots=True)
class Run:
    """A stored loop, read from its folder."""

    name: str  # unique among the loops drawn together
    config: LoopConfig  # resolved
    data: str  # name of the data
    digest: str  # digest of the data, empty for a formula
    space: Space
    real: dict[str, float]  # measures of real samples of the same size; nan if not determined
    generations: list[Generation]


def read_run(path: Path, *, name: str) -> Run:
    """Read the loop stored in a folder; InputError if there is no loop, ArtifactError if the loop cannot be read."""
    stored = read_loop(path)
    generations = read_generations(path)
    fields: dict[str, Any] = stored.get("space") or {}
    space = Space(
        generations[0].sheet.values.shape[-1] if generations else 0,
        image=tuple(fields["image"]) if fields.get("image") else None,
        bounds=tuple(fields["bounds"]) if fields.get("bounds") else None,
        vocabulary=fields.get("vocabulary", 0),
        classes=fields.get("classes", 0),
    )
    real = {
        key: read_record(Measure, measure, where=f"{path}, the real {key},").estimate
        for key, measure in stored["real"].items()
    }
    data = stored["data"]
    return Run(name, config_from(stored["config"]), data["name"], data["digest"], space, real, generations)


@dataclass(frozen=True, slots=True)
class Group:
    """Runs that differ only in their random seed, with the plot labels that distinguish the group from others."""

    runs: tuple[Run, ...]
    column: str  # label of the group's panels: the workflow, plus a field if there would be too many markers
    colour: str  # label of the group's colour
    marker: str  # label of the group's marker

    @property
    def workflow(self) -> str:
        return self.runs[0].config.workflow

    @property
    def longest(self) -> Run:
        return max(self.runs, key=lambda run: len(run.generations))

    @property
    def generations(self) -> np.ndarray:
        return np.array([record.generation for record in self.longest.generations])

    def measure(self, name: str, generation: int) -> Measure:
        """Mean of a measure with its t interval over the runs, or over the chains if there is only one run.

        The interval is over runs if possible, because the chains of one run share real items and are not independent.
        """
        records = [run.generations[generation - 1] for run in self.runs if len(run.generations) >= generation]
        if len(records) == 1:
            return records[0].measures.get(name, Measure(math.nan))
        found = [record.measures[name].estimate for record in records if name in record.measures]
        return over_chains(np.array(found)) if found else Measure(math.nan)

    def curve(self, name: str) -> np.ndarray:
        """Value, lower limit and upper limit of a measure (3, generations); nan where undetermined."""
        measures = [self.measure(name, int(generation)) for generation in self.generations]
        values = np.array([[m.estimate, m.low, m.high] for m in measures]).T
        return np.where(np.isfinite(values), values, np.nan)

    def real(self, name: str) -> float:
        """The value of a measure for real samples, averaged over the runs."""
        return float(np.mean([run.real.get(name, math.nan) for run in self.runs]))


def find_runs(folder: Path) -> list[Run]:
    """All stored loops with a finished generation in or below a folder, without searching inside a loop's folder."""
    paths, level = [], [folder]
    for depth in range(_DEPTH + 1):
        inner = [path for path in level if (path / "loop.json").is_file()]
        paths += inner
        if depth < _DEPTH:
            level = [child for path in level if path not in inner and path.is_dir() for child in sorted(path.iterdir())]
    if (folder / "sweep.json").is_file():
        planned = {entry["key"] for entry in json.loads((folder / "sweep.json").read_text(encoding="utf-8"))}
        paths = [path for path in paths if path.name in planned]  # loops of earlier sweeps may still be there
    if not paths:
        raise InputError(f"{folder} holds no loop: expected loop.json there or up to {_DEPTH} levels of folders below")
    short = [path.resolve().name for path in paths]
    names = short if len(set(short)) == len(paths) else ["-".join(path.relative_to(folder).parts) for path in paths]
    runs = sorted((read_run(path, name=name) for path, name in zip(paths, names, strict=True)), key=lambda r: r.name)
    if not any(run.generations for run in runs):
        raise InputError(f"{folder} holds no finished generation: run a loop until one generation is finished")
    return [run for run in runs if run.generations]


def grouped(runs: list[Run]) -> list[Group]:
    """Sorted groups of runs with equal configuration; of runs that also have equal seeds, only the longest is kept."""
    distinct: dict[str, dict[int, Run]] = {}
    for run in runs:
        seeds = distinct.setdefault(repr(_fields(run)), {})
        other = seeds.get(run.config.seed)
        if other is None or len(other.generations) < len(run.generations):
            seeds[run.config.seed] = run
    bundles = [tuple(seeds.values()) for seeds in distinct.values()]
    varies_bias = len({bundle[0].config.bias for bundle in bundles}) > 1
    groups = []
    for workflow in sorted({b[0].config.workflow for b in bundles}, key=list(WORKFLOWS).index):
        column = [bundle for bundle in bundles if bundle[0].config.workflow == workflow]
        names = _telling([_fields(bundle[0]) for bundle in column])
        if varies_bias and "bias" not in names:
            names.insert(0, "bias")
        column.sort(key=lambda bundle: [_sortable(name, _fields(bundle[0]).get(name)) for name in names])
        labels = [[_label(name, _fields(bundle[0]).get(name)) for name in names] for bundle in column]
        is_split = len({tuple(label[1:]) for label in labels}) > _MARKERS
        for bundle, label in zip(column, labels, strict=True):
            first, rest = (f"{workflow}\n{label[1]}", label[2:]) if is_split else (workflow, label[1:])
            groups.append(Group(bundle, first, label[0] if label else "", ", ".join(rest)))
    return groups


def _fields(run: Run) -> dict[str, Any]:
    """The fields that identify a loop, starting with the fields that plot labels prefer."""
    fields = {key: value for key, value in run.config.as_json().items() if key not in (*_SHARED, "settings")}
    fields |= dict(sorted(run.config.settings.items())) | {"data": run.data}
    ordered = {name: fields.pop(name) for name in _FIRST}
    return {**ordered, **fields, "digest": run.digest}


def _telling(column: list[dict[str, Any]]) -> list[str]:
    """The fields that tell the loops of a plot column apart; a field is used only if it separates further loops."""
    names: list[str] = []
    parts = 1
    for name in dict.fromkeys(key for fields in column for key in fields):
        split = len({repr([fields.get(kept) for kept in (*names, name)]) for fields in column})
        if split > parts:
            names, parts = [*names, name], split
    return names


def _sortable(name: str, value: Any) -> tuple[bool, float, str]:
    """Sort key of a field value: numbers ascending, but sampling biases descending from λ = 1."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    number = float(value) if is_number else 0.0
    return (not is_number, -number if name == "bias" else number, "" if is_number else str(value))


def _label(name: str, value: Any) -> str:
    if name == "bias":
        return f"λ = {value:g}"
    if name in ("family", "data"):
        return Path(str(value)).name
    if name.startswith("n_") and name != "n_measure":
        return f"{value} {name.removeprefix('n_')}"
    return f"{name.replace('_', ' ')} {value:g}" if isinstance(value, float) else f"{name.replace('_', ' ')} {value}"


def effective_share(group: Group, groups: list[Group]) -> float:
    """Effective / real sample size of a loop at the last generation; nan if undetermined.

    The effective sample size is exact for the family gaussian on normal:1, else estimated from models trained only on
    real items.
    """
    run = group.longest
    last = run.generations[-1]
    frechet, n_real = group.measure("frechet", last.generation), run.config.n_real or 0
    if run.config.family == "gaussian" and run.data == "normal:1" and run.config.settings.get("ddof", 1) == 1:
        return effective_size(frechet.estimate) / n_real
    alone: dict[int, list[float]] = {}
    for other in groups:
        if _is_alike(other, group):
            config = other.longest.config
            if config.workflow == "fresh" or not run.digest:  # other workflows draw data without replacement
                alone.setdefault(config.n_initial or 0, []).append(other.measure("frechet", 1).estimate)
            if config.workflow == "fresh" and config.n_synthetic == 0:
                later = [other.measure("frechet", int(t)).estimate for t in other.generations[1:]]
                alone.setdefault(config.n_real or 0, []).extend(later)
    if len(alone) < 2:
        return math.nan
    sizes = np.array(sorted(alone))
    curve = RealOnly(sizes, np.array([np.mean(alone[size]) for size in sizes]))
    return effective_ratio(dataclasses.replace(last, measures={"frechet": frechet}), curve, n_real).estimate


def _is_alike(one: Group, other: Group) -> bool:
    """Whether two groups differ only in workflow and item counts, so that their real-only models are comparable."""
    free: dict[str, Any] = {
        "workflow": "replace", "n_real": 0, "n_synthetic": 0, "n_initial": 1, "memory": 1, "mixing": "fixed",
        "budget": 1, "generations": 1, "seed": 0, "chains": 1,
    }  # fmt: skip
    a, b = (dataclasses.replace(group.longest.config, **free) for group in (one, other))
    return a == b and one.longest.digest == other.longest.digest
