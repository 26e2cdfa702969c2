"""Checks of query parameters: every route refuses unknown and repeated parameters."""

from collections import Counter

from fastapi import Request, params
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute

from service.http.problems import ProblemError

__all__ = ["check_query"]

_NAMED = 5  # parameters that a message names
_LENGTH = 60  # characters of a name that a message shows


def check_query(request: Request) -> None:
    """Raise ProblemError 422 if a query parameter is unknown to the route or repeated.

    Routes without authentication use this function as a dependency. Routes with authentication call this function after
    the API key is checked.
    """
    if not request.query_params:
        return
    given = Counter(name for name, _ in request.query_params.multi_items())
    known = _declared(request.scope["route"])
    if unknown := [name for name in given if name not in known]:
        expected = f"this route accepts {', '.join(known)}" if known else "this route accepts none"
        raise ProblemError(422, f"unknown query parameter {_listed(unknown)}: {expected}")
    if repeated := [name for name, count in given.items() if count > 1]:
        raise ProblemError(422, f"the query parameter {_listed(repeated)} is given more than once: give it once")


def _declared(route: APIRoute) -> tuple[str, ...]:
    """Names of all query parameters that a route or its dependencies declare."""
    found = {p.alias for p in get_flat_params(route.dependant) if isinstance(p.field_info, params.Query)}
    return tuple(sorted(found))


def _listed(names: list[str]) -> str:
    shown = [repr(name[:_LENGTH]) for name in names[:_NAMED]]
    return ", ".join(shown) + (", …" if len(names) > _NAMED else "")
