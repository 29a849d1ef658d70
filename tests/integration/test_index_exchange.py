"""An index that is exchanged for one of another kind: the old one is gone before the new one is built."""

from __future__ import annotations

import weakref
from pathlib import Path

import pytest

from facesearch.core.errors import GalleryError
from facesearch.core.protocols import GalleryIndex
from facesearch.gallery.factory import GalleryIndexFactory
from facesearch.gallery.options import IndexOptions
from facesearch.service.gallery import GalleryIndexes
from tests.world import DIM, World


class WatchingFactory(GalleryIndexFactory):
    """Says of each index made whether those before it are still in memory."""

    def __init__(self, world: World) -> None:
        super().__init__(world.networks.embedder_id, DIM, IndexOptions(exact_below=10))
        self.made: list[weakref.ref[GalleryIndex]] = []
        self.n_alive: list[int] = []
        self.fails = False

    def empty(self, expected: int) -> GalleryIndex:
        self.n_alive.append(sum(one() is not None for one in self.made))
        if self.fails:
            raise GalleryError("no memory")
        index = super().empty(expected)
        self.made.append(weakref.ref(index))
        return index


def test_the_old_index_is_gone_before_the_new_one_is_built(tmp_path: Path) -> None:
    world = World(tmp_path)
    factory = WatchingFactory(world)
    indexes = GalleryIndexes(world.store, factory, embedder_id=world.networks.embedder_id, folder=None)
    kinds = []
    for person in range(14):
        world.faces.enroll(world.networks.portrait(f"enrolled {person}", person), f"person {person}")
        with world.store.reading() as reader:
            kinds.append(indexes.synced(reader, "default")[1].kind)
    assert kinds == ["exact"] * 11 + ["hnsw"] * 3
    assert factory.n_alive == [0, 0]
    world.close()


def test_an_index_that_could_not_be_built_is_built_at_the_next_try(tmp_path: Path) -> None:
    world = World(tmp_path)
    factory = WatchingFactory(world)
    indexes = GalleryIndexes(world.store, factory, embedder_id=world.networks.embedder_id, folder=None)
    for person in range(9):
        world.faces.enroll(world.networks.portrait(f"enrolled {person}", person), f"person {person}")
    with world.store.reading() as reader:
        indexes.synced(reader, "default")
    for person in range(9, 13):
        world.faces.enroll(world.networks.portrait(f"enrolled {person}", person), f"person {person}")
    factory.fails = True
    with world.store.reading() as reader, pytest.raises(GalleryError, match="no memory"):
        indexes.synced(reader, "default")
    factory.fails = False
    with world.store.reading() as reader:
        collection, index = indexes.synced(reader, "default")
    assert (index.kind, len(index), index.revision) == ("hnsw", 13, collection.revision)
    world.close()
