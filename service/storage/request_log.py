"""The audit log: which API key sent a changing request, when, and with which status."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from service.storage.database import Transactions, now

__all__ = ["enter_request", "forget_requests"]


def enter_request(database: Transactions, came: datetime, fields: Sequence[Any]) -> None:
    """Add a request to the audit log: key id, method, path, status and the caller's address."""
    with database.transaction() as connection:
        connection.execute("INSERT INTO audit_log VALUES (?, ?, ?, ?, ?, ?)", [came, *fields])


def forget_requests(database: Transactions, days: int) -> None:
    """Delete the entries of the audit log that are older than `days` days."""
    with database.transaction() as connection:
        connection.execute("DELETE FROM audit_log WHERE moment < ?", [now() - timedelta(days=days)])
