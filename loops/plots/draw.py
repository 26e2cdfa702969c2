"""Plot the measures of loops over the generations, to compare workflows and sampling biases."""

import dataclasses
import io
import logging
import math
import warnings
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, NullFormatter

from indexes.store import write_atomic
from loops.plots.groups import Group, effective_share, find_runs, grouped
from loops.plots.sample_sheets import generation_axis, modes_figure, samples_figure, samples_text
from loops.theory.closed_forms import predicted

__all__ = ["draw_plots"]

_log = logging.getLogger(__name__)

_SHEETS = 24  # loops whose samples and modes are drawn at most
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
_ROWS = {"frechet": "Fréchet distance", "precision": "precision", "recall": "recall", "vendi": "Vendi score"}
_KNOWN_ROWS = {"test_error": "test error", "squared_error": "squared error", "variance": "variance"}  # in theory
_LOG = 30.0  # a scale is logarithmic if the largest value exceeds the smallest by this factor


def draw_plots(folder: Path, *, out: Path | None = None) -> list[Path]:
    """Plot the loop in `folder`, or all loops up to three levels below; returns the plot files.

    Plots are written to `out` (default: the folder `plots` in `folder`). The plots `loops.png` and
    `quality-diversity.png` compare the loops; loops that differ only in their seed are combined. The plot
    `admissible.png` shows the effective sample sizes of loops with fresh real data, by sample size and bias. The plots
    `samples-RUN` and `modes-RUN` show the samples and modes of each of the first 24 loops. Raises InputError if there
    is no loop with a finished generation.
    """
    runs = find_runs(folder)
    groups = grouped(runs)
    if len(runs) > _SHEETS:
        _log.info("samples and modes are plotted only for the first %d of %d loops", _SHEETS, len(runs))
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


def _colour_of(groups: list[Group]) -> dict[str, Any]:
    labels = list(dict.fromkeys(group.colour for group in groups))
    if len(labels) <= len(_COLOURS):
        return dict(zip(labels, _COLOURS, strict=False))
    return dict(zip(labels, matplotlib.colormaps["viridis"](np.linspace(0, 0.92, len(labels))), strict=True))


def _marker_of(groups: list[Group]) -> dict[str, str]:
    labels = dict.fromkeys(group.marker for group in groups)
    return {label: _MARKERS[i % len(_MARKERS)] for i, label in enumerate(labels)}


def _loops_figure(groups: list[Group]) -> Figure:
    """Figure of measures over generations, with one column per workflow and one row per measure."""
    theory = [predicted(group.longest.config, width=group.longest.space.width) for group in groups]
    rows = _rows(groups, theory)
    columns = list(dict.fromkeys(group.column for group in groups))
    size = (2.1 + 2.4 * len(columns) + 0.8 * (len(columns) == 1), 0.9 + 1.75 * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(rows), len(columns), sharex="col", sharey="row", squeeze=False)
    colours, markers = _colour_of(groups), _marker_of(groups)
    for column, title in enumerate(columns):
        chosen = [(g, curves) for g, curves in zip(groups, theory, strict=True) if g.column == title]
        for row, name in enumerate(rows):
            axes = panels[row, column]
            for group, curves in chosen:
                _draw_curve(axes, group, name, colours[group.colour], markers[group.marker])
                if name in curves:
                    expected = curves[name][: len(group.generations)]
                    axes.plot(group.generations[: len(expected)], expected, "--", color="black", lw=1, zorder=4)
            _draw_real(axes, [group for group, _ in chosen], name, colours)
        panels[0, column].set_title(title)
        generation_axis(panels[-1, column], np.concatenate([group.generations for group, _ in chosen]))
    for row, (name, label) in enumerate(rows.items()):
        panels[row, 0].set_ylabel(label)
        _scale(panels[row, 0], name, [group.curve(name)[0] for group in groups])
    _legend(figure, groups, has_theory=any(set(curves) & set(rows) for curves in theory))
    figure.suptitle(_title(groups), fontsize=10, x=0.01, ha="left")
    return figure


def _rows(groups: list[Group], theory: list[dict[str, np.ndarray]]) -> dict[str, str]:
    """The measures to plot; one more measure is added if some loop has no theoretical curve for the others."""
    found = {name: any(np.isfinite(group.curve(name)[0]).any() for group in groups) for name in _ROWS | _KNOWN_ROWS}
    if all(group.longest.space.width == 1 for group in groups):
        found["vendi"] = False  # always 1 for items of one number
    rows = {name: label for name, label in _ROWS.items() if found[name]}
    alone = [curves for curves in theory if not set(curves) & set(rows)]
    more = [name for name in _KNOWN_ROWS if found[name] and any(name in curves for curves in alone)]
    return rows | {name: _KNOWN_ROWS[name] for name in more[:1]}


def _draw_curve(axes: Axes, group: Group, name: str, colour: Any, marker: str) -> None:
    value, low, high = group.curve(name)
    every = max(1, len(value) // 10)
    axes.fill_between(group.generations, low, high, color=colour, alpha=0.17, lw=0)
    axes.plot(group.generations, value, color=colour, marker=marker, ms=3.5, markevery=every, lw=1.4)


def _draw_real(axes: Axes, groups: list[Group], name: str, colours: dict[str, Any]) -> None:
    """Draw a measure's value for real data: one line if all groups share data and sample size, else one per group."""
    kinds = {(g.longest.data, g.longest.digest, g.longest.config.n_measure) for g in groups}
    values = {g.colour: g.real(name) for g in groups}
    lines = {"black": float(np.mean(list(values.values())))} if len(kinds) == 1 else values
    for label, value in lines.items():
        if math.isfinite(value):
            axes.axhline(value, color=colours.get(label, "black"), ls=":", lw=1.2)


def _scale(axes: Axes, name: str, curves: list[np.ndarray]) -> None:
    found = np.concatenate(curves)
    found = found[np.isfinite(found)]
    if name in ("precision", "recall"):
        axes.set_ylim(-0.03, 1.05)
    elif len(found) and found.min() > 0 and found.max() > _LOG * found.min():
        axes.set_ylim(found.min() / 1.5, found.max() * 1.5)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif name in ("frechet", "test_error", "squared_error"):
        axes.set_ylim(bottom=0)  # a distance is never negative, but an interval over few chains can be


def _legend(figure: Figure, groups: list[Group], *, has_theory: bool) -> None:
    handles: list[Any] = []
    colours, markers = _colour_of(groups), _marker_of(groups)
    if set(colours) != {""}:
        handles += [Line2D([], [], color=colour, label=label or "as given") for label, colour in colours.items()]
    if set(markers) != {""}:
        handles += [
            Line2D([], [], color="#777777", marker=marker, ms=4, lw=0, label=label or "as given")
            for label, marker in markers.items()
        ]
    if any((group.measure("frechet", 1).n or 0) > 1 for group in groups):
        handles.append(Patch(color="#777777", alpha=0.3, lw=0, label="95 % interval\nof the mean"))
    if has_theory:
        handles.append(Line2D([], [], color="black", ls="--", lw=1, label="theory"))
    handles.append(Line2D([], [], color="black", ls=":", lw=1.2, label="real data"))
    figure.legend(handles=handles, loc="outside right upper", frameon=False)


def _title(groups: list[Group]) -> str:
    """The figure title, which names the model families and data of all loops."""
    configs = [group.longest.config for group in groups]
    families = {config.family for config in configs}
    data = {Path(group.longest.data).name for group in groups}
    return f"{', '.join(sorted(families))} on {', '.join(sorted(data))}"


def _quality_figure(groups: list[Group]) -> Figure | None:
    """Figure of each loop's path in the plane of recall and precision (else coverage and density); None if unknown."""
    for across, up in (("recall", "precision"), ("coverage", "density")):
        shown = [g for g in groups if np.isfinite(g.curve(across)[0] * g.curve(up)[0]).any()]
        if shown:
            break
    else:
        return None
    by_workflow = len({(group.colour, group.marker) for group in shown}) == 1
    if by_workflow:
        shown = [dataclasses.replace(group, column="", colour=group.column) for group in shown]
    names = list(dict.fromkeys(group.column for group in shown))
    figure = Figure(figsize=(2.1 + 2.5 * len(names) + 0.6 * (len(names) == 1), 3.3), layout="constrained")
    panels = figure.subplots(1, len(names), sharex=True, sharey=True, squeeze=False)[0]
    colours, markers = _colour_of(shown), _marker_of(shown)
    for axes, name in zip(panels, names, strict=True):
        for group in [group for group in shown if group.column == name]:
            _draw_trajectory(
                axes, group.curve(across)[0], group.curve(up)[0], colours[group.colour], markers[group.marker]
            )
            axes.plot(group.real(across), group.real(up), "*", color="black", ms=9, mew=0, zorder=5)
        axes.set(xlabel=f"{across} (diversity)", title=name)
    panels[0].set_xlim(_limits([v for g in shown for v in (*g.curve(across)[0], g.real(across))], most=1.0))
    heights = [v for g in shown for v in (*g.curve(up)[0], g.real(up))]
    panels[0].set_ylim(_limits(heights, most=math.inf if up == "density" else 1.0))
    panels[0].set_ylabel(f"{up} (quality)")
    handles: list[Any] = [Line2D([], [], color=c, label=label) for label, c in colours.items() if label]
    handles += [
        Line2D([], [], color="#777777", marker=m, mfc="white", lw=0, label=f"generation 1{label and ', ' + label}")
        for label, m in markers.items()
    ]
    handles += [
        Line2D([], [], color="black", marker="*", lw=0, mew=0, ms=9, label="real data"),
    ]
    figure.legend(handles=handles, loc="outside right upper", frameon=False)
    return figure


def _limits(values: list[float], *, most: float) -> tuple[float, float]:
    """Axis limits around values in [0, `most`]; the limits are at least 0.3 apart, so that small steps look small."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = max(0.3 - (high - low), 0.12 * (high - low)) / 2
    top = min(high + margin, most)
    return max(0.0, min(low - margin, top - 0.3)) - 0.02, top + 0.02


def _draw_trajectory(axes: Axes, x: np.ndarray, y: np.ndarray, colour: Any, marker: str) -> None:
    """Draw a path that starts at an open marker (first generation), with an arrow head at the end of each step."""
    kept = np.flatnonzero(np.isfinite(x * y))
    axes.plot(x[kept], y[kept], color=colour, lw=1.1, alpha=0.7)
    axes.plot(x[kept[:1]], y[kept[:1]], marker, color=colour, mfc="white", ms=5, zorder=4)
    for i in range(1, len(kept)):
        before, after = kept[i - 1], kept[i]
        if math.hypot(x[after] - x[before], y[after] - y[before]) > 0.01:
            arrow = {"arrowstyle": "-|>", "color": colour, "lw": 0, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 8}
            axes.annotate("", (x[after], y[after]), (x[before], y[before]), arrowprops=arrow)


def _admissible_figure(groups: list[Group]) -> Figure | None:
    """Map of effective / real sample size of fresh-data loops by n_synthetic and bias (or n_real); None if unknown."""
    fresh = [g for g in groups if g.workflow == "fresh" and g.longest.config.n_real]
    configs = [g.longest.config for g in fresh]
    biases, reals, sizes = ({getattr(c, name) or 0 for c in configs} for name in ("bias", "n_real", "n_synthetic"))
    if len(sizes) < 2 or max(len(biases), len(reals)) < 2 or len({c.family for c in configs}) > 1:
        return None
    side = "bias" if len(biases) > 1 else "n_real"
    ratios = {}
    for group, config in zip(fresh, configs, strict=True):
        place = (config.n_real or 0 if side == "bias" else 0, getattr(config, side), config.n_synthetic or 0)
        ratios[place] = effective_share(group, groups)
    if not any(math.isfinite(value) for value in ratios.values()):
        return None
    panels = sorted({key[0] for key in ratios})
    ups, acrosses = sorted({key[1] for key in ratios}), sorted({key[2] for key in ratios})
    figure = Figure(figsize=(1.6 + (0.8 + 0.52 * len(acrosses)) * len(panels), 1.6 + 0.5 * len(ups)),
                    layout="constrained")  # fmt: skip
    for axes, panel in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True):
        grid = np.array([[ratios.get((panel, up, n), math.nan) for n in acrosses] for up in ups])
        mesh = _draw_map(axes, grid)
        axes.set_xticks(range(len(acrosses)), acrosses)
        axes.set_yticks(range(len(ups)), [f"{up:g}" for up in ups])
        axes.set(xlabel="n_synthetic", title=f"n_real = {panel}" if panel else f"λ = {min(biases):g}")
    figure.suptitle(f"{_title(fresh)}: values above 1 mean that synthetic data help", fontsize=10, x=0.01, ha="left")
    figure.axes[0].set_ylabel("sampling bias λ" if side == "bias" else "n_real")
    bar = figure.colorbar(mesh, ax=figure.axes, label="effective / real sample size", extend="both")
    bar.set_ticks([0.25, 0.5, 1, 2, 4], labels=["¼", "½", "1", "2", "4"])
    bar.minorticks_off()
    return figure


def _draw_map(axes: Axes, grid: np.ndarray) -> Any:
    axes.set_facecolor("#dddddd")
    mesh = axes.imshow(grid, origin="lower", aspect="auto", cmap="RdBu", norm=LogNorm(0.2, 5))
    if min(grid.shape) > 1 and (grid < 1).any() and (grid > 1).any():
        axes.contour(np.log(grid), levels=[0], colors="black", linewidths=1.5)
    for (row, column), value in np.ndenumerate(grid):
        is_dark = abs(math.log(value)) > 1 if math.isfinite(value) else False
        ink, edge = ("white", "#444444") if is_dark else ("black", "white")
        text = f"{value:.2f}" if math.isfinite(value) else "n. d."
        effects = [withStroke(linewidth=1.5, foreground=edge)]  # readable where the contour crosses it
        axes.text(column, row - 0.25, text, ha="center", va="center", fontsize=7, color=ink, path_effects=effects)
    return mesh


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():  # a name may hold a character that the font lacks
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()
