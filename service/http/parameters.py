"""Query parameters: a route refuses those it does not declare, and those that come more than once."""

from collections import Counter

from fastapi import Request, params
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute

from service.http.problems import ProblemError

__all__ = ["check_query"]

_NAMED = 5  # parameters that a message names
_LENGTH = 60  # characters of a name that a message shows


def check_query(request: Request) -> None:
    """Raise ProblemError 422 for a query parameter that the route does not know, or that is repeated.

    A dependency of routes that need no key; where one is needed, it is called once the key is known to be good.
    """
    if not request.query_params:
        return
    given = Counter(name for name, _ in request.query_params.multi_items())
    known = _declared(request.scope["route"])
    if unknown := [name for name in given if name not in known]:
        expected = f"it knows {', '.join(known)}" if known else "it knows none"
        raise ProblemError(422, f"this route has no query parameter {_listed(unknown)}: {expected}")
    if repeated := [name for name, count in given.items() if count > 1]:
        raise ProblemError(422, f"the query parameter {_listed(repeated)} is given more than once: give it once")


def _declared(route: APIRoute) -> tuple[str, ...]:
    """The names of a route's query parameters, also of those that its dependencies declare."""
    found = {p.alias for p in get_flat_params(route.dependant) if isinstance(p.field_info, params.Query)}
    return tuple(sorted(found))


def _listed(names: list[str]) -> str:
    shown = [repr(name[:_LENGTH]) for name in names[:_NAMED]]
    return ", ".join(shown) + (", …" if len(names) > _NAMED else "")
