"""Approximate search by a Hierarchical Navigable Small World graph (Malkov & Yashunin 2018), for galleries too large to scan.

It never answers with less than there is: where hnswlib finds too few (its known fault after removals) the rows are scanned exactly.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection as Ids
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from facesearch.core.arrays import Vectors
from facesearch.core.decision import Neighbour
from facesearch.core.errors import GalleryFormatError
from facesearch.core.template import Template, TemplateBatch
from facesearch.gallery.columns import Rows
from facesearch.gallery.exact import checked_k
from facesearch.gallery.graph import Graph
from facesearch.gallery.locks import ReadWriteLock
from facesearch.gallery.options import IndexOptions
from facesearch.gallery.shortcut import Shortcut
from facesearch.gallery.snapshot import GraphFile, Snapshot, write_snapshot
from facesearch.gallery.table import TemplateTable

MAX_CHURN = 0.25
"""Share of rows removed or replaced since the graph was built past which it is rebuilt: links around them decay."""

CHUNK = 256
"""Templates added or overwritten under one hold of the lock, so that searches wait for a part of a large change only."""

OVERWRITE_COST = 16
"""Additions that overwriting one node costs as much as: hnswlib repairs the links of all its neighbours (1.4 ms against 0.08 ms
at 20,000 templates). A purge of more than one node in so many rebuilds the graph instead."""

SCAN_SHARE = 16
"""A search that would have to visit more than one template in so many is done by an exact scan, which is quicker by then."""

SMALL_SUBSET = 10_000
"""Templates of a filtered search up to which the subset is scanned."""


class HnswIndex:
    """A ``GalleryIndex`` on hnswlib.

    Searches run together; a change waits for them and they for it. Changes take turns, and while one rebuilds the graph (after much
    removal) searches go on with the old one. Small additions build the same graph each time; large ones are added in parallel.

    Args:
        embedder_id: The embedder of every template.
        dim: Length of the vectors.
        options: Parameters; those of building hold from the next rebuild on for an index that was loaded.
    """

    kind = "hnsw"

    def __init__(self, embedder_id: str, dim: int, options: IndexOptions | None = None) -> None:
        self._options = options or IndexOptions()
        self._table = TemplateTable(embedder_id, dim, self._options.template_format)
        self._graph = Graph.empty(dim, 1, self._options)
        self._shortcut: Shortcut | None = None
        self._churn = 0
        self._unpurged: set[int] = set()  # freed rows whose vectors hnswlib still holds
        self._revision = 0
        self._lock = ReadWriteLock()
        self._changes = threading.Lock()

    @classmethod
    def of_snapshot(cls, snapshot: Snapshot, options: IndexOptions) -> HnswIndex:
        """Return the index that a verified, open snapshot of this kind holds.

        Raises:
            GalleryFormatError: The graph cannot be read or does not belong to the rows.
        """
        index = cls(snapshot.embedder_id, snapshot.dim, options)
        index._table = snapshot.table()
        if snapshot.graph is None or snapshot.graph.path is None:
            raise GalleryFormatError(f"a snapshot of kind {snapshot.kind} has no graph to load")
        path, owners = snapshot.graph.path, index._table.columns[1]
        with ThreadPoolExecutor(max_workers=1) as pool:  # both read the file, one of them without Python's lock
            shortcut = pool.submit(Shortcut.of_file, path, snapshot.dim, owners, options.compiled_from)
            index._graph = Graph.load(path, snapshot.dim, index._table.n_rows, options)
            index._shortcut = shortcut.result()
        index._churn = snapshot.graph.churn
        index._unpurged = set(index._table.free_rows)
        index._revision = snapshot.revision
        return index

    @property
    def embedder_id(self) -> str:
        """The embedder of every template."""
        return self._table.embedder_id

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return self._table.dim

    @property
    def revision(self) -> int:
        """The collection's revision that it reflects."""
        return self._revision

    @property
    def churn(self) -> float:
        """Share of the graph's rows removed or replaced since it was built; at ``MAX_CHURN`` it is rebuilt."""
        return self._churn / max(1, self._table.n_rows)

    def __len__(self) -> int:
        """Return the number of templates that can be found."""
        return len(self._table)

    def add(self, batch: TemplateBatch, *, revision: int) -> None:
        """Add templates, replacing those whose ids are present, and move to a revision.

        A batch of more than ``CHUNK`` templates becomes visible in parts; the revision moves when all of it is there.

        Raises:
            IncompatibleTemplatesError: The batch is of another embedder or length of vector.
            TemplateFormatError: An id is negative or repeated, or a vector not of unit norm.
            GalleryError: hnswlib failed (out of memory).
        """
        with self._changes:
            self._table.checked(batch)
            order = _shuffled(len(batch))
            step = len(batch) if not len(self._table) else CHUNK
            for start in range(0, len(batch), max(1, step)):
                self._add_part(_part(batch, order[start : start + step]))
            self._rebuild_if_worn()
            with self._lock.writing:
                self._revision = revision

    def remove(self, template_ids: Iterable[int], *, revision: int) -> None:
        """Remove templates and move to a revision; unknown ids are ignored. They are never returned again, but see ``purge``."""
        with self._changes:
            with self._lock.writing:
                freed = self._table.drop(template_ids)
                self._graph.remove(freed)
                self._churn += len(freed)
                self._unpurged.update(freed.tolist())
                if not len(self._table):
                    self._reset()
            self._rebuild_if_worn()
            with self._lock.writing:
                self._revision = revision

    def move(self, template_ids: Iterable[int], identity_id: int, *, revision: int) -> None:
        """Give templates to another identity and move to a revision."""
        with self._changes, self._lock.writing:
            self._table.give(template_ids, identity_id)
            self._revision = revision

    def advance(self, revision: int) -> None:
        """Move to a revision that changed nothing here."""
        with self._changes, self._lock.writing:
            self._revision = revision

    def search(self, probe: Template, k: int, *, among: Ids[int] | None = None) -> tuple[Neighbour, ...]:
        """Return the ``k`` identities most similar to a probe, each by its best template.

        Approximate: a true neighbour may be missing, its place taken by the next (``ExactIndex`` gives the exact answer). Scores
        are exact. The search widens until ``k`` identities are found, however many templates one of them has.

        Args:
            probe: Template of this index's embedder.
            k: Number of identities wanted, at least 1.
            among: Only these identity ids; None for all.

        Returns:
            At most ``k`` neighbours of different identities by falling score; equal scores by ascending template id. Fewer only
            when fewer identities are there.

        Raises:
            IncompatibleTemplatesError: The probe comes from another embedder.
            ValueError: ``k`` is less than 1.
        """
        checked_k(k)
        self._table.require(probe)
        with self._lock.reading:
            if among is not None:
                return self._search_among(probe.vector, k, among)
            found = self._by_shortcut(probe.vector[None], k)
            return found[0] if found and len(found[0]) == k else self._widen(probe.vector, k, 4 * k + 8)

    def search_many(
        self, probes: Sequence[Template], k: int, *, among: Ids[int] | None = None
    ) -> tuple[tuple[Neighbour, ...], ...]:
        """Return ``search`` of each probe; the graph is searched for all of them in parallel."""
        checked_k(k)
        for probe in probes:
            self._table.require(probe)
        if not probes:
            return ()
        with self._lock.reading:
            if among is not None:
                return self._search_many_among([probe.vector for probe in probes], k, among)
            wanted = 4 * k + 8
            vectors = np.stack([probe.vector for probe in probes])
            found: Iterable[tuple[Neighbour, ...]] | None = self._by_shortcut(vectors, k)
            if found is None:
                near = self._graph.nearest_many(vectors, wanted) if self._is_worth(wanted) else None
                if near is None:
                    return tuple(self._widen(probe.vector, k, wanted) for probe in probes)
                found = (
                    self._table.best_near(probe.vector, rows, distances, k)
                    for probe, rows, distances in zip(probes, *near, strict=True)
                )
            return tuple(
                line if len(line) == k else self._widen(probe.vector, k, 4 * wanted)
                for probe, line in zip(probes, found, strict=True)
            )

    def scores_of(self, probe: Template, template_ids: Iterable[int]) -> dict[int, float]:
        """Return the exact scores of a probe against the named templates; unknown ids are left out.

        Raises:
            IncompatibleTemplatesError: The probe comes from another embedder.
        """
        self._table.require(probe)
        with self._lock.reading:
            return self._table.scores_of(probe.vector, template_ids)

    def templates_of(self, identity_ids: Ids[int]) -> TemplateBatch:
        """Return the templates of some identities, in no particular order; unknown identities have none."""
        with self._lock.reading:
            return self._table.batch_of(identity_ids)

    def count(self, among: Ids[int] | None = None, *, most_each: int | None = None) -> int:
        """Return the number of templates, all or those of some identities, at most ``most_each`` of each identity."""
        with self._lock.reading:
            return self._table.count(among, most_each)

    def purge(self) -> None:
        """Forget removed templates for good.

        hnswlib keeps what it removes. A few copies are overwritten in place by random directions, many are left behind by a
        rebuild; searches go on in both cases, by hnswlib alone until the next ``save``.
        """
        with self._changes:
            with self._lock.writing:
                self._shortcut = None  # its codes may be of templates whose rows are used again by now
            if len(self._unpurged) * OVERWRITE_COST > self._table.n_rows:
                self._rebuild()
            rows = np.fromiter(sorted(self._unpurged), np.int64, len(self._unpurged))
            for start in range(0, len(rows), CHUNK):
                with self._lock.writing:
                    part = rows[start : start + CHUNK]
                    self._graph.overwrite(part, self.dim)
                    self._churn += len(part)
                    self._unpurged.difference_update(part.tolist())

    def rebuild(self) -> None:
        """Build the graph anew from the templates present, with the options of now; searches go on meanwhile."""
        with self._changes:
            self._rebuild()

    def save(self, folder: Path) -> None:
        """Write a snapshot. Vectors removed since the last ``purge`` still lie in the graph's file.

        Raises:
            FileWriteError: The folder cannot be written or is full; the snapshot there before is untouched.
        """
        with self._changes, self._lock.reading:
            ids, owners, vectors = self._table.columns
            graph = GraphFile(self._graph.m, self._graph.ef_construction, self._graph.ef, self._churn)
            held = self._table.template_format
            snapshot = Snapshot(self.kind, self.embedder_id, self._revision, np.stack([ids, owners]), vectors, graph, held)
            prepared: list[Shortcut | None] = []

            def write_graph(path: Path) -> None:
                self._graph.save(path)
                prepared.append(Shortcut.of_file(path, self.dim, owners, self._options.compiled_from))

            write_snapshot(folder, snapshot, write_graph)
            # Nothing changes while ``_changes`` is held, and a search has taken either the old one or the new one.
            self._shortcut = prepared[-1]

    def _add_part(self, part: TemplateBatch) -> None:
        with self._lock.writing:
            self._graph.reserve(self._table.n_rows + len(part))  # first, so that lack of memory leaves table and graph in step
            fresh, changed = self._table.put(part)
            self._graph.replace(changed, self._table.vectors_of(changed))
            self._graph.add(fresh, self._table.vectors_of(fresh))
            self._graph.widen(self._options.ef_for(len(self._table)))
            self._note(fresh, changed)
            self._churn += len(changed)
            self._unpurged.difference_update(changed.tolist())

    def _note(self, *rows: Rows) -> None:
        """Tell the shortcut which rows it does not know any more."""
        if self._shortcut is not None:
            self._shortcut.change(np.concatenate(rows))
            if self._shortcut.is_worn:
                self._shortcut = None

    def _rebuild_if_worn(self) -> None:
        if self.churn > MAX_CHURN:
            self._rebuild()

    def _rebuild(self) -> None:
        """Build a graph beside the one in use and exchange them; the caller holds ``_changes``."""
        table = self._table.compacted()
        graph = Graph.empty(table.dim, len(table), self._options)
        rows = _shuffled(table.n_rows)
        graph.add(rows, table.vectors_of(rows))
        with self._lock.writing:
            graph.widen(self._options.ef_for(len(table)))
            self._table, self._graph, self._churn, self._unpurged = table, graph, 0, set()
            self._shortcut = None

    def _reset(self) -> None:
        self._table = TemplateTable(self.embedder_id, self.dim, self._options.template_format)
        self._graph = Graph.empty(self.dim, 1, self._options)
        self._shortcut = None
        self._churn, self._unpurged = 0, set()

    def _by_shortcut(self, probes: Vectors, k: int) -> list[tuple[Neighbour, ...]] | None:
        """Return the answers of the compiled search, ``None`` where it cannot be used."""
        shortcut = self._shortcut
        if shortcut is None or not self._is_worth(4 * k + 8):
            return None
        n_threads = 1 if len(probes) == 1 else self._options.threads or os.cpu_count() or 1
        ef = self._options.ef_for(len(self._table))
        near = shortcut.candidates(probes, self._table.vectors_of, k, ef=ef, n_threads=n_threads)
        return [self._table.best(probe, rows, k) for probe, rows in zip(probes, near, strict=True)]

    def _is_worth(self, wanted: int) -> bool:
        """Whether asking the graph for so many templates is quicker than scanning them all."""
        return wanted * SCAN_SHARE <= len(self._table)

    def _widen(self, probe: Vectors, k: int, wanted: int, allowed: frozenset[int] | None = None) -> tuple[Neighbour, ...]:
        """Ask the graph for more and more templates until they belong to ``k`` identities, then scan.

        hnswlib searches with a beam of ``max(ef, wanted)``, so widening needs no change of its global ``ef``.
        """
        while self._is_worth(wanted):
            near = self._graph.nearest(probe, wanted)
            if near is None:
                break
            if allowed is None:
                found = self._table.best_near(probe, *near, k)
            else:
                found = self._table.best(probe, self._table.rows_within(near[0], allowed), k)
            if len(found) == k:
                return found
            wanted *= 4
        return self._table.nearest(probe, k, None if allowed is None else self._table.rows_of(allowed))

    def _search_among(self, probe: Vectors, k: int, among: Ids[int]) -> tuple[Neighbour, ...]:
        """Search some identities: a small subset is scanned, of a large one more is fetched by its share of the gallery."""
        rows = self._table.rows_of(among)
        if len(rows) <= SMALL_SUBSET:
            return self._table.nearest(probe, k, rows)
        wanted = (4 * k + 8) * len(self._table) // len(rows)
        return self._widen(probe, k, wanted, frozenset(among))

    def _search_many_among(self, probes: list[Vectors], k: int, among: Ids[int]) -> tuple[tuple[Neighbour, ...], ...]:
        rows = self._table.rows_of(among)
        if len(rows) <= SMALL_SUBSET:
            return tuple(self._table.nearest_many(probes, k, rows))
        return tuple(self._search_among(probe, k, among) for probe in probes)


def _shuffled(n: int) -> Rows:
    """Return 0 … n − 1 in an order that is random but the same each time.

    Added person by person, a hundred near-identical photographs of each (cosine 0.999) link to one another only, and one person in
    thirty cannot be reached from the rest of the graph (measured at 20,000 templates); in random order every one can.
    """
    return np.random.default_rng(n).permutation(n).astype(np.int64)


def _part(batch: TemplateBatch, part: Rows) -> TemplateBatch:
    """Return some rows of a batch."""
    return TemplateBatch(batch.template_ids[part], batch.identity_ids[part], batch.vectors[part], batch.embedder_id)
