"""The dashboard: server-rendered pages that work with a keyboard, on a phone, offline and without JavaScript."""

from functools import lru_cache
from typing import Annotated, Any
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from pydantic import ValidationError

from auditor.workflows import WORKFLOWS
from indexes.errors import AuditError
from service.http.auth import COOKIE, Sessions, caller, seen
from service.http.context import Context
from service.http.paging import Cursor, instant_and_id, write_cursor
from service.http.parameters import check_query
from service.http.problems import ProblemError
from service.http.responses import job_view
from service.http.routes.jobs import JobId, Service, ended
from service.http.schemas import AuditRequest
from service.http.submissions import submit_audit
from service.storage.api_keys import ApiKey
from service.storage.job_queue import Job

__all__ = ["LoginNeeded", "lead_to_login", "router"]

_PAGE = 50  # audits
_TREND = 60  # audits of a source that a figure can show
router = APIRouter(include_in_schema=False)


@lru_cache
def _templates() -> Environment:
    found = Environment(
        loader=PackageLoader("service.http"), autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    found.filters["percent"] = lambda value: "–" if value is None else f"{100 * value:.1f} %"
    found.filters["moment"] = lambda value: "–" if value is None else f"{value:%Y-%m-%d %H:%M}"
    found.filters["quote"] = lambda text: quote(text, safe="")
    return found


def _page(name: str, *, status: int = 200, key: ApiKey | None = None, **known: Any) -> HTMLResponse:
    return HTMLResponse(_templates().get_template(name).render(key=key, **known), status)


class LoginNeeded(Exception):
    """The browser has no session and must log in."""


def _viewer(request: Request) -> ApiKey:
    found = caller(request)
    if found is None or not found.may("read"):
        raise LoginNeeded
    check_query(request)
    return found


def lead_to_login(request: Request, error: Exception) -> Response:
    """Redirect a browser without a session to the login page."""
    return RedirectResponse("/login", 303)


async def _form(request: Request) -> dict[str, str]:
    """The fields of a submitted form; a repeated field keeps its last value."""
    body = (await request.body()).decode("utf-8", "replace")
    try:
        return {name: values[-1] for name, values in parse_qs(body, max_num_fields=50).items()}
    except ValueError:
        raise ProblemError(422, "the form has too many fields") from None


_Viewer = Annotated[ApiKey, Depends(_viewer)]
_Form = Annotated[dict[str, str], Depends(_form)]


@router.get("/login", dependencies=[Depends(check_query)])
def show_login() -> HTMLResponse:
    """The login page, which asks for an API key."""
    return _page("login.html", problem=None)


@router.post("/login", dependencies=[Depends(check_query)])
def login(request: Request, context: Service, form: _Form) -> Response:
    """Start a browser session with an API key."""
    token = form.get("key", "").strip()
    if context.keys.find(token) is None:
        return _page("login.html", status=401, problem="This API key is not valid.")
    sessions: Sessions = request.app.state.sessions
    response = RedirectResponse("/", 303)
    secure = context.settings.secure_cookies
    response.set_cookie(COOKIE, sessions.begin(token), httponly=True, samesite="strict", secure=secure)
    return response


@router.post("/logout", dependencies=[Depends(check_query)])
def logout(request: Request) -> Response:
    """End the session."""
    sessions: Sessions = request.app.state.sessions
    sessions.end(request.cookies.get(COOKIE, ""))
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE)
    return response


@router.get("/")
def show_audits(context: Service, key: _Viewer, cursor: Cursor = None) -> HTMLResponse:
    """The audits, newest first, with their verdicts."""
    page = context.queue.page(kinds=("audit",), limit=_PAGE, owners=key.owners, after=instant_and_id(cursor))
    ids = [job.id for job in page.jobs]
    shown = context.ledger.history(context.home.jobs, owners=key.owners, ids=ids)
    found = {row["job"]: row for row in shown}
    after = None if page.after is None else write_cursor(*page.after)
    rows = [(job, found.get(job.id), _source(job)) for job in page.jobs]
    return _page("audits.html", key=key, rows=rows, after=after, running=any(not job.is_finished for job in page.jobs))


@router.get("/audits/{id}")
def show_audit(id: JobId, context: Service, key: _Viewer) -> HTMLResponse:
    """One audit: its progress while it runs, then its report."""
    job = seen(context.queue.get(id), key, ("audit",))
    view = job_view(job, context, with_result=False)
    return _page("audit.html", key=key, job=job, view=view, source=_source(job))


@router.post("/audits/{id}/cancel")
def cancel(id: JobId, context: Service, key: _Viewer) -> Response:
    """End an audit."""
    _check_may_write(key)
    ended(context, seen(context.queue.get(id), key, ("audit",)))
    return RedirectResponse(f"/audits/{id}", 303)


@router.get("/references")
def show_references(context: Service, key: _Viewer) -> HTMLResponse:
    """The references."""
    pending = [job for job in context.queue.pending("reference") if key.sees_jobs_of(job.owner)]
    return _page("references.html", key=key, references=context.ledger.references(), pending=pending)


@router.get("/trends")
def show_trends(context: Service, key: _Viewer, source: str | None = None) -> HTMLResponse:
    """The results of all audits of one source over time."""
    from service.reports.figures import trend_figure

    jobs = context.home.jobs
    sources = context.ledger.sources(jobs, owners=key.owners)
    rows = [] if source is None else context.ledger.history(jobs, owners=key.owners, source=source)
    figure = trend_figure(rows[-_TREND:]) if rows else None
    return _page("trends.html", key=key, sources=sources, source=source, rows=rows[::-1], figure=figure)


@router.get("/new")
def show_form(context: Service, key: _Viewer, source: str = "", reference: str = "") -> HTMLResponse:
    """The form for starting an audit."""
    return _form_page(context, key, {"source": source, "reference": reference}, None)


@router.post("/new")
def start(context: Service, key: _Viewer, given: _Form) -> Response:
    """Start an audit, or show the form again with an error message."""
    _check_may_write(key)
    fields: dict[str, Any] = {name: value for name, value in given.items() if value}
    try:
        job = submit_audit(context, key, AuditRequest.model_validate(fields), idempotency=None)
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        return _form_page(context, key, given, said, status=422)
    except (AuditError, ProblemError) as error:
        return _form_page(context, key, given, str(error), status=422)
    return RedirectResponse(f"/audits/{job.id}", 303)


@router.get("/docs", dependencies=[Depends(check_query)])
def show_docs(request: Request) -> HTMLResponse:
    """The API documentation, generated from the OpenAPI document."""
    document = request.app.openapi()
    routes = [
        (method.upper(), path, route)
        for path, methods in document["paths"].items()
        for method, route in methods.items()
    ]
    return _page("docs.html", routes=routes, schemas=document["components"]["schemas"])


def _form_page(
    context: Context, key: ApiKey, given: dict[str, str], problem: str | None, *, status: int = 200
) -> HTMLResponse:
    names = [reference["name"] for reference in context.ledger.references()]
    return _page(
        "new.html", status=status, key=key, given=given, problem=problem, references=names, workflows=WORKFLOWS,
        roots=[*context.roots.folders, *context.roots.urls],
    )  # fmt: skip


def _check_may_write(key: ApiKey) -> None:
    if not key.may("write"):
        raise ProblemError(403, f"the key {key.name!r} lacks the scope write: use another key")


def _source(job: Job) -> str:
    return str(job.request["name" if job.request.get("upload") else "source"])
