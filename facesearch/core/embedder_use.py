"""Which embedders a collection's templates are of while it moves from one to another, and what a store is asked about it.

It embeds nothing and decides nothing: see ``facesearch.service.migrate``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from facesearch.core.arrays import Vectors
from facesearch.core.face import Detection

FLIP_SUFFIX = "+flip"
"""Ending of the id of an embedder whose vectors are flip-averaged."""


@dataclass(frozen=True, slots=True)
class NamedEmbedder:
    """An embedder as a process finds it again.

    Attributes:
        name: What the setting ``embedder`` may call it: one that finds these weights, not newer ones of the name.
        embedder_id: The id of its templates; another id under the same name means other weights.
    """

    name: str
    embedder_id: str

    @property
    def is_flip_averaged(self) -> bool:
        """Whether its vectors are averaged over a crop and its mirror image."""
        return self.embedder_id.endswith(FLIP_SUFFIX)


@dataclass(frozen=True, slots=True)
class EmbedderUse:
    """The embedders of one collection. A collection without it is searched with the embedder of the settings.

    Attributes:
        current: The one whose templates answer.
        other: While ``is_copying`` the one being made ready to take over; afterwards the former one, as long as it is kept.
        is_copying: Whether templates of ``other`` are being made; it answers nothing yet.
    """

    current: NamedEmbedder
    other: NamedEmbedder | None = None
    is_copying: bool = False


@dataclass(frozen=True, slots=True)
class LackingFace:
    """An enrolled face without a template of the embedder asked about.

    Attributes:
        template_id: Its template of the other embedder; faces are listed by it.
        face_id: The face, on which templates of several embedders hang.
        identity_id: Whose face it is.
        label: The person's label.
        image_digest: SHA-256 of the photograph.
        source: File name or other origin of the photograph; may be empty.
        detection: The face in the photograph.
    """

    template_id: int
    face_id: int
    identity_id: int
    label: str
    image_digest: str
    source: str
    detection: Detection


class EmbeddersReader(Protocol):
    """What can be asked about a collection's embedders."""

    def embedder_use(self, collection: str) -> EmbedderUse | None:
        """Return the embedders of a collection; None where the settings decide, and where there is no such collection."""
        ...

    def embedder_uses(self) -> dict[str, EmbedderUse]:
        """Return the embedders of every collection that says any, by its name."""
        ...

    def faces_lacking(
        self, collection: str, embedder_id: str, *, having: str, after: int = 0, limit: int = 1000
    ) -> tuple[LackingFace, ...]:
        """Return faces without a template of an embedder.

        Args:
            collection: Its name.
            embedder_id: The embedder whose templates are missing.
            having: The embedder whose templates they have.
            after: Only faces whose template of ``having`` has a higher id (paging).
            limit: At most so many, by that id.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        ...

    def count_lacking(self, collection: str, embedder_id: str, *, having: str) -> int:
        """Return how many faces ``faces_lacking`` would name in all."""
        ...

    def people_without(self, collection: str, embedder_id: str, *, having: str) -> frozenset[int]:
        """Return the ids of people with a template of ``having`` and none of an embedder."""
        ...

    def templates_of_face(self, template_id: int) -> tuple[int, ...]:
        """Return the ids of all templates of the face that a template is of, itself among them; nothing for an unknown one."""
        ...


class EmbeddersWriter(EmbeddersReader, Protocol):
    """What can be changed about a collection's embedders."""

    def set_embedder_use(self, collection: str, use: EmbedderUse | None) -> None:
        """Note which embedders a collection's templates are of; None leaves it to the settings again.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        ...

    def add_templates(
        self, collection: str, embedder_id: str, faces: Sequence[tuple[int, Vectors]], *, enrolled_at: datetime
    ) -> tuple[int, ...]:
        """Hang templates, ``(face_id, vector)`` each, on faces that are enrolled; return the new template ids.

        Faces that are gone, of another collection, or have a template of the embedder already are left out. The collection's
        revision rises by one for each template.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        ...

    def remove_templates_of(self, collection: str, embedder_id: str, *, of_people_with: str | None = None, limit: int) -> int:
        """Delete templates of an embedder, and faces without any other; return how many templates, at most ``limit``.

        Args:
            collection: Its name.
            embedder_id: The embedder.
            of_people_with: Only of people who have a template of this embedder too; None for everybody.
            limit: At most so many, the oldest first.

        The collection's revision rises by one for each template.
        """
        ...
