"""Makes indexes: chooses between exact search and HNSW, and reads snapshots of either.

It does not bring an index up to the database's revision.
"""

from __future__ import annotations

import logging
from pathlib import Path

from facesearch.core.errors import IncompatibleTemplatesError
from facesearch.core.protocols import GalleryIndex
from facesearch.core.template import require_same_embedder
from facesearch.gallery.exact import BinaryIndex, ExactIndex
from facesearch.gallery.hnsw import HnswIndex
from facesearch.gallery.options import IndexOptions
from facesearch.gallery.snapshot import opened_snapshot

_log = logging.getLogger("facesearch")

HYSTERESIS = 0.2
"""Share of the limit of exact search by which a gallery must pass it to get another index: one that hovers keeps what it has."""


class GalleryIndexFactory:
    """An ``IndexFactory`` of one embedder.

    Args:
        embedder_id: The embedder of every template.
        dim: Length of its vectors.
        options: Which kind and how it is built.
    """

    def __init__(self, embedder_id: str, dim: int, options: IndexOptions | None = None) -> None:
        self._embedder_id = embedder_id
        self._dim = dim
        self._options = options or IndexOptions()

    def empty(self, expected: int) -> GalleryIndex:
        """Return an empty index at revision 0, of the kind that suits ``expected`` templates."""
        kind = self._kind_for(expected)
        if kind == "binary":
            return BinaryIndex(self._embedder_id, self._dim)
        if kind == "exact":
            return ExactIndex(self._embedder_id, self._dim, self._options.template_format)
        return HnswIndex(self._embedder_id, self._dim, self._options)

    def load(self, folder: Path) -> GalleryIndex | None:
        """Return the index of a snapshot, or None where there is none that holds templates as the options say.

        The beam width of searches is the setting of now; that of the manifest is what the snapshot was last searched with.

        Raises:
            GalleryFormatError: The snapshot is damaged or of an unknown format version.
            IncompatibleTemplatesError: It is of another embedder or length of vector.
        """
        with opened_snapshot(folder) as snapshot:
            if snapshot is None:
                return None
            require_same_embedder(self._embedder_id, snapshot.embedder_id, what="index snapshot")
            if snapshot.dim != self._dim:
                raise IncompatibleTemplatesError(f"index snapshot is {snapshot.dim}-d, templates are {self._dim}-d")
            if snapshot.template_format != self._options.template_format:
                _log.info("the index snapshot holds templates as %s: it is built anew", snapshot.template_format)
                return None
            if snapshot.kind == "binary":
                return BinaryIndex.of_snapshot(snapshot)
            return ExactIndex.of_snapshot(snapshot) if snapshot.graph is None else HnswIndex.of_snapshot(snapshot, self._options)

    def fits(self, index: GalleryIndex, expected: int) -> bool:
        """Return whether the index's kind still suits ``expected`` templates, give or take ``HYSTERESIS``."""
        if self._options.template_format == "binary":
            return index.kind == "binary"
        if self._options.kind != "auto":
            return index.kind == self._options.kind
        if index.kind == "exact":
            return expected < self._options.exact_limit(self._dim) * (1.0 + HYSTERESIS)
        return expected >= self._options.exact_limit(self._dim) * (1.0 - HYSTERESIS)

    def _kind_for(self, expected: int) -> str:
        if self._options.template_format == "binary":
            return "binary"
        if self._options.kind != "auto":
            return self._options.kind
        return "exact" if expected < self._options.exact_limit(self._dim) else "hnsw"
