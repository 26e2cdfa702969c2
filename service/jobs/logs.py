"""Structured logs: a JSON document a line on standard error, with the job that it is about."""

import contextvars
import json
import logging
import sys
from datetime import UTC, datetime

__all__ = ["configure_logging", "job_id"]

job_id: contextvars.ContextVar[str | None] = contextvars.ContextVar("job_id", default=None)
_OWN = set(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime", "taskName", "color_message"}


class _JsonLines(logging.Formatter):
    """Time, level, logger, message, the job's id, and what else a record was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in record.__dict__.items() if name not in _OWN},
        }
        if (job := job_id.get()) is not None:
            fields.setdefault("job", job)
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


def configure_logging(level: str) -> None:
    """Send all that is logged in this process to standard error, from that level on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
