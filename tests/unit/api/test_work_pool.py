"""The pool of the service: bounded threads, a bounded queue, a bounded time, and an end that waits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from facesearch.api.work import WorkPool
from facesearch.core.errors import NoFaceError, OverloadedError, RequestTimeoutError


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that threads do; a busy machine takes its time."""
    for _ in range(2000):
        if is_so():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it never came about")


def test_it_returns_what_a_call_returns_and_raises_what_it_raises() -> None:
    async def ask() -> None:
        pool = WorkPool(2, 2)
        assert await pool.run(divmod, 7, 2) == (3, 1)
        assert await pool.run(sorted, [1, 2], reverse=True) == [2, 1]

        def fail() -> None:
            raise NoFaceError("none here")

        with pytest.raises(NoFaceError, match="none here"):
            await pool.run(fail)
        assert pool.counts.done == 3
        assert (pool.counts.running, pool.counts.waiting) == (0, 0)
        pool.close()

    asyncio.run(ask())


def test_a_full_queue_refuses_and_says_when_to_come_again() -> None:
    async def ask() -> None:
        refused = []
        pool = WorkPool(2, 3, on_refused=lambda: refused.append(1))
        go = threading.Event()
        tasks = [asyncio.create_task(pool.run(go.wait, 10)) for _ in range(5)]
        await until(lambda: (pool.counts.running, pool.counts.waiting) == (2, 3))
        with pytest.raises(OverloadedError) as caught:
            await pool.run(go.wait, 10)
        assert 1 <= caught.value.context["retry_after_s"] <= 30
        assert (pool.counts.refused, refused) == (1, [1])
        go.set()
        assert await asyncio.gather(*tasks) == [True] * 5
        assert await pool.run(abs, -1) == 1
        pool.close()

    asyncio.run(ask())


def test_time_ends_waiting_and_a_call_that_had_not_begun_never_does() -> None:
    async def ask() -> None:
        pool = WorkPool(1, 4)
        go = threading.Event()
        called = []
        busy = asyncio.create_task(pool.run(go.wait, 10))
        await until(lambda: pool.counts.running == 1)
        with pytest.raises(RequestTimeoutError) as caught:
            await pool.run(called.append, 1, timeout_s=0.05)
        assert "0.05 s" in caught.value.message
        go.set()
        assert await busy
        assert await pool.run(abs, -2) == 2
        assert called == []
        assert pool.counts.timed_out == 1
        pool.close()

    asyncio.run(ask())


def test_a_call_that_runs_past_its_time_keeps_its_thread_until_it_ends() -> None:
    async def ask() -> None:
        pool = WorkPool(1, 0)
        go = threading.Event()
        busy = asyncio.create_task(pool.run(go.wait, 10, timeout_s=0.3))
        await until(lambda: pool.counts.running == 1)
        with pytest.raises(RequestTimeoutError):
            await busy
        with pytest.raises(OverloadedError):
            await pool.run(abs, -1)
        go.set()
        await until(lambda: pool.counts.done == 1)
        assert await pool.run(abs, -1) == 1
        pool.close()

    asyncio.run(ask())


def test_a_call_that_may_be_late_is_waited_for_once_it_has_begun() -> None:
    async def ask() -> None:
        pool = WorkPool(1, 1)
        go, told = threading.Event(), []
        begun = asyncio.create_task(pool.run(go.wait, 10, timeout_s=0.05, on_late=told.append))
        await until(lambda: pool.counts.running == 1)
        with pytest.raises(RequestTimeoutError):  # never begins, so that nothing is late
            await pool.run(abs, -1, timeout_s=0.05, on_late=told.append)
        await until(lambda: bool(told))
        assert not begun.done()
        go.set()
        assert await begun is True
        assert [type(one) for one in told] == [RequestTimeoutError]
        assert pool.counts.timed_out == 2
        pool.close()

    asyncio.run(ask())


def test_a_caller_who_leaves_takes_a_waiting_call_along() -> None:
    async def ask() -> None:
        pool = WorkPool(1, 4)
        go = threading.Event()
        called = []
        busy = asyncio.create_task(pool.run(go.wait, 10))
        await until(lambda: pool.counts.running == 1)
        leaving = asyncio.create_task(pool.run(called.append, 1))
        await until(lambda: pool.counts.waiting == 1)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert pool.counts.waiting == 0
        go.set()
        await busy
        assert called == []
        pool.close()

    asyncio.run(ask())


def test_closing_waits_for_what_runs_and_refuses_the_rest() -> None:
    async def ask() -> None:
        pool = WorkPool(1, 4)
        ended = []

        def work() -> None:
            time.sleep(0.1)
            ended.append(1)

        task = asyncio.create_task(pool.run(work))
        await until(lambda: pool.counts.running == 1)
        await asyncio.to_thread(pool.close)
        assert ended == [1]
        await task
        with pytest.raises(OverloadedError, match="shutting down"):
            await pool.run(work)
        pool.close()

    asyncio.run(ask())


@pytest.mark.parametrize(("threads", "queue"), [(0, 1), (1, -1)])
def test_a_pool_without_threads_is_no_pool(threads: int, queue: int) -> None:
    with pytest.raises(ValueError, match="at least one thread"):
        WorkPool(threads, queue)
