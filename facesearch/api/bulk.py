"""The one worker of bulk jobs that an application has.

It works nothing off itself: see ``facesearch.service.bulk_enroll``.
"""

from __future__ import annotations

import threading

from fastapi import FastAPI

from facesearch.api.context import ServerContext
from facesearch.service.bulk_enroll import BulkEnroll

_LOCK = threading.Lock()


def bulk_of(app: FastAPI) -> BulkEnroll:
    """Return the worker of an application, made by the first request that needs it."""
    with _LOCK:
        found = getattr(app.state, "bulk", None)
        if isinstance(found, BulkEnroll):
            return found
        context: ServerContext = app.state.context
        settings = context.settings
        made = BulkEnroll(
            context.faces,
            context.jobs,
            context.audit.append_many,
            max_bytes=settings.job_memory_bytes,
            max_items=settings.job_max_items,
        )
        app.state.bulk = made
        return made


def close_bulk(app: FastAPI) -> None:
    """Finish what is in work and give up the rest; its photographs are missing then, and may be sent to another process."""
    with _LOCK:
        found = getattr(app.state, "bulk", None)
        app.state.bulk = None
    if isinstance(found, BulkEnroll):
        found.close()
