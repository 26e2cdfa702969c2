"""The HTTP service as an ASGI application: its routes, startup and shutdown."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.staticfiles import StaticFiles

from service.http import dashboard, problems
from service.http.auth import Sessions
from service.http.context import Context
from service.http.middleware import RequestMiddleware
from service.http.routes import audits, health, jobs, keys, questions, references
from service.http.schemas import Problem

__all__ = ["create_app"]

_MAX_FIELDS = 256 * 2**10  # bytes of a request body with a few fields
_SUMMARY = "Audits a dataset before it is trained on: synthetic fraction, lost diversity, risk of model autophagy."


def create_app(context: Context) -> FastAPI:
    """Create the application for an opened home folder; the job workers start and stop with the application."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        context.supervisor.start()
        yield
        context.supervisor.stop()
        context.database.close()

    app = FastAPI(
        title="madaudit", summary=_SUMMARY, version=version("madaudit"), lifespan=lifespan, docs_url=None,
        redoc_url=None, responses=problems.responses(403, 413, 422, 500),
    )  # fmt: skip
    app.state.context, app.state.sessions = context, Sessions()
    app.add_middleware(RequestMiddleware)
    problems.install(app)
    app.include_router(audits.upload_router, max_body_size=context.settings.max_upload)
    for routes in (questions, jobs):  # vectors, images and sweeps
        app.include_router(routes.router, max_body_size=context.settings.max_body)
    for routes in (audits, references, keys, health, dashboard):
        app.include_router(routes.router, max_body_size=min(_MAX_FIELDS, context.settings.max_body))
    app.add_exception_handler(dashboard.LoginNeeded, dashboard.lead_to_login)
    app.mount("/static", StaticFiles(packages=[("service.http", "static")]), name="static")
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]  # as FastAPI's documentation has it
    return app


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, in which all error responses have the type application/problem+json."""
    if app.openapi_schema is None:
        found = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        schemas = found.setdefault("components", {}).setdefault("schemas", {})
        schemas[Problem.__name__] = Problem.model_json_schema()
        for operation in (operation for methods in found["paths"].values() for operation in methods.values()):
            if "requestBody" in operation:
                operation["responses"] |= {str(status): told for status, told in problems.responses(400).items()}
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        app.openapi_schema = found
    return app.openapi_schema
