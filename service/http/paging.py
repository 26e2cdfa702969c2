"""Pagination of lists with an opaque cursor, which marks the start of the next page."""

import base64
import binascii
import json
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query

from service.http.problems import ProblemError

__all__ = ["Cursor", "Limit", "instant_and_id", "read_cursor", "write_cursor"]

Limit = Annotated[int, Query(ge=1, le=200, description="Maximum number of entries on a page.")]
Cursor = Annotated[str | None, Query(max_length=500, description="The value of `next_cursor` from the previous page.")]


def write_cursor(*parts: Any) -> str:
    """Encode the position of a page's last entry as a cursor."""
    return base64.urlsafe_b64encode(json.dumps(parts, default=str).encode()).decode()


def read_cursor(cursor: str, kinds: tuple[type, ...]) -> list[Any]:
    """Decode the values in a cursor; raises ProblemError 422 if `write_cursor` did not make the cursor."""
    try:
        parts = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True).decode("ascii"))
    except (binascii.Error, ValueError, RecursionError):
        parts = None
    is_odd = isinstance(parts, list) and any(isinstance(part, str) and not part.isascii() for part in parts)
    if not isinstance(parts, list) or is_odd or [type(part) for part in parts] != list(kinds):
        raise ProblemError(422, "the cursor is not valid for this list: send next_cursor unchanged")
    return parts


def instant_and_id(cursor: str | None) -> tuple[datetime, str] | None:
    """Decode the creation time and the job id in a cursor; None without a cursor."""
    if cursor is None:
        return None
    moment, id = read_cursor(cursor, (str, str))
    try:
        return datetime.fromisoformat(moment).replace(tzinfo=None), id
    except ValueError:
        raise ProblemError(422, "the cursor is not valid for this list: send next_cursor unchanged") from None
