"""Writes that may be sent twice: the second request with the same ``Idempotency-Key`` gets the first one's answer.

Only answers below 400 are kept: a request that failed changed nothing, and may be tried again under its key. A request that is
given up because it takes too long, or because the service ends, goes on where it had begun, and its answer is kept: until then
nobody does it a second time. A request counts as the same when method, path, query and content agree; the boundary of a multipart
body does not matter.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from facesearch.api.calls import outlive
from facesearch.api.context import context_of
from facesearch.api.multipart import is_multipart, parts_of
from facesearch.core.errors import InputError

if TYPE_CHECKING:
    from facesearch.api.access import Caller
    from facesearch.service.idempotency import IdempotencyKeys

logger = logging.getLogger("facesearch.api")

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
"""Header of an answer that is an earlier request's."""

KEY_PATTERN = "^[!-~]{1,200}$"
"""What an idempotency key looks like."""

_KEY = re.compile(KEY_PATTERN)
_KEPT_HEADERS = ("content-type", "etag", "location")


async def repeatable(request: Request, caller: Caller, answer: Callable[[Request], Coroutine[Any, Any, Response]]) -> Response:
    """Return the answer to a write: a kept one where its ``Idempotency-Key`` was used before, else a new one, which is kept.

    Raises:
        InputError: The key is malformed.
        IdempotencyConflictError: It was used for another request, or that request is still being worked on.
        RequestTimeoutError: It takes longer than a request may.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return await answer(request)
    if not _KEY.fullmatch(key):
        raise InputError(f"{HEADER} is 1 to 200 visible ASCII characters")
    kept, holder = context_of(request).idempotency, caller.key.key_id
    digest = await run_in_threadpool(_request_digest, request, await request.body())
    stored = await run_in_threadpool(kept.begin, holder, key, digest)
    if stored is not None:
        return Response(stored.body, stored.status, {**dict(stored.headers), REPLAYED: "true"})
    late = outlive(request)
    work = asyncio.create_task(_kept(kept, holder, key, answer(request)))
    under_way = _under_way(request.app)
    under_way.add(work)
    work.add_done_callback(under_way.discard)
    either: set[asyncio.Future[Any]] = {work, late}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not work.done():  # goes on without anybody who waits for it
            work.add_done_callback(_note_failure)
    if work.done():
        return work.result()
    raise late.result()


async def finish_under_way(app: FastAPI) -> None:
    """Wait for the requests that go on though their callers were given up; nothing may come after them."""
    while under_way := _under_way(app):
        await asyncio.wait(under_way)


async def _kept(kept: IdempotencyKeys, holder: str, key: str, answered: Coroutine[Any, Any, Response]) -> Response:
    """Return an answer after it was kept; forget the request where it failed."""
    is_kept = False
    try:
        response = await answered
        if response.status_code < 400:
            headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
            await run_in_threadpool(
                kept.finish, holder, key, status=response.status_code, headers=headers, body=bytes(response.body)
            )
            is_kept = True
        return response
    finally:
        if not is_kept:
            await run_in_threadpool(kept.abandon, holder, key)


def _under_way(app: FastAPI) -> set[asyncio.Task[Response]]:
    found: set[asyncio.Task[Response]] | None = getattr(app.state, "under_way", None)
    if found is None:
        found = app.state.under_way = set()
    return found


def _note_failure(work: asyncio.Task[Response]) -> None:
    error = None if work.cancelled() else work.exception()
    if error is not None:
        logger.error("a request that its caller was not waiting for any more failed", exc_info=error)


def _request_digest(request: Request, body: bytes) -> str:
    """Return what makes two requests the same, as SHA-256."""
    digest = hashlib.sha256()

    def add(*texts: str | bytes) -> None:
        for text in texts:
            data = text.encode() if isinstance(text, str) else text
            digest.update(len(data).to_bytes(8, "big") + data)

    content_type = request.headers.get("content-type", "")
    add(request.method, request.url.path, request.url.query, request.headers.get("if-match", ""))
    if is_multipart(content_type):
        for part in parts_of(body, content_type):
            add(part.name, part.filename or "", part.data)
    else:
        add(content_type, body)
    return digest.hexdigest()
