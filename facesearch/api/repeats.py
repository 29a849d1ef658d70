"""Writes that may be sent twice: the second request with the same ``Idempotency-Key`` gets the first one's answer.

Only answers below 400 are kept: a request that failed changed nothing, and may be tried again under its key. A request counts as
the same when method, path, query and content agree; the boundary of a multipart body does not matter.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from facesearch.api.context import context_of
from facesearch.api.multipart import is_multipart, parts_of
from facesearch.core.errors import InputError

if TYPE_CHECKING:
    from facesearch.api.access import Caller

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
    is_kept = False
    try:
        response = await answer(request)
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
