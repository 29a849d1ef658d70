"""What an application serves with: the library, its own settings, and the services of access.

It makes none of them: ``facesearch.api.server`` does, and tests hand in their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection

if TYPE_CHECKING:
    from facesearch.api.health import Health
    from facesearch.api.metrics import Metrics
    from facesearch.api.work import WorkPool
    from facesearch.embedding.library import ModelLibrary
    from facesearch.server_settings import ServerSettings
    from facesearch.service.api_keys import ApiKeys
    from facesearch.service.audit import AuditLog
    from facesearch.service.embedder_watch import EmbedderWatch
    from facesearch.service.facade import FaceSearchService
    from facesearch.service.idempotency import IdempotencyKeys
    from facesearch.service.job_records import JobRecords
    from facesearch.service.rate_limits import RateLimits


@dataclass(frozen=True, slots=True, eq=False)
class ServerContext:
    """Everything that routes use; one a process.

    Attributes:
        faces: The library.
        models: The embedders that are installed.
        settings: The service's own settings.
        keys: API keys.
        rates: Their limits.
        idempotency: Answers to writes that may be asked for again.
        audit: The log of decisions and changes.
        jobs: Bulk work.
        pool: Threads for everything that runs networks or searches.
        metrics: Counters for ``/metrics``.
        health: Says whether the service can answer; None where nobody needs to ask.
        watch: Loads the embedders that collections are moved to; None where none is.
    """

    faces: FaceSearchService
    models: ModelLibrary
    settings: ServerSettings
    keys: ApiKeys
    rates: RateLimits
    idempotency: IdempotencyKeys
    audit: AuditLog
    jobs: JobRecords
    pool: WorkPool
    metrics: Metrics
    health: Health | None = None
    watch: EmbedderWatch | None = None


def context_of(connection: HTTPConnection) -> ServerContext:
    """Return the context of the application that a request came to."""
    found: ServerContext = connection.app.state.context
    return found
