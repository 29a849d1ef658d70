"""The templates of an index in columns, and exact scoring of them.

A row is the place of a template; it is also the label that an HNSW graph knows the template by. The table takes no lock: its
index does. Vectors are held here even where hnswlib holds its own copy (512 bytes a template of 128 numbers): exact scores, the
scan when the graph fails and rebuilding all need them, and none of them should go through hnswlib. See ``columns`` for how they can
be held in less space; scores are then of what is held.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import UNIT_NORM_TOLERANCE, Vectors
from facesearch.core.compact import TemplateFormat
from facesearch.core.decision import Neighbour
from facesearch.core.errors import IncompatibleTemplatesError, TemplateFormatError
from facesearch.core.template import Template, TemplateBatch, require_same_embedder
from facesearch.gallery.columns import Rows, VectorColumn, column_of, empty_column, n_candidates

FREE = -1
"""Template id of a row that holds no template."""

GROWTH = 1.5
"""Factor by which capacity grows when it is exhausted."""

LOOK_AHEAD = 6
"""Rows beyond ``k`` whose identities are looked at first: enough for one person's further templates."""

SCORES_AT_ONCE = 500_000
"""Scores computed in one matrix product by ``nearest_many``: 2 MB of float32, near enough while the best are picked."""


class TemplateTable:
    """Template ids, identities and vectors by row; freed rows are zeroed at once and used again.

    Args:
        embedder_id: The embedder of every template.
        dim: Length of the vectors.
        template_format: How they are held.
    """

    def __init__(self, embedder_id: str, dim: int, template_format: TemplateFormat = "f32") -> None:
        self.embedder_id = embedder_id
        self.dim = dim
        self.template_format: TemplateFormat = template_format
        self._ids = np.full(0, FREE, dtype=np.int64)
        self._owners = np.full(0, FREE, dtype=np.int64)
        self._vectors: VectorColumn = empty_column(dim, template_format)
        self._n_rows = 0
        self._known_rows: dict[int, int] | None = {}
        self._free: list[int] = []
        self._by_owner: tuple[Rows, Rows] | None = None
        self._capped: dict[int, int] = {}
        # |error| of a float32 dot product of unit vectors is below dim · 2⁻²⁴; twice, because two scores are compared.
        self._slack = np.float32(dim * 2.0**-22)

    @classmethod
    def of_columns(
        cls, embedder_id: str, ids: Rows, owners: Rows, vectors: NDArray[Any], template_format: TemplateFormat = "f32"
    ) -> TemplateTable:
        """Return a table made of writable columns, taken over without a copy; ``ids`` is ``FREE`` where a row holds nothing.

        Args:
            embedder_id: The embedder of every template.
            ids: Template ids.
            owners: Identity ids.
            vectors: As ``columns`` gives them: float32, or int8 for the other formats.
            template_format: How the vectors are held.

        Raises:
            TemplateFormatError: The columns differ in length or an id occurs twice.
        """
        table = cls(embedder_id, int(vectors.shape[1]), template_format)
        if ids.shape != owners.shape or ids.shape != vectors.shape[:1]:
            raise TemplateFormatError(f"columns disagree: {ids.shape} ids, {owners.shape} owners, {vectors.shape} vectors")
        table._ids, table._owners, table._n_rows = ids, owners, len(ids)
        table._vectors = column_of(vectors, template_format)
        table._known_rows, table._free = None, np.flatnonzero(ids == FREE).tolist()
        ordered = np.sort(ids)
        n_repeated = int(np.count_nonzero((ordered[1:] == ordered[:-1]) & (ordered[1:] != FREE)))
        if n_repeated:
            raise TemplateFormatError(f"{len(table)} rows hold only {len(table) - n_repeated} different template ids")
        return table

    def __len__(self) -> int:
        """Return the number of templates."""
        return self._n_rows - len(self._free)

    @property
    def _row_of(self) -> dict[int, int]:
        """Rows by template id, made by the first change or look-up: a gallery just loaded is searched without it.

        Two searches may make it at once; both make the same.
        """
        if self._known_rows is None:
            rows = np.flatnonzero(self._ids[: self._n_rows] != FREE)
            self._known_rows = dict(zip(self._ids[rows].tolist(), rows.tolist(), strict=True))
        return self._known_rows

    @property
    def n_rows(self) -> int:
        """Rows in use, freed ones included."""
        return self._n_rows

    @property
    def columns(self) -> tuple[Rows, Rows, NDArray[Any]]:
        """Template ids, identities and vectors as they are held (float32 or int8) of all rows in use; views."""
        return self._ids[: self._n_rows], self._owners[: self._n_rows], self._vectors.stored(self._n_rows)

    def vectors_of(self, rows: Rows) -> Vectors:
        """Return the vectors of some rows, as they are scored: float32, zeros where a row holds nothing."""
        return self._vectors.take(rows)

    @property
    def free_rows(self) -> tuple[int, ...]:
        """Rows that hold no template."""
        return tuple(self._free)

    def require(self, probe: Template) -> None:
        """Raise unless a probe can be compared with these templates.

        Raises:
            IncompatibleTemplatesError: It is of another embedder or length.
        """
        if probe.embedder_id != self.embedder_id:
            require_same_embedder(self.embedder_id, probe.embedder_id, what="probe")
        if probe.vector.shape[0] != self.dim:
            raise IncompatibleTemplatesError(f"probe is {probe.dim}-d, gallery is {self.dim}-d", dims=(probe.dim, self.dim))

    def checked(self, batch: TemplateBatch) -> TemplateBatch:
        """Return a batch after checking that it fits.

        Raises:
            IncompatibleTemplatesError: It is of another embedder or length of vector.
            TemplateFormatError: An id is negative or occurs twice, or a vector is not finite and of unit norm.
        """
        require_same_embedder(self.embedder_id, batch.embedder_id, what="batch")
        if batch.vectors.shape[1] != self.dim:
            raise IncompatibleTemplatesError(f"batch is {batch.vectors.shape[1]}-d, gallery is {self.dim}-d")
        if len(batch):
            if int(batch.template_ids.min()) < 0 or len(np.unique(batch.template_ids)) != len(batch):
                raise TemplateFormatError("template ids of a batch must be different and not negative")
            norms = np.sqrt(np.einsum("ij,ij->i", batch.vectors, batch.vectors))
            if not bool((np.abs(norms - 1.0) <= UNIT_NORM_TOLERANCE).all()):
                raise TemplateFormatError("a vector of the batch is not finite or not of unit norm")
        return batch

    def put(self, batch: TemplateBatch) -> tuple[Rows, Rows]:
        """Store the templates of a checked batch, replacing those whose ids are present.

        Returns:
            The rows used for the first time, and the rows used before whose vector changed.
        """
        place = np.fromiter((self._row_of.get(key, FREE) for key in batch.template_ids.tolist()), np.int64, len(batch))
        is_known = place != FREE
        n_wanted = int(np.count_nonzero(~is_known))
        reused = [self._free.pop() for _ in range(min(n_wanted, len(self._free)))]
        fresh = np.arange(self._n_rows, self._n_rows + n_wanted - len(reused), dtype=np.int64)
        self._reserve(self._n_rows + len(fresh))
        place[~is_known] = np.concatenate([np.asarray(reused, dtype=np.int64), fresh])
        is_same = np.zeros(len(batch), dtype=bool)
        is_same[is_known] = self._vectors.holds(place[is_known], batch.vectors[is_known])
        self._ids[place], self._owners[place] = batch.template_ids, batch.identity_ids
        self._vectors.put(place, batch.vectors)
        self._row_of.update(zip(batch.template_ids.tolist(), place.tolist(), strict=True))
        is_fresh = place >= self._n_rows
        self._n_rows += len(fresh)
        self._by_owner = None
        return place[is_fresh], place[~is_fresh & ~is_same]

    def drop(self, template_ids: Iterable[int]) -> Rows:
        """Forget templates and overwrite their vectors with zeros; return the rows freed. Unknown ids are ignored."""
        rows = [row for row in (self._row_of.pop(int(key), None) for key in template_ids) if row is not None]
        freed = np.asarray(rows, dtype=np.int64)
        self._ids[freed], self._owners[freed] = FREE, FREE
        self._vectors.clear(freed)
        self._free.extend(rows)
        self._by_owner = None
        return freed

    def give(self, template_ids: Iterable[int], identity_id: int) -> None:
        """Give templates to an identity; unknown ids are ignored."""
        rows = [row for row in (self._row_of.get(int(key)) for key in template_ids) if row is not None]
        self._owners[np.asarray(rows, dtype=np.int64)] = identity_id
        self._by_owner = None

    def compacted(self) -> TemplateTable:
        """Return a copy without freed rows, in the same order."""
        ids, owners, vectors = self.columns
        kept = np.flatnonzero(ids != FREE)
        return TemplateTable.of_columns(self.embedder_id, ids[kept], owners[kept], vectors[kept], self.template_format)

    def _sorted_owners(self) -> tuple[Rows, Rows]:
        """Return all rows in use by identity, and the identity of each; made anew after a change."""
        if self._by_owner is None:
            order = np.argsort(self._owners[: self._n_rows], kind="stable")
            self._by_owner = (order, self._owners[order])
            self._capped = {}
        return self._by_owner

    def rows_of(self, identity_ids: Collection[int]) -> Rows:
        """Return the rows of identities, ascending."""
        order, owners = self._sorted_owners()
        wanted = np.unique(np.fromiter(identity_ids, np.int64, len(identity_ids)))
        wanted = wanted[wanted != FREE]
        firsts, ends = np.searchsorted(owners, wanted, "left"), np.searchsorted(owners, wanted, "right")
        counts = ends - firsts
        offsets = np.repeat(firsts - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) if len(counts) else counts
        return np.sort(order[offsets + np.arange(len(offsets))])

    def count(self, identity_ids: Collection[int] | None, most_each: int | None) -> int:
        """Return the number of templates of identities (of all for None), at most so many of each."""
        if most_each is None:
            return len(self) if identity_ids is None else len(self.rows_of(identity_ids))
        if identity_ids is not None:
            return _capped_count(np.sort(self._owners[self.rows_of(identity_ids)]), most_each)
        owners = self._sorted_owners()[1]
        if most_each not in self._capped:  # kept until something changes: every search asks
            self._capped[most_each] = _capped_count(owners[np.searchsorted(owners, FREE, "right") :], most_each)
        return self._capped[most_each]

    def batch_of(self, identity_ids: Collection[int]) -> TemplateBatch:
        """Return the templates of identities, in the order of their rows; unknown identities have none."""
        rows = self.rows_of(identity_ids)
        return TemplateBatch(self._ids[rows], self._owners[rows], self._vectors.take(rows), self.embedder_id)

    def rows_within(self, rows: Rows, identity_ids: frozenset[int]) -> Rows:
        """Return those of some rows that belong to the identities, in their order."""
        owners = self._owners[rows].tolist()
        kept: Rows = rows[np.fromiter((owner in identity_ids for owner in owners), bool, len(owners))]
        return kept

    def best_near(self, probe: Vectors, rows: Rows, distances: NDArray[np.float32], k: int) -> tuple[Neighbour, ...]:
        """Return ``best`` of rows that a graph found near a probe, reading no more of them than the answer needs.

        A search asks for several times ``k`` rows in case some identities have many templates. Each row read is a place in memory
        that nothing has read before; those farther away than the ``k``-th identity, float32 rounding allowed for, cannot be in the
        answer.

        Args:
            probe: Unit vector.
            rows: Rows by rising distance.
            distances: ``1 − score`` of each, from float32 sums.
            k: Number of identities wanted.
        """
        for n_first in (k + LOOK_AHEAD, len(rows)):
            owners = self._owners.take(rows[:n_first]).tolist()
            n_wanted = k
            while n_wanted <= len(owners) and (n_missing := k - len(set(owners[:n_wanted]))):
                n_wanted += n_missing
            if n_wanted <= len(owners):
                n_near = int(distances.searchsorted(distances[n_wanted - 1] + self._slack, "right"))
                return (
                    self._ranked(probe, rows[:n_near], owners[:n_near], k)
                    if n_near <= n_first
                    else self.best(probe, rows[:n_near], k)
                )
        return self.best(probe, rows, k)

    def best(self, probe: Vectors, rows: Rows, k: int) -> tuple[Neighbour, ...]:
        """Return the best template of each identity among some rows, at most ``k``, by falling score, then ascending template id.

        Scores are dot products in float64, summed in the same order for every row: both kinds of index, and ``compare`` up to the
        last bit, report the same score, and equal vectors get equal scores whatever row they lie in.
        """
        return self._ranked(probe, rows, self._owners.take(rows).tolist(), k)

    def _ranked(self, probe: Vectors, rows: Rows, owners: list[int], k: int) -> tuple[Neighbour, ...]:
        """Return ``best`` of some rows whose identities are known."""
        vectors = self._vectors.take(rows).astype(np.float64)
        scores = np.einsum("ij,j->i", vectors, probe.astype(np.float64))
        found: dict[int, Neighbour] = {}
        for negated, template_id, owner in sorted(zip((-scores).tolist(), self._ids.take(rows).tolist(), owners, strict=True)):
            if owner not in found and template_id != FREE:
                score = -negated if -1.0 <= negated <= 1.0 else math.copysign(1.0, -negated)
                found[owner] = Neighbour(template_id, owner, score)
                if len(found) == k:
                    break
        return tuple(found.values())

    def nearest(self, probe: Vectors, k: int, rows: Rows | None = None) -> tuple[Neighbour, ...]:
        """Return the best ``k`` identities of all rows, or of some, by exact search; of all rows held as bits by choosing first."""
        return self.nearest_many([probe], k, rows)[0]

    def nearest_many(self, probes: Sequence[Vectors], k: int, rows: Rows | None = None) -> list[tuple[Neighbour, ...]]:
        """Return ``nearest`` of each probe, by matrix products of bounded size."""
        n_scored = self._n_rows if rows is None else len(rows)
        is_free = self._ids[: self._n_rows] == FREE if rows is None and self._free else None
        if not n_scored:
            return [() for _ in probes]
        if rows is None and self.template_format == "binary":
            return [self._nearest_of_bits(probe, k) for probe in probes]
        step = max(1, SCORES_AT_ONCE // n_scored)
        found = []
        for start in range(0, len(probes), step):
            block = probes[start : start + step]
            scores = self._vectors.scores(np.stack(block), rows, self._n_rows)
            if is_free is not None:
                scores[:, is_free] = -np.inf
            for probe, line in zip(block, scores, strict=True):
                picked = self._contenders(line, k, rows)
                found.append(self.best(probe, picked if rows is None else rows[picked], k))
        return found

    def _nearest_of_bits(self, probe: Vectors, k: int) -> tuple[Neighbour, ...]:
        """Return the best ``k`` identities among the rows whose bits are nearest, of more rows where these are too few people."""
        wanted = n_candidates(self._n_rows, k)
        while (rows := self._vectors.candidates(probe, self._n_rows, wanted)) is not None:
            scores = self._vectors.scores(probe[None], rows, self._n_rows)[0]
            scores[self._ids[rows] == FREE] = -np.inf
            found = self.best(probe, rows[self._contenders(scores, k, rows)], k)
            if len(found) == k:
                return found
            wanted *= 4
        return self.nearest(probe, k, np.flatnonzero(self._ids[: self._n_rows] != FREE))

    def scores_of(self, probe: Vectors, template_ids: Iterable[int]) -> dict[int, float]:
        """Return exact scores by template id; unknown ids are left out."""
        known = [key for key in (int(key) for key in template_ids) if key in self._row_of]
        vectors = self._vectors.take(np.fromiter((self._row_of[key] for key in known), np.int64, len(known))).astype(np.float64)
        scores = np.clip(np.einsum("ij,j->i", vectors, probe.astype(np.float64)), -1.0, 1.0)
        return dict(zip(known, scores.tolist(), strict=True))

    def _contenders(self, scores: NDArray[np.float32], k: int, rows: Rows | None) -> Rows:
        """Return the places in ``scores`` that may belong to the ``k`` best identities, float32 rounding allowed for."""
        owners = self._owners[: self._n_rows] if rows is None else self._owners[rows]
        slack = self._slack
        n_taken = 4 * k + 16
        while n_taken < len(scores):
            top = np.argpartition(scores, len(scores) - n_taken)[len(scores) - n_taken :]
            best: dict[int, float] = {}
            for place in top[np.argsort(-scores[top])].tolist():
                best.setdefault(int(owners[place]), float(scores[place]))
            if len(best) >= k:
                floor = sorted(best.values(), reverse=True)[k - 1]
                return np.flatnonzero((scores >= floor - slack) & np.isfinite(scores))
            n_taken *= 4
        return np.flatnonzero(np.isfinite(scores))

    def _reserve(self, n_rows: int) -> None:
        """Make room for ``n_rows`` rows."""
        capacity = len(self._ids)
        if n_rows <= capacity:
            return
        new = max(n_rows, int(capacity * GROWTH), 64) if capacity else max(n_rows, 64)
        ids, owners = np.full(new, FREE, dtype=np.int64), np.full(new, FREE, dtype=np.int64)
        ids[:capacity], owners[:capacity] = self._ids, self._owners
        self._ids, self._owners = ids, owners
        self._vectors.resize(new)


def _capped_count(sorted_owners: Rows, most_each: int) -> int:
    """Return how many entries there are, at most so many of each value."""
    starts = np.flatnonzero(np.diff(sorted_owners, prepend=FREE))
    counts = np.diff(np.append(starts, len(sorted_owners)))
    return int(np.minimum(counts, most_each).sum())
