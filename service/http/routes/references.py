"""Routes for references: build (as a job), list, show and delete."""

import shutil
from typing import Annotated

from fastapi import APIRouter, Path, Response

from service.http.auth import Reader, Writer
from service.http.paging import Cursor, Limit, read_cursor, write_cursor
from service.http.problems import ProblemError, responses
from service.http.routes.jobs import IdempotencyKey, Service, accepted
from service.http.schemas import JobView, ReferencePage, ReferenceRequest, ReferenceView
from service.http.submissions import submit_reference
from service.references.shelf import UnknownReferenceError, find_reference

__all__ = ["router"]

_Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
router = APIRouter(prefix="/v1/references", tags=["references"])


@router.post("", status_code=202, responses=responses(401, 403, 409, 413, 422, 429))
def build_reference(
    asked: ReferenceRequest, response: Response, context: Service, key: Writer, idempotency: IdempotencyKey = None
) -> JobView:
    """Build a reference from data you trust and examples of known generators."""
    job = submit_reference(context, key, asked, idempotency=idempotency)
    return JobView.model_validate(accepted(job, response, context))


@router.get("", responses=responses(401, 403, 422))
def list_references(context: Service, key: Reader, limit: Limit = 50, cursor: Cursor = None) -> ReferencePage:
    """All references, sorted by name; every API key may see all references."""
    after = "" if cursor is None else read_cursor(cursor, (str,))[0]
    found = [ReferenceView.model_validate(r) for r in context.ledger.references() if r["name"] > after]
    more = len(found) > limit
    return ReferencePage(items=found[:limit], next_cursor=write_cursor(found[limit - 1].name) if more else None)


@router.get("/{name}", responses=responses(401, 403, 404, 422))
def get_reference(name: _Name, context: Service, key: Reader) -> ReferenceView:
    """One reference."""
    for found in context.ledger.references():
        if found["name"] == name:
            return ReferenceView.model_validate(found)
    raise UnknownReferenceError(name, context.home)


@router.delete("/{name}", status_code=204, responses=responses(401, 403, 404, 409, 422))
def delete_reference(name: _Name, context: Service, key: Writer) -> None:
    """Delete a reference; this needs an admin key or the key that started the build."""
    folder = find_reference(name, context.home)
    if not key.may("admin") and key.id != context.ledger.owner_of(name):
        raise ProblemError(
            403, f"the reference {name!r} was not built with this key: ask an administrator to delete it"
        )
    if any(job.request["reference"] == name for job in context.queue.pending("audit")):
        raise ProblemError(409, f"an audit against {name!r} is queued or running: cancel it first")
    context.ledger.forget_reference(name)
    shutil.rmtree(folder)
