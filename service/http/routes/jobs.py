"""Routes that start loops, sweeps and calibrations, and that list, follow, cancel and delete jobs of any kind."""

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
        description="Repeated requests with the same idempotency key and the same content create only one job.",
    ),
]
_KINDS = ("audit", "reference", "loop", "sweep", "calibration")
_RETRY_S = 2  # for callers that look again; those that listen to events need not
_LOOK_S = 0.3  # between looks at a job that is listened to
_ALIVE_S = 15.0  # between signs of life on a silent connection

router = APIRouter(prefix="/v1", tags=["jobs"])


def accepted(job: Job, response: Response, context: Context) -> dict[str, Any]:
    """Set the headers of the response that announces a new job, and return the response body."""
    response.headers["Location"] = place_of(job)
    response.headers["Retry-After"] = str(_RETRY_S)
    return job_view(job, context, with_result=False)


def ended(context: Context, job: Job) -> dict[str, Any]:
    """Cancel a job unless it is finished, kill its worker, and return the JSON view of the job."""
    cancelled = context.queue.cancel(job.id)
    context.supervisor.kill(job.id)
    return job_view(cancelled or job, context, with_result=False)


def delete(context: Context, job: Job) -> None:
    """Delete a finished job and its files; raises ProblemError 409 if the job is queued or running."""
    if not job.is_finished:
        raise ProblemError(409, f"the job is {job.state}: cancel it first")
    context.supervisor.forget(job)


async def events_of(request: Request, context: Context, job: Job) -> AsyncIterator[ServerSentEvent]:
    """Yield a `progress` event at every change of a job, and a last event when the job is finished."""
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
    """All jobs that the API key may see, newest first."""
    kinds: Any = _KINDS if kind is None else (kind,)
    page = context.queue.page(kinds=kinds, limit=limit, owners=key.owners, after=instant_and_id(cursor))
    return JobPage.model_validate(job_page(page, context))


@router.get("/jobs/{id}", responses=responses(401, 403, 404, 410, 422))
def get_job(job: _Seen, context: Service) -> JobView:
    """One job, with its result once it has succeeded."""
    return JobView.model_validate(job_view(job, context, with_result=True))


@router.get("/jobs/{id}/events", response_class=EventSourceResponse, responses=responses(401, 403, 404, 422))
async def follow_job(request: Request, job: _Seen, context: Service) -> AsyncIterator[ServerSentEvent]:
    """Stream of server-sent `progress` events with the state of a job, until the job is finished."""
    async for event in events_of(request, context, job):
        yield event


@router.post("/jobs/{id}/cancel", responses=responses(401, 403, 404, 422))
def cancel_job(job: _Seen, context: Service, key: Writer) -> JobView:
    """Cancel a queued or running job; a finished job does not change."""
    return JobView.model_validate(ended(context, job))


@router.delete("/jobs/{id}", status_code=204, responses=responses(401, 403, 404, 409, 422))
def delete_job(job: _Seen, context: Service, key: Writer) -> None:
    """Delete a finished job and its files; a reference that the job built is kept."""
    delete(context, job)


_ASKED = responses(401, 403, 404, 409, 413, 422, 429)


@router.post("/loops", status_code=202, responses=_ASKED)
def run_loop(
    asked: LoopRequest, response: Response, context: Service, key: Writer, idempotency: IdempotencyKey = None
) -> JobView:
    """Run one self-consuming training loop as a job."""
    return JobView.model_validate(
        accepted(submit_loop(context, key, asked, idempotency=idempotency), response, context)
    )


@router.post("/sweeps", status_code=202, responses=_ASKED)
def run_sweep(
    asked: SweepRequest, response: Response, context: Service, key: Writer, idempotency: IdempotencyKey = None
) -> JobView:
    """Run a sweep of self-consuming training loops as a job."""
    return JobView.model_validate(
        accepted(submit_loop(context, key, asked, idempotency=idempotency), response, context)
    )


@router.post("/calibrations", status_code=202, responses=_ASKED)
def calibrate(
    asked: CalibrationRequest, response: Response, context: Service, key: Writer, idempotency: IdempotencyKey = None
) -> JobView:
    """Fit a risk model to finished sweeps, as a job."""
    return JobView.model_validate(
        accepted(submit_calibration(context, key, asked, idempotency=idempotency), response, context)
    )
