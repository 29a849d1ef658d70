"""Every request in the log and in the counts: route, status, time, key. Neither addresses asked for nor bodies are looked at."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facesearch.api.logs import REQUEST_LOGGER
from facesearch.api.metrics import Metrics

CLIENT_GONE = 499
"""Status that is logged where the client went away before an answer began."""

UNKNOWN_ROUTE = "(none)"
"""The route of an address that there is none for: the address itself may be anything."""

_QUIET_ROUTES = frozenset({"/healthz", "/readyz", "/metrics"})
_log = logging.getLogger(REQUEST_LOGGER)


class Observed:
    """ASGI middleware: logs and counts requests.

    Reads ``request_id`` and ``key_id`` of ``scope["state"]`` where others set them.

    Args:
        app: What answers.
        metrics: Where to count.
        clock: Seconds that only grow.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, clock: Callable[[], float] = time.perf_counter) -> None:
        self._app = app
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = self._clock()
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._metrics.request_begun()
        try:
            await self._app(scope, receive, noting)
        except Exception:
            status = status or 500
            raise
        finally:
            self._note(scope, status or CLIENT_GONE, self._clock() - begun)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", UNKNOWN_ROUTE)
        self._metrics.request_ended(scope["method"], route, status, seconds)
        level = logging.DEBUG if route in _QUIET_ROUTES and status < 500 else logging.INFO
        if not _log.isEnabledFor(level):
            return
        state = scope.get("state") or {}
        fields = {
            "request_id": state.get("request_id"),
            "method": scope["method"],
            "route": route,
            "status": status,
            "ms": round(1000 * seconds, 1),
            "key_id": state.get("key_id"),
        }
        _log.log(level, "request", extra={"fields": fields})
