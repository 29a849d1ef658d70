"""The two ways of sending calls: one that waits, and one for ``asyncio``.

The calls are written by ``facesearch.api.generate_client``; see ``client`` and ``async_client``.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from facesearch.client.calls import Call, Retries, read_answer, wait_before_retry
from facesearch.client.errors import ConnectionFailedError
from facesearch.version import __version__

Answer = TypeVar("Answer")

DEFAULT_URL = "http://127.0.0.1:8000"
"""Where ``facesearch serve`` listens unless told otherwise."""

DEFAULT_TIMEOUT_S = 60.0
"""Seconds that a step of a call (connecting, sending, waiting for the answer) may take."""


def _options(url: str, api_key: str | None, timeout_s: float) -> dict[str, Any]:
    headers = {"User-Agent": f"facesearch-client/{__version__}", "Accept": "application/json, */*"}
    if api_key is not None:
        headers["Authorization"] = f"Bearer {api_key}"
    return {"base_url": url.rstrip("/") + "/", "headers": headers, "timeout": timeout_s}


class SyncSender:
    """Sends calls and waits. Thread-safe; a context manager.

    Args:
        url: Address of the service.
        api_key: The key, as ``facesearch keys create`` showed it; None where keys are off.
        timeout_s: Longest a step of a call may take, in seconds.
        retries: When a call is sent again.
        transport: Of ``httpx``, for tests and proxies; None for its own.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        api_key: str | None = None,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: Retries = Retries(),  # noqa: B008 - frozen, without state
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._retries = retries
        self._http = httpx.Client(**_options(url, api_key, timeout_s), transport=transport)

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Release the connections. Idempotent."""
        self._http.close()

    def _send(self, call: Call[Answer]) -> Answer:
        arguments, n_before = call.arguments(), 0
        while True:
            answer: httpx.Response | httpx.TransportError
            try:
                answer = self._http.request(**arguments)
            except httpx.TransportError as exc:
                answer = exc
            wait_s = wait_before_retry(call, self._retries, n_before, answer)
            if wait_s is None:
                return read_answer(call, _answered(answer))
            time.sleep(wait_s)
            n_before += 1


class AsyncSender:
    """Sends calls on an event loop. An asynchronous context manager; the arguments are those of ``SyncSender``."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        api_key: str | None = None,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: Retries = Retries(),  # noqa: B008 - frozen, without state
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._retries = retries
        self._http = httpx.AsyncClient(**_options(url, api_key, timeout_s), transport=transport)

    async def __aenter__(self) -> Self:
        """Return self."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close."""
        await self.close()

    async def close(self) -> None:
        """Release the connections. Idempotent."""
        await self._http.aclose()

    async def _send(self, call: Call[Answer]) -> Answer:
        arguments, n_before = await asyncio.to_thread(call.arguments), 0
        while True:
            answer: httpx.Response | httpx.TransportError
            try:
                answer = await self._http.request(**arguments)
            except httpx.TransportError as exc:
                answer = exc
            wait_s = wait_before_retry(call, self._retries, n_before, answer)
            if wait_s is None:
                return read_answer(call, _answered(answer))
            await asyncio.sleep(wait_s)
            n_before += 1


def _answered(answer: httpx.Response | httpx.TransportError) -> httpx.Response:
    if isinstance(answer, httpx.TransportError):
        raise ConnectionFailedError(f"the service cannot be reached: {answer}", status=0, code="unreachable") from answer
    return answer
