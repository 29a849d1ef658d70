"""Writes of several threads in one transaction: each waits for the commit, and the commit is paid for once.

It knows no database: what commits a group is handed in. Two processes each have groups of their own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from facesearch.core.errors import FaceSearchError, StoreError

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_GROUP = 256
"""Items committed at once: enough that the commit's cost no longer shows, few enough that nobody waits long for the others."""


class _Waiting(Generic[Item, Result]):
    """One thread's item, and what became of it."""

    __slots__ = ("failure", "is_leader", "item", "result", "wake")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.wake = threading.Event()
        self.is_leader = False
        self.result: Result | None = None
        self.failure: FaceSearchError | None = None


class GroupCommit(Generic[Item, Result]):
    """Commits what several threads hand in together. Safe to call from several threads.

    The first thread that finds nobody committing leads: it commits its own item, then hands the lead to the first of those that
    came during the commit, who commits all of them. A thread alone commits at once and waits for nobody.

    Args:
        commit: Commits a group and returns one result an item, in order. A result that is a ``FaceSearchError`` is raised to the
            thread whose item it is; what ``commit`` itself raises is raised to all of the group.
        max_group: Items committed at once, at most.
    """

    def __init__(
        self, commit: Callable[[Sequence[Item]], Sequence[Result | FaceSearchError]], *, max_group: int = MAX_GROUP
    ) -> None:
        self._commit = commit
        self._max_group = max_group
        self._lock = threading.Lock()
        self._queue: list[_Waiting[Item, Result]] = []
        self._is_led = False

    def submit(self, item: Item) -> Result:
        """Return the result of an item after it was committed.

        Raises:
            FaceSearchError: The item was refused, or the group could not be committed.
        """
        own: _Waiting[Item, Result] = _Waiting(item)
        with self._lock:
            self._queue.append(own)
            if not self._is_led:
                self._is_led = own.is_leader = True
        if not own.is_leader:
            own.wake.wait()
        if own.is_leader:
            self._lead()
        if own.failure is not None:
            raise own.failure
        # Set by whoever led; a result may be None itself.
        return own.result  # type: ignore[return-value]

    def _lead(self) -> None:
        with self._lock:
            group, self._queue = self._queue[: self._max_group], self._queue[self._max_group :]
        outcomes: Sequence[Result | FaceSearchError] | None = None
        try:
            outcomes = self._commit([one.item for one in group])
        except FaceSearchError as exc:
            # Each thread gets an error of its own: raising one in several would mix up their tracebacks.
            outcomes = [_copied(exc) for _ in group]
        finally:
            # Nobody may wait for ever, whatever ended the commit; what is no error of the house passes to the leader alone.
            _settle(group, outcomes if outcomes is not None else [StoreError("a commit was broken off")] * len(group))
            self._hand_over()
            for one in group:
                one.wake.set()

    def _hand_over(self) -> None:
        with self._lock:
            self._is_led = bool(self._queue)
            if self._queue:
                self._queue[0].is_leader = True
                self._queue[0].wake.set()


def _settle(group: Sequence[_Waiting[Item, Result]], outcomes: Sequence[Result | FaceSearchError]) -> None:
    for one, outcome in zip(group, outcomes, strict=True):
        if isinstance(outcome, FaceSearchError):
            one.failure = outcome
        else:
            one.result = outcome


def _copied(error: FaceSearchError) -> FaceSearchError:
    copy = type(error)(error.message, **error.context)
    copy.__cause__ = error
    return copy
