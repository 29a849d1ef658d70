"""Writes that may be sent twice and are done once: what was answered to a request is kept for a day and given again.

It does not undo what a killed process had done of a request: that request may be sent again after ``IN_PROGRESS_S`` and is then
done anew. Answers that hold a secret must not be kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from facesearch.core.access_protocols import IdempotencyRecord, StoredResponse
from facesearch.core.errors import IdempotencyConflictError, InputError, UnknownIdentityError
from facesearch.core.protocols import IdentityStore

KEEP = timedelta(hours=24)
"""How long an answer is kept."""

IN_PROGRESS_S = 600.0
"""A request that has no answer after so long was lost with its process."""

RETRY_AFTER_S = 1.0
"""When to ask again for the answer of a request that is being worked on."""

MAX_KEY_CHARS = 255
"""Longest idempotency key."""

_FORGET_EVERY = timedelta(minutes=10)


class IdempotencyKeys:
    """Remembers answers. Safe to use from several threads and processes.

    Args:
        store: Where they are kept.
        clock: What time it is, in UTC; tests set it.
    """

    def __init__(self, store: IdentityStore, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store = store
        self._clock = clock
        self._forgot_at: datetime | None = None

    def begin(self, key_id: str, idempotency_key: str, request_digest: str) -> StoredResponse | None:
        """Return the answer that this request got before, or None where it is to be worked on now.

        After None, ``finish`` or ``abandon`` must follow.

        Args:
            key_id: Whose request; keys of others do not meet.
            idempotency_key: Chosen by whoever asks, 1 to 255 characters.
            request_digest: SHA-256 of everything that makes it the same request.

        Raises:
            IdempotencyConflictError: The idempotency key was used for another request; or its request is being worked on, and
                ``context["retry_after_s"]`` says when to ask again.
            UnknownIdentityError: It was answered, and the answer named somebody who was deleted since.
            InputError: The idempotency key is empty or too long.
        """
        if not 0 < len(idempotency_key) <= MAX_KEY_CHARS:
            raise InputError(f"an idempotency key has 1 to {MAX_KEY_CHARS} characters, not {len(idempotency_key)}")
        now = self._clock()
        with self._store.writing() as writer:
            if self._forgot_at is None or now - self._forgot_at > _FORGET_EVERY:
                writer.remove_idempotency_records(now - KEEP)
                self._forgot_at = now
            found = writer.idempotency_record(key_id, idempotency_key)
            if found is not None and found.began_at > now - KEEP:
                if found.request_digest != request_digest:
                    raise IdempotencyConflictError(
                        "this idempotency key was used for another request in the last 24 hours: choose a new one"
                    )
                if found.is_forgotten:
                    raise UnknownIdentityError("this request was done, and somebody whom its answer named was deleted since")
                if found.response is not None:
                    return found.response
                if found.began_at > now - timedelta(seconds=IN_PROGRESS_S):
                    raise IdempotencyConflictError(
                        "a request with this idempotency key is being worked on: ask again for its answer",
                        retry_after_s=RETRY_AFTER_S,
                    )
            writer.set_idempotency_record(key_id, idempotency_key, IdempotencyRecord(request_digest, now, None))
        return None

    def finish(self, key_id: str, idempotency_key: str, *, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Keep the answer to a request that was begun; nothing happens where it was forgotten meanwhile."""
        with self._store.writing() as writer:
            found = writer.idempotency_record(key_id, idempotency_key)
            if found is not None and not found.is_forgotten:
                kept = replace(found, response=StoredResponse(status, dict(headers), body))
                writer.set_idempotency_record(key_id, idempotency_key, kept)

    def abandon(self, key_id: str, idempotency_key: str) -> None:
        """Forget a request that was begun and failed, so that it can be sent again; an answered one is kept."""
        with self._store.writing() as writer:
            found = writer.idempotency_record(key_id, idempotency_key)
            if found is not None and found.response is None and not found.is_forgotten:
                writer.remove_idempotency_record(key_id, idempotency_key)
