"""One entry of the audit log: what it may say, the exact bytes it is signed as, and how entries are chained.

It reads no key and writes nothing: see ``facesearch.service.audit``. An entry holds ids and numbers only: whatever could be
somebody's name, a picture or a vector has no field to be put into.

Serialisation, version 1: the fields of an entry as one JSON object with the keys of ``AuditEvent`` in alphabetical order, no
white space, every character beyond ASCII escaped, floats in Python's shortest form that reads back exactly, the time as ISO 8601
in UTC with six decimals. The MAC of entry ``n`` is HMAC-SHA256 (RFC 2104) over ``facesearch-audit-1``, a line feed, the MAC of
entry ``n - 1`` in hex (64 zeros before the first), a line feed, ``n`` in decimal, a line feed, and those bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from facesearch.core.errors import InputError

NO_MAC = "0" * 64
"""Stands for the MAC before the first entry."""

_DOMAIN = b"facesearch-audit-1"
_WORD = re.compile(r"[A-Za-z0-9_.:@+/-]{0,64}")
_EMBEDDER = re.compile(r"[\x21-\x7e]{0,200}")
_MAX_IDS = 10_000


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """What was decided or changed, as ids and numbers.

    Attributes:
        action: What was done, e.g. ``verify``, ``identify``, ``enroll``, ``identity.remove``, ``key.create``.
        actor: Who did it: the id of an API key, ``cli``, or ``local`` where the service runs without keys.
        outcome: How it ended, e.g. ``match``, ``no_match``, ``done``, or an error's code.
        at: When, with a time zone.
        collection_id: The collection it was about; None for none.
        identity_ids: The people it was about.
        template_ids: The templates it was about.
        subject: Id of anything else it was about: a key, a job.
        threshold: Of the operating point it was decided at; None where nothing was decided.
        fmr: The rate it was decided at.
        fpir: Likewise, of a search.
        embedder_id: Whose threshold that is; empty where nothing was decided.
        score: Cosine similarity that was decided on; None where there was none.
        request_id: Of the request, as in its answer.
    """

    action: str
    actor: str
    outcome: str
    at: datetime
    collection_id: int | None = None
    identity_ids: tuple[int, ...] = ()
    template_ids: tuple[int, ...] = ()
    subject: str = ""
    threshold: float | None = None
    fmr: float | None = None
    fpir: float | None = None
    embedder_id: str = ""
    score: float | None = None
    request_id: str = ""

    def __post_init__(self) -> None:
        """Check that nothing but ids and numbers is said."""
        for name in ("action", "actor", "outcome"):
            if not getattr(self, name):
                raise InputError(f"the audit log needs an {name}")
        for name in ("action", "actor", "outcome", "subject", "request_id"):
            if not _WORD.fullmatch(getattr(self, name)):
                raise InputError(f"{name} in the audit log is at most 64 letters, digits and -_.:@+/ of ASCII", field=name)
        if not _EMBEDDER.fullmatch(self.embedder_id):
            raise InputError("embedder_id in the audit log is at most 200 visible characters of ASCII", field="embedder_id")
        for name in ("threshold", "fmr", "fpir", "score"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _finite(name, value))
        for name in ("identity_ids", "template_ids"):
            object.__setattr__(self, name, _checked_ids(name, getattr(self, name)))
        if self.collection_id is not None:
            object.__setattr__(self, "collection_id", int(self.collection_id))
        if self.at.tzinfo is None:
            raise InputError(f"the time {self.at.isoformat()} in the audit log has no time zone")
        object.__setattr__(self, "at", self.at.astimezone(UTC))


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An entry as the database has it; nothing about it is trusted before it was verified.

    Attributes:
        number: 1 for the first, without gaps.
        payload: The event's canonical serialisation.
        mac: 64 hex digits.
    """

    number: int
    payload: str
    mac: str


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An entry as it is shown.

    Attributes:
        number: 1 for the first, without gaps.
        event: What happened.
    """

    number: int
    event: AuditEvent


def encoded_event(event: AuditEvent) -> str:
    """Return an event's canonical serialisation, version 1."""
    values: dict[str, Any] = {field.name: getattr(event, field.name) for field in fields(event)}
    values["at"] = event.at.isoformat(timespec="microseconds")
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def decoded_event(payload: str) -> AuditEvent:
    """Return the event of a serialisation.

    Raises:
        InputError: It is none; the entry was not written by this program.
    """
    try:
        values: Mapping[str, Any] = json.loads(payload)
        return AuditEvent(**{**values, "at": datetime.fromisoformat(values["at"])})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise InputError("this is no entry of an audit log") from exc


def entry_mac(key: bytes, before: str, number: int, payload: str) -> str:
    """Return the MAC of an entry, 64 hex digits.

    Args:
        key: The log's key.
        before: The MAC of the entry before, 64 hex digits; ``NO_MAC`` for the first.
        number: The entry's number.
        payload: The event's canonical serialisation.
    """
    message = b"\n".join((_DOMAIN, before.encode(), str(number).encode(), payload.encode()))
    return hmac.new(key, message, hashlib.sha256).hexdigest()


def _finite(name: str, value: float) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise InputError(f"{name} in the audit log is a finite number, not {number}", field=name)
    return number


def _checked_ids(name: str, ids: Any) -> tuple[int, ...]:
    values = tuple(ids)
    if len(values) > _MAX_IDS or not all(isinstance(one, int) and not isinstance(one, bool) for one in values):
        raise InputError(f"{name} in the audit log are at most {_MAX_IDS} whole numbers", field=name)
    return values
