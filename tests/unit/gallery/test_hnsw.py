"""HNSW: its recall beside exact search, and hnswlib's known faults after removals, met and handled."""

from __future__ import annotations

import hnswlib
import numpy as np
import pytest

from facesearch.core.errors import GalleryError
from facesearch.core.template import TemplateBatch
from facesearch.gallery.exact import ExactIndex
from facesearch.gallery.graph import Graph
from facesearch.gallery.hnsw import MAX_CHURN, HnswIndex
from facesearch.gallery.options import IndexOptions
from tests.gallery_oracle import EMBEDDER, ModelGallery, assert_same_answer, batch_of, empty_index, people, probe, unit

TOP1_FLOOR = 0.999
"""Share of mated probes whose first answer is that of exact search."""

RECALL_FLOOR = 0.95
"""Mean share of the true ten nearest identities found for random directions, the hardest probes."""

WEAK = IndexOptions(kind="hnsw", m=4, ef_construction=20, ef=10, threads=1)
"""Parameters poor enough for the faults to show in a small gallery."""


def noisy(rng: np.random.Generator, vectors: np.ndarray, noise: float) -> np.ndarray:
    mixed = vectors + noise * unit(rng, len(vectors), vectors.shape[1])
    return (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)


def exact_twin(batch: TemplateBatch) -> ExactIndex:
    index = ExactIndex(EMBEDDER, batch.vectors.shape[1])
    index.add(batch, revision=1)
    return index


def agreement(index: HnswIndex, exact: ExactIndex, vectors: np.ndarray, k: int) -> tuple[float, float]:
    """Return the share of equal first answers and the mean share of the ``k`` true identities found."""
    probes = [probe(vector) for vector in vectors]
    pairs = list(zip(index.search_many(probes, k), exact.search_many(probes, k), strict=True))
    assert len(pairs) == len(vectors) > 0
    assert all(len(found) == len(true) == k for found, true in pairs)
    top = np.mean([found[0].identity_id == true[0].identity_id for found, true in pairs])
    shares = [len({near.identity_id for near in found} & {near.identity_id for near in true}) / k for found, true in pairs]
    return float(top), float(np.mean(shares))


def test_recall_of_the_default_settings() -> None:
    rng = np.random.default_rng(11)
    batch = people(rng, 6000, dim=64)
    index, exact = empty_index("hnsw", 64), exact_twin(batch)
    index.add(batch, revision=1)
    top, _ = agreement(index, exact, noisy(rng, batch.vectors[:1000], 0.6), 1)
    _, recall = agreement(index, exact, unit(rng, 500, 64), 10)
    assert top >= TOP1_FLOOR
    assert recall >= RECALL_FLOOR


def test_bare_hnswlib_loses_vectors_and_fails_after_churn() -> None:
    """The faults this room is built around; when hnswlib mends them this test says so."""
    rng = np.random.default_rng(5)
    batch = people(rng, 2000, each=100, dim=16, noise=0.05)
    bare = hnswlib.Index("ip", 16)
    bare.init_index(2000, M=WEAK.m, ef_construction=WEAK.ef_construction)
    bare.set_ef(WEAK.ef)
    bare.add_items(batch.vectors, np.arange(2000), num_threads=1)
    gone, vectors = rng.permutation(2000)[:1000], batch.vectors.copy()
    for row in gone.tolist():
        bare.mark_deleted(row)
    vectors[gone] = noisy(rng, batch.vectors[gone], 0.05)
    bare.add_items(vectors[gone], gone, num_threads=1)
    found = bare.knn_query(vectors, k=1, num_threads=1)[0][:, 0].astype(np.int64)
    assert np.mean(np.einsum("ij,ij->i", vectors[found], vectors) < 1 - 1e-5) > 0.02
    for row in range(1, 2000):
        bare.mark_deleted(row)
    with pytest.raises(RuntimeError, match="contiguous 2D array"):
        bare.knn_query(vectors[:1], k=2, num_threads=1)


def test_recall_after_half_the_gallery_was_exchanged() -> None:
    rng = np.random.default_rng(12)
    batch = people(rng, 3000, dim=64)
    index, exact = empty_index("hnsw", 64), exact_twin(batch)
    index.add(batch, revision=1)
    assert isinstance(index, HnswIndex)
    coming = people(rng, 1500, dim=64)
    highest = 0.0
    for step, gone in enumerate(rng.permutation(3000)[:1500].reshape(10, 150)):
        part = slice(150 * step, 150 * step + 150)
        new = batch_of(coming.template_ids[part] + 10_000, coming.identity_ids[part] + 10_000, coming.vectors[part])
        for each in (index, exact):
            each.remove((gone + 1).tolist(), revision=step)
            each.add(new, revision=step)
        highest = max(highest, index.churn)
    assert len(index) == len(exact) == 3000
    assert 0.1 < highest <= MAX_CHURN
    top, _ = agreement(index, exact, noisy(rng, coming.vectors[:1000], 0.6), 1)
    _, recall = agreement(index, exact, unit(rng, 300, 64), 10)
    assert top >= TOP1_FLOOR
    assert recall >= RECALL_FLOOR


def test_every_template_is_found_after_churn_of_near_identical_photographs() -> None:
    rng = np.random.default_rng(13)
    batch = people(rng, 4000, each=100, dim=128, noise=0.03)
    index = empty_index("hnsw", 128)
    index.add(batch, revision=1)
    for gone in np.split(rng.permutation(4000)[:1600] + 1, 4):
        index.remove(gone.tolist(), revision=2)
        kept = gone - 1
        index.add(batch_of(gone, batch.identity_ids[kept], batch.vectors[kept]), revision=3)
    found = index.search_many([probe(vector) for vector in batch.vectors[::5]], 1)
    assert len(found) == 800
    wrong = [row for row, (near,) in zip(range(0, 4000, 5), found, strict=True) if near.identity_id != batch.identity_ids[row]]
    assert wrong == []


def test_people_with_many_near_identical_photographs_can_be_reached() -> None:
    """Added in the order given, whole people hang together only with themselves (0.96 here)."""
    rng = np.random.default_rng(0)
    batch = people(rng, 10_000, each=100, dim=128, noise=0.03)
    index, exact = HnswIndex(EMBEDDER, 128), exact_twin(batch)
    index.add(batch, revision=1)
    top, _ = agreement(index, exact, noisy(rng, batch.vectors[::10], 0.3), 1)
    assert top >= TOP1_FLOOR


def test_a_graph_that_finds_too_few_is_answered_by_a_scan() -> None:
    rng = np.random.default_rng(6)
    index, model = HnswIndex(EMBEDDER, 16, WEAK), ModelGallery()
    batch = people(rng, 1000, each=2, dim=16)
    index.add(batch, revision=1)
    model.add(batch)
    index._graph.remove(np.arange(995))  # as if hnswlib no longer reached these rows
    for k in (1, 5):
        with pytest.raises(RuntimeError):
            index._graph._index.knn_query(batch.vectors[7], k=4 * k + 8, num_threads=1)
        assert_same_answer(index.search(probe(batch.vectors[7]), k), model.search(batch.vectors[7], k))
        assert_same_answer(index.search_many([probe(batch.vectors[7])], k)[0], model.search(batch.vectors[7], k))


def test_a_large_filter_widens_the_search() -> None:
    rng = np.random.default_rng(8)
    batch = people(rng, 14_000, each=1, dim=16)
    index, exact = HnswIndex(EMBEDDER, 16, IndexOptions(m=8, ef_construction=60, ef=60)), exact_twin(batch)
    index.add(batch, revision=1)
    among = set(range(1, 14_001)) - set(range(1, 14_001, 5))
    assert index.count(among) == 11_200
    probes = [probe(vector) for vector in batch.vectors[:200]]
    answers = [index.search(someone, 3, among=among) for someone in probes]
    assert tuple(answers) == index.search_many(probes, 3, among=among)
    assert {near.identity_id for answer in answers for near in answer} <= among
    truth = exact.search_many(probes, 3, among=among)
    assert np.mean([found == true for found, true in zip(answers, truth, strict=True)]) >= RECALL_FLOOR


def test_freed_rows_are_used_again_and_wear_is_repaired() -> None:
    rng = np.random.default_rng(9)
    batch = people(rng, 1000)
    index = empty_index("hnsw")
    index.add(batch, revision=1)
    assert isinstance(index, HnswIndex)
    index.remove(range(1, 101), revision=2)
    assert (index._table.n_rows, len(index._graph), index.churn) == (1000, 1000, 0.1)
    index.add(batch_of(np.arange(2001, 2101), np.arange(2001, 2101), unit(rng, 100)), revision=3)
    assert (index._table.n_rows, len(index._graph), index.churn) == (1000, 1000, 0.2)
    index.remove(range(101, 201), revision=4)
    assert (index._table.n_rows, len(index._graph), index.churn) == (900, 900, 0.0)
    assert index.search(probe(batch.vectors[500]), 1)[0].template_id == 501


def test_adding_what_is_there_wears_nothing() -> None:
    batch = people(np.random.default_rng(9), 500)
    index = empty_index("hnsw")
    index.add(batch, revision=1)
    index.add(batch, revision=2)
    assert isinstance(index, HnswIndex)
    assert (len(index), len(index._graph), index.churn, index.revision) == (500, 500, 0.0, 2)


def test_the_same_history_builds_the_same_graph(tmp_path) -> None:
    batch = people(np.random.default_rng(10), 600)
    graphs = []
    for name in ("one", "two"):
        index = empty_index("hnsw")
        index.add(batch, revision=1)
        index.remove([3, 9], revision=2)
        index.save(tmp_path / name)
        graphs.append(next((tmp_path / name).glob("graph-*")).read_bytes())
    assert graphs[0] == graphs[1]


def test_what_hnswlib_raises_is_of_the_house() -> None:
    graph = Graph.empty(8, 2, WEAK)
    graph.add(np.arange(2), np.eye(2, 8, dtype=np.float32))
    with pytest.raises(GalleryError, match="hnswlib could not add 1 vectors"):
        graph.add(np.array([5]), np.eye(1, 8, dtype=np.float32))
    with pytest.raises(GalleryError, match="hnswlib could not remove"):
        graph.remove(np.array([77]))
