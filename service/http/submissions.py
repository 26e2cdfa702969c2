"""From a request to a job: everything that can be refused is refused before it waits in the queue."""

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
    """The job of a request: a new one, or the one that its idempotency key made before.

    `check` may refuse a new one.
    """
    return context.queue.submit(kind, request, owner=key.id, id=id, key=idempotency, same=same, check=check)[0]


def submit_audit(context: Context, key: ApiKey, asked: AuditRequest, *, idempotency: str | None) -> Job:
    """An audit of a source that lies under an allowed root."""
    context.roots.check(asked.source)
    return submit(context, key, "audit", checked_audit(context, asked), idempotency=idempotency)


def checked_audit(context: Context, asked: AuditRequest) -> dict[str, Any]:
    """The request for an audit, checked, as the document that a worker takes.

    The caller must have checked the source.
    """
    find_reference(asked.reference, context.home)
    policy_of(asked.policy)
    plan_named(**{name: getattr(asked, name) for name in PLAN_FIELDS})
    _check_samples(context, asked)
    return asked.model_dump(mode="json")


def checked_forecast(context: Context, key: ApiKey, asked: ForecastQuestion) -> dict[str, Any]:
    """The request for a forecast, checked, as the document that a worker takes.

    The key must see the audit and the calibration that it names.
    """
    for kind, id in (("audit", asked.audit), ("calibration", asked.risk_model)):
        if id is not None:
            _check_finished(context, key, kind, id)
    plan_named(**{name: getattr(asked, name) for name in PLAN_FIELDS})
    policy_of(asked.policy)
    _check_samples(context, asked)
    return asked.model_dump(mode="json")


def submit_reference(context: Context, key: ApiKey, asked: ReferenceRequest, *, idempotency: str | None) -> Job:
    """A reference to build, unless one of that name is built or being built."""
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
    """A loop or a sweep of loops, of families that ship and of data that are named or lie under an allowed root."""
    if isinstance(asked, LoopRequest):
        kind: Kind = "loop"
        check_loop(context.roots, asked.config)
        config_from(asked.config)
    else:
        kind = "sweep"
        check_sweep(context.roots, asked.sweep)
    return submit(context, key, kind, asked.model_dump(mode="json"), idempotency=idempotency)


def submit_calibration(context: Context, key: ApiKey, asked: CalibrationRequest, *, idempotency: str | None) -> Job:
    """A risk model to fit to finished sweeps."""
    for id in asked.sweeps:
        _check_finished(context, key, "sweep", id)
    return submit(context, key, "calibration", asked.model_dump(mode="json"), idempotency=idempotency)


def _check_finished(context: Context, key: ApiKey, kind: str, id: str) -> None:
    job = context.queue.get(id)
    if job is None or job.kind != kind or not key.sees_jobs_of(job.owner):
        raise ProblemError(404, f"no {kind} has the id {id}: see those in the list")
    if job.state != "succeeded":
        raise ProblemError(409, f"the {kind} {id} is {job.state}, expected succeeded: wait for it, or run another")


def _check_samples(context: Context, asked: AuditRequest | ForecastQuestion) -> None:
    for source in filter(None, (asked.model_samples, asked.pilot)):
        context.roots.check(source)
    if asked.simulate_forecast is not None:
        check_family(asked.simulate_forecast)
