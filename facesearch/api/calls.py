"""Calls of the library from routes: on the pool's threads, within the time of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import Request

from facesearch.api.context import context_of
from facesearch.core.errors import RequestTimeoutError

Result = TypeVar("Result")


def outlive(request: Request) -> asyncio.Future[RequestTimeoutError]:
    """Let calls of a request go on past its time, and return what tells when the time is over and a call still runs."""
    late: asyncio.Future[RequestTimeoutError] = asyncio.get_running_loop().create_future()
    request.state.late = late
    return late


async def in_pool(request: Request, fn: Callable[..., Result], *args: Any, **named: Any) -> Result:
    """Return ``fn(*args, **named)``, called on a thread of the pool.

    Raises:
        OverloadedError: Too many requests wait.
        RequestTimeoutError: It took longer than a request may; a change it makes is made, and audited, all the same. Where the
            request may be outlived (``outlive``), only if the call had not begun.
    """
    context = context_of(request)
    late: asyncio.Future[RequestTimeoutError] | None = getattr(request.state, "late", None)

    def tell(error: RequestTimeoutError) -> None:
        if late is not None and not late.done():
            late.set_result(error)

    timeout_s = context.settings.request_timeout_s
    return await context.pool.run(fn, *args, timeout_s=timeout_s, on_late=None if late is None else tell, **named)
