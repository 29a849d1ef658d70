"""The service's log: a line of JSON, or of text, an event on standard error.

Neither labels of people nor scores are in it at any level: what an unexpected error says is left out too, since it may quote them;
its kind and where it was raised are there.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Literal, TextIO

REQUEST_LOGGER = "facesearch.request"
"""Logger of the lines that are one request each; their fields are in the record's attribute ``fields``."""

_LOGGERS = ("facesearch", "uvicorn.error")


class JsonFormatter(logging.Formatter):
    """Formats an event as one line of JSON: time, level, logger, message or the fields of a request, error."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        line |= getattr(record, "fields", None) or {"message": record.getMessage()}
        line |= error_fields(record)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """Formats an event as one line of text."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = (getattr(record, "fields", None) or {}) | error_fields(record)
        said = "" if getattr(record, "fields", None) else f" {record.getMessage()}"
        return f"{record.levelname}:{said}" + "".join(f" {name}={value}" for name, value in fields.items())


def error_fields(record: logging.LogRecord) -> dict[str, object]:
    """Return the kind of a record's error and the places it went through, without what it says."""
    kind, error, trace = record.exc_info or (None, None, None)
    if kind is None or error is None:
        return {}
    places = [f"{place.filename}:{place.lineno} {place.name}" for place in traceback.extract_tb(trace)]
    return {"error": kind.__name__, "where": places}


def set_up_logging(form: Literal["json", "text"], level: str, stream: TextIO | None = None) -> None:
    """Send what this process logs to a stream, in place of whatever was set up before.

    Args:
        form: ``json`` or ``text``.
        level: ``debug``, ``info``, ``warning`` or ``error``.
        stream: Standard error where it is None.
    """
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level.upper())
        logger.propagate = False
