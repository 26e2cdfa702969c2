"""Plots for the audit report and the dashboard, as SVG text."""

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from auditor.answers import GenerationForecast
from auditor.policy import Threshold
from auditor.results import AuditResult
from auditor.statistics.intervals import Measure

__all__ = ["diversity_figure", "forecast_figure", "interval_figure", "score_figure", "trend_figure"]

_STYLE: Any = {
    "svg.hashsalt": "madaudit",  # the same ids every time
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.parse_math": False,  # a label may hold a dollar sign
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_RATIOS = ("coverage", "recall", "precision", "density", "vendi", "effective_rank", "intrinsic_dimension")
_COLOURS = ("#1b6ca8", "#c0392b", "#e08e0b", "#6c3483", "#117a65", "#7f8c8d")


def interval_figure(result: AuditResult) -> str:
    """Plot of synthetic fraction, diversity loss and MAD risk, with intervals and the policy's thresholds."""
    answers: list[tuple[str, Measure, Threshold]] = [
        ("synthetic fraction", result.synthetic_fraction, result.policy.synthetic_fraction),
        ("diversity loss", result.diversity.loss, result.policy.diversity_loss),
        ("MAD risk", result.mad_risk.probability, result.policy.mad_risk),
    ]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7, 2.1), layout="constrained")
        axes = figure.subplots()
        for row, (_, answer, threshold) in enumerate(answers):
            axes.plot([threshold.warn] * 2, [row - 0.35, row + 0.35], color="#e08e0b", lw=1.5)
            axes.plot([threshold.fail] * 2, [row - 0.35, row + 0.35], color="#c0392b", lw=1.5)
            if math.isnan(answer.low):
                axes.text(0.5, row, "not determined", va="center", ha="center", color="#7f8c8d")
                continue
            axes.plot([answer.low, answer.high], [row, row], color=_COLOURS[0], lw=5, solid_capstyle="butt")
            if answer.is_known:
                axes.plot([answer.estimate], [row], "o", color="black", ms=5)
        axes.set_yticks(range(3), [title for title, _, _ in answers])
        axes.set_ylim(2.6, -0.6)
        axes.set_xlim(min([-0.02, *(a.low for _, a, _ in answers if a.low < 0)]), 1.02)
        return _svg(figure)


def trend_figure(audits: Sequence[Mapping[str, Any]]) -> str:
    """Plot of synthetic fraction, diversity loss and MAD risk of a source's audits, oldest first."""
    curves = (
        ("synthetic fraction", "synthetic_estimate", _COLOURS[0]),
        ("diversity loss", "diversity_loss", _COLOURS[4]),
        ("MAD risk", "mad_risk", _COLOURS[1]),
    )
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7, 3.2), layout="constrained")
        axes = figure.subplots()
        at = list(range(len(audits)))
        low, high = ([audit[name] for audit in audits] for name in ("synthetic_low", "synthetic_high"))
        axes.vlines(at, low, high, color=_COLOURS[0], lw=5, alpha=0.35)
        for label, name, colour in curves:
            values = [math.nan if audit[name] is None else audit[name] for audit in audits]
            axes.plot(at, values, "o-", color=colour, ms=4, lw=1, label=label)
        axes.set_xticks(at, [audit["finished"].strftime("%d %b\n%H:%M") for audit in audits], fontsize=7)
        axes.set_ylim(min(0.0, axes.get_ylim()[0]), 1.02)
        axes.legend(frameon=False, ncols=3, loc="upper left", bbox_to_anchor=(0, 1.15))
        return _svg(figure)


def score_figure(result: AuditResult) -> str | None:
    """Histogram of scores of the audited set and the reference's components; None if there are no generators."""
    histogram = result.synthetic_fraction.histogram
    if len(histogram.reference) < 2:
        return None
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7, 2.6), layout="constrained")
        axes = figure.subplots()
        bins = range(len(histogram.incoming))
        for colour, (label, counts) in zip(_COLOURS * 9, histogram.reference.items(), strict=False):
            axes.step(bins, _shares(counts), where="mid", color=colour, label=f"reference: {label}")
        axes.bar(bins, _shares(histogram.incoming), color="#bdc3c7", width=1, label="audited set")
        axes.set_xlabel("score bin, from surely real to surely synthetic")
        axes.set_ylabel("share of items")
        figure.legend(loc="outside right upper", frameon=False)
        return _svg(figure)


def diversity_figure(result: AuditResult) -> str | None:
    """Bar chart of fidelity and diversity relative to a real sample of the same size; None without measures."""
    measures = {**result.diversity.measures, **result.fidelity.measures}
    rows = [
        (name, m.estimate / m.reference)
        for name, m in measures.items()
        if name in _RATIOS and m.is_known and m.reference > 0
    ]
    if not rows:
        return None
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7, 0.6 + 0.32 * len(rows)), layout="constrained")
        axes = figure.subplots()
        axes.barh([name for name, _ in rows], [ratio for _, ratio in rows], color=_COLOURS[0], height=0.6)
        axes.axvline(1, color="black", lw=1)
        axes.invert_yaxis()
        axes.set_xlabel("relative to a real sample of the same size")
        return _svg(figure)


def forecast_figure(result: AuditResult) -> str | None:
    """Plot of Fréchet level, Fréchet ratio and diversity ratio by generation, with bands; None without a forecast."""
    risk = result.mad_risk
    if not risk.trajectory:
        return None
    panels = {
        "frechet_level": None,
        "frechet_ratio": risk.event.frechet_ratio,
        "diversity_ratio": risk.event.diversity_ratio,
    }
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7, 2.4), layout="constrained")
        for axes, (name, limit) in zip(figure.subplots(1, 3), panels.items(), strict=True):
            _course(axes, risk.trajectory, name, _COLOURS[0], "forecast")
            if risk.simulation is not None:
                _course(axes, risk.simulation.trajectory, name, _COLOURS[2], "simulated")
            if limit is not None:
                axes.axhline(limit, color="#c0392b", lw=1)
            if name.startswith("frechet"):
                axes.set_yscale("log")
            axes.set_title(name.replace("_", " ").replace("frechet", "Fréchet"), fontsize=9)
            axes.set_xlabel("generation")
        if risk.simulation is not None:
            figure.axes[0].legend(frameon=False, loc="upper left")
        return _svg(figure)


def _course(axes: Any, trajectory: Sequence[GenerationForecast], name: str, colour: str, label: str) -> None:
    generations = [entry.generation for entry in trajectory]
    found: list[Measure] = [getattr(entry, name) for entry in trajectory]
    low, middle, high = zip(*((m.low, m.estimate, m.high) for m in found), strict=True)
    axes.fill_between(generations, low, high, color=colour, alpha=0.2, lw=0)
    axes.plot(generations, middle, color=colour, marker="o", ms=3, label=label)


def _shares(counts: Sequence[float]) -> list[float]:
    total = max(1, sum(counts))
    return [c / total for c in counts]


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    with warnings.catch_warnings():  # text stays text: whoever reads the page has the fonts for it
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
