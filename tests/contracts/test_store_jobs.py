"""Jobs on each database: leases, outcomes, what is missing, and what goes with what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from facesearch.core.errors import EnrollmentError, InputError, UnknownCollectionError, UnknownJobError
from facesearch.core.jobs import ItemOutcome, ItemState, JobState, NewJobItem
from facesearch.service.job_records import JobRecords

START = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now

    def pass_(self, **time):
        self.now += timedelta(**time)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def jobs(store, clock):
    return JobRecords(store, clock=clock)


def digest(number):
    return f"{number:064x}"


def items(n, *, label="Ada"):
    return [NewJobItem(digest(number), f"{label} {number}", ("club",), f"{number}.jpg") for number in range(n)]


def done(number):
    return ItemOutcome(number, ItemState.DONE, identity_id=1, template_id=number + 10)


def failed(number):
    return ItemOutcome(number, ItemState.FAILED, error_code="no_face", error_message="no face in 1.jpg")


def test_a_job_comes_back_as_it_was_asked(jobs):
    made = jobs.create("enroll", "default", "key", items(3), options={"face": "largest", "tags": ["x"]})
    assert made == jobs.get(made.job_id)
    assert (made.state, made.n_items, made.counts) == (JobState.QUEUED, 3, {"waiting": 3, "done": 0, "failed": 0})
    about = made.about
    assert (about.kind, about.collection, about.made_by, about.created_at) == ("enroll", "default", "key", START)
    assert dict(about.options) == {"face": "largest", "tags": ["x"]}
    found = jobs.items(made.job_id)
    assert [one.what for one in found] == items(3)
    assert [one.number for one in jobs.items(made.job_id, after=0, limit=1)] == [1]


def test_bad_jobs_are_refused(jobs):
    with pytest.raises(UnknownCollectionError):
        jobs.create("enroll", "nowhere", "key", items(1))
    with pytest.raises(InputError, match="at least one"):
        jobs.create("enroll", "default", "key", [])
    with pytest.raises(InputError, match="JSON"):
        jobs.create("enroll", "default", "key", items(1), options={"x": float("nan")})
    with pytest.raises(InputError, match="SHA-256"):
        NewJobItem("AB" * 32, "Ada")
    assert jobs.list() == ()
    for ask in (jobs.get, jobs.items, jobs.missing, jobs.remove):
        with pytest.raises(UnknownJobError, match="nope"):
            ask("nope")


def test_outcomes_are_kept_and_the_last_one_ends_the_job(jobs):
    job_id = jobs.create("enroll", "default", "key", items(3)).job_id
    assert jobs.set_state(job_id, JobState.RUNNING).state is JobState.RUNNING
    after = jobs.set_outcomes(job_id, [done(0), failed(1)])
    assert (after.state, after.counts[ItemState.WAITING]) == (JobState.RUNNING, 1)
    jobs.set_outcomes(job_id, [failed(0)])  # told again after a restart: the first outcome stands
    first, second, third = jobs.items(job_id)
    assert (first.state, first.identity_id, first.template_id, first.error_code) == (ItemState.DONE, 1, 10, "")
    assert (second.error_code, second.error_message) == ("no_face", "no face in 1.jpg")
    assert third.state is ItemState.WAITING
    assert [one.number for one in jobs.items(job_id, state=ItemState.FAILED)] == [1]
    assert jobs.set_outcomes(job_id, [done(2)]).state is JobState.DONE
    with pytest.raises(EnrollmentError, match="done"):
        jobs.set_state(job_id, JobState.RUNNING)
    with pytest.raises(InputError, match="waiting"):
        jobs.set_outcomes(job_id, [ItemOutcome(0, ItemState.WAITING)])


def test_a_lease_keeps_others_off_until_it_ends(jobs, clock):
    first, second = (jobs.create("enroll", "default", "key", items(1)).job_id for _ in range(2))
    assert jobs.claim("enroll", "a", lease_s=10).job_id == first
    assert jobs.claim("enroll", "b", lease_s=10).job_id == second
    assert jobs.claim("enroll", "c", lease_s=10) is None
    assert jobs.claim("export", "c", lease_s=10) is None
    assert not jobs.lease(first, "b", lease_s=10)
    clock.pass_(seconds=9)
    assert jobs.lease(first, "a", lease_s=10)
    clock.pass_(seconds=5)
    assert jobs.claim("enroll", "c", lease_s=10).job_id == second  # whose holder was killed
    jobs.release(first, "b")
    assert not jobs.lease(first, "d", lease_s=10)
    jobs.release(first, "a")
    assert jobs.lease(first, "d", lease_s=10)
    jobs.set_state(first, JobState.CANCELLED)
    assert not jobs.lease(first, "d", lease_s=10)
    assert not jobs.lease("gone", "d", lease_s=10)
    assert jobs.get(first).leased_by == ""


def test_photographs_that_a_killed_process_held_are_missing_again(jobs, clock):
    job_id = jobs.create("enroll", "default", "key", [*items(3), NewJobItem(digest(1), "Eve")]).job_id
    held = jobs.lease_items(job_id, "a", lease_s=10, digests=[digest(1), digest(2), digest(99)])
    assert [one.number for one in held] == [1, 2, 3]
    assert jobs.missing(job_id) == ((0, digest(0)),)
    assert jobs.lease_items(job_id, "b", lease_s=10, digests=[digest(1)]) == ()
    assert [one.number for one in jobs.lease_items(job_id, "b", lease_s=10)] == [0]
    assert jobs.missing(job_id) == ()
    clock.pass_(seconds=8)
    assert [one.number for one in jobs.lease_items(job_id, "b", lease_s=10, limit=1)] == [0]
    clock.pass_(seconds=2)
    assert [number for number, _ in jobs.missing(job_id)] == [1, 2, 3]
    assert [number for number, _ in jobs.missing(job_id, after=1, limit=1)] == [2]
    jobs.set_outcomes(job_id, [done(2)])
    assert [number for number, _ in jobs.missing(job_id)] == [1, 3]
    jobs.release(job_id, "b")
    assert [number for number, _ in jobs.missing(job_id)] == [0, 1, 3]


def test_a_job_of_many_photographs(jobs):
    job_id = jobs.create("enroll", "default", "key", items(1_200)).job_id
    held = jobs.lease_items(job_id, "a", lease_s=10, digests=[digest(number) for number in range(1_100)], limit=1_050)
    assert [one.number for one in held] == list(range(1_050))
    assert len(jobs.missing(job_id, limit=1_000)) == 150


def test_lists_are_newest_first_and_paged(jobs, store):
    with store.writing() as writer:
        writer.add_collection("other")
    ids = [jobs.create("enroll", name, by, items(1)).job_id for name, by in [("default", "a"), ("other", "a"), ("default", "b")]]
    assert [one.job_id for one in jobs.list()] == ids[::-1]
    assert [one.job_id for one in jobs.list(limit=1)] == [ids[2]]
    assert [one.job_id for one in jobs.list(before=ids[2])] == [ids[1], ids[0]]
    assert [one.job_id for one in jobs.list(collections=["default"])] == [ids[2], ids[0]]
    assert [one.job_id for one in jobs.list(made_by="a", collections=["other", "nowhere"])] == [ids[1]]
    assert jobs.list(before="gone") == ()


def test_jobs_go_with_their_collection_and_after_a_week(jobs, store, clock):
    with store.writing() as writer:
        writer.add_collection("other")
    gone = jobs.create("enroll", "other", "a", items(2)).job_id
    stays = jobs.create("enroll", "default", "a", items(2)).job_id
    with store.writing() as writer:
        writer.remove_collection("other")
    with pytest.raises(UnknownJobError):
        jobs.get(gone)
    clock.pass_(days=6)
    jobs.set_outcomes(stays, [done(0)])
    clock.pass_(days=6)
    jobs.forget_old()
    assert jobs.get(stays).n_items == 2
    clock.pass_(days=2)
    anew = jobs.create("enroll", "default", "a", items(1)).job_id
    assert [one.job_id for one in jobs.list()] == [anew]
    assert jobs.remove(anew).job_id == anew
    assert jobs.list() == ()
