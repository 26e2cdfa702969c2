"""Routes for liveness and readiness checks and for Prometheus metrics."""

import shutil
from typing import Any

from fastapi import APIRouter, Depends, Response

from service.http.parameters import check_query
from service.http.problems import ProblemError, responses
from service.http.routes.jobs import Service

__all__ = ["router"]

_LEAST_FREE = 256 * 2**20  # bytes on the home folder's disk
router = APIRouter(tags=["health"], dependencies=[Depends(check_query)])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Liveness check: the process answers requests."""
    return {"status": "ok"}


@router.get("/readyz", responses=responses(503))
def readyz(context: Service) -> dict[str, Any]:
    """Readiness check: the database answers, the job threads are alive, and the disk has free space."""
    counts = context.queue.counts()
    free = shutil.disk_usage(context.home.home).free
    problems = []
    if not context.supervisor.is_alive:
        problems.append("a thread that runs jobs has stopped: restart the service")
    if free < _LEAST_FREE:
        problems.append(f"the disk of the home folder has only {free >> 20} MiB free: free some space")
    if problems:
        raise ProblemError(503, "; ".join(problems))
    return {"status": "ready", "queued": counts.get("queued", 0), "running": counts.get("running", 0)}


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(context: Service) -> Response:
    """Metrics in the Prometheus text format."""
    return Response(context.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
