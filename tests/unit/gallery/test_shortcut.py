"""The compiled search inside an index: what has changed since it was prepared is found too, what is gone never comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facesearch.core.arrays import normalised
from facesearch.core.template import Template, TemplateBatch
from facesearch.gallery import shortcut
from facesearch.gallery.beam import LIBRARY, load_library
from facesearch.gallery.exact import ExactIndex
from facesearch.gallery.factory import GalleryIndexFactory
from facesearch.gallery.hnsw import HnswIndex
from facesearch.gallery.options import IndexOptions
from facesearch.gallery.shortcut import Groups

EMBEDDER = "made@0123456789ab"
DIM = 32
OPTIONS = IndexOptions(kind="hnsw", ef=2000, compiled_from=1)

needs_library = pytest.mark.skipif(load_library() is None, reason=f"nothing was compiled: {LIBRARY} is missing")


def batch(ids: np.ndarray, owners: np.ndarray, random: np.random.Generator) -> TemplateBatch:
    return TemplateBatch(ids, owners, normalised(random.normal(size=(len(ids), DIM)).astype(np.float32)), EMBEDDER)


def test_groups_are_the_rows_of_the_people_near():
    random = np.random.default_rng(2)
    owners = random.integers(0, 40, size=300)
    groups = Groups(owners)
    for _ in range(50):
        near = random.permutation(300)[:12]
        people = list(dict.fromkeys(owners[near].tolist()))[:5]
        assert sorted(groups.rows_beside(near, 5).tolist()) == sorted(np.flatnonzero(np.isin(owners, people)).tolist())


def test_of_a_person_with_very_many_templates_the_near_ones_are_candidates(monkeypatch):
    monkeypatch.setattr(shortcut, "MOST_OF_A_PERSON", 3)
    owners = np.array([7] * 10 + [8, 9])
    assert Groups(owners).rows_beside(np.array([9, 10]), 2).tolist() == [0, 1, 2, 9, 10]


def test_nobody_near_means_no_candidates():
    assert Groups(np.array([1, 2])).rows_beside(np.zeros(0, np.int64), 3).tolist() == []
    assert Groups(np.zeros(0, np.int64)).rows_beside(np.zeros(0, np.int64), 3).tolist() == []


def agree(index: HnswIndex, exact: ExactIndex, random: np.random.Generator, *, most: int) -> None:
    """Every template that is there, and some that are not, must have the answer of exact search."""
    assert len(index) == len(exact)
    probes = [Template(one, EMBEDDER) for one in normalised(random.normal(size=(40, DIM)).astype(np.float32))]
    for k in (1, 3):
        expected = [exact.search(probe, k) for probe in probes]
        assert [index.search(probe, k) for probe in probes] == expected
        assert list(index.search_many(probes, k)) == expected
    assert (index._shortcut is not None) == (most >= 0)


@needs_library
def test_changes_after_the_graph_was_saved_are_seen(tmp_path: Path):
    random = np.random.default_rng(4)
    exact, index = ExactIndex(EMBEDDER, DIM), HnswIndex(EMBEDDER, DIM, OPTIONS)
    first = batch(np.arange(1500), np.arange(1500) // 3, random)
    for one in (exact, index):
        one.add(first, revision=1)
    agree(index, exact, random, most=-1)
    index.save(tmp_path)
    agree(index, exact, random, most=0)
    loaded = GalleryIndexFactory(EMBEDDER, DIM, OPTIONS).load(tmp_path)
    assert isinstance(loaded, HnswIndex)
    agree(loaded, exact, random, most=0)
    steps = (
        lambda one: one.remove(range(0, 200, 2), revision=2),
        lambda one: one.add(batch(np.arange(2000, 2100), np.arange(100) + 5000, np.random.default_rng(6)), revision=3),
        lambda one: one.add(batch(np.arange(1, 61, 2), np.arange(30) + 100, np.random.default_rng(7)), revision=4),
        lambda one: one.move(range(300, 330), 9999, revision=5),
        lambda one: one.remove(range(2000, 2050), revision=6),
    )
    for step in steps:
        for one in (exact, index, loaded):
            step(one)
        agree(index, exact, random, most=0)
        agree(loaded, exact, random, most=0)
    index.purge()
    agree(index, exact, random, most=-1)  # the codes of removed templates are gone with it
    index.save(tmp_path)
    agree(index, exact, random, most=0)


@needs_library
def test_after_many_changes_hnswlib_searches_alone(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(shortcut, "MOST_CHANGES", 50)
    random = np.random.default_rng(4)
    exact, index = ExactIndex(EMBEDDER, DIM), HnswIndex(EMBEDDER, DIM, OPTIONS)
    for one in (exact, index):
        one.add(batch(np.arange(900), np.arange(900), np.random.default_rng(1)), revision=1)
    index.save(tmp_path)
    for start, most in ((1000, 0), (1030, -1)):
        for one in (exact, index):
            one.add(batch(np.arange(start, start + 30), np.arange(start, start + 30), np.random.default_rng(start)), revision=start)
        agree(index, exact, random, most=most)


@needs_library
def test_a_rebuilt_graph_is_searched_by_hnswlib_until_it_is_saved(tmp_path: Path):
    random = np.random.default_rng(4)
    exact, index = ExactIndex(EMBEDDER, DIM), HnswIndex(EMBEDDER, DIM, OPTIONS)
    for one in (exact, index):
        one.add(batch(np.arange(900), np.arange(900), np.random.default_rng(1)), revision=1)
    index.save(tmp_path)
    for one in (exact, index):
        one.remove(range(500), revision=2)
    agree(index, exact, random, most=-1)
    assert index.churn == 0


def test_a_small_gallery_needs_none(tmp_path: Path):
    index = HnswIndex(EMBEDDER, DIM, IndexOptions(kind="hnsw", compiled_from=901))
    index.add(batch(np.arange(900), np.arange(900), np.random.default_rng(1)), revision=1)
    index.save(tmp_path)
    assert index._shortcut is None


def test_the_beam_widens_with_the_gallery():
    shipped = IndexOptions()
    assert [shipped.ef_for(n) for n in (0, 100_000, 200_000, 1_000_000)] == [128, 128, 215, 719]
    assert IndexOptions(ef=64).ef_for(1_000_000) == 64


@needs_library
def test_purging_forgets_the_codes_of_a_template_whose_row_is_used_again(tmp_path: Path):
    index = HnswIndex(EMBEDDER, DIM, OPTIONS)
    index.add(batch(np.arange(900), np.arange(900), np.random.default_rng(1)), revision=1)
    index.save(tmp_path)
    index.remove([5], revision=2)
    index.add(batch(np.array([1000]), np.array([1000]), np.random.default_rng(2)), revision=3)
    index.purge()
    assert index._shortcut is None
