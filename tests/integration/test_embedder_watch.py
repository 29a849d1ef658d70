"""A process made ready for the embedder that a collection moves to, before anybody asks for it."""

from __future__ import annotations

import logging
import time
from collections import Counter
from pathlib import Path

import pytest

from facesearch.core.embedder_use import EmbedderUse, NamedEmbedder
from facesearch.core.errors import UnknownEmbedderError
from facesearch.service.embedder_watch import EmbedderWatch
from tests.migration_world import NEW, OLD, THIRD, TwoModels

WAIT_S = 20.0


class Process:
    """What one process of the service has of the two embedders: networks that count how often they were loaded."""

    def __init__(self, two: TwoModels, **options: float) -> None:
        self.loads: Counter[str] = Counter()
        self.opened: list[str] = []
        self.absent: set[str] = {THIRD.embedder_id}
        self._indexes = {OLD.embedder_id: two.old.indexes, NEW.embedder_id: two.new.indexes}
        self.watch = EmbedderWatch(two.store, self._load, self._indexes_of, **options)

    def _load(self, embedder: NamedEmbedder) -> None:
        if embedder.embedder_id in self.absent:
            raise UnknownEmbedderError(f"there is no embedder {embedder.name}")
        self.loads[embedder.embedder_id] += 1

    def _indexes_of(self, embedder: NamedEmbedder):
        self.opened.append(embedder.embedder_id)
        return self._indexes[embedder.embedder_id]


@pytest.fixture
def two(tmp_path: Path):
    models = TwoModels(tmp_path / "data", tmp_path / "photos")
    yield models
    models.close()


def use(two: TwoModels, *, current: NamedEmbedder, other: NamedEmbedder | None = None, is_copying: bool = False) -> None:
    with two.store.writing() as writer:
        writer.set_embedder_use("default", EmbedderUse(current, other, is_copying))


def test_the_network_is_loaded_once_before_the_switch_and_the_index_opened_after_it(two: TwoModels) -> None:
    two.enroll(4)
    process = Process(two)
    process.watch.look()
    assert (process.loads, process.opened) == (Counter(), [])  # nothing is moved: the settings' embedder is nobody's matter here

    use(two, current=OLD, other=NEW, is_copying=True)
    for _ in range(3):
        process.watch.look()
    assert process.loads == {OLD.embedder_id: 1, NEW.embedder_id: 1}
    assert set(process.opened) == {OLD.embedder_id}  # what is being made is not opened: it would be caught up for nothing

    two.migration.to(NEW, collection="default")
    process.opened.clear()
    for _ in range(3):
        process.watch.look()
    assert process.loads == {OLD.embedder_id: 1, NEW.embedder_id: 1}
    assert process.opened == [NEW.embedder_id]
    assert two.who(two.make(2, 99)) == "P02"
    two.migration.back(collection="default")
    process.watch.look()
    assert process.loads == {OLD.embedder_id: 1, NEW.embedder_id: 1}


def test_a_process_that_starts_later_is_made_ready_at_its_first_look(two: TwoModels) -> None:
    two.enroll(2)
    two.migration.to(NEW, collection="default")
    process = Process(two)
    process.watch.look()
    assert process.loads == {NEW.embedder_id: 1}  # nobody was left behind: the former one is not needed
    assert process.opened == [NEW.embedder_id]


def test_an_embedder_that_is_not_here_is_told_of_once_and_tried_again_when_something_changes(
    two: TwoModels, caplog: pytest.LogCaptureFixture
) -> None:
    two.enroll(2)
    process = Process(two)
    process.absent.add(OLD.embedder_id)
    use(two, current=NEW, other=THIRD, is_copying=True)
    with caplog.at_level(logging.WARNING, logger="facesearch"):
        for _ in range(3):
            process.watch.look()
    assert [THIRD.embedder_id in record.getMessage() for record in caplog.records] == [True]
    assert process.loads == {NEW.embedder_id: 1}  # the others are loaded all the same
    process.absent.clear()
    process.watch.look()
    assert process.loads == {NEW.embedder_id: 1}
    use(two, current=THIRD, other=NEW)
    process._indexes[THIRD.embedder_id] = two.new.indexes
    process.watch.look()
    assert process.loads == {NEW.embedder_id: 1, THIRD.embedder_id: 1}


def test_it_looks_by_itself_until_it_is_closed(two: TwoModels) -> None:
    two.enroll(2)
    process = Process(two, look_s=0.01)
    process.watch.start()
    use(two, current=OLD, other=NEW, is_copying=True)
    deadline = time.monotonic() + WAIT_S
    while process.loads[NEW.embedder_id] == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.watch.close()
    assert process.loads == {OLD.embedder_id: 1, NEW.embedder_id: 1}
    use(two, current=OLD, other=THIRD, is_copying=True)
    process.absent.clear()
    time.sleep(0.05)
    assert process.loads[THIRD.embedder_id] == 0


def test_closing_one_that_never_started_is_nothing(two: TwoModels) -> None:
    Process(two).watch.close()
