"""A lock that lets searches run together and changes alone.

It is neither re-entrant nor fair among writers, and it cannot be upgraded from reading to writing.
"""

from __future__ import annotations

import threading
from types import TracebackType


class _Side:
    """One side of the lock as a context manager; cheaper than a generator on the search path."""

    __slots__ = ("_enter", "_leave")

    def __init__(self, lock: ReadWriteLock, *, is_writing: bool) -> None:
        self._enter = lock.acquire_write if is_writing else lock.acquire_read
        self._leave = lock.release_write if is_writing else lock.release_read

    def __enter__(self) -> None:
        self._enter()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._leave()


class ReadWriteLock:
    """Many readers or one writer; a waiting writer goes before readers who come later, so that it is not starved.

    Attributes:
        reading: Context manager that holds the lock together with other readers.
        writing: Context manager that holds the lock alone.
    """

    def __init__(self) -> None:
        self._turn = threading.Condition(threading.Lock())
        self._n_readers = 0
        self._n_waiting = 0
        self._is_written = False
        self.reading = _Side(self, is_writing=False)
        self.writing = _Side(self, is_writing=True)

    def acquire_read(self) -> None:
        """Wait until nobody writes or waits to write, then read."""
        with self._turn:
            while self._is_written or self._n_waiting:
                self._turn.wait()
            self._n_readers += 1

    def release_read(self) -> None:
        """Stop reading."""
        with self._turn:
            self._n_readers -= 1
            if not self._n_readers:
                self._turn.notify_all()

    def acquire_write(self) -> None:
        """Wait until nobody reads or writes, then write."""
        with self._turn:
            self._n_waiting += 1
            try:
                while self._is_written or self._n_readers:
                    self._turn.wait()
                self._is_written = True
            finally:
                self._n_waiting -= 1
                if not self._is_written:
                    self._turn.notify_all()

    def release_write(self) -> None:
        """Stop writing."""
        with self._turn:
            self._is_written = False
            self._turn.notify_all()
