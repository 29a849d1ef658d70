"""Who may ask the service for what: API keys, their scopes, and the one form a key's text has.

It stores nothing and counts nothing: see ``facesearch.service.api_keys`` and ``facesearch.service.rate_limits``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from facesearch.core.errors import ForbiddenError, InputError
from facesearch.core.identity import checked_label

SECRET_BYTES = 32
"""Random bytes of a key: 256 bits, so that a digest without salt or stretching is enough to keep them secret."""

KEY_ID_BYTES = 8
"""Random bytes of the public id that a key is found by."""

LOCAL_ACTOR = "local"
"""Who asks where the service runs without keys."""

_KEY_TEXT = re.compile(r"fs_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")


class Scope(StrEnum):
    """What a key allows. None implies another."""

    READ = "read"
    VERIFY = "verify"
    IDENTIFY = "identify"
    ENROLL = "enroll"
    TEMPLATES = "templates"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of an API key, without its secret.

    Attributes:
        key_id: Public: part of the key's text, what it is found by, and what the audit log calls its holder.
        name: For people; need not be unique.
        scopes: What it allows; at least one.
        collections: Names of the only collections it may touch; None for all.
        created_at: UTC.
        expires_at: UTC, from when on it is refused; None for never.
        revoked_at: UTC, when it was taken back; None while it was not.
        requests_per_minute: At least 1; None leaves it to the service's setting.
    """

    key_id: str
    name: str
    scopes: frozenset[Scope]
    collections: frozenset[str] | None
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    requests_per_minute: int | None = None

    def __post_init__(self) -> None:
        """Check the values and take names in their normal form."""
        object.__setattr__(self, "name", checked_label(self.name, what="name of an API key"))
        object.__setattr__(self, "scopes", checked_scopes(self.scopes))
        if self.collections is not None:
            given: object = self.collections
            if isinstance(given, str):
                raise InputError("the collections of an API key are several names, not one text")
            names = frozenset(checked_label(one, what="collection name") for one in self.collections)
            if not names:
                raise InputError("an API key for no collection at all could do nothing: name one, or leave them out for all")
            object.__setattr__(self, "collections", names)
        for moment in (self.created_at, self.expires_at, self.revoked_at):
            if moment is not None and moment.tzinfo is None:
                raise InputError(f"the time {moment.isoformat()} of an API key has no time zone")
        if self.requests_per_minute is not None and not 1 <= self.requests_per_minute <= 10_000_000:
            raise InputError(f"requests a minute are 1 to 10,000,000, not {self.requests_per_minute}")

    def is_valid(self, now: datetime) -> bool:
        """Whether it is neither revoked nor expired."""
        ends = (self.expires_at, self.revoked_at)
        return all(end is None or now < end for end in ends)

    def may_touch(self, collection: str) -> bool:
        """Whether it may touch a collection of this name."""
        return self.collections is None or collection in self.collections

    def require(self, scope: Scope, collection: str | None = None) -> None:
        """Raise unless it allows what a request needs.

        Args:
            scope: What the request does.
            collection: Name of the collection that it touches; None where it touches none.

        Raises:
            ForbiddenError: The scope or the collection is missing; names which.
        """
        if scope not in self.scopes:
            raise ForbiddenError(
                f"this needs the scope {scope.value!r}; the API key has {', '.join(sorted(self.scopes))}", scope=scope.value
            )
        if collection is not None and not self.may_touch(collection):
            raise ForbiddenError("the API key may not touch this collection")


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as the database has it.

    Attributes:
        key: What is known of it.
        digest: SHA-256 of its secret, 64 hex digits.
    """

    key: ApiKey
    digest: str


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made.

    Attributes:
        key: What is known of it.
        text: What its holder sends; shown once and kept nowhere.
    """

    key: ApiKey
    text: str

    def __repr__(self) -> str:
        """Return a text without the secret: representations end up in logs."""
        return f"NewKey(key={self.key!r}, text=<hidden>)"


def checked_scopes(scopes: object) -> frozenset[Scope]:
    """Return scopes from their names.

    Raises:
        InputError: None at all, a single text, or an unknown name; lists those there are.
    """
    if isinstance(scopes, str) or not isinstance(scopes, list | tuple | set | frozenset):
        raise InputError("scopes are several names, not one text")
    known = [one.value for one in Scope]
    unknown = sorted(str(one) for one in scopes if one not in known)
    if unknown or not scopes:
        asked = f"{', '.join(map(repr, unknown))} is no scope" if unknown else "an API key needs a scope"
        raise InputError(f"{asked}; there are {', '.join(known)}")
    return frozenset(Scope(one) for one in scopes)


def local_key(now: datetime) -> ApiKey:
    """Return what stands for the holder of every right where the service runs without keys (on loopback only)."""
    return ApiKey(LOCAL_ACTOR, "no keys", frozenset(Scope), None, now)


def new_secret() -> bytes:
    """Return the secret of a new key: 32 random bytes."""
    return secrets.token_bytes(SECRET_BYTES)


def new_key_id() -> str:
    """Return the public id of a new key: 16 hex digits."""
    return secrets.token_hex(KEY_ID_BYTES)


def key_text(key_id: str, secret: bytes) -> str:
    """Return a key's text: ``fs_<public id>_<43 characters of base64url>``."""
    return f"fs_{key_id}_{base64.urlsafe_b64encode(secret).rstrip(b'=').decode('ascii')}"


def parsed_key(text: str) -> tuple[str, bytes] | None:
    """Return the public id and the secret of a key's text, or None where it is no key's."""
    found = _KEY_TEXT.fullmatch(text)
    if found is None:
        return None
    return found[1], base64.urlsafe_b64decode(found[2] + "=")


def secret_digest(secret: bytes) -> str:
    """Return what is stored of a secret: its SHA-256, 64 hex digits."""
    return hashlib.sha256(secret).hexdigest()


def is_secret_of(digest: str | None, secret: bytes) -> bool:
    """Whether a secret is the one of a stored digest; takes as long when it is not, or when there is no digest at all."""
    is_equal = hmac.compare_digest(digest if digest is not None else _NOBODYS_DIGEST, secret_digest(secret))
    return is_equal and digest is not None


_NOBODYS_DIGEST = secret_digest(new_secret())
