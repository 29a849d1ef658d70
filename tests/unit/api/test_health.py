"""Readiness: what is missing is named, looked for at most once a second, and a hanging database does not hang who asks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from facesearch.api.health import KEPT_S, SLOW_S, Health
from facesearch.core.errors import CheckpointNotFoundError, GalleryStaleError, StoreError
from facesearch.service.gallery import IndexStatus


class Parts:
    """Networks, a database and indexes that fail on demand, and a clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.n_written = 0
        self.load_error: Exception | None = None
        self.write_error: Exception | None = None
        self.index_error: Exception | None = None
        self.index_revision = 5
        self.hang: threading.Event | None = None
        self.hanging = threading.Event()

    def load(self) -> None:
        if self.load_error is not None:
            raise self.load_error

    @contextmanager
    def writing(self) -> Iterator[None]:
        self.n_written += 1
        if self.hang is not None:
            self.hanging.set()
            assert self.hang.wait(10)
        if self.write_error is not None:
            raise self.write_error
        yield

    def index_status(self) -> list[IndexStatus]:
        if self.index_error is not None:
            raise self.index_error
        return [IndexStatus("default", "exact", 3, 3, self.index_revision, 5, None)]

    def health(self) -> Health:
        return Health(self.load, self, self, clock=lambda: self.now)  # type: ignore[arg-type]


def test_ready_once_the_networks_are_loaded() -> None:
    parts = Parts()
    health = parts.health()
    before = health.check()
    assert (before.model, before.database, before.index) == ("loading", "ready", "ready")
    assert not before.is_ready
    health.warm_up()
    assert health.check().is_ready


def test_what_fails_is_named_by_its_code() -> None:
    parts = Parts()
    parts.load_error = CheckpointNotFoundError("gone")
    parts.write_error = StoreError("read-only")
    parts.index_error = GalleryStaleError("behind")
    health = parts.health()
    health.warm_up()
    found = health.check()
    assert (found.model, found.database, found.index) == ("checkpoint_not_found", "store_error", "gallery_stale")
    assert not found.is_ready


def test_an_index_behind_the_database_is_not_ready() -> None:
    parts = Parts()
    parts.index_revision = 4
    health = parts.health()
    health.warm_up()
    assert health.check().index == "behind"


def test_asking_often_costs_nothing() -> None:
    parts = Parts()
    health = parts.health()
    health.warm_up()
    written = parts.n_written
    for _ in range(50):
        assert health.check().is_ready
    assert parts.n_written == written
    parts.write_error = StoreError("full")
    parts.now += KEPT_S
    assert health.check().database == "store_error"
    assert parts.n_written == written + 1


@pytest.mark.parametrize(("age_s", "expected"), [(KEPT_S + 1, "ready"), (SLOW_S + 1, "slow")])
def test_a_hanging_database_hangs_one_who_asks_and_no_other(age_s: float, expected: str) -> None:
    parts = Parts()
    health = parts.health()
    health.warm_up()
    assert health.check().is_ready
    parts.hang = threading.Event()
    parts.now += age_s
    asking = threading.Thread(target=health.check)
    asking.start()
    try:
        assert parts.hanging.wait(10)
        assert health.check().database == expected
    finally:
        parts.hang.set()
        asking.join(10)
    assert health.check().is_ready
