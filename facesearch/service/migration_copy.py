"""Enrolled faces re-embedded: cut out again, embedded, and their templates written, in batches and with bounded memory.

It switches nothing and judges nothing: see ``migrate``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from facesearch.core.arrays import Vectors
from facesearch.core.decision import OperatingPoints
from facesearch.core.embedder_use import LackingFace, NamedEmbedder
from facesearch.core.errors import MigrationError
from facesearch.core.face import FaceCrop
from facesearch.core.protocols import Embedder, IdentityStore
from facesearch.service.face_sources import FaceSources, LostFace
from facesearch.service.gallery import GalleryIndexes

BATCH_FACES = 16
"""Faces cut out and embedded at once: their photographs, or kept pictures, are what takes memory."""

GROUP_FACES = 256
"""Templates written in one transaction: what a killed run loses, and what every index catches up with at once."""

N_CUTTERS = 2
"""Threads that decode and align."""

Progress = Callable[[int, int], None]
"""Told the faces done and all of them, after every batch."""


@dataclass(frozen=True, slots=True)
class Side:
    """What a migration needs of one embedder.

    Attributes:
        embedder: The network.
        indexes: The vector indexes of its templates.
        points: Its operating points.
    """

    embedder: Embedder
    indexes: GalleryIndexes
    points: OperatingPoints


class CopyTemplates:
    """One walk over the faces that lack a template of an embedder.

    Args:
        store: Where they are.
        side: The embedder that templates are made of.
        sources: Cuts faces out again.
        collection: Whose faces.
        current: The embedder whose templates they have.

    Attributes:
        n_embedded: Templates made so far.
        lost: Faces that could not be cut out again.
    """

    def __init__(self, store: IdentityStore, side: Side, sources: FaceSources, collection: str, current: NamedEmbedder) -> None:
        self._store = store
        self._side = side
        self._sources = sources
        self._collection = collection
        self._having = current.embedder_id
        self._id = side.embedder.embedder_id
        self.n_embedded = 0
        self.lost: list[LostFace] = []

    def run(self, after: int, on_progress: Progress) -> int:
        """Re-embed the faces whose template has an id above ``after``; return the highest that was looked at.

        Raises:
            MigrationError: There is no picture of any face, or the move was abandoned meanwhile.
        """
        with self._store.reading() as reader:
            total = reader.count_lacking(self._collection, self._id, having=self._having)
        n_done = 0
        pending: list[tuple[int, Vectors]] = []
        with ThreadPoolExecutor(N_CUTTERS, thread_name_prefix="facesearch-migrate") as cutters:
            while faces := self._page(after):
                after = faces[-1].template_id
                crops = self._crops(faces, cutters)
                templates = self._side.embedder.embed([crop for _, crop in crops])
                pending += [(face_id, one.vector) for (face_id, _), one in zip(crops, templates, strict=True)]
                if len(pending) >= GROUP_FACES:
                    self._write(pending)
                    pending = []
                n_done += len(faces)
                on_progress(n_done, max(total, n_done))
        self._write(pending)
        if total and not self.n_embedded and len(self.lost) == total:
            self._require_any()
        return after

    def _page(self, after: int) -> tuple[LackingFace, ...]:
        with self._store.reading() as reader:
            return reader.faces_lacking(self._collection, self._id, having=self._having, after=after, limit=BATCH_FACES)

    def _crops(self, faces: Sequence[LackingFace], cutters: Executor) -> list[tuple[int, FaceCrop]]:
        with self._store.reading() as reader:
            pictures = [reader.picture_of(one.template_id) for one in faces]
        alignment = self._side.embedder.alignment
        made = cutters.map(lambda face, picture: self._sources.crop(face, picture, alignment), faces, pictures)
        crops = []
        for face, one in zip(faces, made, strict=True):
            if isinstance(one, LostFace):
                self.lost.append(one)
            else:
                crops.append((face.face_id, one))
        return crops

    def _write(self, pending: Sequence[tuple[int, Vectors]]) -> None:
        if not pending:
            return
        with self._store.writing() as writer:
            use = writer.embedder_use(self._collection)
            in_use = [] if use is None else [one.embedder_id for one in (use.current, use.other) if one is not None]
            if self._id not in in_use:  # nobody would delete them
                raise MigrationError(
                    f"the move of {self._collection!r} to {self._id} was abandoned by somebody else meanwhile: nothing was switched"
                )
            made = writer.add_templates(self._collection, self._id, pending, enrolled_at=datetime.now(UTC))
        self.n_embedded += len(made)

    def _require_any(self) -> None:
        """Raise where the collection has no template of the embedder at all: there is nothing to switch to."""
        with self._store.reading() as reader:
            if self._id not in reader.embedder_counts(self._collection):
                first = self.lost[0]
                raise MigrationError(
                    f"of none of the {len(self.lost)} faces in {self._collection!r} a picture is left (first: "
                    f"{first.face.label!r}: {first.detail}): name the folders of the photographs with --photos DIR, or enroll "
                    "them again",
                    n_lost=len(self.lost),
                )
