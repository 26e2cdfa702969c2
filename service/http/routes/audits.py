"""Routes for audits: start by source or by upload, follow, read results and items, cancel, delete."""

import shutil
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pyarrow.parquet as pq
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from auditor.folder import AuditFolder
from auditor.plan import GENERATIONS
from auditor.results import read_result
from indexes.errors import ArtifactError
from service.http.auth import Reader, Writer, seen
from service.http.paging import Cursor, Limit, instant_and_id, read_cursor, write_cursor
from service.http.problems import ProblemError, responses
from service.http.responses import job_page, job_view
from service.http.routes.jobs import IdempotencyKey, JobId, Service, accepted, delete, ended, events_of
from service.http.schemas import AuditPage, AuditRequest, AuditView, ItemPage
from service.http.submissions import checked_audit, submit, submit_audit
from service.http.uploads import check_upload, named_by_format, receive
from service.reports.report import render
from service.storage.job_queue import Job, new_id

__all__ = ["router", "upload_router"]

_ASKED = responses(401, 403, 404, 413, 422, 429)
_REPORT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"

router = APIRouter(prefix="/v1/audits", tags=["audits"])
upload_router = APIRouter(prefix="/v1/audits", tags=["audits"])  # its bodies have a limit of their own


_ItemLimit = Annotated[int, Query(ge=1, le=1000, description="Maximum number of items on a page.")]


def _audit(id: JobId, context: Service, key: Reader) -> Job:
    return seen(context.queue.get(id), key, ("audit",))


def _finished(job: Annotated[Job, Depends(_audit)]) -> Job:
    if job.state != "succeeded":
        raise ProblemError(409, f"the audit is {job.state}, expected succeeded: follow its events until it is finished")
    return job


_Seen = Annotated[Job, Depends(_audit)]
_Finished = Annotated[Job, Depends(_finished)]


@router.post("", status_code=202, responses=_ASKED)
def start_audit(
    asked: AuditRequest, response: Response, context: Service, key: Writer, idempotency: IdempotencyKey = None
) -> AuditView:
    """Start an audit of a source under an allowed root; then poll the URL in `Location`, or follow the event stream."""
    job = submit_audit(context, key, asked, idempotency=idempotency)
    return AuditView.model_validate(accepted(job, response, context))


@upload_router.post(
    "/upload",
    status_code=202,
    responses=responses(401, 403, 404, 413, 415, 422, 429),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def upload_audit(
    request: Request,
    response: Response,
    context: Service,
    key: Writer,
    reference: Annotated[str, Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")],
    workflow: Annotated[str | None, Query(max_length=100)] = None,
    generations: Annotated[int, Query(ge=2, le=100)] = GENERATIONS,
    n_initial: Annotated[int | None, Query(ge=1, le=10**9)] = None,
    n_real: Annotated[int | None, Query(ge=0, le=10**9)] = None,
    n_synthetic: Annotated[int | None, Query(ge=0, le=10**9)] = None,
    bias: Annotated[float, Query(gt=0, le=1)] = 1.0,
    column: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
    name: Annotated[
        str,
        Query(pattern=r"^[\w .-]{1,100}$", description="Name that the audit list and the trends show for the upload."),
    ] = "upload",
    idempotency: IdempotencyKey = None,
) -> AuditView:
    """Audit an uploaded file (zip or tar of images or texts, parquet, npy, jsonl), recognised by its first bytes."""
    if workflow is None and any(n is not None for n in (n_initial, n_real, n_synthetic)):
        raise ProblemError(422, "training set sizes were given without a workflow: name the workflow")
    asked = AuditRequest(
        source="upload", reference=reference, workflow=workflow, generations=generations, n_initial=n_initial,
        n_real=n_real, n_synthetic=n_synthetic, bias=bias, column=column,
    )  # fmt: skip
    told = await run_in_threadpool(checked_audit, context, asked)
    id = new_id()
    folder = context.home.uploads / id
    try:
        path, digest = await receive(request.stream(), folder, limit=context.settings.max_upload)
        path = await run_in_threadpool(named_by_format, path)
        await run_in_threadpool(check_upload, path, limit=context.settings.max_unpacked)
        told |= {"source": str(path.resolve()), "upload": digest, "name": name}
        job = await run_in_threadpool(submit_upload, context, key, told, idempotency, id)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if job.id != id:
        shutil.rmtree(folder, ignore_errors=True)
    return AuditView.model_validate(accepted(job, response, context))


def submit_upload(context: Any, key: Any, told: dict[str, Any], idempotency: str | None, id: str) -> Job:
    """The job of an upload; repeated requests are recognised by the uploaded content, not by the path of the file."""
    same = {**told, "source": None}
    return submit(context, key, "audit", told, idempotency=idempotency, id=id, same=same)


@router.get("", responses=responses(401, 403, 422))
def list_audits(context: Service, key: Reader, limit: Limit = 50, cursor: Cursor = None) -> AuditPage:
    """All audits that the API key may see, newest first."""
    page = context.queue.page(kinds=("audit",), limit=limit, owners=key.owners, after=instant_and_id(cursor))
    return AuditPage.model_validate(job_page(page, context))


@router.get("/{id}", responses=responses(401, 403, 404, 410, 422))
def get_audit(job: _Seen, context: Service) -> AuditView:
    """One audit, with its result once it has succeeded."""
    return AuditView.model_validate(job_view(job, context, with_result=True))


@router.get("/{id}/items", responses=responses(401, 403, 404, 409, 410, 422))
def list_items(job: _Finished, context: Service, limit: _ItemLimit = 100, cursor: Cursor = None) -> ItemPage:
    """Items of a finished audit: scores, nearest generators, duplicates, and whether to keep each item."""
    number, row = (0, 0) if cursor is None else read_cursor(cursor, (int, int))
    try:
        files = AuditFolder(context.home.jobs / job.id).item_files()
    except ArtifactError:
        raise ProblemError(410, "the item files are missing or damaged: run the audit again") from None
    if not 0 <= number < len(files) or row < 0:
        raise ProblemError(422, "the cursor is not valid for this list: send next_cursor unchanged")
    table = pq.read_table(files[number]).slice(row, limit)
    after = (number, row + limit) if row + limit < pq.read_metadata(files[number]).num_rows else (number + 1, 0)
    return ItemPage(
        items=[{name: _plain(value) for name, value in row.items()} for row in table.to_pylist()],
        next_cursor=write_cursor(*after) if after[0] < len(files) else None,
    )


def _plain(value: Any) -> Any:
    """The value, with nan and infinity replaced by None, because JSON has neither."""
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


@router.get(
    "/{id}/report",
    response_class=HTMLResponse,
    responses={200: {"content": {"text/html": {}, "text/markdown": {}}}, **responses(401, 403, 404, 409, 410, 422)},
)
def get_report(
    job: _Finished, context: Service, format: Annotated[str, Query(pattern="^(html|md)$")] = "html"
) -> Response:
    """The report of a finished audit, as one self-contained HTML page or as Markdown."""
    folder = AuditFolder(context.home.jobs / job.id)
    if format == "md":
        return PlainTextResponse(render(folder, read_result(folder), "md"), media_type="text/markdown")
    if not folder.report.is_file():
        raise ProblemError(410, "the report file is missing: run the audit again")
    headers = {"Content-Security-Policy": _REPORT_POLICY}
    return FileResponse(folder.report, media_type="text/html", headers=headers)


@router.get("/{id}/events", response_class=EventSourceResponse, responses=responses(401, 403, 404, 422))
async def follow_audit(request: Request, job: _Seen, context: Service) -> AsyncIterator[ServerSentEvent]:
    """Stream of server-sent `progress` events with the state of an audit, until the audit is finished."""
    async for event in events_of(request, context, job):
        yield event


@router.post("/{id}/cancel", responses=responses(401, 403, 404, 422))
def cancel_audit(job: _Seen, context: Service, key: Writer) -> AuditView:
    """Cancel a queued or running audit; a finished audit does not change."""
    return AuditView.model_validate(ended(context, job))


@router.delete("/{id}", status_code=204, responses=responses(401, 403, 404, 409, 422))
def delete_audit(job: _Seen, context: Service, key: Writer) -> None:
    """Delete a finished audit with its items, report and uploaded file."""
    delete(context, job)
