"""What an identity store promises about API keys, rate limits, idempotency keys, the audit log and jobs.

Mixed into ``StoreReader`` and ``StoreWriter``. It decides nothing: see ``facesearch.service``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from facesearch.core.access import StoredKey
from facesearch.core.audit import AuditRow
from facesearch.core.jobs import ItemOutcome, ItemState, Job, JobItem, JobState, NewJob, NewJobItem


@dataclass(frozen=True, slots=True)
class RateBucket:
    """How many requests an API key may make at once, at a moment.

    Attributes:
        tokens: Requests left, 0 or more; parts of one count.
        at_s: When that was so, in seconds since 1970 UTC.
    """

    tokens: float
    at_s: float


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """An answer that is given again to the same request.

    Attributes:
        status: HTTP status.
        headers: By name.
        body: As it was sent.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class IdempotencyRecord:
    """What is known of an idempotency key.

    Attributes:
        request_digest: SHA-256 of the request it was used for.
        began_at: UTC.
        response: The answer; None while the request is worked on, and where the answer was forgotten.
        is_forgotten: Whether there was an answer that named somebody who was deleted since.
    """

    request_digest: str
    began_at: datetime
    response: StoredResponse | None
    is_forgotten: bool = False


class AccessReader(Protocol):
    """What can be asked of the store about keys, the audit log and jobs."""

    def api_keys(self) -> tuple[StoredKey, ...]:
        """Return all keys, revoked and expired ones too, oldest first."""
        ...

    def api_key(self, key_id: str) -> StoredKey | None:
        """Return the key of an id, or None."""
        ...

    def rate_bucket(self, key_id: str) -> RateBucket | None:
        """Return what a key has left, or None where it made no request yet."""
        ...

    def idempotency_record(self, key_id: str, idempotency_key: str) -> IdempotencyRecord | None:
        """Return what is known of an idempotency key of an API key, or None."""
        ...

    def audit_rows(self, after: int, limit: int) -> tuple[AuditRow, ...]:
        """Return the entries numbered above ``after`` by number, at most ``limit``."""
        ...

    def last_audit_row(self) -> AuditRow | None:
        """Return the entry of the highest number, or None where there is none."""
        ...

    def job(self, job_id: str) -> Job:
        """Return a job with its counts.

        Raises:
            UnknownJobError: There is none of this id.
        """
        ...

    def jobs(
        self, *, collections: Iterable[str] | None = None, made_by: str | None = None, before: str | None = None, limit: int = 50
    ) -> tuple[Job, ...]:
        """Return jobs with their counts, newest first.

        Args:
            collections: Only those of these collections; None for all.
            made_by: Only those that this API key asked for.
            before: Only those behind this job in the list (paging); one that is gone ends the list.
            limit: At most so many.
        """
        ...

    def job_items(self, job_id: str, *, after: int = -1, limit: int = 100, state: ItemState | None = None) -> tuple[JobItem, ...]:
        """Return items by number, those above ``after``, at most ``limit``; only those in a state where one is given."""
        ...

    def waiting_digests(self, job_id: str, *, after: int = -1, limit: int = 100, now: datetime) -> tuple[tuple[int, str], ...]:
        """Return ``(number, digest)`` of the items that wait and that nobody holds, by number."""
        ...


class AccessWriter(Protocol):
    """What can be changed about keys, rate limits, idempotency keys, the audit log and jobs."""

    def add_api_key(self, key: StoredKey) -> None:
        """Store a new key."""
        ...

    def end_api_key(self, key_id: str, *, revoked_at: datetime | None = None, expires_at: datetime | None = None) -> StoredKey:
        """Say when a key ends; None leaves a moment as it is.

        Raises:
            UnknownKeyError: There is no such key.
        """
        ...

    def set_rate_bucket(self, key_id: str, bucket: RateBucket) -> None:
        """Store what a key has left."""
        ...

    def set_idempotency_record(self, key_id: str, idempotency_key: str, record: IdempotencyRecord) -> None:
        """Store what is known of an idempotency key, in place of what was."""
        ...

    def remove_idempotency_record(self, key_id: str, idempotency_key: str) -> None:
        """Forget an idempotency key; nothing happens where there is none."""
        ...

    def remove_idempotency_records(self, before: datetime) -> None:
        """Forget the idempotency keys of requests that began before a moment."""
        ...

    def forget_answers(self, texts: Iterable[bytes]) -> None:
        """Forget every kept answer with one of these in its body: that there was one is all that stays."""
        ...

    def add_audit_rows(self, rows: Sequence[AuditRow]) -> None:
        """Append entries; their numbers follow on from the last one's."""
        ...

    def add_job(self, job: NewJob, items: Sequence[NewJobItem]) -> Job:
        """Store a new job, queued, with its items.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        ...

    def set_job_state(self, job_id: str, state: JobState, *, now: datetime, error_code: str = "", error_message: str = "") -> Job:
        """Change how far a job is; a final state lets go of its leases.

        Raises:
            UnknownJobError: There is no such job.
        """
        ...

    def lease_job(self, job_id: str, owner: str, until: datetime, *, now: datetime) -> bool:
        """Take or prolong a job's lease; False where another has it, or the job is gone or over."""
        ...

    def release_job(self, job_id: str, owner: str) -> None:
        """Give up a job's lease and those of its items, where ``owner`` has them."""
        ...

    def leasable_job(self, kind: str, *, now: datetime) -> str | None:
        """Return the id of the oldest job of a kind that is not over and that nobody has a lease of, or None."""
        ...

    def lease_items(
        self, job_id: str, owner: str, until: datetime, *, now: datetime, digests: Iterable[str] | None = None, limit: int = 100
    ) -> tuple[JobItem, ...]:
        """Take or prolong the leases of waiting items, those of some photographs or of any, by number, and return them.

        Items that another has a lease of are left out.
        """
        ...

    def set_item_outcomes(self, job_id: str, outcomes: Sequence[ItemOutcome], *, now: datetime) -> None:
        """Write down what became of items that wait; those with an outcome keep theirs."""
        ...

    def forget_job_items(self, collection: str, label: str, identity_id: int) -> None:
        """Forget who the items of a person were, and their photographs' digests and names; those that wait stay as they are."""
        ...

    def remove_job(self, job_id: str) -> None:
        """Delete a job with its items; nothing happens where there is none."""
        ...

    def remove_jobs(self, before: datetime) -> None:
        """Delete the jobs that were last changed before a moment."""
        ...
