"""The compiled search beside hnswlib and exact search, on every instruction set, and on files that are damaged."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import hnswlib
import numpy as np
import pytest

from facesearch.core.arrays import normalised
from facesearch.core.errors import GalleryError
from facesearch.gallery.beam import LIBRARY, Beam, load_library

LOADED = load_library()
SETS = ("baseline", "avx2", "avx512")
N = 3000
LEAST_RECALL = 0.97

pytestmark = pytest.mark.skipif(LOADED is None, reason=f"nothing was compiled: {LIBRARY} is missing")


def saved(folder: Path, vectors: np.ndarray, *, m: int = 16) -> Path:
    index = hnswlib.Index("ip", vectors.shape[1])
    index.init_index(max_elements=len(vectors), M=m, ef_construction=100, random_seed=3)
    index.add_items(vectors, np.random.default_rng(1).permutation(len(vectors)), num_threads=1)
    path = folder / "graph.hnsw"
    index.save_index(str(path))
    return path


def of_labels(vectors: np.ndarray) -> np.ndarray:
    """The vectors by label: ``saved`` deals labels out in random order."""
    by_label = np.empty_like(vectors)
    by_label[np.random.default_rng(1).permutation(len(vectors))] = vectors
    return by_label


def opened(path: Path, dim: int, instructions: str | None = None) -> Beam:
    try:
        return Beam(LOADED, path, dim, instructions=instructions)
    except GalleryError:
        if instructions is None:
            raise
        pytest.skip(f"this processor has no {instructions}")


@pytest.fixture(scope="module", params=[128, 100, 512])
def gallery(request, tmp_path_factory) -> tuple[Path, np.ndarray, np.ndarray]:
    random = np.random.default_rng(request.param)
    vectors = normalised(random.normal(size=(N, request.param)).astype(np.float32))
    probes = normalised(vectors[:200] + 0.7 * normalised(random.normal(size=(200, request.param)).astype(np.float32)))
    return saved(tmp_path_factory.mktemp("graph"), vectors), of_labels(vectors), probes


@pytest.mark.parametrize("instructions", SETS)
def test_the_nearest_are_found(gallery, instructions):
    path, vectors, probes = gallery
    beam = opened(path, vectors.shape[1], instructions)
    assert len(beam) == N
    rows = beam.nearest_many(probes, 20, ef=400, n_threads=1)
    assert rows.shape == (len(probes), 20)
    truth = (probes @ vectors.T).argmax(axis=1)
    scores = np.einsum("pnd,pd->pn", vectors[rows], probes)
    assert (rows[np.arange(len(probes)), scores.argmax(axis=1)] == truth).mean() >= LEAST_RECALL
    # Approximate scores fall as the exact ones do, to their precision.
    assert (np.diff(scores, axis=1) < 0.1).all()
    assert all(len(set(line)) == 20 for line in rows.tolist())


@pytest.mark.parametrize("instructions", SETS[1:])
def test_every_instruction_set_gives_the_same_rows(gallery, instructions):
    path, vectors, probes = gallery
    plain = opened(path, vectors.shape[1], "baseline").nearest_many(probes, 30, ef=60, n_threads=1)
    assert (opened(path, vectors.shape[1], instructions).nearest_many(probes, 30, ef=60, n_threads=1) == plain).all()


def test_threads_change_nothing(gallery):
    path, vectors, probes = gallery
    beam = opened(path, vectors.shape[1])
    together = beam.nearest_many(probes, 10, ef=50, n_threads=3)
    assert (together == beam.nearest_many(probes, 10, ef=50, n_threads=1)).all()
    assert (together == np.concatenate([beam.nearest_many(one[None], 10, ef=50, n_threads=1) for one in probes])).all()


def test_more_than_there_are(tmp_path):
    vectors = normalised(np.random.default_rng(0).normal(size=(7, 16)).astype(np.float32))
    beam = opened(saved(tmp_path, vectors), 16)
    rows = beam.nearest_many(vectors[:2], 10, ef=10, n_threads=1)
    assert [sorted(line) for line in rows.tolist()] == [[-1, -1, -1, *range(7)]] * 2


def test_probes_of_another_length_are_refused(gallery):
    path, vectors, _ = gallery
    with pytest.raises(GalleryError, match="7"):
        opened(path, vectors.shape[1]).nearest_many(np.zeros((1, 7), np.float32), 5, ef=5, n_threads=1)
    with pytest.raises(GalleryError, match="-d vectors"):
        Beam(LOADED, path, vectors.shape[1] + 1)


def test_damaged_files_are_refused_or_searched_without_harm(tmp_path):
    vectors = normalised(np.random.default_rng(5).normal(size=(300, 16)).astype(np.float32))
    sound = saved(tmp_path, vectors, m=4).read_bytes()
    path = tmp_path / "damaged.hnsw"
    for length in (0, 7, 50, 96, 97, 1000, len(sound) // 2, len(sound) - 5):
        path.write_bytes(sound[:length])
        with pytest.raises(GalleryError):
            Beam(LOADED, path, 16)
    with pytest.raises(GalleryError):
        Beam(LOADED, tmp_path / "missing.hnsw", 16)
    random = np.random.default_rng(8)
    n_refused = 0
    for _ in range(400):
        spoilt = bytearray(sound)
        for place in random.integers(0, len(sound), size=random.integers(1, 4)):
            spoilt[place] = random.integers(0, 256)
        path.write_bytes(spoilt)
        try:
            rows = Beam(LOADED, path, 16).nearest_many(vectors[:3], 20, ef=30, n_threads=1)
        except GalleryError:
            n_refused += 1
        else:
            assert ((rows >= -1) & (rows < 300)).all()
    assert 20 < n_refused < 400


def test_a_library_that_is_missing_or_foreign_is_told_of_once(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="facesearch"):
        assert load_library(tmp_path / "beam.so") is None
        assert load_library(tmp_path / "beam.so") is None
        broken = tmp_path / "broken.so"
        broken.write_bytes(b"no library")
        assert load_library(broken) is None
        other = tmp_path / "other.so"
        shutil.copyfile(LIBRARY.parents[2] / "detection" / "native" / "cascade.so", other)
        assert load_library(other) is None
    assert len(caplog.records) == 3
    assert all("hnswlib" in record.getMessage() or "install" in record.getMessage() for record in caplog.records)
