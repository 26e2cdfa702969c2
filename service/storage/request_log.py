"""The audit log: which key changed something, when and how it ended."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from service.storage.database import Transactions, now

__all__ = ["enter_request", "forget_requests"]


def enter_request(database: Transactions, came: datetime, fields: Sequence[Any]) -> None:
    """Enter a request: the id of its key, its method, its path, its status, and the caller's address."""
    with database.transaction() as connection:
        connection.execute("INSERT INTO audit_log VALUES (?, ?, ?, ?, ?, ?)", [came, *fields])


def forget_requests(database: Transactions, days: int) -> None:
    """Delete the entries that are older than so many days."""
    with database.transaction() as connection:
        connection.execute("DELETE FROM audit_log WHERE moment < ?", [now() - timedelta(days=days)])
