"""What the database knows of jobs: who asked for what, how far it is, who works on it, what became of each item.

It works nothing off and holds no photograph: those are in the memory of the process that received them, which holds the leases of
their items meanwhile. Labels of the items are kept until the job goes: with ``remove``, with its collection, or a week after its
last change.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from facesearch.core.errors import EnrollmentError, InputError
from facesearch.core.identity import checked_label
from facesearch.core.jobs import ItemOutcome, ItemState, Job, JobItem, JobState, NewJob, NewJobItem, new_job_id
from facesearch.core.protocols import IdentityStore

KEEP = timedelta(days=7)
"""How long a job is kept after its last change."""

MAX_OPTIONS_BYTES = 64 * 1024
"""Largest options of a job, as JSON."""


class JobRecords:
    """Keeps jobs. Safe to use from several threads and processes.

    A lease says that somebody works on a job, or holds the photographs of items; it counts until its time, so that what a killed
    process held is free again. ``owner`` is a text of its holder's, different for every process.

    Args:
        store: Where they are kept.
        clock: What time it is, in UTC; tests set it.
    """

    def __init__(self, store: IdentityStore, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store = store
        self._clock = clock

    def create(
        self,
        kind: str,
        collection: str,
        made_by: str,
        items: Iterable[NewJobItem],
        *,
        options: Mapping[str, Any] | None = None,
    ) -> Job:
        """Make a job, queued; jobs older than a week are forgotten on the way.

        Args:
            kind: What is done, e.g. ``enroll``.
            collection: Name of the collection it changes.
            made_by: Id of the API key that asks.
            items: What is to be done, at least one.
            options: How it is done; plain JSON.

        Raises:
            UnknownCollectionError: There is no such collection.
            InputError: No item, or options that are no JSON.
        """
        chosen = tuple(items)
        if not chosen:
            raise InputError("a job needs at least one item")
        now = self._clock()
        job = NewJob(
            job_id=new_job_id(),
            kind=kind,
            collection=checked_label(collection, what="collection name"),
            made_by=made_by,
            options=_checked_options(options or {}),
            created_at=now,
        )
        with self._store.writing() as writer:
            writer.remove_jobs(now - KEEP)
            return writer.add_job(job, chosen)

    def get(self, job_id: str) -> Job:
        """Return a job with its counts.

        Raises:
            UnknownJobError: There is none of this id.
        """
        with self._store.reading() as reader:
            return reader.job(job_id)

    def list(
        self, *, collections: Iterable[str] | None = None, made_by: str | None = None, before: str | None = None, limit: int = 50
    ) -> tuple[Job, ...]:
        """Return jobs with their counts, newest first.

        Args:
            collections: Only those of these collections; None for all.
            made_by: Only those that this API key asked for.
            before: Id of the last job of the page before; None for the first page.
            limit: At most so many.
        """
        with self._store.reading() as reader:
            return reader.jobs(collections=collections, made_by=made_by, before=before, limit=limit)

    def items(self, job_id: str, *, after: int = -1, limit: int = 100, state: ItemState | None = None) -> tuple[JobItem, ...]:
        """Return items by number, those above ``after``, at most ``limit``; only those in a state where one is given.

        Raises:
            UnknownJobError: There is no such job.
        """
        with self._store.reading() as reader:
            return reader.job_items(job_id, after=after, limit=limit, state=state)

    def missing(self, job_id: str, *, after: int = -1, limit: int = 100) -> tuple[tuple[int, str], ...]:
        """Return ``(number, digest)`` of the items whose photograph is still to be sent: they wait, and nobody holds them.

        Raises:
            UnknownJobError: There is no such job.
        """
        with self._store.reading() as reader:
            return reader.waiting_digests(job_id, after=after, limit=limit, now=self._clock())

    def set_state(
        self,
        job_id: str,
        state: JobState,
        *,
        only_from: Iterable[JobState] | None = None,
        error_code: str = "",
        error_message: str = "",
    ) -> Job:
        """Change how far a job is.

        Args:
            job_id: The job.
            state: What it is from now on; a final one lets go of all leases.
            only_from: States it must be in; None for any that is not final.
            error_code: Stable code of what ended it early.
            error_message: The same for people.

        Raises:
            UnknownJobError: There is no such job.
            EnrollmentError: It is in another state; names it.
        """
        allowed = frozenset(only_from) if only_from is not None else frozenset(one for one in JobState if not one.is_final)
        with self._store.writing() as writer:
            found = writer.job(job_id)
            if found.state is state:
                return found
            if found.state not in allowed:
                raise EnrollmentError(f"the job is {found.state.value}: it cannot become {state.value}", state=found.state.value)
            return writer.set_job_state(job_id, state, now=self._clock(), error_code=error_code, error_message=error_message)

    def claim(self, kind: str, owner: str, *, lease_s: float) -> Job | None:
        """Take the lease of the oldest job of a kind that is not over and that nobody works on, or return None."""
        now = self._clock()
        with self._store.writing() as writer:
            job_id = writer.leasable_job(kind, now=now)
            if job_id is None:
                return None
            writer.lease_job(job_id, owner, now + timedelta(seconds=lease_s), now=now)
            return writer.job(job_id)

    def lease(self, job_id: str, owner: str, *, lease_s: float) -> bool:
        """Take or prolong a job's lease; False where another has it, or the job is gone or over."""
        now = self._clock()
        with self._store.writing() as writer:
            return writer.lease_job(job_id, owner, now + timedelta(seconds=lease_s), now=now)

    def release(self, job_id: str, owner: str) -> None:
        """Give up the leases of a job and of its items that ``owner`` has."""
        with self._store.writing() as writer:
            writer.release_job(job_id, owner)

    def lease_items(
        self, job_id: str, owner: str, *, lease_s: float, digests: Iterable[str] | None = None, limit: int = 100
    ) -> tuple[JobItem, ...]:
        """Take or prolong the leases of waiting items and return them by number; items that another holds are left out.

        Args:
            job_id: The job.
            owner: Who takes them.
            lease_s: For how long, in seconds.
            digests: Only the items of these photographs; None for any.
            limit: At most so many.

        Raises:
            UnknownJobError: There is no such job.
        """
        now = self._clock()
        with self._store.writing() as writer:
            until = now + timedelta(seconds=lease_s)
            return writer.lease_items(job_id, owner, until, now=now, digests=digests, limit=limit)

    def set_outcomes(self, job_id: str, outcomes: Sequence[ItemOutcome]) -> Job:
        """Write down what became of items; a job of which none waits any more is done. Items with an outcome keep theirs.

        Raises:
            UnknownJobError: There is no such job.
            InputError: An outcome says that its item waits.
        """
        now = self._clock()
        with self._store.writing() as writer:
            writer.set_item_outcomes(job_id, outcomes, now=now)
            job = writer.job(job_id)
            if not job.state.is_final and not job.counts[ItemState.WAITING]:
                job = writer.set_job_state(job_id, JobState.DONE, now=now)
            return job

    def remove(self, job_id: str) -> Job:
        """Forget a job with its items and return it.

        Raises:
            UnknownJobError: There is no such job.
        """
        with self._store.writing() as writer:
            found = writer.job(job_id)
            writer.remove_job(job_id)
        return found

    def forget_old(self) -> None:
        """Forget the jobs that were last changed more than a week ago."""
        with self._store.writing() as writer:
            writer.remove_jobs(self._clock() - KEEP)


def _checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    try:
        text = json.dumps(dict(options), allow_nan=False)
    except (TypeError, ValueError) as exc:
        raise InputError(f"the options of a job are plain JSON: {exc}") from exc
    if len(text.encode()) > MAX_OPTIONS_BYTES:
        raise InputError(f"the options of a job have at most {MAX_OPTIONS_BYTES} bytes as JSON, not {len(text.encode())}")
    checked: dict[str, Any] = json.loads(text)
    return checked
