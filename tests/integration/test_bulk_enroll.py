"""Bulk enrolment as a job: photographs in any order, once each, through cancelling, restarts and a full memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from facesearch.core.audit import AuditEvent
from facesearch.core.errors import (
    EnrollmentError,
    InputError,
    JobMemoryFullError,
    JobOverError,
    StoreError,
    UnknownJobError,
)
from facesearch.core.jobs import DELETED, ItemState, JobState, NewJobItem
from facesearch.service import bulk_enroll
from facesearch.service.bulk_enroll import BulkEnroll, BulkOptions, Receipt
from facesearch.service.job_records import JobRecords
from tests.world import World


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Jobs:
    """A world with jobs whose worker is called by the test, not by a thread."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.world.faces.add_collection("staff")
        self.clock = Clock()
        self.records = JobRecords(self.world.store, clock=self.clock)
        self.audited: list[AuditEvent] = []
        self.bulk = self.process()

    def process(self, *, max_bytes: int = 1000, is_threaded: bool = False) -> BulkEnroll:
        """Return what a process of its own would have."""
        made = BulkEnroll(self.world.faces, self.records, self.audit, max_bytes=max_bytes, max_items=100)
        if not is_threaded:
            made._start = lambda: None
        return made

    def audit(self, events: Sequence[AuditEvent]) -> None:
        self.audited += events

    def photographs(self, n: int, *, prefix: str = "p") -> list[bytes]:
        """Return photographs of different people."""
        return [self.world.networks.portrait(f"{prefix}{place}", place, 0.9).encode() for place in range(n)]

    def submit(self, photographs: Sequence[bytes], **options: object) -> str:
        items = [NewJobItem(digest_of(data), f"Person {place}", ("x",)) for place, data in enumerate(photographs)]
        return self.bulk.submit("staff", "key", items, BulkOptions(**options)).job_id

    def counts(self, job_id: str) -> tuple[int, int, int]:
        counts = self.records.get(job_id).counts
        return counts[ItemState.WAITING], counts[ItemState.DONE], counts[ItemState.FAILED]


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def finish(bulk: BulkEnroll) -> int:
    n_chunks = 0
    while bulk.work_once():
        n_chunks += 1
    return n_chunks


@pytest.fixture
def jobs(tmp_path: Path):
    made = Jobs(tmp_path)
    yield made
    made.world.close()


def test_photographs_come_in_any_order_and_a_few_at_a_time(jobs: Jobs):
    photographs = jobs.photographs(5)
    job_id = jobs.submit(photographs)
    assert jobs.records.get(job_id).state is JobState.WAITING_FOR_PHOTOS
    assert [one.receipt for one in jobs.bulk.receive(job_id, [photographs[4], photographs[1]])] == [Receipt.HELD] * 2
    assert [digest for _, digest in jobs.records.missing(job_id)] == [digest_of(photographs[place]) for place in (0, 2, 3)]
    assert finish(jobs.bulk) == 1
    assert jobs.counts(job_id) == (3, 2, 0)
    assert jobs.records.get(job_id).state is JobState.WAITING_FOR_PHOTOS
    jobs.bulk.receive(job_id, photographs[:4])
    finish(jobs.bulk)
    assert jobs.counts(job_id) == (0, 5, 0)
    assert jobs.records.get(job_id).state is JobState.DONE
    assert [one.label for one in jobs.world.faces.list(collection="staff")] == [f"Person {place}" for place in range(5)]
    items = jobs.records.items(job_id)
    assert len(items) == 5
    for item in items:
        person = jobs.world.faces.show(item.what.label, collection="staff")
        assert (person.identity.identity_id, person.templates[0].template_id) == (item.identity_id, item.template_id)
    assert jobs.bulk.held.n_bytes == 0


def test_what_was_enrolled_is_in_the_audit_log_as_ids(jobs: Jobs):
    photographs = jobs.photographs(3)
    job_id = jobs.submit(photographs)
    jobs.bulk.receive(job_id, photographs)
    finish(jobs.bulk)
    (event,) = jobs.audited
    assert (event.action, event.actor, event.subject, event.outcome) == ("enroll", "key", job_id, "done")
    assert len(event.template_ids) == len(set(event.identity_ids)) == 3
    assert event.collection_id == jobs.world.faces.collection_id("staff")


def test_an_item_that_fails_says_why_and_stops_nothing(jobs: Jobs):
    good = jobs.photographs(1)
    empty = jobs.world.networks.photo("nobody on it").encode()
    job_id = jobs.submit([*good, empty, b"no photograph"])
    jobs.bulk.receive(job_id, [*good, empty, b"no photograph"])
    finish(jobs.bulk)
    assert jobs.counts(job_id) == (0, 1, 2)
    assert [one.error_code for one in jobs.records.items(job_id)] == ["", "no_face", "image_undecodable"]


def test_items_of_somebody_deleted_name_nobody_any_more(jobs: Jobs):
    photographs = jobs.photographs(3)
    labels = ("Ada", "Ada", "Bob")
    items = [NewJobItem(digest_of(data), label, ("x",), f"{label}.jpg") for data, label in zip(photographs, labels, strict=True)]
    items.append(NewJobItem("e" * 64, "Ada", ("x",), "later.jpg"))
    job_id = jobs.bulk.submit("staff", "key", items, BulkOptions()).job_id
    jobs.bulk.receive(job_id, photographs)
    finish(jobs.bulk)
    jobs.world.faces.remove("Ada", collection="staff")
    left = [one.what for one in jobs.records.items(job_id)]
    assert [(one.label, one.name, one.tags) for one in left[2:]] == [("Bob", "Bob.jpg", ("x",)), ("Ada", "later.jpg", ("x",))]
    gone = [one for one in left if one.label == DELETED]
    assert [(one.digest, one.name, one.tags) for one in gone] == [("0" * 64, "", ())] * 2
    assert jobs.counts(job_id) == (1, 2, 1)  # the second face is not the first one's


def test_an_item_that_said_whom_its_face_resembles_forgets_the_name(jobs: Jobs):
    networks = jobs.world.networks
    photographs = [networks.portrait(f"like {place}", 1, 0.9, photo=place).encode() for place in range(2)]
    job_id = jobs.submit(photographs, allow_duplicate=True)
    jobs.bulk.receive(job_id, photographs)
    finish(jobs.bulk)
    (told,) = (one for one in jobs.records.items(job_id) if "Person 0" in one.error_message)
    jobs.world.faces.remove("Person 0", collection="staff")
    after = next(one for one in jobs.records.items(job_id) if one.number == told.number)
    assert (after.what.label, after.error_code, after.error_message) == ("Person 1", told.error_code, "")


def test_a_fault_of_the_program_ends_its_job_and_not_the_others(jobs: Jobs, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bulk_enroll, "RETRY_S", 0.0)
    photographs = jobs.photographs(2)
    bad, good = (jobs.submit([data]) for data in photographs)
    enroll_many = jobs.world.faces.enroll_many

    def faulty(items, **named):
        chosen = list(items)
        if chosen[0].photo == photographs[0]:
            raise ZeroDivisionError
        return enroll_many(chosen, **named)

    monkeypatch.setattr(jobs.world.faces, "enroll_many", faulty)
    jobs.bulk.receive(bad, photographs[:1])
    jobs.bulk.receive(good, photographs[1:])
    assert finish(jobs.bulk) == bulk_enroll.MAX_ATTEMPTS + 1
    failed = jobs.records.get(bad)
    assert (failed.state, failed.error_code) == (JobState.FAILED, "internal_error")
    assert "Zero" not in failed.error_message
    assert jobs.counts(good) == (0, 1, 0)
    assert jobs.bulk.held.n_bytes == 0


def test_photographs_that_nobody_waits_for_are_not_kept(jobs: Jobs):
    photographs = jobs.photographs(2)
    job_id = jobs.submit(photographs)
    assert [one.receipt for one in jobs.bulk.receive(job_id, [b"foreign", photographs[0]])] == [Receipt.NOT_NEEDED, Receipt.HELD]
    assert [one.receipt for one in jobs.bulk.receive(job_id, [photographs[0]])] == [Receipt.HELD]
    assert jobs.bulk.held.n_bytes == len(photographs[0])
    finish(jobs.bulk)
    assert [one.receipt for one in jobs.bulk.receive(job_id, [photographs[0]])] == [Receipt.NOT_NEEDED]


def test_one_photograph_may_be_of_two_people(jobs: Jobs):
    data = jobs.photographs(1)[0]
    items = [NewJobItem(digest_of(data), label) for label in ("Ada", "Ada's twin")]
    job_id = jobs.bulk.submit("staff", "key", items, BulkOptions()).job_id
    jobs.bulk.receive(job_id, [data])
    finish(jobs.bulk)
    assert [(one.state, one.error_code) for one in jobs.records.items(job_id)] == [
        (ItemState.DONE, ""),
        (ItemState.FAILED, "duplicate_template"),
    ]
    with pytest.raises(InputError, match="1 items name a photograph"):
        jobs.bulk.submit("staff", "key", [items[0], items[0]], BulkOptions())


def test_a_full_memory_takes_what_fits_and_says_so(jobs: Jobs):
    photographs = jobs.photographs(4)
    job_id = jobs.submit(photographs)
    bulk = jobs.process(max_bytes=2 * len(photographs[0]))
    receipts = [one.receipt for one in bulk.receive(job_id, photographs[:3])]
    assert receipts == [Receipt.HELD, Receipt.HELD, Receipt.NO_ROOM]
    assert [digest for _, digest in jobs.records.missing(job_id)] == [digest_of(one) for one in photographs[2:]]
    with pytest.raises(JobMemoryFullError, match="0 of 4 bytes are left") as refused:
        bulk.receive(job_id, photographs[3:])
    assert refused.value.context["retry_after_s"] > 0
    finish(bulk)
    assert [one.receipt for one in bulk.receive(job_id, photographs[2:])] == [Receipt.HELD] * 2
    finish(bulk)
    assert jobs.counts(job_id) == (0, 4, 0)


def test_a_photograph_larger_than_the_memory_is_refused_for_good(jobs: Jobs):
    photographs = jobs.photographs(1)
    job_id = jobs.submit(photographs)
    with pytest.raises(JobMemoryFullError, match="enroll it without a job") as refused:
        jobs.process(max_bytes=1).receive(job_id, photographs)
    assert "retry_after_s" not in refused.value.context
    assert len(jobs.records.missing(job_id)) == 1


def test_cancelling_keeps_what_is_enrolled_and_resuming_goes_on(jobs: Jobs, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bulk_enroll, "CHUNK", 2)
    photographs = jobs.photographs(5)
    job_id = jobs.submit(photographs)
    jobs.bulk.receive(job_id, photographs)
    assert jobs.bulk.work_once()
    assert jobs.bulk.cancel(job_id).state is JobState.CANCELLED
    assert jobs.bulk.held.n_bytes == 0
    assert not jobs.bulk.work_once()
    assert jobs.counts(job_id) == (3, 2, 0)
    with pytest.raises(JobOverError, match="cancelled"):
        jobs.bulk.receive(job_id, photographs)
    assert jobs.bulk.resume(job_id).state is JobState.WAITING_FOR_PHOTOS
    assert [one.receipt for one in jobs.bulk.receive(job_id, photographs)] == [Receipt.NOT_NEEDED] * 2 + [Receipt.HELD] * 3
    finish(jobs.bulk)
    assert jobs.records.get(job_id).state is JobState.DONE
    with pytest.raises(EnrollmentError, match="done"):
        jobs.bulk.cancel(job_id)
    with pytest.raises(EnrollmentError, match="done"):
        jobs.bulk.resume(job_id)


def test_after_a_killed_process_its_photographs_are_missing_again(jobs: Jobs):
    photographs = jobs.photographs(3)
    job_id = jobs.submit(photographs)
    jobs.bulk.receive(job_id, photographs)  # and dies with them
    other = jobs.process()
    assert jobs.records.missing(job_id) == ()
    assert [one.receipt for one in other.receive(job_id, photographs)] == [Receipt.NOT_NEEDED] * 3
    jobs.clock.now += timedelta(seconds=bulk_enroll.LEASE_S + 1)
    assert len(jobs.records.missing(job_id)) == 3
    other.receive(job_id, photographs)
    finish(other)
    assert jobs.counts(job_id) == (0, 3, 0)


def test_a_process_killed_between_enrolling_and_its_outcome_enrolls_nothing_twice(jobs: Jobs, monkeypatch: pytest.MonkeyPatch):
    photographs = jobs.photographs(3)
    job_id = jobs.submit(photographs)
    jobs.bulk.receive(job_id, photographs)

    def killed(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(jobs.records, "set_outcomes", killed)
        with pytest.raises(SystemExit):
            jobs.bulk.work_once()
    assert jobs.counts(job_id) == (3, 0, 0)
    assert jobs.world.faces.collection("staff").n_templates == 3
    other = jobs.process()
    jobs.clock.now += timedelta(seconds=bulk_enroll.LEASE_S + 1)
    other.receive(job_id, photographs)
    finish(other)
    assert jobs.counts(job_id) == (0, 3, 0)
    assert jobs.world.faces.collection("staff").n_templates == 3
    items = jobs.records.items(job_id)
    assert [one.error_code for one in items] == [""] * 3
    assert len({one.template_id for one in items}) == 3


def test_two_processes_share_a_job(jobs: Jobs):
    photographs = jobs.photographs(6)
    job_id = jobs.submit(photographs)
    other = jobs.process()
    jobs.bulk.receive(job_id, photographs[:3])
    other.receive(job_id, photographs[3:])
    finish(other)
    assert jobs.counts(job_id) == (3, 3, 0)
    finish(jobs.bulk)
    assert jobs.records.get(job_id).state is JobState.DONE


def test_a_failing_database_is_tried_again_before_the_job_is_given_up(jobs: Jobs, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bulk_enroll, "RETRY_S", 0.0)
    photographs = jobs.photographs(2)
    job_id = jobs.submit(photographs)
    jobs.bulk.receive(job_id, photographs)

    def broken(*_: object, **__: object):
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(jobs.world.faces, "enroll_many", broken)
        assert jobs.bulk.work_once()
    assert jobs.counts(job_id) == (2, 0, 0)
    assert finish(jobs.bulk) == 1
    assert jobs.counts(job_id) == (0, 2, 0)

    again = jobs.submit(jobs.photographs(2, prefix="q"))
    jobs.bulk.receive(again, jobs.photographs(2, prefix="q"))
    monkeypatch.setattr(jobs.world.faces, "enroll_many", broken)
    assert finish(jobs.bulk) == bulk_enroll.MAX_ATTEMPTS
    failed = jobs.records.get(again)
    assert (failed.state, failed.error_code) == (JobState.FAILED, "store_error")
    assert jobs.bulk.held.n_bytes == 0
    assert jobs.bulk.resume(again).state is JobState.WAITING_FOR_PHOTOS


def test_jobs_take_turns(jobs: Jobs, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bulk_enroll, "CHUNK", 1)
    first, second = jobs.photographs(3, prefix="a"), jobs.photographs(3, prefix="b")
    jobs.world.faces.add_collection("guests")
    one = jobs.submit(first)
    items = [NewJobItem(digest_of(data), f"Guest {place}") for place, data in enumerate(second)]
    other = jobs.bulk.submit("guests", "key", items, BulkOptions()).job_id
    jobs.bulk.receive(one, first)
    jobs.bulk.receive(other, second)
    for _ in range(4):
        assert jobs.bulk.work_once()
    assert jobs.counts(one)[1] == jobs.counts(other)[1] == 2


def test_a_collection_removed_on_the_way_takes_its_jobs_along(jobs: Jobs):
    photographs = jobs.photographs(2)
    job_id = jobs.submit(photographs)
    jobs.bulk.receive(job_id, photographs)
    jobs.world.faces.remove_collection("staff")
    finish(jobs.bulk)
    assert jobs.bulk.held.n_bytes == 0
    with pytest.raises(UnknownJobError):
        jobs.records.get(job_id)
    again = jobs.submit(photographs)  # makes the collection anew
    jobs.bulk.receive(again, photographs)
    finish(jobs.bulk)
    assert jobs.counts(again) == (0, 2, 0)


def test_the_options_of_the_job_hold(jobs: Jobs):
    photographs = [jobs.world.networks.portrait(name, 0, 0.9, photo=place).encode() for place, name in enumerate("ab")]
    job_id = jobs.submit(photographs, allow_duplicate=False, keep="crop")
    jobs.bulk.receive(job_id, photographs)
    finish(jobs.bulk)
    assert [one.error_code for one in jobs.records.items(job_id)] == ["", "duplicate_person"]
    template_id = jobs.records.items(job_id)[0].template_id
    assert jobs.world.faces.picture(template_id) is not None
    lenient = jobs.submit([jobs.world.networks.portrait("c", 0, 0.9, photo=3).encode()] * 1)
    jobs.bulk.receive(lenient, [b"c"])
    finish(jobs.bulk)
    assert [(one.state, one.error_code) for one in jobs.records.items(lenient)] == [(ItemState.DONE, "")]


def test_a_thread_of_its_own_works_jobs_off(jobs: Jobs):
    import time

    bulk = jobs.process(is_threaded=True)
    photographs = jobs.photographs(4)
    job_id = jobs.submit(photographs)
    bulk.receive(job_id, photographs)
    deadline = time.monotonic() + 30
    while jobs.records.get(job_id).state is not JobState.DONE and time.monotonic() < deadline:
        time.sleep(0.02)
    assert jobs.counts(job_id) == (0, 4, 0)
    bulk.close()
    bulk.close()


def test_closing_gives_up_the_leases(jobs: Jobs):
    photographs = jobs.photographs(2)
    job_id = jobs.submit(photographs)
    jobs.bulk.receive(job_id, photographs)
    jobs.bulk.close()
    assert len(jobs.records.missing(job_id)) == 2
