"""The service's blocking work on a bounded number of threads, behind a queue of bounded length.

It knows nothing of requests. A call that runs cannot be stopped: past its time the caller gets an answer, and the thread is taken
again when the call ends.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from facesearch.core.errors import OverloadedError, RequestTimeoutError

Result = TypeVar("Result")

RETRY_MAX_S = 30
"""Longest a refused caller is told to wait, in seconds."""

_SMOOTHING = 0.1
"""Share of the newest call in the mean time of a call."""


@dataclass(frozen=True, slots=True)
class WorkCounts:
    """What a pool does at a moment, and what it did.

    Attributes:
        running: Calls on a thread.
        waiting: Calls without one.
        done: Calls that ended, whatever their end.
        refused: Calls that found the queue full.
        timed_out: Calls whose caller was told that it took too long.
    """

    running: int
    waiting: int
    done: int
    refused: int
    timed_out: int


class WorkPool:
    """Runs blocking calls on threads of its own. ``run`` belongs to an event loop; the rest is thread-safe.

    Args:
        max_workers: Calls at once, at least 1.
        queue_limit: Calls that may wait for a thread, at least 0.
        on_refused: Called when a call found the queue full; for metrics.
        on_timed_out: Called when a caller was told that it took too long; likewise.
    """

    def __init__(
        self,
        max_workers: int,
        queue_limit: int,
        *,
        on_refused: Callable[[], None] = lambda: None,
        on_timed_out: Callable[[], None] = lambda: None,
    ) -> None:
        if max_workers < 1 or queue_limit < 0:
            raise ValueError(f"a pool has at least one thread and no negative queue, not {max_workers} and {queue_limit}")
        self.max_workers = max_workers
        self.queue_limit = queue_limit
        self._on_refused = on_refused
        self._on_timed_out = on_timed_out
        self._threads = ThreadPoolExecutor(max_workers, thread_name_prefix="facesearch-work")
        self._lock = threading.Lock()
        self._held = self._running = self._done = self._refused = self._timed_out = 0
        self._mean_s = 0.0
        self._is_closed = False

    @property
    def counts(self) -> WorkCounts:
        """What it does at this moment."""
        with self._lock:
            waiting = max(0, self._held - self._running)
            return WorkCounts(self._running, waiting, self._done, self._refused, self._timed_out)

    async def run(
        self,
        fn: Callable[..., Result],
        *args: Any,
        timeout_s: float | None = None,
        on_late: Callable[[RequestTimeoutError], None] | None = None,
        **named: Any,
    ) -> Result:
        """Return ``fn(*args, **named)``, called on one of the threads.

        Args:
            fn: What to call; it may block.
            *args: Its arguments.
            timeout_s: Longest that waiting and the call may take together, in seconds; None for any time.
            on_late: Called in place of raising when the time is over and the call runs; its outcome is waited for all the same.
            **named: Its arguments by name.

        Raises:
            OverloadedError: The threads are busy and the queue is full, or the pool is closed; ``retry_after_s`` says when to ask.
            RequestTimeoutError: It took longer. A call that had not begun never does; one that had goes on to its end.
        """
        future = self._submit(lambda: fn(*args, **named))
        waiting = asyncio.wrap_future(future)
        try:
            done, _ = await asyncio.wait({waiting}, timeout=timeout_s)
            if not done and on_late is not None and not future.cancel():
                on_late(self._too_late(timeout_s))
                done, _ = await asyncio.wait({waiting})
        except asyncio.CancelledError:  # the caller is gone: nobody wants what has not begun
            _give_up(future, waiting)
            raise
        if done:
            return waiting.result()
        _give_up(future, waiting)
        raise self._too_late(timeout_s)

    def close(self) -> None:
        """Take no further call and wait for those that run or wait. Idempotent."""
        with self._lock:
            self._is_closed = True
        self._threads.shutdown(wait=True)

    def _too_late(self, timeout_s: float | None) -> RequestTimeoutError:
        with self._lock:
            self._timed_out += 1
            self._on_timed_out()
            retry_after_s = self._retry_after_s()
        return RequestTimeoutError(
            f"the request took longer than {timeout_s:g} s; ask again later, or send less at once",
            timeout_s=timeout_s,
            retry_after_s=retry_after_s,
        )

    def _submit(self, call: Callable[[], Result]) -> Future[Result]:
        with self._lock:
            if self._is_closed:
                raise OverloadedError("the service is shutting down; ask again in a moment", retry_after_s=1)
            if self._held >= self.max_workers + self.queue_limit:
                self._refused += 1
                self._on_refused()
                raise OverloadedError(
                    f"{self.max_workers} requests are worked on and {self.queue_limit} wait already; ask again later",
                    retry_after_s=self._retry_after_s(),
                )
            self._held += 1
            future = self._threads.submit(self._timed, call)
        future.add_done_callback(self._release)
        return future

    def _timed(self, call: Callable[[], Result]) -> Result:
        begun = time.perf_counter()
        with self._lock:
            self._running += 1
        try:
            return call()
        finally:
            took_s = time.perf_counter() - begun
            with self._lock:
                self._running -= 1
                self._mean_s += (took_s - self._mean_s) * (_SMOOTHING if self._done else 1.0)

    def _release(self, future: Future[Any]) -> None:
        with self._lock:
            self._held -= 1
            self._done += 1

    def _retry_after_s(self) -> int:
        """Return when about half of what is held now will be done, in whole seconds."""
        return min(RETRY_MAX_S, max(1, math.ceil(self._mean_s * self._held / self.max_workers / 2)))


def _give_up(future: Future[Any], waiting: asyncio.Future[Any]) -> None:
    """Take a call out of the queue at once, and forget its outcome where it runs already."""
    future.cancel()  # the event loop would tell it of the other's end only later, when it may have begun
    waiting.cancel()
