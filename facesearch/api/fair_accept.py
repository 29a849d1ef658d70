"""Connections shared out evenly among the processes that listen on one socket.

Left to itself, whichever process wakes first takes all connections that wait, and a client keeps its connection: of sixteen
clients one process may have fifteen, while the other's processor is idle. Here a process takes one connection at a time, and only
while no other has fewer; where that one does not take it within ``BACKOFF_S`` (it may be busy, or hang), anybody does. How many
each has open is in a file of four bytes a process, in the folder that the processes share.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import mmap
import os
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from facesearch.api.metrics import MULTIPROCESS_VARIABLE, is_alive
from facesearch.core.errors import ServiceError

BACKOFF_S = 0.005
"""How long a process with more connections than another leaves one to it."""

NO_FILES_S = 0.5
"""How long nobody is taken after the process ran out of files."""

LOOK_S = 0.1
"""How often, at most, a process looks which others there are."""

_PREFIX = "connections-"
_COUNT = struct.Struct("<i")

_log = logging.getLogger("facesearch")


class OpenCounts:
    """How many connections each process has open. Not thread-safe: it belongs to an event loop.

    Args:
        folder: Shared by the processes; each has a file there, named by its number.
        pid: Of this process.
        clock: Seconds that only grow.
    """

    def __init__(self, folder: Path, *, pid: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._name = f"{_PREFIX}{os.getpid() if pid is None else pid}"
        self._clock = clock
        self._looked_at = -LOOK_S
        self._others: dict[str, mmap.mmap] = {}
        (folder / self._name).write_bytes(_COUNT.pack(0))
        self._own = _mapped(folder / self._name)

    @property
    def own(self) -> int:
        """Connections of this process."""
        return _read(self._own)

    def add(self, n: int) -> None:
        """Count connections that were opened, or closed (negative)."""
        _COUNT.pack_into(self._own, 0, self.own + n)

    def is_others_turn(self) -> bool:
        """Whether another process has fewer connections."""
        if self._clock() - self._looked_at >= LOOK_S:
            self._look()
        return any(_read(one) < self.own for one in self._others.values())

    def close(self) -> None:
        """Leave the others alone."""
        (self._folder / self._name).unlink(missing_ok=True)

    def _look(self) -> None:
        self._looked_at = self._clock()
        found: dict[str, mmap.mmap] = {}
        for path in self._folder.glob(f"{_PREFIX}*"):
            if path.name != self._name and is_alive(int(path.name.removeprefix(_PREFIX))):
                try:
                    found[path.name] = self._others.get(path.name) or _mapped(path)
                except (OSError, ValueError):  # ended meanwhile, or is about to write its file
                    continue
        self._others = found


class FairServer:
    """Takes connections of a listening socket in turns with other processes; what ``loop.create_server`` returns, as far as used.

    Args:
        loop: Of this process.
        listening: Bound and listening; not closed by this.
        make_protocol: Makes what answers a connection.
        counts: Of the processes.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listening: socket.socket,
        make_protocol: Callable[[], asyncio.Protocol],
        counts: OpenCounts,
    ) -> None:
        self._loop = loop
        self._listening = listening
        self._make_protocol = make_protocol
        self._counts = counts
        self._pause: asyncio.TimerHandle | None = None
        self._connecting: set[asyncio.Task[None]] = set()
        self._is_closed = False
        listening.setblocking(False)
        loop.add_reader(listening.fileno(), self._ready)

    @property
    def sockets(self) -> list[socket.socket]:
        """What is listened on."""
        return [] if self._is_closed else [self._listening]

    def close(self) -> None:
        """Take nobody any more. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._pause is None:
            self._loop.remove_reader(self._listening.fileno())
        else:
            self._pause.cancel()
        self._counts.close()

    async def wait_closed(self) -> None:
        """Wait for connections that are being made."""
        while self._connecting:
            await asyncio.wait(self._connecting)

    def _ready(self) -> None:
        if self._counts.is_others_turn():
            self._wait(BACKOFF_S)
        else:
            self._take()

    def _wait(self, seconds: float) -> None:
        self._loop.remove_reader(self._listening.fileno())
        self._pause = self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listening.fileno(), self._ready)
        self._take()

    def _take(self) -> None:
        """Take one connection, if another process did not."""
        try:
            taken, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as exc:
            if exc.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                raise
            _log.error("no connection can be taken: %s", exc.strerror)
            self._wait(NO_FILES_S)
            return
        taken.setblocking(False)
        self._counts.add(1)
        task = self._loop.create_task(self._connect(taken))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, taken: socket.socket) -> None:
        protocol = self._make_protocol()
        lost = protocol.connection_lost

        def connection_lost(exc: Exception | None) -> None:
            self._counts.add(-1)
            lost(exc)

        protocol.connection_lost = connection_lost  # type: ignore[method-assign]
        try:
            await self._loop.connect_accepted_socket(lambda: protocol, taken)
        except OSError:  # gone before it was there
            self._counts.add(-1)
            taken.close()


def new_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop whose servers take connections in turns with the other processes.

    Raises:
        ServiceError: The processes share no folder.
    """
    folder = os.environ.get(MULTIPROCESS_VARIABLE)
    if not folder:
        raise ServiceError(f"{MULTIPROCESS_VARIABLE} does not say where the processes of the service share their counts")
    loop = _new_plain_loop()
    loop.create_server = _server_maker(loop, Path(folder))  # type: ignore[method-assign]
    return loop


def _server_maker(loop: asyncio.AbstractEventLoop, folder: Path) -> Callable[..., Any]:
    async def create_server(make_protocol: Callable[[], asyncio.Protocol], *, sock: socket.socket, **_: object) -> FairServer:
        return FairServer(loop, sock, make_protocol, OpenCounts(folder))

    return create_server


def _new_plain_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.SelectorEventLoop()
    return uvloop.new_event_loop()


def _mapped(path: Path) -> mmap.mmap:
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), _COUNT.size)


def _read(counted: mmap.mmap) -> int:
    return int(_COUNT.unpack_from(counted, 0)[0])
