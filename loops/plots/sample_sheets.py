"""Plot the samples and modes of a single loop, generation by generation."""

import itertools
import math
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from loops.data.distributions import distribution_named
from loops.generation.record import Generation
from loops.plots.groups import Run
from loops.samples import Space

__all__ = ["generation_axis", "modes_figure", "samples_figure", "samples_text"]

_ROWS = 12  # generations on a sheet of images
_COLUMNS = 16  # images per generation
_PANELS = 8  # generations in scatter plots
_TEXTS = 5  # texts per generation
_LINES = 12  # most modes that are drawn as lines; more modes become a heat map
_SHADES = 2.0  # ratio of share to real share that has the darkest colour


def samples_figure(run: Run) -> Figure | None:
    """Figure with one row of images or one panel of points per generation; None for other kinds of items."""
    if run.space.image is not None and (run.space.vocabulary == 0 or run.space.bounds is not None):
        return _image_sheet(run, run.space.image)
    if run.space.width == 2 and run.space.vocabulary == 0:
        return _scatter_panels(run)
    return None


def samples_text(run: Run) -> str | None:
    """A few sample texts of every generation; None if the items are not texts."""
    parts = [
        f"generation {g.generation}\n" + "".join(f"  {' '.join(text.split())}\n" for text in g.texts[:_TEXTS])
        for g in run.generations
        if g.texts
    ]
    return "\n".join(parts) or None


def modes_figure(run: Run) -> Figure | None:
    """Figure of each mode's share over the generations, and of the share of surviving modes; None without modes."""
    kept = [g for g in run.generations if g.mode_shares is not None]
    if not kept:
        return None
    x = np.array([g.generation for g in kept])
    shares = np.array([g.mode_shares for g in kept])  # (generations, modes)
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    above.set_title(_title(run))
    if shares.shape[1] <= _LINES:
        _mode_lines(above, x, shares, real=_real_shares(run, shares.shape[1]))
    else:
        _mode_map(figure, above, x, shares, real=_real_shares(run, shares.shape[1]))
    measures = [g.measures.get("mode_survival") for g in kept]
    values = np.array([[m.estimate, m.low, m.high] if m else [math.nan] * 3 for m in measures])
    below.fill_between(x, values[:, 1], values[:, 2], color="#0072b2", alpha=0.2, lw=0)
    below.plot(x, values[:, 0], "o-", color="#0072b2", ms=3)
    below.axhline(run.real.get("mode_survival", math.nan), color="black", ls=":", lw=1)
    below.set(ylim=(-0.03, 1.05), ylabel="modes alive")
    generation_axis(below, x)
    return figure


def generation_axis(axes: Axes, x: np.ndarray) -> None:
    """Label the horizontal axis with whole generation numbers, even if there is only one generation."""
    axes.set_xlabel("generation")
    axes.set_xlim(x.min() - 0.5, x.max() + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))


def _image_sheet(run: Run, shape: tuple[int, int, int]) -> Figure:
    shown = _spread(run.generations, _ROWS)
    channels, height, width = shape
    columns = min(_COLUMNS, max(len(g.sheet.values) for g in shown))
    rows = [_pixels(run.space, g.sheet.values[:columns]) for g in shown]
    low, high = run.space.bounds or (min(map(np.min, rows)), max(map(np.max, rows)))
    tile_height, tile_width = height + 1, width + 1
    colours = 3 if channels == 3 else 1
    mosaic = np.ones((len(shown) * tile_height - 1, columns * tile_width - 1, colours))  # white between the images
    for row, values in enumerate(rows):
        tiles = ((values - low) / (high - low or 1)).clip(0, 1)  # displayable range
        for column, tile in enumerate(tiles.reshape(-1, channels, height, width)):
            top, left = row * tile_height, column * tile_width
            mosaic[top : top + height, left : left + width] = tile[:colours].transpose(1, 2, 0)
    figure = Figure(figsize=(8, 0.4 + 7.6 * mosaic.shape[0] / mosaic.shape[1]), layout="constrained")
    axes = figure.subplots()
    picture = mosaic if colours == 3 else mosaic[..., 0]
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_yticks(
        [row * tile_height + (height - 1) / 2 for row in range(len(shown))], [str(g.generation) for g in shown]
    )
    axes.set(xticks=[], ylabel="generation", title=_title(run))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _pixels(space: Space, values: np.ndarray) -> np.ndarray:
    """Pixel values (n, width) of images; image tokens become evenly spaced values between the bounds."""
    if not space.vocabulary or space.bounds is None:
        return values.astype(np.float64)
    low, high = space.bounds
    return low + values * ((high - low) / (space.vocabulary - 1))


def _scatter_panels(run: Run) -> Figure:
    shown = _spread(run.generations, _PANELS)
    formula = distribution_named(run.data)
    behind, what = run.generations[0].sheet.values, "generation 1"
    if formula is not None:
        behind, what = formula.draw(400, chains=1, fresh=True, rng=np.random.default_rng(0)).values[0], "real data"
    points = [g.sheet.values for g in shown]
    low, high = np.nanquantile(np.concatenate([behind, *points]), [0.005, 0.995], axis=0)
    margin = 0.08 * np.where(high > low, high - low, 1)
    columns = min(4, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(max(3.2, 2.1 * columns), 0.5 + 2.1 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, record, values in zip(panels, shown, points, strict=False):
        axes.scatter(*behind.T, s=4, color="#bbbbbb", lw=0)
        axes.scatter(*values.T, s=7, color="#0072b2", lw=0)
        outside = int((~((values > low - margin) & (values < high + margin)).all(1)).sum())
        axes.set_title(f"generation {record.generation}" + (f" ({outside} outside)" if outside else ""), fontsize=8)
        axes.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    figure.suptitle(f"{_title(run)}\nblue: model samples, grey: {what}", fontsize=9)
    return figure


def _mode_lines(axes: Axes, x: np.ndarray, shares: np.ndarray, *, real: np.ndarray | None) -> None:
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.92, shares.shape[1]))
    ends = _apart(shares[-1], gap=0.045 * max(shares.max(), 1e-12))
    for mode, colour in enumerate(colours):
        axes.plot(x, shares[:, mode], "o-", color=colour, ms=3, lw=1.3)
        axes.annotate(str(mode), (x[-1], ends[mode]), (6, 0), textcoords="offset points", va="center", color=colour)
    if real is not None:
        axes.axhline(real[0], color="black", ls=":", lw=1)
    axes.set_ylabel("share of samples in each mode")
    axes.set_ylim(bottom=0)


def _mode_map(figure: Figure, axes: Axes, x: np.ndarray, shares: np.ndarray, *, real: np.ndarray | None) -> None:
    """Draw a heat map of mode shares relative to real shares (or generation 1); modes with base share 0 stay grey."""
    base = shares[0] if real is None else real
    ratio = np.divide(shares, base, out=np.full_like(shares, np.nan), where=base > 0)
    order = np.argsort(-shares.mean(0), kind="stable")
    norm = TwoSlopeNorm(1, 0, _SHADES)
    ends = np.concatenate([[x[0] - 0.5], (x[1:] + x[:-1]) / 2, [x[-1] + 0.5]])
    mesh = axes.pcolormesh(ends, np.arange(len(order) + 1) - 0.5, ratio[:, order].T, cmap="RdBu", norm=norm)
    axes.set_facecolor("#dddddd")
    axes.invert_yaxis()
    step = math.ceil(len(order) / 30)
    axes.set_yticks(range(0, len(order), step), order[::step], fontsize=6)
    axes.set_ylabel("mode (sorted by mean share)")
    axes.tick_params(length=0)
    label = "share / real share" if real is not None else "share / share in generation 1"
    bar = figure.colorbar(mesh, ax=axes, extend="max", label=label, pad=0.01)
    bar.set_ticks([0, 0.5, 1, 1.5, 2])


def _real_shares(run: Run, modes: int) -> np.ndarray | None:
    """Real shares of the modes: equal for a formula; None for other data, because their mode shares are not stored."""
    formula = distribution_named(run.data)
    return None if formula is None or formula.centres is None else np.full(modes, 1 / modes)


def _apart(heights: np.ndarray, *, gap: float) -> np.ndarray:
    """Heights of labels, moved up just enough that the labels do not overlap."""
    placed = heights.astype(np.float64).copy()
    order = np.argsort(placed, kind="stable")
    for before, after in itertools.pairwise(order):
        placed[after] = max(placed[after], placed[before] + gap)
    return placed


def _spread(generations: list[Generation], most: int) -> list[Generation]:
    """Up to `most` evenly spaced generations, including the first and the last generation."""
    rows = np.unique(np.linspace(0, len(generations) - 1, min(most, len(generations))).round().astype(int))
    return [generations[row] for row in rows]


def _title(run: Run) -> str:
    config = run.config
    return f"{config.family} on {Path(run.data).name}, {config.workflow}, λ = {config.bias:g}"
