"""Idempotency keys: a write sent twice is done once and answered twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from facesearch.core.access_protocols import StoredResponse
from facesearch.core.errors import IdempotencyConflictError, InputError, UnknownIdentityError
from facesearch.service.idempotency import IN_PROGRESS_S, IdempotencyKeys
from facesearch.store.sql import SqlStore

ONE, OTHER = "ab" * 32, "cd" * 32
ANSWER = {"status": 201, "headers": {"etag": '"1"'}, "body": b"\0\xff"}


class Clock:
    def __init__(self):
        self.now = datetime(2026, 3, 4, tzinfo=UTC)

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path):
    opened = SqlStore(f"sqlite:///{tmp_path}/repeats.db")
    yield opened
    opened.close()


@pytest.fixture
def repeats(store, clock):
    return IdempotencyKeys(store, clock=clock)


def test_the_second_request_gets_the_firsts_answer(repeats, store, clock):
    assert repeats.begin("key", "k", ONE) is None
    repeats.finish("key", "k", **ANSWER)
    assert IdempotencyKeys(store, clock=clock).begin("key", "k", ONE) == StoredResponse(201, {"etag": '"1"'}, b"\0\xff")
    assert repeats.begin("another api key", "k", OTHER) is None


def test_a_key_is_of_one_request(repeats):
    repeats.begin("key", "k", ONE)
    with pytest.raises(IdempotencyConflictError, match="another request") as caught:
        repeats.begin("key", "k", OTHER)
    assert "retry_after_s" not in caught.value.context
    repeats.finish("key", "k", **ANSWER)
    with pytest.raises(IdempotencyConflictError, match="another request"):
        repeats.begin("key", "k", OTHER)


def test_a_request_in_work_is_not_begun_again(repeats, clock):
    repeats.begin("key", "k", ONE)
    with pytest.raises(IdempotencyConflictError) as caught:
        repeats.begin("key", "k", ONE)
    assert caught.value.context["retry_after_s"] > 0
    clock.now += timedelta(seconds=IN_PROGRESS_S)
    assert repeats.begin("key", "k", ONE) is None  # its process was killed


def test_a_failed_request_can_be_sent_again_and_an_answered_one_stays(repeats):
    repeats.begin("key", "k", ONE)
    repeats.abandon("key", "k")
    assert repeats.begin("key", "k", OTHER) is None
    repeats.finish("key", "k", **ANSWER)
    repeats.abandon("key", "k")
    assert repeats.begin("key", "k", OTHER) is not None
    repeats.abandon("key", "unknown")
    repeats.finish("key", "unknown", **ANSWER)
    assert repeats.begin("key", "unknown", ONE) is None


def test_an_answer_that_named_somebody_deleted_is_not_given_again_nor_the_request_done(repeats, store):
    repeats.begin("key", "k", ONE)
    repeats.finish("key", "k", **ANSWER)
    with store.writing() as writer:
        writer.forget_answers([ANSWER["body"]])
    repeats.finish("key", "k", **ANSWER)  # of the same request, late
    repeats.abandon("key", "k")
    for _ in range(2):
        with pytest.raises(UnknownIdentityError, match="deleted since"):
            repeats.begin("key", "k", ONE)
    with pytest.raises(IdempotencyConflictError, match="another request"):
        repeats.begin("key", "k", OTHER)


def test_answers_are_forgotten_after_a_day(repeats, store, clock):
    repeats.begin("key", "k", ONE)
    repeats.finish("key", "k", **ANSWER)
    clock.now += timedelta(hours=23, minutes=59)
    assert repeats.begin("key", "k", ONE) is not None
    clock.now += timedelta(minutes=1)
    assert repeats.begin("key", "k", OTHER) is None
    clock.now += timedelta(hours=24)
    assert repeats.begin("key", "other", ONE) is None
    with store.reading() as reader:
        assert reader.idempotency_record("key", "k").request_digest == OTHER  # exactly a day old: not older
    clock.now += timedelta(minutes=11)
    repeats.begin("key", "third", ONE)
    with store.reading() as reader:
        assert reader.idempotency_record("key", "k") is None


def test_malformed_keys_are_refused(repeats):
    for key in ("", "x" * 256):
        with pytest.raises(InputError, match="255"):
            repeats.begin("key", key, ONE)
