"""Connections that send no head, half a head or too much of one are closed; others are answered."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn

from facesearch.api import connections
from facesearch.api.connections import HEAD_BYTES, TimedProtocol

LIMIT_S = 0.3


LARGE = 64 * 2**20
"""More than the buffers of a connection hold."""


async def app(scope, receive, send):
    assert scope["type"] == "http"
    if scope["path"] == "/large":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % LARGE)]})
        await send({"type": "http.response.body", "body": bytes(LARGE)})
        return
    if scope["path"] == "/slow":
        await asyncio.sleep(2 * LIMIT_S)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", LIMIT_S)
    monkeypatch.setattr(connections, "STALLED_S", LIMIT_S)
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=TimedProtocol, ws="none", lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[bound])))
    thread.start()
    for _ in range(1000):
        if server.started:
            break
        time.sleep(0.005)
    yield bound.getsockname()[1]
    server.should_exit = True
    thread.join(20)
    bound.close()


def answer(port: int, *pieces: bytes, pause_s: float = 0.0) -> tuple[bytes, float]:
    """Return what comes back until the connection is closed, and after how many seconds it was."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        began = time.perf_counter()
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause_s)
        said = b""
        try:
            while piece := connection.recv(65536):
                said += piece
        except ConnectionResetError:
            pass
        return said, time.perf_counter() - began


def test_a_request_is_answered(port: int) -> None:
    said, _ = answer(port, b"GET / HTTP/1.1\r\nHost: x\r\n", b"Connection: close\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_head_that_does_not_come_is_not_waited_for(port: int, begun: bytes) -> None:
    said, seconds = answer(port, begun)
    assert said == b""
    assert seconds >= LIMIT_S - 0.05


def test_a_second_head_on_the_same_connection_has_its_own_time(port: int) -> None:
    said, seconds = answer(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nHo", pause_s=0.05)
    assert said.count(b"HTTP/1.1 200 ") == 1
    assert seconds >= LIMIT_S - 0.05


def test_a_head_has_a_largest_size(port: int) -> None:
    headers = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(HEAD_BYTES // 1000 + 2))
    said, _ = answer(port, b"GET / HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")
    assert said.startswith(b"HTTP/1.1 400 ") or said == b""  # reset where the rest was still on its way
    said, _ = answer(port, b"GET /" + b"a" * (HEAD_BYTES + 1) + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200" not in said[:16]


@pytest.mark.parametrize(
    ("head", "drip"),
    [
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", b"x"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n"),
    ],
)
def test_nobody_keeps_a_connection_by_dripping_bytes_that_are_not_wanted(port: int, head: bytes, drip: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        began = time.perf_counter()
        connection.sendall(head)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.settimeout(0.02)
        is_open = True
        while is_open and time.perf_counter() - began < 20 * LIMIT_S:
            try:
                connection.sendall(drip)
                is_open = connection.recv(65536) != b""
            except TimeoutError:
                continue
            except ConnectionError:
                is_open = False
        assert not is_open
        assert time.perf_counter() - began >= LIMIT_S - 0.05


def test_a_client_that_takes_nothing_is_given_up(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(3 * LIMIT_S)
        n_bytes = 0
        try:
            while piece := connection.recv(2**20):
                n_bytes += len(piece)
        except ConnectionError:
            pass
        assert n_bytes < LARGE


def test_requests_on_the_way_together_are_all_answered_however_long_they_take(port: int) -> None:
    slow = b"GET /slow HTTP/1.1\r\nHost: x\r\n"
    said, seconds = answer(port, (slow + b"\r\n") * 2 + slow + b"Connection: close\r\n\r\n")
    assert said.count(b"HTTP/1.1 200 ") == 3
    assert seconds >= 6 * LIMIT_S - 0.05
