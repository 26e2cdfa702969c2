"""Jobs of every kind: loops, sweeps and calibrations are asked for here, and any job can be followed and ended."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent

from service.http.auth import Reader, Writer, caller, seen
from service.http.context import Context, context_of
from service.http.paging import Cursor, Limit, instant_and_id
from service.http.problems import ProblemError, responses
from service.http.responses import job_page, job_view, place_of
from service.http.schemas import CalibrationRequest, JobPage, JobView, LoopRequest, SweepRequest
from service.http.submissions import submit_calibration, submit_loop
from service.storage.job_queue import Job

__all__ = ["IdempotencyKey", "JobId", "Service", "accepted", "ended", "events_of", "router"]

Service = Annotated[Context, Depends(context_of)]
JobId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="Id of the job.")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="Repeating the same request with the same key creates one job.",
    ),
]
_KINDS = ("audit", "reference", "loop", "sweep", "calibration")
_RETRY_S = 2  # for callers that look again; those that listen to events need not
_LOOK_S = 0.3  # between looks at a job that is listened to
_ALIVE_S = 15.0  # between signs of life on a silent connection

router = APIRouter(prefix="/v1", tags=["jobs"])


def accepted(job: Job, response: Response, context: Context) -> dict[str, Any]:
    """The answer to a request for a job."""
    response.headers["Location"] = place_of(job)
    response.headers["Retry-After"] = str(_RETRY_S)
    return job_view(job, context, with_result=False)


def ended(context: Context, job: Job) -> dict[str, Any]:
    """The job, cancelled if it was not finished, and its worker gone."""
    cancelled = context.queue.cancel(job.id)
    context.supervisor.kill(job.id)
    return job_view(cancelled or job, context, with_result=False)


def delete(context: Context, job: Job) -> None:
    """The job and all that it left are gone; raises ProblemError 409 for one that waits or runs."""
    if not job.is_finished:
        raise ProblemError(409, f"the job is {job.state}: cancel it first")
    context.supervisor.forget(job)


async def events_of(request: Request, context: Context, job: Job) -> AsyncIterator[ServerSentEvent]:
    """An event `progress` at every change of a job, the last one when it is finished."""
    last, silent = None, 0.0
    found: Job | None = job
    while found is not None:
        view = job_view(found, context, with_result=False)
        state = (found.state, found.done, found.total)
        if state != last:
            last, silent = state, 0.0
            yield ServerSentEvent(data=view, event="progress", id=f"{found.runs}-{found.done}-{found.state}")
        elif silent >= _ALIVE_S:
            silent = 0.0
            yield ServerSentEvent(comment="still there")
        if found.is_finished or await request.is_disconnected() or await run_in_threadpool(caller, request) is None:
            return
        await asyncio.sleep(_LOOK_S)
        silent += _LOOK_S
        found = await run_in_threadpool(context.queue.get, job.id)


def _of_any_kind(id: JobId, context: Service, key: Reader) -> Job:
    return seen(context.queue.get(id), key, _KINDS)


_Seen = Annotated[Job, Depends(_of_any_kind)]


@router.get("/jobs", responses=responses(401, 403, 422))
def list_jobs(
    context: Service,
    key: Reader,
    kind: Annotated[str | None, Query(pattern=f"^({'|'.join(_KINDS)})$")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JobPage:
    """Jobs that the caller may see, newest first."""
    kinds: Any = _KINDS if kind is None else (kind,)
    page = context.queue.page(kinds=kinds, limit=limit, owners=key.owners, after=instant_and_id(cursor))
    return JobPage.model_validate(job_page(page, context))


@router.get("/jobs/{id}", responses=responses(401, 403, 404, 410, 422))
def get_job(job: _Seen, context: Service) -> JobView:
    """One job, with its result once it has succeeded."""
    return JobView.model_validate(job_view(job, context, with_result=True))


@router.get("/jobs/{id}/events", response_class=EventSourceResponse, responses=responses(401, 403, 404, 422))
async def follow_job(request: Request, job: _Seen, context: Service) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events `progress` with the job, until it is finished."""
    async for event in events_of(request, context, job):
        yield event


@router.post("/jobs/{id}/cancel", responses=responses(401, 403, 404, 422))
def cancel_job(job: _Seen, context: Service, key: Writer) -> JobView:
    """End a job that waits or runs; a finished one stays as it is."""
    return JobView.model_validate(ended(context, job))


@router.delete("/jobs/{id}", status_code=204, responses=responses(401, 403, 404, 409, 422))
def delete_job(job: _Seen, context: Service, key: Writer) -> None:
    """Delete a finished job with all that it left; a reference that it built stays."""
    delete(context, job)


_ASKED = responses(401, 403, 404, 409, 413, 422, 429)


@router.post("/loops", status_code=202, responses=_ASKED)
def run_loop(
    asked: LoopRequest, response: Response, context: Service, key: Writer, idempotency: IdempotencyKey = None
) -> JobView:
    """Run an autophagy loop."""
    return JobView.model_validate(
        accepted(submit_loop(context, key, asked, idempotency=idempotency), response, context)
    )


@router.post("/sweeps", status_code=202, responses=_ASKED)
def run_sweep(
    asked: SweepRequest, response: Response, context: Service, key: Writer, idempotency: IdempotencyKey = None
) -> JobView:
    """Run a sweep of loops."""
    return JobView.model_validate(
        accepted(submit_loop(context, key, asked, idempotency=idempotency), response, context)
    )


@router.post("/calibrations", status_code=202, responses=_ASKED)
def calibrate(
    asked: CalibrationRequest, response: Response, context: Service, key: Writer, idempotency: IdempotencyKey = None
) -> JobView:
    """Fit a risk model to sweeps that have run."""
    return JobView.model_validate(
        accepted(submit_calibration(context, key, asked, idempotency=idempotency), response, context)
    )
