"""Long work that a service does in the background: a job, its items, and the states of both.

It works nothing off and stores nothing: see ``facesearch.service.job_records``.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from facesearch.core.errors import InputError
from facesearch.core.identity import checked_label, checked_tags

_DIGEST = re.compile(r"[0-9a-f]{64}")
MAX_NAME_CHARS = 1_000
"""Longest file name of an item."""

DELETED = "(deleted)"
"""Label of the items of somebody who was deleted after they were worked off."""


class JobState(StrEnum):
    """How far a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING_FOR_PHOTOS = "waiting_for_photos"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens in it."""
        return self in (JobState.DONE, JobState.CANCELLED, JobState.FAILED)


class ItemState(StrEnum):
    """What became of an item."""

    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class NewJobItem:
    """An item of a job about to be made.

    Attributes:
        digest: SHA-256 of the photograph's bytes, 64 hex digits.
        label: Whose photograph it is.
        tags: For the person.
        name: What the photograph is called; may be empty.
    """

    digest: str
    label: str
    tags: tuple[str, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        """Check the values and take label and tags in their normal form."""
        if not isinstance(self.digest, str) or not _DIGEST.fullmatch(self.digest):
            raise InputError("the digest of a photograph is the SHA-256 of its bytes in 64 small hex digits")
        object.__setattr__(self, "label", checked_label(self.label))
        object.__setattr__(self, "tags", checked_tags(self.tags))
        if len(self.name) > MAX_NAME_CHARS:
            raise InputError(f"the name of a photograph has at most {MAX_NAME_CHARS} characters, not {len(self.name)}")


@dataclass(frozen=True, slots=True)
class JobItem:
    """An item as it is stored.

    Attributes:
        number: Its place in the job, from 0.
        what: What was asked.
        state: What became of it.
        identity_id: The person it was enrolled for; None while or where it was not.
        template_id: The template it became, likewise.
        error_code: Stable code of what went wrong; empty where nothing did.
        error_message: The same for people.
    """

    number: int
    what: NewJobItem
    state: ItemState
    identity_id: int | None = None
    template_id: int | None = None
    error_code: str = ""
    error_message: str = ""


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """What became of an item.

    Attributes:
        number: Of the item.
        state: ``done`` or ``failed``.
        identity_id: The person it was enrolled for.
        template_id: The template it became.
        error_code: Stable code of what went wrong.
        error_message: The same for people.
    """

    number: int
    state: ItemState
    identity_id: int | None = None
    template_id: int | None = None
    error_code: str = ""
    error_message: str = ""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job about to be made.

    Attributes:
        job_id: Random.
        kind: What is done, e.g. ``enroll``.
        collection: Name of the collection it changes.
        made_by: Id of the API key that asked.
        options: How it is done, as JSON.
        created_at: UTC.
    """

    job_id: str
    kind: str
    collection: str
    made_by: str
    options: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is stored.

    Attributes:
        about: What was asked.
        state: How far it is.
        updated_at: UTC, of its last change.
        n_items: How many items it has.
        counts: How many of them are in each state; all states are named.
        error_code: Stable code of what ended it early; empty where nothing did.
        error_message: The same for people.
        leased_by: Who works on it; empty for nobody. Counts only until ``leased_until``.
        leased_until: UTC.
    """

    about: NewJob
    state: JobState
    updated_at: datetime
    n_items: int
    counts: Mapping[ItemState, int] = field(default_factory=lambda: MappingProxyType({}))
    error_code: str = ""
    error_message: str = ""
    leased_by: str = ""
    leased_until: datetime | None = None

    @property
    def job_id(self) -> str:
        """Its id."""
        return self.about.job_id


def new_job_id() -> str:
    """Return an id that nobody guesses: 32 hex digits."""
    return secrets.token_hex(16)
