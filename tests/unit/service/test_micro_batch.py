"""Concurrent callers share runs; each gets its own templates, and nobody suffers for another's crop."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from facesearch.core.errors import InputError
from facesearch.core.face import Alignment, FaceCrop
from facesearch.core.template import Template
from facesearch.service.micro_batch import BatchingEmbedder
from tests.world import EMBEDDER, LANDMARKS, face_at

DIM = 8


def crop(number: int) -> FaceCrop:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[0, 0] = (number % 256, number // 256, 0)
    return FaceCrop(pixels, face_at(0, 0, 8))


def vector(number: int) -> np.ndarray:
    made = np.random.default_rng(number).normal(size=DIM)
    return (made / np.linalg.norm(made)).astype(np.float32)


class SlowEmbedder:
    """Looks a crop's number up; its runs wait until they are let go; refuses crops whose number is in ``refused``."""

    embedder_id = EMBEDDER
    dim = DIM
    alignment = Alignment("fake-8", 8, LANDMARKS / 100 * 8)

    def __init__(self, *, refused: Sequence[int] = (), n_at_once: int = 1) -> None:
        self.batches: list[int] = []
        self.go = threading.Event()
        self.begun = threading.Event()
        self.refused = refused
        self.dies = False
        self.n_running = 0
        self._n_at_once = n_at_once
        self._lock = threading.Lock()

    def embed(self, crops: Sequence[FaceCrop]) -> tuple[Template, ...]:
        with self._lock:
            self.n_running += 1
            assert self.n_running <= self._n_at_once, "more runs at once than allowed"
        try:
            self.batches.append(len(crops))
            self.begun.set()
            assert self.go.wait(10)
            if self.dies:
                raise MemoryError
            numbers = [int(one.pixels[0, 0, 0]) + 256 * int(one.pixels[0, 0, 1]) for one in crops]
            if any(number in self.refused for number in numbers):
                raise InputError("not this one")
            return tuple(Template(vector(number), EMBEDDER) for number in numbers)
        finally:
            with self._lock:
                self.n_running -= 1


def waiting(batching: BatchingEmbedder, n: int) -> None:
    """Wait until so many callers wait for a run."""
    for _ in range(1000):
        with batching._changed:
            if len(batching._waiting) == n:
                return
        threading.Event().wait(0.005)
    pytest.fail(f"{n} callers never waited")


def test_a_caller_alone_is_run_at_once() -> None:
    inner = SlowEmbedder()
    inner.go.set()
    seen: list[tuple[int, int]] = []
    batching = BatchingEmbedder(inner, on_batch=lambda *counts: seen.append(counts))
    assert np.allclose(batching.embed([crop(3)])[0].vector, vector(3))
    assert batching.embed([]) == ()
    assert inner.batches == [1]
    assert seen == [(1, 1)]
    assert (batching.embedder_id, batching.dim, batching.alignment) == (EMBEDDER, DIM, inner.alignment)


def test_callers_who_come_during_a_run_share_the_next_one() -> None:
    inner = SlowEmbedder()
    seen: list[tuple[int, int]] = []
    batching = BatchingEmbedder(inner, batch_limit=16, on_batch=lambda *counts: seen.append(counts))
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(batching.embed, [crop(0)])
        assert inner.begun.wait(10)
        others = [pool.submit(batching.embed, [crop(n), crop(n + 100)]) for n in range(1, 6)]
        waiting(batching, 5)
        inner.go.set()
        assert np.allclose(first.result(10)[0].vector, vector(0))
        for n, other in enumerate(others, start=1):
            found = other.result(10)
            assert len(found) == 2
            assert np.allclose(found[0].vector, vector(n))
            assert np.allclose(found[1].vector, vector(n + 100))
    assert inner.batches == [1, 10]
    assert sorted(seen) == [(1, 1), (10, 5)]


def test_a_run_takes_no_more_than_its_limit_but_a_large_call_whole() -> None:
    inner = SlowEmbedder()
    batching = BatchingEmbedder(inner, batch_limit=4)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(batching.embed, [crop(0)])
        assert inner.begun.wait(10)
        others = [pool.submit(batching.embed, [crop(n) for _ in range(3)]) for n in range(1, 4)]
        large = pool.submit(batching.embed, [crop(9)] * 7)
        waiting(batching, 4)
        inner.go.set()
        assert len(first.result(10)) == 1
        assert [len(other.result(10)) for other in others] == [3, 3, 3]
        assert len(large.result(10)) == 7
    assert sorted(inner.batches) == [1, 3, 3, 3, 7]


def test_as_many_runs_as_the_engine_computes_at_once_and_the_rest_share() -> None:
    inner = SlowEmbedder(n_at_once=2)
    batching = BatchingEmbedder(inner, n_runs=2)
    with ThreadPoolExecutor(8) as pool:
        first = [pool.submit(batching.embed, [crop(n)]) for n in (0, 1)]
        for _ in range(1000):
            if inner.n_running == 2:
                break
            threading.Event().wait(0.005)
        others = [pool.submit(batching.embed, [crop(n)]) for n in (2, 3, 4)]
        waiting(batching, 3)
        inner.go.set()
        found = [one.result(10)[0].vector for one in (*first, *others)]
    assert all(np.allclose(one, vector(n)) for n, one in enumerate(found))
    assert inner.batches[:2] == [1, 1]
    assert sum(inner.batches) == 5
    assert len(inner.batches) <= 4


def test_one_bad_crop_fails_its_own_call_only() -> None:
    inner = SlowEmbedder(refused=[2])
    batching = BatchingEmbedder(inner)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(batching.embed, [crop(0)])
        assert inner.begun.wait(10)
        others = {n: pool.submit(batching.embed, [crop(n)]) for n in (1, 2, 3)}
        waiting(batching, 3)
        inner.go.set()
        first.result(10)
        for n in (1, 3):
            assert np.allclose(others[n].result(10)[0].vector, vector(n))
        with pytest.raises(InputError, match="not this one"):
            others[2].result(10)
    assert np.allclose(batching.embed([crop(4)])[0].vector, vector(4))


def test_a_thread_that_dies_leaves_an_error_to_those_who_shared_its_run_and_the_next_run_goes_on() -> None:
    inner = SlowEmbedder()
    batching = BatchingEmbedder(inner)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(batching.embed, [crop(0)])
        assert inner.begun.wait(10)
        others = [pool.submit(batching.embed, [crop(n)]) for n in (1, 2, 3)]
        waiting(batching, 3)
        inner.dies = True
        inner.go.set()
        errors = [other.exception(10) for other in (first, *others)]
    assert sorted(type(error).__name__ for error in errors) == ["MemoryError", "MemoryError", "ModelError", "ModelError"]
    inner.dies = False
    assert len(batching.embed([crop(4)])) == 1


def test_many_threads_get_what_single_runs_give() -> None:
    inner = SlowEmbedder()
    inner.go.set()
    batching = BatchingEmbedder(inner, batch_limit=8)

    def call(start: int) -> bool:
        numbers = [start * 3 + one for one in range(start % 4)]
        found = batching.embed([crop(number) for number in numbers])
        return len(found) == len(numbers) and all(
            np.array_equal(one.vector, Template(vector(number), EMBEDDER).vector)
            for one, number in zip(found, numbers, strict=True)
        )

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(call, range(400)))
    assert len(answers) == 400
    assert all(answers)
    assert sum(inner.batches) == sum(n % 4 for n in range(400))
