"""Exact search: the oracle of the tests, and the quicker choice for small galleries.

It does not scale: a search reads every vector (median 0.2 ms at 20,000 templates, 12–16 ms at 100,000).
"""

from __future__ import annotations

from collections.abc import Collection as Ids
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from facesearch.core.compact import TemplateFormat
from facesearch.core.decision import Neighbour
from facesearch.core.template import Template, TemplateBatch
from facesearch.gallery.locks import ReadWriteLock
from facesearch.gallery.snapshot import Snapshot, write_snapshot
from facesearch.gallery.table import TemplateTable


def checked_k(k: int) -> int:
    """Return the number of identities wanted.

    Raises:
        ValueError: It is less than 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    return k


class ExactIndex:
    """A ``GalleryIndex`` that compares a probe with every template.

    Removed vectors are overwritten at once, so ``purge`` has nothing left to do but give memory back.

    Args:
        embedder_id: The embedder of every template.
        dim: Length of the vectors.
        template_format: How they are held; held as bits it is a ``BinaryIndex``.
    """

    kind = "exact"

    def __init__(self, embedder_id: str, dim: int, template_format: TemplateFormat = "f32") -> None:
        self._table = TemplateTable(embedder_id, dim, template_format)
        self._revision = 0
        self._lock = ReadWriteLock()

    @classmethod
    def of_snapshot(cls, snapshot: Snapshot) -> ExactIndex:
        """Return the index that a snapshot of this kind holds."""
        index = cls(snapshot.embedder_id, snapshot.dim, snapshot.template_format)
        index._table = snapshot.table()
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

    def __len__(self) -> int:
        """Return the number of templates."""
        return len(self._table)

    def add(self, batch: TemplateBatch, *, revision: int) -> None:
        """Add templates, replacing those whose ids are present, and move to a revision.

        Raises:
            IncompatibleTemplatesError: The batch is of another embedder or length of vector.
            TemplateFormatError: An id is negative or repeated, or a vector not of unit norm.
        """
        with self._lock.writing:
            self._table.put(self._table.checked(batch))
            self._revision = revision

    def remove(self, template_ids: Iterable[int], *, revision: int) -> None:
        """Remove templates and move to a revision; unknown ids are ignored."""
        with self._lock.writing:
            self._table.drop(template_ids)
            if len(self._table.free_rows) > len(self._table):
                self._table = self._table.compacted()
            self._revision = revision

    def move(self, template_ids: Iterable[int], identity_id: int, *, revision: int) -> None:
        """Give templates to another identity and move to a revision."""
        with self._lock.writing:
            self._table.give(template_ids, identity_id)
            self._revision = revision

    def advance(self, revision: int) -> None:
        """Move to a revision that changed nothing here."""
        with self._lock.writing:
            self._revision = revision

    def search(self, probe: Template, k: int, *, among: Ids[int] | None = None) -> tuple[Neighbour, ...]:
        """Return the ``k`` identities most similar to a probe, each by its best template; exact.

        Args:
            probe: Template of this index's embedder.
            k: Number of identities wanted, at least 1.
            among: Only these identity ids; None for all.

        Returns:
            At most ``k`` neighbours of different identities by falling score; equal scores by ascending template id.

        Raises:
            IncompatibleTemplatesError: The probe comes from another embedder.
            ValueError: ``k`` is less than 1.
        """
        return self.search_many((probe,), k, among=among)[0]

    def search_many(
        self, probes: Sequence[Template], k: int, *, among: Ids[int] | None = None
    ) -> tuple[tuple[Neighbour, ...], ...]:
        """Return ``search`` of each probe, by matrix products."""
        checked_k(k)
        for probe in probes:
            self._table.require(probe)
        with self._lock.reading:
            rows = None if among is None else self._table.rows_of(among)
            return tuple(self._table.nearest_many([probe.vector for probe in probes], k, rows))

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
        """Forget removed templates for good: rows freed were overwritten when they were freed, their places go now."""
        with self._lock.writing:
            self._table = self._table.compacted()

    def save(self, folder: Path) -> None:
        """Write a snapshot; removed templates are not in it.

        Raises:
            FileWriteError: The folder cannot be written or is full; the snapshot there before is untouched.
        """
        with self._lock.reading:
            ids, owners, vectors = self._table.compacted().columns
            held = self._table.template_format
            snapshot = Snapshot(self.kind, self.embedder_id, self._revision, np.stack([ids, owners]), vectors, None, held)
        # Written without the lock, from copies: a change that waits for the disk would hold up every search behind it.
        write_snapshot(folder, snapshot)


class BinaryIndex(ExactIndex):
    """A ``GalleryIndex`` that compares a probe with the bits of every template, and scores the nearest by their bytes.

    Approximate: a true neighbour whose bits are far may be missing, its place taken by the next. It needs no graph: a template of
    128 numbers takes 160 bytes of columns, of which a search reads 16 (2 ms at 100,000 templates; docs/compression.md).

    Args:
        embedder_id: The embedder of every template.
        dim: Length of the vectors.
        template_format: ``"binary"``.
    """

    kind = "binary"

    def __init__(self, embedder_id: str, dim: int, template_format: TemplateFormat = "binary") -> None:
        super().__init__(embedder_id, dim, template_format)
