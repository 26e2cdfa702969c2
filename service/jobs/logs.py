"""Structured logs on standard error: one JSON document per line, with the id of the job."""

import contextvars
import json
import logging
import sys
from datetime import UTC, datetime

__all__ = ["configure_logging", "job_id"]

job_id: contextvars.ContextVar[str | None] = contextvars.ContextVar("job_id", default=None)
_OWN = set(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime", "taskName", "color_message"}


class _JsonLines(logging.Formatter):
    """Formats a log record as JSON: time, level, logger, message, job id, and the fields given as `extra`."""

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
    """Send the log records of this process at or above `level` to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
