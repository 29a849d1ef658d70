"""Processes share out the connections of one socket evenly, and a process that hangs holds nobody up."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import socket
import time
from pathlib import Path

import pytest

from facesearch.api import fair_accept
from facesearch.api.fair_accept import FairServer, OpenCounts, new_loop
from facesearch.api.metrics import MULTIPROCESS_VARIABLE
from facesearch.core.errors import ServiceError

GONE = 2**22 + 1
"""Number that no process has."""


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Greeting(asyncio.Protocol):
    """Greets with the name of its server."""

    def __init__(self, name: bytes) -> None:
        self._name = name

    def connection_made(self, transport: asyncio.Transport) -> None:
        transport.write(self._name)


class TwoServers:
    """Two servers of one socket, each with counts of its own, as two processes have them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, folder: Path) -> None:
        self.listening = socket.socket()
        self.listening.bind(("127.0.0.1", 0))
        self.listening.listen(64)
        other = socket.socket(fileno=os.dup(self.listening.fileno()))
        # Any two living processes will do: this one and the one that started it.
        self.counts = [OpenCounts(folder, pid=pid) for pid in (os.getpid(), os.getppid())]
        self.servers = [
            FairServer(loop, listening, lambda name=name: Greeting(name), counts)
            for listening, counts, name in zip((self.listening, other), self.counts, (b"a", b"b"), strict=True)
        ]
        self.sockets = (self.listening, other)

    async def connect(self, n: int) -> list[tuple[asyncio.StreamWriter, bytes]]:
        """Return connections and who took them."""
        made = []
        for reader, writer in await asyncio.gather(*(asyncio.open_connection(*self.listening.getsockname()) for _ in range(n))):
            made.append((writer, await asyncio.wait_for(reader.readexactly(1), 10)))
        return made

    async def close(self, connections: list[tuple[asyncio.StreamWriter, bytes]]) -> None:
        for writer, _ in connections:
            writer.close()
            await writer.wait_closed()
        for server in self.servers:
            server.close()
            server.close()
            await server.wait_closed()
            assert server.sockets == []
        for one in self.sockets:
            one.close()


def test_a_process_counts_its_connections_and_sees_the_others(tmp_path: Path) -> None:
    clock = Clock()
    mine, other = (OpenCounts(tmp_path, pid=pid, clock=clock) for pid in (os.getpid(), os.getppid()))
    assert not mine.is_others_turn()
    mine.add(2)
    assert (mine.own, mine.is_others_turn(), other.is_others_turn()) == (2, True, False)
    other.add(3)
    assert (mine.is_others_turn(), other.is_others_turn()) == (False, True)
    mine.add(2)
    other.close()
    clock.now += fair_accept.LOOK_S
    assert not mine.is_others_turn()
    mine.close()
    mine.close()
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_died_is_no_one_to_wait_for(tmp_path: Path) -> None:
    OpenCounts(tmp_path, pid=GONE)
    (tmp_path / "connections-1").write_bytes(b"")  # of one that is about to write it
    mine = OpenCounts(tmp_path)
    mine.add(5)
    assert not mine.is_others_turn()


def test_connections_are_shared_out_evenly(tmp_path: Path) -> None:
    async def shared() -> None:
        two = TwoServers(asyncio.get_running_loop(), tmp_path)
        connections = await two.connect(16)
        by = [name for _, name in connections]
        assert abs(by.count(b"a") - by.count(b"b")) <= 2
        assert [one.own for one in two.counts] == [by.count(b"a"), by.count(b"b")]
        await two.close(connections)
        for _ in range(200):
            if [one.own for one in two.counts] == [0, 0]:
                break
            await asyncio.sleep(0.01)
        assert [one.own for one in two.counts] == [0, 0]

    asyncio.run(shared())


def test_a_process_that_takes_nobody_holds_nobody_up(tmp_path: Path) -> None:
    async def alone() -> None:
        two = TwoServers(asyncio.get_running_loop(), tmp_path)
        two._keep = two.servers.pop(1)
        asyncio.get_running_loop().remove_reader(two._keep.sockets[0].fileno())  # it hangs, with fewer connections than the other
        connections = await two.connect(8)
        assert [name for _, name in connections] == [b"a"] * 8
        await two.close(connections)

    asyncio.run(alone())


def test_a_server_that_is_closed_while_it_waits_takes_nobody(tmp_path: Path) -> None:
    async def closed() -> None:
        two = TwoServers(asyncio.get_running_loop(), tmp_path)
        two.counts[0].add(1)
        two.counts[1].add(1)
        OpenCounts(tmp_path, pid=1)
        two.servers[0].close()
        two.servers[1].close()
        reader, writer = await asyncio.open_connection(*two.listening.getsockname())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(1), 0.1)
        await two.close([(writer, b"")])

    asyncio.run(closed())


def _greet(listening: socket.socket, folder: str, name: bytes) -> None:
    os.environ[MULTIPROCESS_VARIABLE] = folder
    loop = new_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(loop.create_server(lambda: Greeting(name), sock=listening, backlog=16))
    loop.run_forever()


def test_two_processes_share_a_socket(tmp_path: Path) -> None:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(64)
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_greet, args=(listening, str(tmp_path), name), daemon=True) for name in (b"a", b"b")]
    for one in processes:
        one.start()
    try:
        connections = []
        for number in range(12):
            made = socket.create_connection(listening.getsockname(), timeout=30)
            connections.append(made)
            assert made.recv(1) in (b"a", b"b")
            if number == 0:  # the other may still be starting
                for _ in range(600):
                    if len(list(tmp_path.iterdir())) == 2:
                        break
                    time.sleep(0.05)
                time.sleep(2 * fair_accept.LOOK_S)
        counts = sorted(int.from_bytes(path.read_bytes(), "little") for path in tmp_path.iterdir())
        assert sum(counts) == 12
        assert counts[1] - counts[0] <= 2
    finally:
        for one in (*connections, listening):
            one.close()
        for process in processes:
            process.terminate()
            process.join(10)


def test_without_a_shared_folder_there_is_no_such_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MULTIPROCESS_VARIABLE, raising=False)
    with pytest.raises(ServiceError, match=MULTIPROCESS_VARIABLE):
        new_loop()
