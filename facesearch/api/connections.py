"""Connections that are slow to send a request's head, send too large a one, or take no answer: closed, where uvicorn would wait.

A body that somebody asks for is limited by ``facesearch.api.requests``; one that nobody wants any more, since the answer is sent
already, has as long as the next head.
"""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_TIMEOUT_S = 10.0
"""Longest that a new connection may take to send a request's head, and one that was answered the next, in seconds."""

STALLED_S = 60.0
"""Longest that an answer may wait for a client that takes nothing of it, in seconds."""

HEAD_BYTES = 64 * 1024
"""Largest head of a request."""


class TimedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits on the time and the size of a request's head, and on the time an answer is not taken."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._head_timer: TimerHandle | None = None
        self._stalled_timer: TimerHandle | None = None
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._head_is_there()
        self._answer_is_taken()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of a head."""
        super().on_message_begin()
        self._head_bytes = 0
        if self._head_timer is None:
            self._await_head()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the address."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Wait no more and answer."""
        self._head_is_there()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Begin to wait for the next head: uvicorn's own limit begins anew with every byte of a body that nobody reads."""
        is_last = not self.pipeline
        super().on_response_complete()
        if is_last and self._head_timer is None and not self.transport.is_closing():
            self._await_head()

    def pause_writing(self) -> None:
        """Begin to wait for a client that takes nothing."""
        super().pause_writing()
        if self._stalled_timer is None:
            self._stalled_timer = self.loop.call_later(STALLED_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Wait no more for it."""
        self._answer_is_taken()
        super().resume_writing()

    def _answer_is_taken(self) -> None:
        if self._stalled_timer is not None:
            self._stalled_timer.cancel()
            self._stalled_timer = None

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def _head_is_there(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _count(self, n_bytes: int) -> None:
        self._head_bytes += n_bytes
        if self._head_bytes > HEAD_BYTES:  # the parser makes a 400 of it
            raise ValueError(f"the head of a request has more than {HEAD_BYTES} bytes")
