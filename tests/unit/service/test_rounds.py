"""Work in rounds: in order, bounded, and no thread left whatever ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from facesearch.service.rounds import FREE_ITEMS_PER_ROUND, ROUNDS_AHEAD, in_rounds


def doubled(items: list[int], _stop: threading.Event) -> Iterator[int]:
    for item in items:
        yield 2 * item


def stream_threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("facesearch-stream")]


@pytest.mark.parametrize("n_items", [0, 1, 7, 8, 9, 100])
@pytest.mark.parametrize("n_workers", [1, 3])
def test_results_are_those_of_a_loop_in_its_order(n_items: int, n_workers: int):
    def slow_at_first(items: list[int], stop: threading.Event) -> Iterator[int]:
        time.sleep(0.01 if items[0] == 0 else 0)
        yield from doubled(items, stop)

    assert list(in_rounds(range(n_items), slow_at_first, size=8, n_workers=n_workers)) == [2 * item for item in range(n_items)]
    assert stream_threads() == []


def test_a_slow_reader_stops_the_threads():
    taken = 0

    def counted() -> Iterator[int]:
        nonlocal taken
        for item in range(10_000):
            taken += 1
            yield item

    stream = in_rounds(counted(), doubled, size=4, n_workers=2)
    assert next(stream) == 0
    time.sleep(0.05)
    assert 4 <= taken <= 4 * (2 + ROUNDS_AHEAD + 1)
    stream.close()
    assert stream_threads() == []


def test_an_error_of_the_work_comes_after_the_results_before_it():
    def failing(items: list[int], stop: threading.Event) -> Iterator[int]:
        for item in items:
            if item == 13:
                raise OSError("thirteen")
            yield item

    seen: list[int] = []
    with pytest.raises(OSError, match="thirteen"):
        seen.extend(in_rounds(range(1_000_000), failing, size=4, n_workers=3))
    assert seen == list(range(13))
    assert stream_threads() == []


def test_an_error_of_the_list_ends_it():
    def broken() -> Iterator[int]:
        yield from range(5)
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        list(in_rounds(broken(), doubled, size=2, n_workers=2))
    assert stream_threads() == []


def test_closing_ends_work_that_is_under_way():
    begun = threading.Event()

    def endless(items: list[int], stop: threading.Event) -> Iterator[int]:
        yield items[0]
        begun.set()
        while not stop.wait(0.001):
            pass

    stream = in_rounds(range(100), endless, size=2, n_workers=2)
    assert next(stream) == 0
    assert begun.wait(5)
    stream.close()
    assert stream_threads() == []


def test_work_that_leaves_an_item_out_is_a_fault():
    with pytest.raises(ValueError, match="without a result for each"):
        list(in_rounds(range(4), lambda items, _stop: iter(items[:-1]), size=4, n_workers=1))


def test_items_without_work_come_back_in_rounds_too():
    taken = 0

    def counted() -> Iterator[int]:
        nonlocal taken
        for item in range(100_000):
            taken += 1
            yield item

    stream = in_rounds(counted(), doubled, size=4, n_workers=1, is_free=lambda _: True)
    assert next(stream) == 0
    assert taken <= FREE_ITEMS_PER_ROUND * (1 + ROUNDS_AHEAD + 1)
    stream.close()
