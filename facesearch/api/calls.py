"""Calls of the library from routes: on the pool's threads, within the time of a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import Request

from facesearch.api.context import context_of

Result = TypeVar("Result")


async def in_pool(request: Request, fn: Callable[..., Result], *args: Any, **named: Any) -> Result:
    """Return ``fn(*args, **named)``, called on a thread of the pool.

    Raises:
        OverloadedError: Too many requests wait.
        RequestTimeoutError: It took longer than a request may; a change it makes is made, and audited, all the same.
    """
    context = context_of(request)
    return await context.pool.run(fn, *args, timeout_s=context.settings.request_timeout_s, **named)
