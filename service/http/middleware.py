"""Middleware that adds security headers to every response and records every request in metrics and logs."""

import logging
import re
import time
from datetime import datetime
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.context import Context
from service.http.problems import MEDIA, TOO_LARGE, problem
from service.storage.database import now
from service.storage.request_log import enter_request

__all__ = ["RequestMiddleware"]

_READS = ("GET", "HEAD", "OPTIONS")
_LOOPBACK = ("localhost", "127.0.0.1", "::1", "testserver")
_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",  # without one, browsers send forms with the origin null
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'self'; "
        "base-uri 'none'; form-action 'self'"
    ),
    "Cache-Control": "no-store",
}
_TOO_LARGE = problem(413, TOO_LARGE)
_log = logging.getLogger("service.requests")


class RequestMiddleware:
    """The outermost ASGI middleware of the service."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context: Context = scope["app"].state.context
        scope.setdefault("state", {})
        began, came, status = time.perf_counter(), now(), 500

        is_replaced = False

        async def sending(message: Message) -> None:
            nonlocal status, is_replaced
            if is_replaced:
                return
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                if status == 413 and headers.get("content-type") != MEDIA:  # by the limit of bodies, in plain text
                    await _TOO_LARGE(scope, receive, sending)
                    is_replaced = True
                    return
                for name, value in _SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            if refused := _refused(scope, context):
                await problem(403, refused)(scope, receive, sending)
            else:
                await self._app(scope, receive, sending)
        finally:
            await _written_down(context, scope, status, time.perf_counter() - began, came)


def _refused(scope: Scope, context: Context) -> str | None:
    """Why a request is refused (another site sent it, or authentication is off and the host not local), or None."""
    headers = Headers(scope=scope)
    host, origin = headers.get("host", ""), headers.get("origin")
    if not context.settings.auth and not _is_loopback(host):
        return "without authentication, only requests to a loopback address are answered: set MADAUDIT_AUTH=on"
    if scope["method"] not in _READS and origin is not None and origin.partition("://")[2] != host:
        return "this request comes from another site"
    return None


def _is_loopback(host: str) -> bool:
    """Whether a Host header, with or without a port, names a loopback address of this machine."""
    found = re.fullmatch(r"(\[[^]]*\]|[^:]*)(?::\d*)?", host.lower())
    return found is not None and found[1].strip("[]") in _LOOPBACK


async def _written_down(context: Context, scope: Scope, status: int, seconds: float, came: datetime) -> None:
    route = getattr(scope.get("route"), "path", "none")
    method = scope["method"] if scope["method"] in (*_READS, "POST", "PUT", "PATCH", "DELETE") else "OTHER"
    context.metrics.observe(method, route, status, seconds)
    key = scope["state"].get("key")
    client = scope.get("client")
    fields: dict[str, Any] = {
        "method": scope["method"], "path": scope["path"], "status": status, "seconds": round(seconds, 4),
        "key": key and key.id, "remote": client and client[0],
    }  # fmt: skip
    _log.info("answered", extra=fields)
    if scope["method"] not in _READS and key is not None:
        fields["path"] = fields["path"][:500]
        row = [fields[name] for name in ("key", "method", "path", "status", "remote")]
        await run_in_threadpool(enter_request, context.database, came, row)
