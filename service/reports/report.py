"""The report: one self-contained page, and its Markdown twin, from result.json and the gallery."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from auditor.fraction.settling import CONDITIONS
from auditor.passes.second import SCHEMA
from auditor.unread import unread_in_words
from indexes.errors import ArtifactError, without_controls
from indexes.store import write_atomic
from service.reports.figures import diversity_figure, forecast_figure, interval_figure, score_figure

__all__ = ["read_result", "render", "write_report"]

_VERDICTS = {
    "pass": "Passed: nothing in this set crosses the policy.",
    "warn": "Passed with a warning: a threshold for warnings is crossed.",
    "fail": "Failed: a threshold is crossed.",
    "undetermined": "Undetermined: the data cannot answer a required question.",
}


def read_result(out: Path) -> dict[str, Any]:
    """The result of a finished audit; raises ArtifactError when there is none."""
    path = out / "result.json"
    try:
        result = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        if not (out / "state").is_dir():
            raise ArtifactError(f"{path} is missing: {out} is no folder that madaudit audit --out wrote") from None
        raise ArtifactError(f"{path} is missing: the audit is not finished, run it again") from None
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged ({error}): run the audit again") from None
    if not isinstance(result, dict) or result.get("schema") != SCHEMA:
        raise ArtifactError(f"{path} is no result of this version, expected schema {SCHEMA}: run the audit again")
    return result


def write_report(out: Path, result: Mapping[str, Any]) -> Path:
    """Write report.html beside the result and return its path."""
    path = out / "report.html"
    write_atomic(path, render(out, result, "html").encode())
    return path


def render(out: Path, result: Mapping[str, Any], form: str) -> str:
    """The report as `html` or `md`."""
    environment = Environment(
        loader=PackageLoader("service"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = _number
    environment.filters["percent"] = _percent
    environment.filters["unread"] = unread_in_words
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
        gallery=_gallery(out),
        verdict_text=_VERDICTS[result["verdict"]],
        conditions=CONDITIONS,
    )
    return without_controls(page)  # ids and texts may hold anything


def _gallery(out: Path) -> list[dict[str, Any]]:
    path = out / "state" / "gallery.json"
    if not path.is_file():
        return []
    entries: list[dict[str, Any]] = json.loads(path.read_bytes())
    return entries


def _number(value: float | None) -> str:
    return "not determined" if value is None else f"{value:.4g}"


def _percent(value: float | None) -> str:
    return "not determined" if value is None else f"{100 * value:.1f} %"
