"""Which templates of a large gallery may be a probe's nearest: the compiled search, and what has changed since its graph was saved.

It names candidates and scores nothing: ``HnswIndex`` scores them exactly. It takes no lock: its index does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Vectors
from facesearch.core.errors import GalleryError
from facesearch.gallery.beam import Beam, load_library
from facesearch.gallery.columns import Rows

MOST_CHANGES = 2048
"""Templates added or replaced since the graph was saved up to which they are scanned beside it (0.2 ms at 128 numbers)."""

MOST_OF_A_PERSON = 64
"""Templates of one person that are candidates because another one is near, the near ones apart."""

NEAR_PER_PERSON = 4
NEAR_SPARE = 40
"""Rows asked for, for each person wanted and beside: scores of the compiled search are off by about 0.01, so that the nearest of
all may come some places later."""

SPARE_PEOPLE = 4
"""People beyond those wanted whose further templates are candidates."""

_logger = logging.getLogger("facesearch")


class Groups:
    """The rows of each identity, as they were once. A row that moved since is a candidate too many, no more.

    Args:
        owners: Identity of each row.
    """

    def __init__(self, owners: Rows) -> None:
        self._order = np.argsort(owners, kind="stable").astype(np.int32)
        ordered = owners[self._order]
        is_first = np.concatenate([[True], ordered[1:] != ordered[:-1]]) if len(ordered) else np.zeros(0, dtype=bool)
        self._starts = np.append(np.flatnonzero(is_first), len(ordered)).tolist()
        self._group_of: NDArray[np.int32] = np.empty(len(owners), dtype=np.int32)
        self._group_of[self._order] = np.cumsum(is_first, dtype=np.int32) - 1

    def rows_beside(self, near: Rows, n_people: int) -> Rows:
        """Return all rows of the first so many people that some rows belong to; of people with very many, some and the near ones.

        Args:
            near: Rows, the nearest first.
            n_people: People wanted.
        """
        groups = list(dict.fromkeys(self._group_of.take(near).tolist()))[:n_people]
        starts = self._starts
        parts = [self._order[starts[group] : starts[group + 1]] for group in groups]
        if max(map(len, parts), default=0) > MOST_OF_A_PERSON:
            return np.unique(np.concatenate([near, *(part[:MOST_OF_A_PERSON] for part in parts)]))
        return np.concatenate(parts) if parts else near


class Shortcut:
    """Candidates of searches in a graph that was saved, and in what has changed since.

    Args:
        beam: The saved graph.
        owners: Identity of each of its rows.
    """

    def __init__(self, beam: Beam, owners: Rows) -> None:
        self._beam = beam
        self._groups = Groups(owners)
        self._changed: set[int] = set()
        self._changed_rows: Rows = np.zeros(0, dtype=np.int64)

    @classmethod
    def of_file(cls, path: Path, dim: int, owners: Rows, least: int) -> Shortcut | None:
        """Return the shortcut through a graph's file, or None where the gallery is small or nothing was compiled.

        Args:
            path: What hnswlib saved; its checksum was verified.
            dim: Length of the vectors.
            owners: Identity of each row.
            least: Rows below which hnswlib is quick enough.
        """
        library = load_library() if len(owners) >= max(least, 1) else None
        if library is None:
            return None
        try:
            beam = Beam(library, path, dim)
        except GalleryError as exc:
            _logger.warning("a large gallery is searched by hnswlib, several times slower: %s", exc)
            return None
        return cls(beam, owners) if len(beam) == len(owners) else None

    @property
    def is_worn(self) -> bool:
        """Whether more has changed than is worth scanning."""
        return len(self._changed) > MOST_CHANGES

    def change(self, rows: Rows) -> None:
        """Take note of rows that were added, or got another vector."""
        if len(rows):
            self._changed.update(rows.tolist())
            self._changed_rows = np.fromiter(sorted(self._changed), np.int64, len(self._changed))

    def candidates(
        self, probes: Vectors, vectors_of: Callable[[Rows], Vectors], k: int, *, ef: int, n_threads: int
    ) -> Iterator[Rows]:
        """Yield for each probe the rows, in no order, among which its ``k`` nearest people are.

        Args:
            probes: float32 ``(N, dim)``.
            vectors_of: Returns the table's vectors of now, by row.
            k: People wanted.
            ef: Width of the beam.
            n_threads: Threads to use.
        """
        n_people = k + SPARE_PEOPLE
        near = self._beam.nearest_many(probes, NEAR_PER_PERSON * k + NEAR_SPARE, ef=ef, n_threads=n_threads)
        for probe, row in zip(probes, near, strict=True):
            rows = row[row >= 0]
            rows = rows[np.argsort(vectors_of(rows) @ probe)[::-1]]
            found = self._groups.rows_beside(rows, n_people)
            yield np.union1d(found, self._nearest_changed(probe, vectors_of, n_people)) if len(self._changed_rows) else found

    def _nearest_changed(self, probe: Vectors, vectors_of: Callable[[Rows], Vectors], n: int) -> Rows:
        rows = self._changed_rows
        if len(rows) <= n:
            return rows
        scores = vectors_of(rows) @ probe
        return rows[np.argpartition(scores, len(scores) - n)[len(scores) - n :]]
