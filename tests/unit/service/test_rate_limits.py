"""Rate limits: a minute's worth at once, then evenly; the same over threads and processes; a refusal costs no write."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.core.errors import InputError, RateLimitedError
from facesearch.service.rate_limits import RateLimits
from facesearch.store.sql import SqlStore


class CountedStore:
    """The store, counting its writing transactions."""

    def __init__(self, store):
        self._store = store
        self.n_writes = 0

    def writing(self):
        self.n_writes += 1
        return self._store.writing()


@pytest.fixture
def store(tmp_path):
    opened = SqlStore(f"sqlite:///{tmp_path}/rates.db")
    with opened.writing():
        pass
    yield CountedStore(opened)
    opened.close()


class BucketsInMemory:
    """A store that holds nothing but buckets."""

    def __init__(self):
        self._buckets = {}

    @contextmanager
    def writing(self):
        yield self

    def rate_bucket(self, key_id):
        return self._buckets.get(key_id)

    def set_rate_bucket(self, key_id, bucket):
        self._buckets[key_id] = bucket


class Clock:
    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def n_passed(rates, n, per_minute, key="k", at_once=False, **options):
    passed = 0
    for _ in range(n):
        try:
            if not (at_once and rates.take_at_once(key, per_minute)):
                rates.take(key, per_minute, **options)
        except RateLimitedError:
            continue
        passed += 1
    return passed


@pytest.mark.parametrize("per_minute", [1, 5, 60, 6_000])
def test_a_minutes_worth_passes_at_once_and_no_more(store, clock, per_minute):
    rates = RateLimits(store, clock=clock)
    assert n_passed(rates, per_minute + 50, per_minute) == per_minute
    with pytest.raises(RateLimitedError) as caught:
        rates.take("k", per_minute)
    assert caught.value.context["retry_after_s"] == pytest.approx(60 / per_minute, abs=0.01)
    assert n_passed(rates, 1, per_minute, key="another") == 1


def test_waiting_as_long_as_was_said_is_enough_and_less_is_not(store, clock):
    rates = RateLimits(store, clock=clock)
    assert n_passed(rates, 5, 5) == 5
    with pytest.raises(RateLimitedError) as caught:
        rates.take("k", 5)
    clock.now += caught.value.context["retry_after_s"] - 0.01
    assert n_passed(rates, 1, 5) == 0
    clock.now += 0.02
    assert n_passed(rates, 3, 5) == 1
    clock.now += 3600
    assert n_passed(rates, 9, 5) == 5


def test_costly_requests_count_for_several(store, clock):
    rates = RateLimits(store, clock=clock)
    assert n_passed(rates, 9, 10, cost=4) == 2
    assert n_passed(rates, 9, 10, cost=1) == 2
    clock.now += 60
    assert n_passed(rates, 2, 10, cost=1_000) == 1  # at most the whole minute
    for wrong in ((0, 1), (5, 0)):
        with pytest.raises(InputError):
            rates.take("k", wrong[0], cost=wrong[1])


def test_the_limit_holds_over_processes(store, clock):
    """Two processes, each with what it remembers of its own, over one database."""
    one, other = RateLimits(store, clock=clock), RateLimits(store, clock=clock)
    passed = 0
    for _ in range(400):
        passed += n_passed(one, 1, 600) + n_passed(other, 1, 600)
    assert 600 - 2 <= passed <= 600
    clock.now += 10  # 100 more, in both together
    passed = sum(n_passed(rates, 150, 600) for rates in (one, other))
    assert 98 <= passed <= 102  # and up to a quarter of a second's worth that each had taken before


def test_tokens_taken_ahead_and_not_used_come_back(store, clock):
    rates = RateLimits(store, clock=clock)
    for _ in range(10):
        rates.take("k", 6_000)  # by now it takes several at once
    clock.now += 2
    rates.take("k", 6_000)
    with store.writing() as writer:
        left = writer.rate_bucket("k").tokens
    assert left == pytest.approx(6_000 - 1, abs=1)


def test_a_busy_key_writes_a_few_times_a_second_only(store, clock):
    rates = RateLimits(store, clock=clock)
    for _ in range(400):  # 200 a second, for two seconds
        rates.take("k", 60_000)
        clock.now += 0.005
    assert store.n_writes < 30


def test_a_quiet_key_takes_nothing_ahead(store, clock):
    rates = RateLimits(store, clock=clock)
    for _ in range(5):
        rates.take("k", 6_000)
        clock.now += 0.5
    with store.writing() as writer:
        assert writer.rate_bucket("k").tokens >= 5_999


def test_asking_on_in_vain_costs_no_write(store, clock):
    rates = RateLimits(store, clock=clock)
    assert n_passed(rates, 3, 2) == 2
    before = store.n_writes
    assert n_passed(rates, 500, 2) == 0
    assert store.n_writes == before
    clock.now += 1
    assert n_passed(rates, 1, 60) == 1  # the limit was raised: what was remembered does not hold


def test_at_once_passes_what_was_taken_ahead_and_asks_no_database(store, clock):
    rates = RateLimits(store, clock=clock)
    assert not rates.take_at_once("k", 6_000)
    for _ in range(20):
        rates.take("k", 6_000)
        clock.now += 0.005
    before = store.n_writes
    n_at_once = 0
    while rates.take_at_once("k", 6_000):
        n_at_once += 1
    assert 0 < n_at_once <= 25
    assert not rates.take_at_once("k", 60)  # the limit is another now: the database says what is left
    assert store.n_writes == before
    clock.now += 10
    assert not rates.take_at_once("k", 6_000)  # too old: they belong to everybody again


def test_at_once_refuses_whom_the_database_refused(store, clock):
    rates = RateLimits(store, clock=clock)
    assert n_passed(rates, 5, 2, at_once=True) == 2
    before = store.n_writes
    with pytest.raises(RateLimitedError) as refused:
        rates.take_at_once("k", 2)
    assert refused.value.context["retry_after_s"] > 0
    assert store.n_writes == before


def test_a_clock_that_is_set_back_gives_nothing_and_takes_nothing(store, clock):
    rates = RateLimits(store, clock=clock)
    assert n_passed(rates, 5, 10) == 5
    clock.now -= 86_400
    other = RateLimits(store, clock=clock)
    assert n_passed(other, 9, 10) == 5


def test_threads_together_get_no_more_than_one(store, clock):
    rates = RateLimits(store, clock=clock)
    counts = []

    def work():
        counts.append(n_passed(rates, 60, 240))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(counts) == 8
    assert sum(counts) <= 240
    assert sum(counts) + n_passed(rates, 240, 240) == 240  # nothing was lost on the way


@given(
    per_minute=st.integers(1, 300),
    steps=st.lists(st.tuples(st.floats(0, 20), st.integers(1, 30), st.integers(0, 1)), min_size=1, max_size=12),
    at_once=st.booleans(),
)
def test_no_more_than_a_slow_bucket_ever_pass(per_minute, steps, at_once):
    """Two processes never let more pass than one bucket that is computed plainly."""
    opened, clock = BucketsInMemory(), Clock()
    processes = [RateLimits(opened, clock=clock) for _ in range(2)]
    start, passed = clock.now, 0
    for pause, n, which in steps:
        clock.now += pause
        passed += n_passed(processes[which], n, per_minute, at_once=at_once)
        assert passed <= per_minute + (clock.now - start) * per_minute / 60 + 1e-6
