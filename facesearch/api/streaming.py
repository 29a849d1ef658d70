"""Long answers, piece by piece: a generator that belongs to one thread, read by an event loop at the client's pace.

It knows nothing of what the pieces are.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError

from facesearch.core.errors import OverloadedError

MAX_STREAMS = 4
"""Answers under way at once, in one process: each holds a thread and a reading transaction."""

STALLED_S = 60.0
"""Seconds after which a client that takes nothing is given up: its transaction keeps the database's log from being emptied."""

_PIECES_AHEAD = 4

_places = threading.BoundedSemaphore(MAX_STREAMS)


async def streamed(make: Callable[[], Iterator[bytes]]) -> AsyncIterator[bytes]:
    """Return the pieces of an answer; the first is there already, so that an error before it has its own answer.

    Args:
        make: Called on the stream's thread; what it returns is read, and closed, there.

    Raises:
        OverloadedError: Too many are under way.
        FaceSearchError: What the generator raised before its first piece.
    """
    if not _places.acquire(blocking=False):
        raise OverloadedError(f"{MAX_STREAMS} exports are under way already; ask again later", retry_after_s=5)
    stream = _Stream(make, asyncio.get_running_loop())
    try:
        first = await stream.next()
    except BaseException:
        stream.stop()
        raise

    async def rest() -> AsyncIterator[bytes]:
        piece = first
        try:
            while piece is not None:
                yield piece
                piece = await stream.next()
        finally:
            stream.stop()

    return rest()


class _Stream:
    """A thread that runs a generator, and the pieces that wait to be taken."""

    def __init__(self, make: Callable[[], Iterator[bytes]], loop: asyncio.AbstractEventLoop) -> None:
        self._make = make
        self._loop = loop
        self._pieces: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue(_PIECES_AHEAD)
        self._is_stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="facesearch-stream", daemon=True)
        self._thread.start()

    async def next(self) -> bytes | None:
        """Return the next piece, or None after the last; raise what the generator raised."""
        piece = await self._pieces.get()
        if isinstance(piece, BaseException):
            raise piece
        return piece

    def stop(self) -> None:
        """Let the thread end: nobody takes more."""
        self._is_stopped.set()
        while not self._pieces.empty():
            self._pieces.get_nowait()

    def _run(self) -> None:
        try:
            self._put_all()
        finally:
            _places.release()

    def _put_all(self) -> None:
        end: BaseException | None = None
        pieces = self._make()
        try:
            for piece in pieces:
                if not self._put(piece):
                    return
        except Exception as exc:  # noqa: BLE001 - whatever it is, the loop raises it where the answer is sent
            end = exc
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
        self._put(end)

    def _put(self, piece: bytes | BaseException | None) -> bool:
        """Hand a piece to the event loop; False where nobody wants it any more."""
        if self._is_stopped.is_set():
            return False
        try:
            asyncio.run_coroutine_threadsafe(self._pieces.put(piece), self._loop).result(STALLED_S)
        except (FutureTimeoutError, CancelledError, RuntimeError):  # stalled, gone, or the loop is closed
            return False
        return not self._is_stopped.is_set()
