"""The pictures of loops: what their measures do over the generations, compared by workflow and sampling bias."""

import dataclasses
import io
import logging
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullFormatter

from auditor.intervals import Measure
from indexes.errors import InputError
from indexes.store import write_atomic
from loops.effective import RealOnly, effective_ratio
from loops.measure import over_chains
from loops.sheets import Run, generation_axis, modes_figure, read_run, samples_figure, samples_text
from loops.theory import effective_size, predicted
from loops.workflows import WORKFLOWS

__all__ = ["draw_plots"]

_log = logging.getLogger(__name__)

_DEPTH = 3  # folders below which no loop is looked for
_SHEETS = 24  # loops whose samples and modes are drawn
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9,
    "text.parse_math": False,  # a label may hold a dollar sign
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 150,
}
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito
_MARKERS = "osD^vPX*"
_ROWS = {
    "frechet": "Fréchet distance",
    "precision": "precision",
    "recall": "recall",
    "vendi": "Vendi score",
}
_KNOWN_ROWS = {  # shown where theory has a curve of these and of none above
    "test_error": "test error",
    "squared_error": "squared error",
    "variance": "variance",
}
_LOG = 30.0  # ratio of the largest to the smallest value from which a scale is logarithmic
_SHARED = ("seed", "generations", "threads", "device")  # fields in which the runs of a group may differ
_FIRST = ("bias", "family", "data", "n_synthetic", "n_real", "n_initial", "memory")  # what a label would rather name


def draw_plots(folder: Path, *, out: Path | None = None) -> list[Path]:
    """The files drawn of a loop, or of all loops up to three folders below, into `out` (default: folder/plots).

    `loops.png` and `quality-diversity.png` compare the loops, combining those that differ in their seed alone;
    `admissible.png` is drawn of fresh data loops of several sizes and biases; `samples-RUN` and `modes-RUN` show each
    of the first 24 loops. Raises InputError where there is no loop with a finished generation.
    """
    runs = _find_runs(folder)
    groups = _grouped(runs)
    if len(runs) > _SHEETS:
        _log.info("samples and modes are drawn of the first %d of %d loops", _SHEETS, len(runs))
    with matplotlib.rc_context(_STYLE):
        figures = {
            "loops": _loops_figure(groups),
            "quality-diversity": _quality_figure(groups),
            "admissible": _admissible_figure(groups),
        }
        for run in runs[:_SHEETS]:
            figures |= {f"samples-{run.name}": samples_figure(run), f"modes-{run.name}": modes_figure(run)}
        files = {f"{name}.png": _png(figure) for name, figure in figures.items() if figure is not None}
    texts = {f"samples-{run.name}.txt": samples_text(run) for run in runs[:_SHEETS]}
    files |= {name: text.encode() for name, text in texts.items() if text is not None}
    target = folder / "plots" if out is None else out
    target.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_atomic(target / name, data)
    return [target / name for name in files]


@dataclass(frozen=True, slots=True)
class _Group:
    """Runs of one loop that differ in their seed alone, and how they are told from others."""

    runs: tuple[Run, ...]
    colour: str  # label of what the colour stands for
    marker: str = ""  # and the marker

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
        """Mean over all chains of all runs, with its t interval."""
        records = [run.generations[generation - 1] for run in self.runs if len(run.generations) >= generation]
        if len(records) == 1:
            return records[0].measures.get(name, Measure(math.nan))
        found = [record.chains[name] for record in records if name in record.chains]
        return over_chains(np.concatenate(found)) if found else Measure(math.nan)

    def curve(self, name: str) -> np.ndarray:
        """Value, low and high (3, generations); nan where that cannot be had."""
        measures = [self.measure(name, int(generation)) for generation in self.generations]
        values = np.array([[m.value, m.low, m.high] for m in measures]).T
        return np.where(np.isfinite(values), values, np.nan)

    def real(self, name: str) -> float:
        """What real samples measure, mean over the runs."""
        return float(np.mean([run.real.get(name, math.nan) for run in self.runs]))


def _find_runs(folder: Path) -> list[Run]:
    """The loops that have a finished generation; what lies within a loop is its own business."""
    paths, level = [], [folder]
    for depth in range(_DEPTH + 1):
        inner = [path for path in level if (path / "loop.json").is_file()]
        paths += inner
        if depth < _DEPTH:
            level = [child for path in level if path not in inner and path.is_dir() for child in sorted(path.iterdir())]
    if not paths:
        raise InputError(f"{folder} holds no loop: expected loop.json, there or up to {_DEPTH} folders below")
    short = [path.resolve().name for path in paths]
    names = short if len(set(short)) == len(paths) else ["-".join(path.relative_to(folder).parts) for path in paths]
    runs = sorted((read_run(path, name=name) for path, name in zip(paths, names, strict=True)), key=lambda r: r.name)
    if not any(run.generations for run in runs):
        raise InputError(f"{folder} holds no finished generation: let a loop run until it has one")
    return [run for run in runs if run.generations]


def _grouped(runs: list[Run]) -> list[_Group]:
    """Groups in the order of workflow and fields; a run there twice, such as a copy, counts once, the longer one."""
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
        column.sort(key=lambda bundle: [_sortable(_fields(bundle[0]).get(name)) for name in names])
        for bundle in column:
            labels = [_label(name, _fields(bundle[0]).get(name)) for name in names]
            groups.append(_Group(bundle, labels[0] if labels else "", ", ".join(labels[1:])))
    return groups


def _fields(run: Run) -> dict[str, Any]:
    """What makes a run this loop, in the order in which it would be named."""
    fields = {key: value for key, value in run.config.as_json().items() if key not in (*_SHARED, "settings")}
    fields |= {key: value for key, value in sorted(run.config.settings.items())} | {"data": run.data}
    ordered = {name: fields.pop(name) for name in _FIRST}
    return {**ordered, **fields, "digest": run.digest}


def _telling(column: list[dict[str, Any]]) -> list[str]:
    """As few names of fields, the first ones first, as tell the loops of a column apart."""
    names: list[str] = []
    parts = 1
    for name in dict.fromkeys(key for fields in column for key in fields):
        split = len({repr([fields.get(kept) for kept in (*names, name)]) for fields in column})
        if split > parts:
            names, parts = [*names, name], split
    return names


def _sortable(value: Any) -> tuple[bool, float, str]:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return (not is_number, -float(value) if is_number else 0.0, "" if is_number else str(value))


def _label(name: str, value: Any) -> str:
    if name == "bias":
        return f"λ = {value:g}"
    if name in ("family", "data"):
        return Path(str(value)).name
    if name.startswith("n_") and name != "n_measure":
        return f"{value} {name.removeprefix('n_')}"
    return f"{name.replace('_', ' ')} {value:g}" if isinstance(value, float) else f"{name.replace('_', ' ')} {value}"


def _colour_of(groups: list[_Group]) -> dict[str, Any]:
    labels = list(dict.fromkeys(group.colour for group in groups))
    if len(labels) <= len(_COLOURS):
        return dict(zip(labels, _COLOURS, strict=False))
    return dict(zip(labels, matplotlib.colormaps["viridis"](np.linspace(0, 0.92, len(labels))), strict=True))


def _marker_of(groups: list[_Group]) -> dict[str, str]:
    labels = dict.fromkeys(group.marker for group in groups)
    return {label: _MARKERS[i % len(_MARKERS)] for i, label in enumerate(labels)}


def _loops_figure(groups: list[_Group]) -> Figure:
    """A column a workflow, a row a measure."""
    theory = [predicted(group.longest.config, width=group.longest.space.width) for group in groups]
    rows = {k: label for k, label in _ROWS.items() if any(np.isfinite(g.curve(k)[0]).any() for g in groups)}
    known = {name for curves in theory for name in curves}
    if not known & set(rows):
        more = [k for k in _KNOWN_ROWS if k in known and any(np.isfinite(g.curve(k)[0]).any() for g in groups)]
        rows |= {k: _KNOWN_ROWS[k] for k in more[:1]}
    workflows = list(dict.fromkeys(group.workflow for group in groups))
    size = (2.1 + 2.4 * len(workflows) + 0.8 * (len(workflows) == 1), 0.9 + 1.75 * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(rows), len(workflows), sharex="col", sharey="row", squeeze=False)
    colours, markers = _colour_of(groups), _marker_of(groups)
    for column, workflow in enumerate(workflows):
        chosen = [(g, curves) for g, curves in zip(groups, theory, strict=True) if g.workflow == workflow]
        for row, name in enumerate(rows):
            axes = panels[row, column]
            for group, curves in chosen:
                _draw_curve(axes, group, name, colours[group.colour], markers[group.marker])
                if name in curves:
                    expected = curves[name][: len(group.generations)]
                    axes.plot(group.generations[: len(expected)], expected, "--", color="black", lw=1, zorder=4)
            _draw_real(axes, [group for group, _ in chosen], name, colours)
        panels[0, column].set_title(workflow)
        generation_axis(panels[-1, column], np.concatenate([group.generations for group, _ in chosen]))
    for row, (name, label) in enumerate(rows.items()):
        panels[row, 0].set_ylabel(label)
        _scale(panels[row, 0], name, [group.curve(name)[0] for group in groups])
    _legend(figure, groups, has_theory=bool(known & set(rows)))
    figure.suptitle(_title(groups), fontsize=10)
    return figure
