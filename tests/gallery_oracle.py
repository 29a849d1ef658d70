"""Made-up galleries, and the slow, obvious search that indexes are compared with."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from facesearch.core.decision import Neighbour
from facesearch.core.protocols import GalleryIndex
from facesearch.core.template import Template, TemplateBatch
from facesearch.gallery.exact import ExactIndex
from facesearch.gallery.hnsw import HnswIndex
from facesearch.gallery.options import IndexOptions

EMBEDDER = "made-up@0123456789ab"
DIM = 32
SCORE_TOLERANCE = 1e-6


def unit(rng: np.random.Generator, n: int, dim: int = DIM) -> np.ndarray:
    """Return random directions, float32 ``(n, dim)``."""
    drawn = rng.normal(size=(n, dim))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def batch_of(ids, owners, vectors: np.ndarray) -> TemplateBatch:
    return TemplateBatch(np.asarray(ids, dtype=np.int64), np.asarray(owners, dtype=np.int64), vectors, EMBEDDER)


def people(rng: np.random.Generator, n: int, each: int = 4, dim: int = DIM, noise: float = 0.7) -> TemplateBatch:
    """Return ``n`` templates, ``each`` of them around one direction; ids and identities from 1."""
    owners = np.arange(n) // each
    vectors = unit(rng, owners[-1] + 1, dim)[owners] + noise * unit(rng, n, dim)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return batch_of(np.arange(1, n + 1), owners + 1, vectors)


def probe(vector: np.ndarray) -> Template:
    return Template(np.array(vector, dtype=np.float32), EMBEDDER)


def empty_index(kind: str, dim: int = DIM, **options: int) -> GalleryIndex:
    return ExactIndex(EMBEDDER, dim) if kind == "exact" else HnswIndex(EMBEDDER, dim, IndexOptions(threads=1, **options))


class ModelGallery:
    """A dict of templates and a loop over it."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[int, np.ndarray]] = {}

    def add(self, batch: TemplateBatch) -> None:
        for key, owner, vector in zip(batch.template_ids.tolist(), batch.identity_ids.tolist(), batch.vectors, strict=True):
            self.rows[key] = (owner, vector)

    def search(self, vector: np.ndarray, k: int, among: Collection[int] | None = None) -> list[Neighbour]:
        best: dict[int, Neighbour] = {}
        for key in sorted(self.rows):
            owner, stored = self.rows[key]
            if among is not None and owner not in among:
                continue
            score = float(np.clip(sum(float(a) * float(b) for a, b in zip(stored, vector, strict=True)), -1.0, 1.0))
            if owner not in best or score > best[owner].score:
                best[owner] = Neighbour(key, owner, score)
        return sorted(best.values(), key=lambda near: (-near.score, near.template_id))[:k]


def assert_same_answer(found: Collection[Neighbour], expected: Collection[Neighbour]) -> None:
    """Same people by the same templates in the same order, scores within ``SCORE_TOLERANCE``."""
    assert [(near.template_id, near.identity_id) for near in found] == [(near.template_id, near.identity_id) for near in expected]
    np.testing.assert_allclose([near.score for near in found], [near.score for near in expected], rtol=0, atol=SCORE_TOLERANCE)
