"""From settings to what moves a collection from one embedder to another.

A part of ``bootstrap`` in a file of its own: ``Parts`` supplies what it is made of. The use case is imported when a collection is
moved, not before.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facesearch.core.embedder_use import NamedEmbedder
from facesearch.core.errors import IncompatibleTemplatesError, ModelError
from facesearch.core.face import Alignment, FaceCrop
from facesearch.core.identity import KeptPicture
from facesearch.embedding.exported import is_path
from facesearch.embedding.registry import EmbedderCard, card
from facesearch.imaging.align import align_faces
from facesearch.imaging.crops import align_kept
from facesearch.imaging.decode import DecodeLimits
from facesearch.measuring import MeasuringParts
from facesearch.service.embedder_choice import EmbedderChoice

if TYPE_CHECKING:
    from facesearch.service.migrate import MigrateGallery


class MovingParts(MeasuringParts):
    """The objects that move collections between embedders."""

    @property
    @abstractmethod
    def embedders(self) -> EmbedderChoice[Any]:
        """The objects of every embedder that a collection was moved to, these among them."""

    @property
    @abstractmethod
    def limits(self) -> DecodeLimits:
        """Largest photograph taken."""

    @property
    @abstractmethod
    def models_folder(self) -> Path | None:
        """The folder of added embedders; None where nobody added one yet."""

    @property
    def named_embedder(self) -> NamedEmbedder:
        """The embedder of the settings, as a collection remembers it."""
        return _remembered(self.settings.embedder, self.card, flip=self.settings.flip_average)

    def other_embedder(self, name: str) -> NamedEmbedder:
        """Return another embedder as a collection remembers it.

        Raises:
            UnknownEmbedderError: There is none of this name.
        """
        return _remembered(name, card(name, self.models_folder), flip=self.settings.flip_average)

    def require_embedder(self, wanted: NamedEmbedder) -> None:
        """Raise where these objects are not of the embedder that a collection's templates are of.

        Raises:
            IncompatibleTemplatesError: Its weights are others here.
            ModelError: It is not here.
        """
        try:
            found_id = self.card.embedder_id(flip=wanted.is_flip_averaged)
        except ModelError as exc:
            raise type(exc)(
                f"{exc.message}; a collection is searched with it: add it (facesearch models add), or move the collection "
                "without it (facesearch gallery migrate --back or --to NAME, with --accept-worse)",
                **exc.context,
            ) from exc
        if found_id != wanted.embedder_id:
            raise IncompatibleTemplatesError(
                f"the collection is searched with {wanted.embedder_id}, {wanted.name} is {found_id} here: add the weights it was "
                "embedded with (facesearch models add), or move it (facesearch gallery migrate --to NAME, with --accept-worse)",
                embedder_id=found_id,
                enrolled_with=wanted.embedder_id,
            )

    @cached_property
    def migration(self) -> MigrateGallery:
        """What moves collections from embedder to embedder."""
        from facesearch.service.face_sources import FaceSources
        from facesearch.service.migrate import MigrateGallery
        from facesearch.service.migration_copy import Side

        def side_of(embedder: NamedEmbedder) -> Side:
            parts = self.embedders.named(embedder)
            return Side(parts.embedder, parts.indexes, parts.points)

        def sources_of(by_digest: dict[str, str]) -> FaceSources:
            return FaceSources(self.decode, align_faces, self._cut_kept, by_digest=by_digest)

        return MigrateGallery(self.store, side_of, sources_of, own=self.named_embedder)

    def _cut_kept(self, picture: KeptPicture, alignment: Alignment) -> FaceCrop:
        return align_kept(picture, alignment, limits=self.limits)


def _remembered(name: str, found: EmbedderCard, *, flip: bool) -> NamedEmbedder:
    """Return an embedder by what finds the very same weights later: its digest, or where its file lies."""
    return NamedEmbedder(str(Path(name).absolute()) if is_path(name) else found.embedder_id(), found.embedder_id(flip=flip))
