"""The application: routes, middleware and problem bodies put together around a context.

It opens nothing: see ``facesearch.api.server`` for what a process starts with.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Match, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from facesearch.api.context import ServerContext
from facesearch.api.openapi import describe
from facesearch.api.problems import add_problem_handlers
from facesearch.api.repeats import HEADER as IDEMPOTENCY_KEY
from facesearch.api.repeats import REPLAYED
from facesearch.api.requests import API, REQUEST_ID, EveryRequest, LimitedBodies
from facesearch.version import __version__

ROUTES = (
    *("keys", "collections", "people", "enroll", "verify", "identify", "detect", "feedback", "models", "audit"),
    *("jobs", "exchange", "deepface", "compreface"),
    "ops",
)
"""Modules of ``facesearch.api.routes``, each with a ``router``, in the order of the OpenAPI document."""

OPENAPI_PATH = "/v1/openapi.json"
WEB = Path(__file__).resolve().parents[1] / "web"
"""The page; served at ``/`` where it is there."""


def routers() -> tuple[APIRouter, ...]:
    """Return the routers of the service in order."""
    return tuple(import_module(f"facesearch.api.routes.{name}").router for name in ROUTES)


def create_app(context: ServerContext) -> FastAPI:
    """Return an application that serves with a context."""
    settings = context.settings
    app = FastAPI(
        title="facesearch",
        version=__version__,
        openapi_url=OPENAPI_PATH,
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        middleware=[
            Middleware(EveryRequest),
            *_cors(settings.cors_origins),
            Middleware(
                LimitedBodies,
                max_bytes=settings.max_body_bytes,
                memory_bytes=settings.body_memory_bytes,
                timeout_s=settings.body_timeout_s,
            ),
        ],
    )
    app.state.context = context
    add_problem_handlers(app)
    for router in routers():
        app.include_router(router)
    describe(app, routers())
    if (WEB / "index.html").is_file():
        app.router.routes.append(_Page("/", StaticFiles(directory=WEB, html=True), name="web"))
    return app


class _Page(Mount):
    """The page, at every address that is not the service's: there, a wrong method is told as one, with those that are right."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether an address is the page's."""
        if scope["path"].startswith(API):
            return Match.NONE, {}
        return super().matches(scope)


def _cors(origins: tuple[str, ...]) -> list[Middleware]:
    """Return what lets pages of other origins in; nothing where none is named."""
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "If-Match", "If-None-Match", IDEMPOTENCY_KEY, REQUEST_ID],
            expose_headers=["ETag", "Location", "Retry-After", REPLAYED, REQUEST_ID],
            max_age=600,
        )
    ]
