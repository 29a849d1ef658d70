"""A thin adapter around hnswlib: rows in, rows out, its errors translated.

It knows nothing of template ids, identities or locks. The labels it gives to hnswlib are rows of the index's table:
a freed row is used again under the same label, so no label ever stands for two nodes. (hnswlib's own slot replacement,
``replace_deleted``, can lose a label that was deleted and added again.)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hnswlib
import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Vectors, normalised
from facesearch.core.errors import FileWriteError, GalleryError, GalleryFormatError
from facesearch.gallery.columns import Rows
from facesearch.gallery.huge_pages import huge_pages
from facesearch.gallery.options import IndexOptions

GROWTH = 1.5
"""Factor by which hnswlib's memory grows when it is exhausted."""

PARALLEL_FROM = 200
"""Additions from which several threads are used; smaller ones use one, so that the same history builds the same graph."""

SEED = 20_161
"""Seed of the layers drawn for nodes."""

Found = tuple[Rows, NDArray[np.float32]]
"""Rows near a probe by rising distance, and the distances, ``1 − score``: int64 and float32 of one shape."""


@contextmanager
def hnsw_errors(what: str) -> Iterator[None]:
    """Translate what hnswlib raises (bare ``RuntimeError``).

    Raises:
        GalleryError: hnswlib failed.
    """
    try:
        yield
    except RuntimeError as exc:
        raise GalleryError(f"hnswlib could not {what}: {exc}") from exc


class Graph:
    """An HNSW graph over unit vectors, by row.

    Args:
        index: An initialised hnswlib index of the space ``ip``.
        ef: Beam width of a search.
        threads: Threads for large additions and batches of probes; 0 for all.
    """

    def __init__(self, index: hnswlib.Index, *, ef: int, threads: int) -> None:
        self._index = index
        self._threads = threads
        index.set_ef(ef)  # hnswlib does not store it: a loaded index comes back with 10

    @classmethod
    def empty(cls, dim: int, capacity: int, options: IndexOptions) -> Graph:
        """Return a graph without nodes."""
        with hnsw_errors(f"reserve {capacity} vectors of {dim} numbers"):
            index = hnswlib.Index(space="ip", dim=dim)
            with huge_pages(is_filled=False):
                index.init_index(
                    max_elements=max(capacity, 1), M=options.m, ef_construction=options.ef_construction, random_seed=SEED
                )
        return cls(index, ef=options.ef_for(capacity), threads=options.threads)

    @classmethod
    def load(cls, path: Path, dim: int, n_rows: int, options: IndexOptions) -> Graph:
        """Return a graph from a file whose checksum was verified: hnswlib may crash on a damaged one.

        Raises:
            GalleryFormatError: hnswlib refuses the file, or it has another number of nodes than the table has rows.
        """
        index = hnswlib.Index(space="ip", dim=dim)
        try:
            with huge_pages(is_filled=True):
                index.load_index(str(path), max_elements=max(n_rows, 1))
        except RuntimeError as exc:
            raise GalleryFormatError(f"hnswlib cannot read {path.name}: {exc}", path=str(path)) from exc
        if index.element_count != n_rows:
            raise GalleryFormatError(f"{path.name} holds {index.element_count} vectors, the manifest says {n_rows}", path=str(path))
        return cls(index, ef=options.ef_for(n_rows), threads=options.threads)

    @property
    def ef(self) -> int:
        """Beam width of a search."""
        return int(self._index.ef)

    @property
    def m(self) -> int:
        """Links a node, as built."""
        return int(self._index.M)

    @property
    def ef_construction(self) -> int:
        """Beam width while building, as built."""
        return int(self._index.ef_construction)

    def widen(self, ef: int) -> None:
        """Search with a beam of this width from now on."""
        if ef != self.ef:
            self._index.set_ef(ef)

    def __len__(self) -> int:
        """Return the number of nodes, marked ones included."""
        return int(self._index.element_count)

    def reserve(self, n_rows: int) -> None:
        """Make room for so many nodes in all.

        Raises:
            GalleryError: There is not enough memory.
        """
        if n_rows > self._index.max_elements:
            with hnsw_errors(f"reserve room for {n_rows} vectors"), huge_pages(is_filled=False):
                self._index.resize_index(max(n_rows, int(self._index.max_elements * GROWTH)))

    def add(self, rows: Rows, vectors: Vectors) -> None:
        """Add nodes for rows not seen before; large additions in parallel (another graph each time, as good as any)."""
        if not len(rows):
            return
        with hnsw_errors(f"add {len(rows)} vectors"):
            self._index.add_items(vectors, rows, num_threads=self._threads or -1 if len(rows) >= PARALLEL_FROM else 1)

    def replace(self, rows: Rows, vectors: Vectors) -> None:
        """Give rows known to the graph new vectors, removed ones come back to life; in one thread."""
        if len(rows):
            with hnsw_errors(f"replace {len(rows)} vectors"):
                self._index.add_items(vectors, rows, num_threads=1)

    def remove(self, rows: Rows) -> None:
        """Mark rows so that searches pass through them but never return them; their vectors stay in hnswlib's memory."""
        with hnsw_errors(f"remove {len(rows)} vectors"):
            for row in rows.tolist():
                self._index.mark_deleted(row)

    def overwrite(self, rows: Rows, dim: int) -> None:
        """Replace the vectors of marked rows by random directions and mark them again."""
        if len(rows):
            stand_ins = normalised(np.random.default_rng(SEED).normal(size=(len(rows), dim)))
            self.replace(rows, stand_ins)
            self.remove(rows)

    def nearest(self, probe: Vectors, n: int) -> Found | None:
        """Return ``n`` rows near a probe with their float32 distances, or None where hnswlib finds fewer.

        After removals hnswlib may reach fewer live nodes than asked for even though they exist (nmslib/hnswlib issues 321, 608).
        """
        try:
            rows, distances = self._index.knn_query(probe, k=n, num_threads=1)
        except RuntimeError:
            return None
        return rows[0].view(np.int64), distances[0]

    def nearest_many(self, probes: Vectors, n: int) -> Found | None:
        """Return ``nearest`` of each probe, shapes ``(len(probes), n)``, or None where hnswlib finds fewer for one of them."""
        try:
            rows, distances = self._index.knn_query(probes, k=n, num_threads=self._threads or -1)
        except RuntimeError:
            return None
        return rows.view(np.int64), distances

    def save(self, path: Path) -> None:
        """Write the graph to a file.

        Raises:
            FileWriteError: The file is shorter than it must be: hnswlib does not notice a full disk.
        """
        try:
            self._index.save_index(str(path))
        except RuntimeError as exc:
            raise FileWriteError(f"hnswlib cannot write {path}: {exc}", path=str(path)) from exc
        wanted = int(self._index.index_file_size())
        written = path.stat().st_size if path.exists() else 0
        if written != wanted:
            raise FileWriteError(
                f"only {written} of {wanted} bytes of {path} could be written: the folder is not writable or full", path=str(path)
            )
