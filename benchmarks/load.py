"""Clients that ask a server over HTTP, each one request after the other, and the times of their answers.

A closed loop: a client sends its next request when it has the answer to the last. It knows nothing of what is asked, keeps
connections where the server does, and takes a few microseconds a request of its own, so that two cores are left to the server.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle

BOUNDARY = "facesearch-load"


@dataclass
class Answers:
    """What came back.

    Attributes:
        ms: Milliseconds of each answer, in order of their coming; those that were refused or failed are not among them.
        statuses: How many answers of each status; 0 for connections that broke.
        seconds: From the first request to the last answer.
    """

    ms: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Answers with status 200 or 201 a second."""
        return len(self.ms) / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """Return the milliseconds that a share of the answers stayed within."""
        ordered = sorted(self.ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")

    def said(self) -> str:
        """Return rate and percentiles in words."""
        if not self.ms:
            return f"no answer ({dict(self.statuses)})"
        others = {status: n for status, n in self.statuses.items() if status not in (200, 201)}
        failed = f", {others} beside them" if others else ""
        return (
            f"{self.rate:.1f}/s, p50 {self.percentile(0.5):.0f}, p95 {self.percentile(0.95):.0f}, "
            f"p99 {self.percentile(0.99):.0f} ms ({len(self.ms)} answers in {self.seconds:.1f} s{failed})"
        )


def together(parts: Sequence[Answers]) -> Answers:
    """Return several measurements as one."""
    return Answers(
        [ms for part in parts for ms in part.ms],
        sum((part.statuses for part in parts), Counter()),
        sum(part.seconds for part in parts),
    )


def spread(parts: Sequence[Answers]) -> tuple[float, float, float]:
    """Return the least, the median and the largest rate of several measurements."""
    rates = sorted(part.rate for part in parts)
    return rates[0], statistics.median(rates), rates[-1]


def multipart(fields: Mapping[str, str], photos: Sequence[tuple[str, bytes]]) -> tuple[str, bytes]:
    """Return the media type and the bytes of a form with fields and photographs (name, JPEG)."""
    pieces = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    for name, data in photos:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}.jpg"\r\n'
        pieces += [head.encode(), b"Content-Type: image/jpeg\r\n\r\n", data, b"\r\n"]
    return f"multipart/form-data; boundary={BOUNDARY}", b"".join(pieces) + f"--{BOUNDARY}--\r\n".encode()


def request(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """Return a request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def ask(port: int, requests: Sequence[bytes], *, clients: int, seconds: float = 0.0, n: int = 0) -> Answers:
    """Let clients ask in turns through a list of requests, for a time or a number of them.

    Args:
        port: Of this machine.
        requests: Taken in order, over and over.
        clients: At once.
        seconds: How long; 0 for ``n`` requests.
        n: How many; 0 for ``seconds``.
    """
    return asyncio.run(_ask(port, requests, clients, seconds, n))


async def _ask(port: int, requests: Sequence[bytes], clients: int, seconds: float, n: int) -> Answers:
    answers = Answers()
    began = time.perf_counter()
    pending: Iterator[bytes] = cycle(requests)
    left = [n if n else -1]

    def take() -> bytes | None:
        if (seconds and time.perf_counter() - began >= seconds) or left[0] == 0:
            return None
        left[0] -= 1
        return next(pending)

    await asyncio.gather(*(_Client(port, take, answers).run() for _ in range(clients)))
    answers.seconds = time.perf_counter() - began
    return answers


class _Client:
    """One client with its connection."""

    def __init__(self, port: int, take: Callable[[], bytes | None], answers: Answers) -> None:
        self._port = port
        self._take = take
        self._answers = answers
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self) -> None:
        """Ask until there is nothing more to ask."""
        while (wanted := self._take()) is not None:
            began = time.perf_counter()
            try:
                status = await self._one(wanted)
            except (OSError, asyncio.IncompleteReadError, ValueError):
                self._close()
                status = 0
                await asyncio.sleep(0.01)
            self._answers.statuses[status] += 1
            if status in (200, 201):
                self._answers.ms.append(1000.0 * (time.perf_counter() - began))
        self._close()

    async def _one(self, wanted: bytes) -> int:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(wanted)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(length)
        if b"connection: close" in head:
            self._close()
        return int(head[9:12])

    def _close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
