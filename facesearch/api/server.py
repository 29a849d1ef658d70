"""What one process of the service starts with: settings of the environment → context → application.

``facesearch serve`` names these functions to uvicorn. Networks are loaded behind the listening socket, so that the process answers
at once and the first face waits a moment at most.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE

from facesearch.api.app import create_app
from facesearch.api.bulk import close_bulk
from facesearch.api.context import ServerContext
from facesearch.api.health import Health
from facesearch.api.logs import set_up_logging
from facesearch.api.metrics import Metrics, forget_dead_processes
from facesearch.api.observed import Observed
from facesearch.api.repeats import finish_under_way
from facesearch.api.work import WorkPool
from facesearch.core.errors import FaceSearchError
from facesearch.server_parts import ServerParts
from facesearch.server_settings import ServerSettings
from facesearch.service.api_keys import ApiKeys
from facesearch.service.audit import AuditLog
from facesearch.service.free_memory import keep_heap_small
from facesearch.service.idempotency import IdempotencyKeys
from facesearch.service.job_records import JobRecords
from facesearch.service.rate_limits import RateLimits
from facesearch.settings import Settings
from facesearch.version import __version__

PARENT_LOOK_S = 1.0
"""How often a worker looks whether the process that started it is still there, in seconds."""

_log = logging.getLogger("facesearch")


def app_from_environment() -> ASGIApp:
    """Return the application of the settings in the environment and the settings file.

    Raises:
        FaceSearchError: A setting is wrong, the database cannot be used, or the audit log's files cannot.
    """
    keep_heap_small()
    settings, server = Settings(), ServerSettings()
    set_up_logging(server.log_format, server.log_level)
    metrics = Metrics(version=__version__)
    parts = ServerParts(settings, server, on_batch=metrics.batch)
    metrics.runs(parts.embedder_id)
    context = make_context(parts, metrics)
    app = create_app(context)
    app.router.lifespan_context = _lifespan
    return Observed(app, metrics=metrics)


def app_of_worker() -> ASGIApp:
    """Return the application for one of several processes, which ends with the process that started it.

    What is wrong is logged, and ends the whole service: it would be as wrong in a process started anew.
    """
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True, name="facesearch-parent").start()
    try:
        forget_dead_processes()
        return app_from_environment()
    except FaceSearchError as exc:
        set_up_logging("text", "info")
        _log.error("%s", exc.message)
        sys.exit(STARTUP_FAILURE)


def make_context(parts: ServerParts, metrics: Metrics) -> ServerContext:
    """Return what an application serves with, from the objects of some settings."""
    server, store = parts.server, parts.store
    faces = parts.faces
    return ServerContext(
        faces=faces,
        models=parts.models,
        settings=server,
        keys=ApiKeys(store),
        rates=RateLimits(store),
        idempotency=IdempotencyKeys(store),
        audit=AuditLog(store, server.audit_key(parts.settings), server.audit_head(parts.settings)),
        jobs=JobRecords(store),
        pool=WorkPool(server.resolved_threads, server.queue_limit, on_refused=metrics.refused, on_timed_out=metrics.timed_out),
        metrics=metrics,
        health=Health(parts.warm_up, store, faces),
        watch=parts.watch,
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load networks and indexes behind the socket; at the end let work finish and save the indexes."""
    context: ServerContext = app.state.context
    warming = threading.Thread(target=_warmed, args=(context.health,), daemon=True, name="facesearch-warm-up")
    warming.start()
    if context.watch is not None:
        context.watch.start()
    try:
        yield
    finally:
        if context.watch is not None:
            await run_in_threadpool(context.watch.close)
        await run_in_threadpool(close_bulk, app)
        await run_in_threadpool(context.pool.close)
        await finish_under_way(app)
        await run_in_threadpool(_save, context)


def _warmed(health: Health | None) -> None:
    if health is not None:
        begun = time.perf_counter()
        health.warm_up()
        # What is there now stays: the collector need not look through it again and again while requests wait.
        gc.collect()
        gc.freeze()
        _log.info("warmed up in %.1f s", time.perf_counter() - begun)


def _save(context: ServerContext) -> None:
    try:
        context.faces.close()
    except FaceSearchError as exc:
        _log.error("the indexes could not be saved (%s); they are built from the database at the next start", exc.code)


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_LOOK_S)
    os.kill(os.getpid(), signal.SIGTERM)
