"""JSON views of jobs for HTTP responses."""

import json
from datetime import UTC, datetime
from typing import Any

from auditor.folder import AuditFolder
from auditor.results import read_result
from indexes.errors import ArtifactError
from service.http.context import Context
from service.http.paging import write_cursor
from service.http.problems import ProblemError
from service.storage.job_queue import Job, Page

__all__ = ["job_page", "job_view", "place_of", "result_of"]

_PLACES = {"audit": "/v1/audits"}


def place_of(job: Job) -> str:
    """The URL path of a job."""
    return f"{_PLACES.get(job.kind, '/v1/jobs')}/{job.id}"


def job_view(job: Job, context: Context, *, with_result: bool) -> dict[str, Any]:
    """JSON view of a job; with `with_result`, it includes the result of a succeeded job."""
    place = place_of(job)
    links = {"self": place, "events": f"{place}/events", "cancel": f"{place}/cancel"}
    if job.kind == "audit" and job.state == "succeeded":
        links |= {"items": f"{place}/items", "report": f"{place}/report"}
    if job.kind == "reference" and job.state == "succeeded":
        links["reference"] = f"/v1/references/{job.request['name']}"
    return {
        "id": job.id, "kind": job.kind, "state": job.state, "created": _zoned(job.created),
        "started": _zoned(job.started), "finished": _zoned(job.finished),
        "progress": {"done": job.done, "total": job.total}, "request": _shown(job) if with_result else _brief(job),
        "result": result_of(job, context) if with_result and job.state == "succeeded" else None,
        "verdict": (job.outcome or {}).get("verdict"), "error": job.error, "links": links,
    }  # fmt: skip


def job_page(page: Page, context: Context) -> dict[str, Any]:
    """JSON view of one page of jobs."""
    return {
        "items": [job_view(job, context, with_result=False) for job in page.jobs],
        "next_cursor": None if page.after is None else write_cursor(*page.after),
    }


def result_of(job: Job, context: Context) -> dict[str, Any] | None:
    """The result of a succeeded job; for an audit or a loop, the content of its result.json."""
    folder = context.home.jobs / job.id
    if job.kind == "audit":
        try:
            return read_result(AuditFolder(folder)).to_dict()
        except ArtifactError:
            raise ProblemError(410, "the result file is missing or damaged: run the audit again") from None
    if job.kind == "loop":
        try:
            document: dict[str, Any] = json.loads((folder / "result.json").read_bytes())
        except (OSError, ValueError):
            raise ProblemError(410, "the result file is missing or damaged: run the loop again") from None
        return document
    return dict(job.outcome) if job.outcome is not None else None


def _shown(job: Job) -> dict[str, Any]:
    """The request of a job, with the name of an uploaded file instead of its path on this machine."""
    return {**job.request, "source": job.request["name"]} if job.request.get("upload") else dict(job.request)


def _brief(job: Job) -> dict[str, Any]:
    """The request of a job without nested values, which could make a list of jobs very large."""
    return {name: value for name, value in _shown(job).items() if not isinstance(value, dict | list)}


def _zoned(moment: datetime | None) -> str | None:
    return None if moment is None else moment.replace(tzinfo=UTC).isoformat()
