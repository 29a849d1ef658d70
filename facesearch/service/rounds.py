"""Work on a long list in rounds: several at once in threads of their own, results in order, memory bounded.

It knows nothing of photographs: see ``pipeline``.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Generic, TypeVar, cast

Item = TypeVar("Item")
Result = TypeVar("Result")

Work = Callable[[list[Item], threading.Event], Iterator[Result]]
"""Yields one result an item of a round, in order; ends early once the event is set, since nobody takes the rest then."""

ROUNDS_AHEAD = 1
"""Rounds that wait for a thread, beside those in work: a thread that is done finds its next one there."""

FREE_ITEMS_PER_ROUND = 256
"""Items without work in a round at most: a list of nothing else comes back in rounds too, not all at once."""

_END = object()


def default_workers() -> int:
    """Return the number of threads: one more than there are processors, since one of them mostly waits (disk, another's lock)."""
    affinity = getattr(os, "sched_getaffinity", None)
    n_processors = len(affinity(0)) if affinity is not None else (os.cpu_count() or 1)
    return n_processors + 1


def in_rounds(
    items: Iterable[Item],
    work: Work[Item, Result],
    *,
    size: int,
    n_workers: int | None = None,
    is_free: Callable[[Item], bool] = lambda _: False,
) -> Generator[Result, None, None]:
    """Yield the result of every item, in order.

    A round is worked on by one thread, from the first item to the last; whoever reads on slowly stops the threads, so at most
    ``n_workers + ROUNDS_AHEAD + 1`` rounds are held. However it ends (the list's end, an error, ``close()``, Ctrl-C) no thread is
    left. ``items`` is read by the caller's own thread, a round at a time.

    Args:
        items: What to work on; read lazily.
        work: Called once a round. What it raises is raised here once all results before it were yielded.
        size: Items of a round, at least 1.
        n_workers: Threads; None for ``default_workers()``.
        is_free: Says which items need no work and do not count towards ``size``.
    """
    if size < 1:
        raise ValueError(f"a round has at least one item, not {size}")
    wanted = default_workers() if n_workers is None else n_workers
    stop = threading.Event()
    waiting: deque[_Round[Result]] = deque()
    remaining = iter(items)
    pool = ThreadPoolExecutor(max_workers=wanted, thread_name_prefix="facesearch-stream")
    try:
        while True:
            while len(waiting) < wanted + ROUNDS_AHEAD:
                taken = _take(remaining, size, is_free)
                if not taken:
                    break
                waiting.append(_Round(pool, work, taken, stop))
            if not waiting:
                return
            yield from waiting.popleft().results()
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


class _Round(Generic[Result]):
    """One round: handed to a thread, and read while the thread works."""

    def __init__(self, pool: ThreadPoolExecutor, work: Work[Item, Result], items: list[Item], stop: threading.Event) -> None:
        self._n_items = len(items)
        self._results: SimpleQueue[object] = SimpleQueue()
        self._done: Future[None] = pool.submit(self._run, work, items, stop)

    def _run(self, work: Work[Item, Result], items: list[Item], stop: threading.Event) -> None:
        try:
            for result in work(items, stop):
                self._results.put(result)
        finally:
            self._results.put(_END)

    def results(self) -> Iterator[Result]:
        """Yield the results, waiting for each; raise what the work raised."""
        for _ in range(self._n_items):
            result = self._results.get()
            if result is _END:
                self._done.result()
                raise ValueError(f"a round of {self._n_items} items ended without a result for each")
            yield cast(Result, result)


def _take(remaining: Iterator[Item], size: int, is_free: Callable[[Item], bool]) -> list[Item]:
    taken: list[Item] = []
    n_wanted = 0
    for item in remaining:
        taken.append(item)
        n_wanted += not is_free(item)
        if n_wanted == size or len(taken) - n_wanted == FREE_ITEMS_PER_ROUND:
            break
    return taken
