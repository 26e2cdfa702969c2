"""The audit report, as one self-contained HTML page or as Markdown, from result.json and the gallery."""

import json
import math
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from auditor.answers import CONDITIONS
from auditor.folder import AuditFolder
from auditor.results import AuditResult
from indexes.errors import without_controls
from indexes.store import write_atomic
from service.reports.figures import diversity_figure, forecast_figure, interval_figure, score_figure

__all__ = ["render", "write_report"]

_VERDICTS = {
    "pass": "Passed: this set crosses no threshold of the policy.",
    "warn": "Passed with a warning: this set crosses a warning threshold of the policy.",
    "fail": "Failed: this set crosses a failure threshold of the policy.",
    "undetermined": "Undetermined: the data cannot answer a required question.",
}


def write_report(folder: AuditFolder, result: AuditResult) -> None:
    """Write the report as an HTML page next to result.json."""
    write_atomic(folder.report, render(folder, result, "html").encode())


def render(folder: AuditFolder, result: AuditResult, form: str) -> str:
    """Render the report of an audit as `html` or `md`."""
    environment = Environment(
        loader=PackageLoader("service.reports"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = _number
    environment.filters["percent"] = _percent
    environment.filters["missing"] = math.isnan
    figures = {}
    if form == "html":
        figures = {
            "answers": interval_figure(result),
            "scores": score_figure(result),
            "diversity": diversity_figure(result),
            "forecast": forecast_figure(result),
        }
    page = environment.get_template(f"report.{form}").render(
        r=result,
        figures=figures,
        gallery=_gallery(folder),
        verdict_text=_VERDICTS[result.verdict],
        conditions=CONDITIONS,
    )
    return without_controls(page)  # ids and texts may hold anything


def _gallery(folder: AuditFolder) -> list[dict[str, Any]]:
    if not folder.gallery.is_file():
        return []
    entries: list[dict[str, Any]] = json.loads(folder.gallery.read_bytes())
    return entries


def _number(value: float | None) -> str:
    return "not determined" if value is None or math.isnan(value) else f"{value:.4g}"


def _percent(value: float | None) -> str:
    return "not determined" if value is None or math.isnan(value) else f"{100 * value:.1f} %"
