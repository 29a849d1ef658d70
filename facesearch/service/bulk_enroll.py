"""Bulk enrolment as a job: whose photographs are to come is written down first, the photographs follow in any order.

They are held in memory by the process that received them, and nowhere else: after a restart the job says which are still missing,
and goes on when they are sent again. What became of each item is in the database before anybody is told.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from facesearch.core.audit import AuditEvent
from facesearch.core.errors import (
    DuplicateTemplateError,
    EnrollmentError,
    FaceSearchError,
    InputError,
    JobOverError,
    LabelTakenError,
    StoreError,
    UnknownJobError,
)
from facesearch.core.jobs import ItemOutcome, ItemState, Job, JobItem, JobState, NewJobItem
from facesearch.service.enroll_many import LabelledPhotograph, PhotographOutcome
from facesearch.service.facade import FaceSearchService
from facesearch.service.faces import FaceChoice
from facesearch.service.folder_report import POSSIBLE_DUPLICATE
from facesearch.service.held_photographs import HeldPhotographs
from facesearch.service.job_records import JobRecords

logger = logging.getLogger("facesearch.jobs")

KIND = "enroll"
"""Kind of these jobs."""

LEASE_S = 20.0
"""How long a process may be silent before others count its photographs as missing: what it held died with it."""

CHUNK = 32
"""Photographs worked off before the outcomes are written and the job is looked at again."""

IDLE_S = 0.5
"""Seconds between two looks of an idle worker at its leases."""

MAX_ATTEMPTS = 3
"""Times a job's work may fail (database, networks) before the job does."""

RETRY_S = 1.0
"""Seconds before it is tried again."""


class Receipt(StrEnum):
    """What is done with a photograph that was sent."""

    HELD = "held"
    NOT_NEEDED = "not_needed"
    NO_ROOM = "no_room"


@dataclass(frozen=True, slots=True)
class ReceivedPhotograph:
    """What is done with a photograph that was sent.

    Attributes:
        digest: SHA-256 of its bytes, hex.
        receipt: ``held``: it is worked off; ``not_needed``: no item of the job waits for it (none ever did, it is done, or another
            process holds it); ``no_room``: send it again later.
    """

    digest: str
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class BulkOptions:
    """How the photographs of a job are enrolled; the names are those of ``FaceSearch.enroll``."""

    face: FaceChoice = "only"
    allow_mismatch: bool = False
    allow_duplicate: bool = True
    quality_gate: str | None = None
    keep: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return them as a job stores them."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> BulkOptions:
        """Return the options of a stored job; names of another release are left out."""
        return cls(**{name: stored[name] for name in cls.__dataclass_fields__ if name in stored})


@dataclass(slots=True)
class _Work:
    """What the worker remembers of a job between two chunks."""

    n_failed: int = 0
    not_before: float = 0.0
    leased_at: float = field(default_factory=time.monotonic)


class BulkEnroll:
    """Takes jobs and photographs, and works them off on one thread. Safe to use from several threads and processes.

    Args:
        faces: What enrolls.
        records: Where jobs are kept.
        append_audit: Writes entries of the audit log; returns when they are on the disk.
        max_bytes: Most that the photographs of all jobs take in this process's memory.
        max_items: Most items of one job.
        n_workers: Threads that look for faces; one leaves the other processors to requests.
    """

    def __init__(
        self,
        faces: FaceSearchService,
        records: JobRecords,
        append_audit: Callable[[Sequence[AuditEvent]], object],
        *,
        max_bytes: int,
        max_items: int,
        n_workers: int = 1,
    ) -> None:
        self._faces = faces
        self._records = records
        self._append_audit = append_audit
        self._max_items = max_items
        self._n_workers = n_workers
        self._held = HeldPhotographs(max_bytes)
        self._owner = secrets.token_hex(8)
        self._work: dict[str, _Work] = {}
        self._wake = threading.Event()
        self._is_closed = False
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def held(self) -> HeldPhotographs:
        """The photographs in memory."""
        return self._held

    def submit(self, collection: str, made_by: str, items: Sequence[NewJobItem], options: BulkOptions) -> Job:
        """Make a job that waits for its photographs; the collection is made where there is none, as by enrolling.

        Raises:
            InputError: No item, too many, or the same person and photograph twice.
            LabelError: The collection's name is not allowed.
        """
        if len(items) > self._max_items:
            raise InputError(f"a job has at most {self._max_items:,} photographs, not {len(items):,}; make several jobs")
        wanted = {(one.digest, one.label) for one in items}
        if len(wanted) != len(items):
            raise InputError(f"{len(items) - len(wanted)} items name a photograph and a label that another names already")
        with suppress(LabelTakenError):
            self._faces.add_collection(collection)
        made = self._records.create(KIND, collection, made_by, items, options=options.as_json())
        return self._records.set_state(made.job_id, JobState.WAITING_FOR_PHOTOS)

    def receive(self, job_id: str, photographs: Sequence[bytes]) -> tuple[ReceivedPhotograph, ...]:
        """Hold photographs of a job until they are worked off, and say of each what is done with it, in order.

        Raises:
            UnknownJobError: There is no such job.
            JobOverError: It is done, cancelled or failed.
            JobMemoryFullError: There is room for none of those that are needed.
        """
        job = self._records.get(job_id)
        if job.state.is_final:
            raise JobOverError(f"the job is {job.state.value} and takes no photographs", state=job.state.value)
        digests = [hashlib.sha256(data).hexdigest() for data in photographs]
        needed = {one.what.digest for one in self._lease(job_id, digests)}
        receipts = []
        for digest, data in zip(digests, photographs, strict=True):
            if digest not in needed:
                receipts.append(ReceivedPhotograph(digest, Receipt.NOT_NEEDED))
            else:
                is_held = self._held.put(job_id, digest, data)
                receipts.append(ReceivedPhotograph(digest, Receipt.HELD if is_held else Receipt.NO_ROOM))
        if Receipt.NO_ROOM in (kinds := {one.receipt for one in receipts}):
            self._give_back(job_id)
            if Receipt.HELD not in kinds:
                raise self._held.full(max(len(data) for data in photographs))
        if Receipt.HELD in kinds:
            self._start()
        return tuple(receipts)

    def cancel(self, job_id: str) -> Job:
        """End a job: what is enrolled stays, nothing more is. A job that was cancelled before stays so.

        Raises:
            UnknownJobError: There is no such job.
            EnrollmentError: It is done or failed.
        """
        job = self._records.set_state(job_id, JobState.CANCELLED)
        self._held.drop(job_id)
        return job

    def resume(self, job_id: str) -> Job:
        """Let a cancelled or failed job wait for its photographs again; one that is not over is left as it is.

        Raises:
            UnknownJobError: There is no such job.
            EnrollmentError: It is done.
        """
        job = self._records.get(job_id)
        if job.state.is_final:
            self._work.pop(job_id, None)
            over = (JobState.CANCELLED, JobState.FAILED)
            job = self._records.set_state(job_id, JobState.WAITING_FOR_PHOTOS, only_from=over)
        return job

    def forget(self, job_id: str) -> None:
        """Forget a job with its labels and outcomes, cancelled where it was not over; what it enrolled stays.

        Raises:
            UnknownJobError: There is no such job.
        """
        self._records.remove(job_id)
        self._held.drop(job_id)

    def close(self) -> None:
        """Finish the chunk in work, let the other photographs go and give up their leases. Idempotent."""
        self._is_closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        for job_id in self._held.jobs():
            self._held.drop(job_id)
            with suppress(StoreError):  # they end by themselves
                self._records.release(job_id, self._owner)

    def work_once(self) -> bool:
        """Work off a chunk of the job that waits longest; False where there is nothing to do now.

        Raises:
            StoreError: The database failed; the photographs are kept, and it can be called again.
        """
        now = time.monotonic()
        for job_id in self._held.jobs():
            work = self._work.setdefault(job_id, _Work())
            self._renew(job_id, work)
            if now >= work.not_before:
                self._held.turn(job_id)
                self._work_on(job_id, work)
                return True
        for job_id in set(self._work).difference(self._held.jobs()):
            del self._work[job_id]
        return False

    def _work_on(self, job_id: str, work: _Work) -> None:
        try:
            self._work_chunk_off(job_id, work)
        except FaceSearchError:
            raise
        except Exception:  # a fault of the program: this job is given up after a few attempts, and the others go on
            logger.exception("job %s", job_id)
            self._failed(job_id, work, FaceSearchError("an unexpected fault; the service's log says which"))

    def _work_chunk_off(self, job_id: str, work: _Work) -> None:
        try:
            job = self._records.set_state(job_id, JobState.RUNNING)
        except EnrollmentError:  # over, or gone with its collection
            self._held.drop(job_id)
            return
        digests = self._held.digests(job_id)[:CHUNK]
        try:
            items = self._lease(job_id, digests)
            outcomes = self._enrolled(job, items)
        except FaceSearchError as exc:
            self._failed(job_id, work, exc)
            return
        work.n_failed = 0
        with suppress(EnrollmentError):  # over or gone meanwhile: what was enrolled stays, as is said of cancelling
            job = self._records.set_outcomes(job_id, outcomes)
            if not job.state.is_final and self._held.digests(job_id) == digests:
                self._records.set_state(job_id, JobState.WAITING_FOR_PHOTOS)
        self._held.drop(job_id, digests)

    def _enrolled(self, job: Job, items: Sequence[JobItem]) -> list[ItemOutcome]:
        """Enroll items and return what became of them, after it is in the audit log."""
        options = BulkOptions.of(job.about.options)
        outcomes = []
        for told in self._faces.enroll_many(
            self._photographs(job, items), collection=job.about.collection, **options.as_json(), n_workers=self._n_workers
        ):
            outcomes.append(self._outcome(job, told))
            for job_id in self._held.jobs():
                self._renew(job_id, self._work.setdefault(job_id, _Work()))
        done = [one for one in outcomes if one.state is ItemState.DONE]
        if done:
            self._append_audit([_event(job, done, self._faces.collection_id(job.about.collection))])
        return outcomes

    def _photographs(self, job: Job, items: Sequence[JobItem]) -> Iterator[LabelledPhotograph[JobItem]]:
        for item in items:
            data = self._held.get(job.job_id, item.what.digest)
            if data is not None:  # else: cancelled a moment ago
                yield LabelledPhotograph(item, data, item.what.label, item.what.tags)

    def _outcome(self, job: Job, told: PhotographOutcome[JobItem]) -> ItemOutcome:
        item, error = told.key, told.error
        if told.enrollment is not None:
            stored, other = told.enrollment, told.enrollment.possible_duplicate
            code = "" if other is None else POSSIBLE_DUPLICATE
            message = "" if other is None else f"enrolled, but the face may be that of {other!r}"
            made = (stored.identity.identity_id, stored.template.template_id)
            return ItemOutcome(item.number, ItemState.DONE, *made, error_code=code, error_message=message)
        if isinstance(error, DuplicateTemplateError) and error.context.get("label") == item.what.label:
            # Enrolled before, by a process that was killed before it could write the outcome, or by another request: as was wanted.
            identity = self._faces.show(item.what.label, collection=job.about.collection).identity
            template_id = error.context.get("template_id")
            return ItemOutcome(
                item.number, ItemState.DONE, identity.identity_id, template_id if isinstance(template_id, int) else None
            )
        code, message = (error.code, error.message) if error is not None else (FaceSearchError.code, "nothing is known of it")
        return ItemOutcome(item.number, ItemState.FAILED, error_code=code, error_message=message)

    def _failed(self, job_id: str, work: _Work, error: FaceSearchError) -> None:
        """Try again later, or give the job up."""
        work.n_failed += 1
        logger.error("job %s: %s", job_id, error.message)
        if work.n_failed < MAX_ATTEMPTS:
            work.not_before = time.monotonic() + RETRY_S
            return
        self._held.drop(job_id)
        with suppress(EnrollmentError):
            self._records.set_state(job_id, JobState.FAILED, error_code=error.code, error_message=error.message)

    def _lease(self, job_id: str, digests: Sequence[str]) -> tuple[JobItem, ...]:
        return self._records.lease_items(job_id, self._owner, lease_s=LEASE_S, digests=digests, limit=self._max_items)

    def _renew(self, job_id: str, work: _Work) -> None:
        if time.monotonic() - work.leased_at >= LEASE_S / 4:
            work.leased_at = time.monotonic()
            with suppress(UnknownJobError):  # removed: its photographs go at its turn
                self._lease(job_id, self._held.digests(job_id))

    def _give_back(self, job_id: str) -> None:
        """Give up the leases of photographs that found no room, and keep those of the others."""
        self._records.release(job_id, self._owner)
        self._lease(job_id, self._held.digests(job_id))

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._is_closed:
                self._thread = threading.Thread(target=self._run, name="facesearch-jobs", daemon=True)
                self._thread.start()
        self._wake.set()

    def _run(self) -> None:
        while not self._is_closed:
            try:
                is_busy = self.work_once()
            except Exception:
                # The top of the thread: whatever it was, the photographs are still there, and the next look may go better.
                logger.exception("working off jobs failed; it goes on in %g s", RETRY_S)
                is_busy = False
                time.sleep(RETRY_S)
            if not is_busy:
                self._wake.wait(IDLE_S)
                self._wake.clear()


def _event(job: Job, done: Sequence[ItemOutcome], collection_id: int | None) -> AuditEvent:
    return AuditEvent(
        action="enroll",
        actor=job.about.made_by,
        outcome="done",
        at=datetime.now(UTC),
        collection_id=collection_id,
        identity_ids=tuple(dict.fromkeys(one.identity_id for one in done if one.identity_id is not None)),
        template_ids=tuple(one.template_id for one in done if one.template_id is not None),
        subject=job.job_id,
    )
