"""Any sequence of changes, snapshots and searches agrees with a dict and a loop."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from facesearch.gallery.factory import GalleryIndexFactory
from facesearch.gallery.hnsw import HnswIndex
from facesearch.gallery.options import IndexOptions
from tests.gallery_oracle import EMBEDDER, ModelGallery, assert_same_answer, batch_of, empty_index, probe, unit

DIM = 8
VECTORS = unit(np.random.default_rng(1), 400, DIM)
KEYS = st.integers(1, 120)


class IndexMachine(RuleBasedStateMachine):
    """Drives one index and its model side by side."""

    kind = "exact"

    def __init__(self) -> None:
        super().__init__()
        self.index = empty_index(self.kind, DIM, m=8, ef_construction=100)
        self.model = ModelGallery()
        self.revision = 0

    @rule(keys=st.lists(KEYS, unique=True, max_size=60), first=st.integers(0, 339), owner=st.integers(1, 30))
    def add(self, keys: list[int], first: int, owner: int) -> None:
        self.revision += 1
        batch = batch_of(keys, [(owner + key) % 30 + 1 for key in keys], VECTORS[first : first + len(keys)])
        self.index.add(batch, revision=self.revision)
        self.model.add(batch)

    @rule(keys=st.lists(KEYS, max_size=40))
    def remove(self, keys: list[int]) -> None:
        self.revision += 1
        self.index.remove(keys, revision=self.revision)
        for key in keys:
            self.model.rows.pop(key, None)

    @rule(keys=st.lists(KEYS, max_size=10), owner=st.integers(1, 40))
    def move(self, keys: list[int], owner: int) -> None:
        self.revision += 1
        self.index.move(keys, owner, revision=self.revision)
        for key in set(keys) & set(self.model.rows):
            self.model.rows[key] = (owner, self.model.rows[key][1])

    @rule()
    def purge(self) -> None:
        self.index.purge()

    @rule()
    def reload(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            self.index.save(Path(name))
            again = GalleryIndexFactory(EMBEDDER, DIM, IndexOptions(threads=1)).load(Path(name))
        assert again is not None
        self.index = again

    @rule(row=st.integers(0, 399), k=st.integers(1, 8), among=st.none() | st.sets(st.integers(1, 40), max_size=20))
    def search(self, row: int, k: int, among: set[int] | None) -> None:
        assert_same_answer(self.index.search(probe(VECTORS[row]), k, among=among), self.model.search(VECTORS[row], k, among))

    @precondition(lambda self: self.model.rows and isinstance(self.index, HnswIndex))
    @rule(row=st.integers(0, 399))
    def ask_the_graph(self, row: int) -> None:
        """Small galleries are scanned: ask the graph itself that it returns rows of living templates only."""
        near = self.index._graph.nearest(VECTORS[row], 1)
        assert near is None or self.index._table.columns[0][near[0][0]] in self.model.rows

    @invariant()
    def same_size_and_revision(self) -> None:
        assert (len(self.index), self.index.revision) == (len(self.model.rows), self.revision)
        assert self.index.scores_of(probe(VECTORS[0]), range(130)).keys() == self.model.rows.keys()


class HnswMachine(IndexMachine):
    """The same with the graph."""

    kind = "hnsw"


@pytest.mark.parametrize("machine", [IndexMachine, HnswMachine], ids=["exact", "hnsw"])
def test_any_history_agrees_with_the_model(machine: type[IndexMachine]) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)),
    )
