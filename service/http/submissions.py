"""Checks of job requests, so that invalid requests are refused before they enter the queue."""

from collections.abc import Callable, Mapping
from typing import Any

from auditor.plan import PLAN_FIELDS, plan_named
from auditor.policy import policy_of
from loops.config import config_from
from service.http.context import Context
from service.http.problems import ProblemError
from service.http.schemas import (
    AuditRequest,
    CalibrationRequest,
    ForecastQuestion,
    LoopRequest,
    ReferenceRequest,
    SweepRequest,
)
from service.references.shelf import find_reference, reference_folder
from service.storage.api_keys import ApiKey
from service.storage.database import Connection
from service.storage.job_queue import Job, Kind, reference_is_pending
from service.untrusted import check_encoder, check_family, check_loop, check_sweep

__all__ = [
    "checked_audit",
    "checked_forecast",
    "submit",
    "submit_audit",
    "submit_calibration",
    "submit_loop",
    "submit_reference",
]


def submit(
    context: Context,
    key: ApiKey,
    kind: Kind,
    request: Mapping[str, Any],
    *,
    idempotency: str | None,
    id: str | None = None,
    same: Mapping[str, Any] | None = None,
    check: Callable[[Connection], None] = lambda connection: None,
) -> Job:
    """Create a job for a request, or return the job that the same idempotency key created earlier.

    `check` may raise an error to refuse a new job.
    """
    return context.queue.submit(kind, request, owner=key.id, id=id, key=idempotency, same=same, check=check)[0]


def submit_audit(context: Context, key: ApiKey, asked: AuditRequest, *, idempotency: str | None) -> Job:
    """Create a job that audits a source; the source must be under an allowed root."""
    context.roots.check(asked.source)
    return submit(context, key, "audit", checked_audit(context, asked), idempotency=idempotency)


def checked_audit(context: Context, asked: AuditRequest) -> dict[str, Any]:
    """Check a request for an audit and return it as the document for the worker.

    The caller must check the source, which is not checked here.
    """
    find_reference(asked.reference, context.home)
    policy_of(asked.policy)
    plan_named(**{name: getattr(asked, name) for name in PLAN_FIELDS})
    _check_samples(context, asked)
    return asked.model_dump(mode="json")


def checked_forecast(context: Context, key: ApiKey, asked: ForecastQuestion) -> dict[str, Any]:
    """Check a request for a forecast and return it as the document for the worker.

    The API key must be allowed to see the audit and the calibration that the request names.
    """
    for kind, id in (("audit", asked.audit), ("calibration", asked.risk_model)):
        if id is not None:
            _check_finished(context, key, kind, id)
    plan_named(**{name: getattr(asked, name) for name in PLAN_FIELDS})
    policy_of(asked.policy)
    _check_samples(context, asked)
    return asked.model_dump(mode="json")


def submit_reference(context: Context, key: ApiKey, asked: ReferenceRequest, *, idempotency: str | None) -> Job:
    """Create a job that builds a reference, unless a reference of this name exists or is being built."""
    assert isinstance(asked.real, list)
    for given in [*asked.real, *asked.synthetic]:
        assert not isinstance(given, str)
        context.roots.check(given.source)
    for spec in filter(None, (asked.encoder, asked.semantic_encoder)):
        check_encoder(context.roots, spec)
    for family in asked.simulate:
        check_family(family)
    request = asked.model_dump(mode="json")
    folder = reference_folder(asked.name, context.home)

    def check(connection: Connection) -> None:
        if folder.exists() or reference_is_pending(connection, asked.name):
            raise ProblemError(409, f"a reference called {asked.name!r} exists: delete it or choose another name")

    return submit(context, key, "reference", request, idempotency=idempotency, check=check)


def submit_loop(context: Context, key: ApiKey, asked: LoopRequest | SweepRequest, *, idempotency: str | None) -> Job:
    """Create a job for a loop or a sweep that uses only shipped families, and built-in data or allowed sources."""
    if isinstance(asked, LoopRequest):
        kind: Kind = "loop"
        check_loop(context.roots, asked.config)
        config_from(asked.config)
    else:
        kind = "sweep"
        check_sweep(context.roots, asked.sweep)
    return submit(context, key, kind, asked.model_dump(mode="json"), idempotency=idempotency)


def submit_calibration(context: Context, key: ApiKey, asked: CalibrationRequest, *, idempotency: str | None) -> Job:
    """Create a job that fits a risk model to finished sweeps."""
    for id in asked.sweeps:
        _check_finished(context, key, "sweep", id)
    return submit(context, key, "calibration", asked.model_dump(mode="json"), idempotency=idempotency)


def _check_finished(context: Context, key: ApiKey, kind: str, id: str) -> None:
    job = context.queue.get(id)
    if job is None or job.kind != kind or not key.sees_jobs_of(job.owner):
        raise ProblemError(404, f"no {kind} has the id {id}: look up the id in the list of jobs")
    if job.state != "succeeded":
        raise ProblemError(
            409, f"the {kind} {id} is {job.state}, expected succeeded: wait for it, or run another {kind}"
        )


def _check_samples(context: Context, asked: AuditRequest | ForecastQuestion) -> None:
    for source in filter(None, (asked.model_samples, asked.pilot)):
        context.roots.check(source)
    if asked.simulate_forecast is not None:
        check_family(asked.simulate_forecast)
