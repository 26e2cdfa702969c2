"""Authentication: the API key of a request or of a browser session, and the jobs that the key may see."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from service.http.context import context_of
from service.http.parameters import check_query
from service.http.problems import ProblemError
from service.storage.api_keys import ApiKey
from service.storage.job_queue import Job

__all__ = ["COOKIE", "Admin", "Reader", "Sessions", "Writer", "caller", "seen"]

COOKIE = "madaudit_session"
_SESSION_S = 12 * 3600
_LOCAL = ApiKey("local", "local", frozenset({"admin"}))  # everyone, where authentication is off
_bearer = HTTPBearer(
    auto_error=False, scheme_name="ApiKey", description="An API key, created with madaudit keys create."
)


@dataclass(frozen=True, slots=True)
class _Session:
    token: str = ""
    until: float = 0.0


class Sessions:
    """Browser sessions; a session ends after 12 hours, or when the service stops or the key is revoked."""

    def __init__(self) -> None:
        self._found: dict[str, _Session] = {}

    def begin(self, token: str) -> str:
        """Start a session for a token and return the id of the session."""
        now = time.monotonic()
        self._found = {name: session for name, session in self._found.items() if session.until > now}
        name = secrets.token_urlsafe(32)
        self._found[name] = _Session(token, now + _SESSION_S)
        return name

    def token(self, name: str) -> str:
        """The token of a session, or an empty string if the session is unknown or has expired."""
        session = self._found.get(name, _Session())
        return session.token if session.until > time.monotonic() else ""

    def end(self, name: str) -> None:
        """Forget a session."""
        self._found.pop(name, None)


def caller(request: Request) -> ApiKey | None:
    """The API key of a request, or None if no valid key was sent."""
    context = context_of(request)
    if not context.settings.auth:
        found: ApiKey | None = _LOCAL
    else:
        found = context.keys.find(_shown(request))
    request.state.key = found
    return found


def _shown(request: Request) -> str:
    """The token from the Authorization header or the browser session; an empty string if the header is invalid."""
    headers = request.headers.getlist("authorization")
    if headers:
        scheme, _, token = headers[0].partition(" ")
        return token if len(headers) == 1 and scheme.lower() == "bearer" else ""
    sessions: Sessions = request.app.state.sessions
    return sessions.token(request.cookies.get(COOKIE, ""))


def _scoped(scope: str) -> Callable[..., ApiKey]:
    def check(request: Request, bearer: Annotated[object, Security(_bearer)] = None) -> ApiKey:
        found = caller(request)
        if found is None:
            raise ProblemError(401, "no valid API key was sent: send the header Authorization: Bearer KEY", _CHALLENGE)
        if not found.may(scope):
            raise ProblemError(403, f"the key {found.name!r} lacks the scope {scope}: use another key")
        check_query(request)
        return found

    return check


_CHALLENGE = {"WWW-Authenticate": "Bearer"}
Reader = Annotated[ApiKey, Depends(_scoped("read"))]
Writer = Annotated[ApiKey, Depends(_scoped("write"))]
Admin = Annotated[ApiKey, Depends(_scoped("admin"))]


def seen(job: Job | None, key: ApiKey, kinds: tuple[str, ...]) -> Job:
    """The job, if its kind is in `kinds` and the key may see the job; otherwise a 404 error, even if the job exists."""
    if job is None or job.kind not in kinds or not key.sees_jobs_of(job.owner):
        raise ProblemError(404, f"{kinds[0] if len(kinds) == 1 else 'job'} not found: look up the id in the list")
    return job
