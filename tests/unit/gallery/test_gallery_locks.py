"""The lock that lets searches run together and changes alone."""

from __future__ import annotations

import threading
import time

from facesearch.gallery.locks import ReadWriteLock

WAIT_S = 5.0


def started(work) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_readers_run_together() -> None:
    lock, meeting = ReadWriteLock(), threading.Barrier(3, timeout=WAIT_S)

    def read() -> None:
        with lock.reading:
            meeting.wait()

    threads = [started(read) for _ in range(3)]
    for thread in threads:
        thread.join(WAIT_S)
    assert not meeting.broken


def test_a_writer_is_alone() -> None:
    lock, inside, seen = ReadWriteLock(), [0], []

    def write() -> None:
        for _ in range(50):
            with lock.writing:
                inside[0] += 1
                time.sleep(0)
                seen.append(inside[0])
                inside[0] -= 1

    def read() -> None:
        for _ in range(50):
            with lock.reading:
                seen.append(inside[0] + 1)

    threads = [started(work) for work in (write, write, read, read)]
    for thread in threads:
        thread.join(WAIT_S)
    assert len(seen) == 200
    assert set(seen) == {1}


def test_a_waiting_writer_goes_before_later_readers() -> None:
    lock, order = ReadWriteLock(), []
    lock.acquire_read()

    def write() -> None:
        with lock.writing:
            order.append("writer")

    def read() -> None:
        with lock.reading:
            order.append("reader")

    writer = started(write)
    while not lock._n_waiting:
        time.sleep(0.001)
    reader = started(read)
    time.sleep(0.02)
    assert order == []
    lock.release_read()
    for thread in (writer, reader):
        thread.join(WAIT_S)
    assert order == ["writer", "reader"]


def test_an_error_inside_gives_the_lock_back() -> None:
    lock = ReadWriteLock()
    for side in (lock.reading, lock.writing):
        try:
            with side:
                raise KeyError("inside")
        except KeyError:
            pass
    done = threading.Event()

    def write() -> None:
        with lock.writing:
            done.set()

    started(write).join(WAIT_S)
    assert done.is_set()
