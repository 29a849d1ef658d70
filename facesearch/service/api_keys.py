"""API keys: made, listed, taken back, exchanged for new ones, and recognised.

The database has the SHA-256 of a key's secret; its text is returned once, by ``create`` and ``rotate``, and kept nowhere. How often
a key may ask is counted by ``rate_limits``.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from facesearch.core.access import (
    ApiKey,
    NewKey,
    Scope,
    StoredKey,
    is_secret_of,
    key_text,
    new_key_id,
    new_secret,
    parsed_key,
    secret_digest,
)
from facesearch.core.errors import InputError, UnauthorizedError, UnknownKeyError
from facesearch.core.protocols import IdentityStore

MAX_AGE_S = 1.0
"""How long a key is believed to be what the database said: a key revoked by another process is refused after so many seconds."""

_MAX_CACHED = 10_000


class ApiKeys:
    """Looks after API keys. Safe to use from several threads and processes.

    Args:
        store: Where they are kept.
        clock: What time it is, in UTC; tests set it.
        timer: Seconds that pass, for the age of what is remembered; tests set it.
    """

    def __init__(
        self,
        store: IdentityStore,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._clock = clock
        self._timer = timer
        self._cached: OrderedDict[str, tuple[StoredKey, float]] = OrderedDict()
        self._lock = threading.Lock()

    def create(
        self,
        name: str,
        scopes: Iterable[Scope | str],
        *,
        collections: Iterable[str] | None = None,
        expires_at: datetime | None = None,
        requests_per_minute: int | None = None,
    ) -> NewKey:
        """Make a key; its text is returned here and never again.

        Args:
            name: For people; need not be unique.
            scopes: What it allows; at least one.
            collections: The only collections it may touch, which need not exist yet; None for all.
            expires_at: When it ends, with a time zone; None for never.
            requests_per_minute: None leaves it to the service's setting.

        Raises:
            InputError: A value is out of range, or the end is past.
        """
        now = self._clock()
        key = ApiKey(
            key_id=new_key_id(),
            name=name,
            scopes=_scopes(scopes),
            collections=None if collections is None else _names(collections),
            created_at=now,
            expires_at=expires_at,
            requests_per_minute=requests_per_minute,
        )
        if expires_at is not None and expires_at <= now:
            raise InputError(f"an API key that ends at {expires_at.isoformat()} would be refused from the start: it is past")
        return self._stored(key)

    def list(self) -> tuple[ApiKey, ...]:
        """Return all keys, revoked and expired ones too, oldest first."""
        with self._store.reading() as reader:
            return tuple(one.key for one in reader.api_keys())

    def get(self, key_id: str) -> ApiKey:
        """Return a key.

        Raises:
            UnknownKeyError: There is none of this id.
        """
        with self._store.reading() as reader:
            found = reader.api_key(key_id)
        if found is None:
            raise UnknownKeyError(f"there is no API key {key_id!r}: `facesearch keys list` shows what there is", key_id=key_id)
        return found.key

    def revoke(self, key_id: str) -> ApiKey:
        """Take a key back for good; one that was revoked stays so, with its time.

        Raises:
            UnknownKeyError: There is none of this id.
        """
        with self._store.writing() as writer:
            found = writer.end_api_key(key_id)
            if found.key.revoked_at is None:
                found = writer.end_api_key(key_id, revoked_at=self._clock())
        self._forget(key_id)
        return found.key

    def rotate(self, key_id: str, *, grace_s: float = 0) -> NewKey:
        """Exchange a key for a new one of another id and secret that allows the same; the old one ends.

        Args:
            key_id: The old one.
            grace_s: How long the old one still works, in seconds, so that its holders can change over.

        Raises:
            UnknownKeyError: There is none of this id.
            InputError: It is revoked or expired, so there is nothing to exchange; or the time is negative.
        """
        if not 0 <= grace_s <= timedelta(days=365).total_seconds():
            raise InputError(f"the old key may work for 0 seconds to a year longer, not {grace_s:g} seconds")
        now = self._clock()
        with self._store.writing() as writer:
            old = writer.end_api_key(key_id).key
            if not old.is_valid(now):
                raise InputError(f"API key {key_id} is revoked or expired: create a new one", key_id=key_id)
            if not grace_s:
                writer.end_api_key(key_id, revoked_at=now)
            else:
                end = now + timedelta(seconds=grace_s)
                writer.end_api_key(key_id, expires_at=end if old.expires_at is None else min(end, old.expires_at))
            secret = new_secret()
            key = replace(old, key_id=new_key_id(), created_at=now)
            writer.add_api_key(StoredKey(key, secret_digest(secret)))
        self._forget(key_id)
        return NewKey(key, key_text(key.key_id, secret))

    def authenticate(self, text: str) -> ApiKey:
        """Return the key of a text.

        Takes as long for a wrong secret as for a right one. What the database said of a key is believed for a second.

        Raises:
            UnauthorizedError: It is no valid key's; the message is the same for a malformed text, an unknown id, a wrong secret, a
                revoked and an expired key.
        """
        parsed = parsed_key(text)
        return self._checked(None if parsed is None else self._known(parsed[0]), parsed)

    def authenticate_at_once(self, text: str) -> ApiKey | None:
        """Return what ``authenticate`` would, or None where the database must be asked: call that then, on a thread that may wait.

        Raises:
            UnauthorizedError: As ``authenticate``.
        """
        parsed = parsed_key(text)
        cached = None if parsed is None else self._remembered(parsed[0], self._timer())
        return None if cached is None else self._checked(cached, parsed)

    def _checked(self, stored: StoredKey | None, parsed: tuple[str, bytes] | None) -> ApiKey:
        is_right = is_secret_of(None if stored is None else stored.digest, b"" if parsed is None else parsed[1])
        if stored is None or not is_right or not stored.key.is_valid(self._clock()):
            raise UnauthorizedError("the API key is not valid: unknown, wrong, expired or revoked")
        return stored.key

    def _remembered(self, key_id: str, now: float) -> StoredKey | None:
        with self._lock:
            cached = self._cached.get(key_id)
        return cached[0] if cached is not None and now - cached[1] < MAX_AGE_S else None

    def _known(self, key_id: str) -> StoredKey | None:
        asked_at = self._timer()
        cached = self._remembered(key_id, asked_at)
        if cached is not None:
            return cached
        with self._store.reading() as reader:
            found = reader.api_key(key_id)
        with self._lock:
            self._cached.pop(key_id, None)
            if found is not None:
                # As old as the question: the answer may have been overtaken while it was on its way.
                self._cached[key_id] = (found, asked_at)
                while len(self._cached) > _MAX_CACHED:
                    self._cached.popitem(last=False)
        return found

    def _forget(self, key_id: str) -> None:
        with self._lock:
            self._cached.pop(key_id, None)

    def _stored(self, key: ApiKey) -> NewKey:
        secret = new_secret()
        with self._store.writing() as writer:
            writer.add_api_key(StoredKey(key, secret_digest(secret)))
        return NewKey(key, key_text(key.key_id, secret))


def _scopes(scopes: Iterable[Scope | str]) -> frozenset[Scope]:
    # Left unchecked here on purpose: ``ApiKey`` checks them, a single text too.
    return scopes if isinstance(scopes, str) else frozenset(scopes)  # type: ignore[return-value,arg-type]


def _names(names: Iterable[str]) -> frozenset[str]:
    return names if isinstance(names, str) else frozenset(names)  # type: ignore[return-value]
