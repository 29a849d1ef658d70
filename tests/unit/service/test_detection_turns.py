"""Searches for faces take turns at the processors, and a run of the embedder waits for those on their way to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from facesearch.core.face import Box, Detection
from facesearch.core.image import Image
from facesearch.service import micro_batch
from facesearch.service.detection_turns import DetectionTurns
from facesearch.service.micro_batch import BatchingEmbedder
from tests.unit.service.test_micro_batch import SlowEmbedder, crop, vector, waiting
from tests.world import face_at

IMAGE = Image(np.zeros((8, 8, 3), np.uint8), "0" * 64)


class SlowDetector:
    """Searches until it is let go; counts those that search at the same time."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.n_running = self.most = 0
        self._lock = threading.Lock()

    def detect(self, image: Image, *, roi: Box | None = None) -> tuple[Detection, ...]:
        with self._lock:
            self.n_running += 1
            self.most = max(self.most, self.n_running)
        try:
            assert self.go.wait(10)
            if roi is not None:
                raise ValueError("no such region")
            return (face_at(0, 0, 8),)
        finally:
            with self._lock:
                self.n_running -= 1

    def detect_batch(self, images: Sequence[Image]) -> tuple[tuple[Detection, ...], ...]:
        return tuple(self.detect(one) for one in images)


def until(is_so) -> None:
    for _ in range(2000):
        if is_so():
            return
        time.sleep(0.005)
    pytest.fail("it never came to that")


@pytest.mark.parametrize("n_at_once", [1, 2])
def test_no_more_search_at_once_than_may_and_all_are_counted(n_at_once: int) -> None:
    inner = SlowDetector()
    turns = DetectionTurns(inner, n_at_once=n_at_once)
    ended = []
    turns.tell(lambda: ended.append(turns.n_callers))
    with ThreadPoolExecutor(5) as threads:
        found = [threads.submit(turns.detect, IMAGE) for _ in range(3)]
        batches = [threads.submit(turns.detect_batch, [IMAGE, IMAGE]) for _ in range(2)]
        until(lambda: turns.n_callers == 5)
        inner.go.set()
        assert [len(one.result()) for one in found] == [1, 1, 1]
        assert [len(one.result()) for one in batches] == [2, 2]
    assert inner.most <= n_at_once
    assert (turns.n_callers, len(ended)) == (0, 5)
    assert turns.detect_batch([]) == ()


def test_a_search_that_fails_gives_its_turn_back() -> None:
    inner = SlowDetector()
    inner.go.set()
    turns = DetectionTurns(inner, n_at_once=1)
    for _ in range(3):
        with pytest.raises(ValueError, match="region"):
            turns.detect(IMAGE, roi=(0.0, 0.0, 1.0, 1.0))
    assert turns.n_callers == 0
    assert len(turns.detect(IMAGE)) == 1


def test_a_run_waits_for_those_on_their_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(micro_batch, "PATIENCE_S", 20.0)
    inner, n_on_the_way = SlowEmbedder(), [1]
    inner.go.set()
    batching = BatchingEmbedder(inner, n_on_the_way=lambda: n_on_the_way[0])
    with ThreadPoolExecutor(3) as threads:
        first, second = (threads.submit(batching.embed, [crop(number)]) for number in (1, 2))
        waiting(batching, 2)
        assert inner.batches == []
        n_on_the_way[0] = 0
        batching.changed()
        assert np.allclose(first.result()[0].vector, vector(1))
        assert np.allclose(second.result()[0].vector, vector(2))
    assert inner.batches == [2]


def test_a_run_that_is_full_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(micro_batch, "PATIENCE_S", 20.0)
    inner = SlowEmbedder()
    inner.go.set()
    batching = BatchingEmbedder(inner, batch_limit=2, n_on_the_way=lambda: 1)
    assert len(batching.embed([crop(1), crop(2)])) == 2
    assert inner.batches == [2]


def test_nobody_is_waited_for_longer_than_is_worth_it() -> None:
    inner = SlowEmbedder()
    inner.go.set()
    batching = BatchingEmbedder(inner, n_on_the_way=lambda: 1)
    began = time.monotonic()
    assert len(batching.embed([crop(1)])) == 1
    assert micro_batch.PATIENCE_S <= time.monotonic() - began < 5
