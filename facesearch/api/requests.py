"""What holds for every request, whatever it is for: an id, security headers, limits on its body, and an answer to every error.

Pure ASGI, so that nothing is buffered on the way; it knows no routes.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect

from facesearch.api.problems import problem_of, unexpected_problem
from facesearch.core.errors import BodyTooLargeError, FaceSearchError, InputError, OverloadedError, SlowBodyError

logger = logging.getLogger("facesearch.api")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

REQUEST_ID = "X-Request-ID"
_GIVEN_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""What the page may load: nothing from anywhere else, no script or style written into the page itself."""

SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
"""Added to every answer that does not have its own."""

API = ("/v1", "/api/", "/deepface", "/healthz", "/readyz", "/metrics")
"""What the addresses of the service begin with; all others are the page's."""


class EveryRequest:
    """Gives each request an id and each answer its headers, and turns whatever is raised past the routes into a problem body.

    Args:
        app: What answers.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _GIVEN_ID.fullmatch(given) else secrets.token_hex(16)
        scope.setdefault("state", {})["request_id"] = request_id
        is_api = scope["path"].startswith(API)
        has_begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                # Answers are about people: no cache keeps them. The page is kept, and asked after each time: an upgrade changes it.
                headers.setdefault("Cache-Control", "no-store" if is_api else "no-cache")
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            logger.info("request %s: the client went away", request_id)
        except FaceSearchError as exc:
            if has_begun:
                raise
            await problem_of(exc, request_id)(scope, receive, send_with_headers)
        except Exception:
            logger.exception("request %s ended in an unexpected error", request_id)
            if has_begun:
                raise
            await unexpected_problem(request_id)(scope, receive, send_with_headers)


class LimitedBodies:
    """Limits how large a body may be, how long it may take to arrive, and how much all of them may hold at once.

    Args:
        app: What answers.
        max_bytes: Largest body.
        memory_bytes: Bytes of all bodies being read or worked on.
        timeout_s: Longest a body may take to arrive, from when somebody asks for it.
    """

    def __init__(self, app: App, *, max_bytes: int, memory_bytes: int, timeout_s: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._memory_bytes = memory_bytes
        self._timeout_s = timeout_s
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = _declared_length(Headers(scope=scope))
        if declared is not None and declared > self._max_bytes:
            raise self._too_large(declared)
        body = _Body(self, receive, declared)
        try:
            await self._app(scope, body.receive, send)
        finally:
            self._held -= body.reserved

    def reserve(self, n_bytes: int) -> None:
        """Take memory for a body.

        Raises:
            OverloadedError: The bodies of all requests together are too large.
        """
        if self._held + n_bytes > self._memory_bytes:
            raise OverloadedError(
                f"the bodies of all requests would hold {self._held + n_bytes:,} bytes at once, the limit is "
                f"{self._memory_bytes:,}; ask again later",
                retry_after_s=1,
            )
        self._held += n_bytes

    def check(self, n_bytes: int) -> None:
        """Raise where a body has more bytes than one may have."""
        if n_bytes > self._max_bytes:
            raise self._too_large(n_bytes)

    @property
    def timeout_s(self) -> float:
        """Longest a body may take to arrive."""
        return self._timeout_s

    def _too_large(self, n_bytes: int) -> BodyTooLargeError:
        return BodyTooLargeError(
            f"the body has at least {n_bytes:,} bytes, the limit is {self._max_bytes:,}; send less at once",
            n_bytes=n_bytes,
            max_bytes=self._max_bytes,
        )


class _Body:
    """One request's body on its way in."""

    def __init__(self, limits: LimitedBodies, receive: Receive, declared: int | None) -> None:
        self._limits = limits
        self._receive = receive
        self._declared = declared or 0
        self._deadline: float | None = None
        self._n_read = 0
        self._is_complete = False
        self.reserved = 0

    async def receive(self) -> Message:
        """Return the next message, checked."""
        if self._is_complete:
            return await self._receive()
        now = asyncio.get_running_loop().time()
        if self._deadline is None:
            self._deadline = now + self._limits.timeout_s
            self._reserve(self._declared)
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError as exc:
            raise SlowBodyError(
                f"the body did not arrive within {self._limits.timeout_s:g} s ({self._n_read:,} bytes did)",
                timeout_s=self._limits.timeout_s,
            ) from exc
        if message["type"] == "http.request":
            self._n_read += len(message.get("body", b""))
            self._limits.check(self._n_read)
            self._reserve(self._n_read)
            self._is_complete = not message.get("more_body", False)
        return message

    def _reserve(self, n_bytes: int) -> None:
        if n_bytes > self.reserved:
            self._limits.reserve(n_bytes - self.reserved)
            self.reserved = n_bytes


def _declared_length(headers: Headers) -> int | None:
    text = headers.get("content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise InputError("the header Content-Length is no number of bytes")
    return int(text)
