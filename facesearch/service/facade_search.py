"""The part of the library's face that searches and leaves deciding to others; like ``facade`` it only passes on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

from facesearch.core.decision import Candidate, checked_candidates
from facesearch.core.face import Box, Detection
from facesearch.service.identify import Identify
from facesearch.service.pipeline import FacePipeline, ImageSource


@dataclass(frozen=True, slots=True)
class FaceCandidates:
    """Whom one face resembles most; nobody decided whether it is any of them.

    Attributes:
        detection: The face.
        candidates: One per person, by falling score.
        n_templates: Templates searched.
    """

    detection: Detection
    candidates: tuple[Candidate, ...]
    n_templates: int

    def __post_init__(self) -> None:
        """Check the candidates."""
        object.__setattr__(self, "candidates", checked_candidates(self.candidates))


class SearchFacade:
    """Searching with a ``FaceSearch``."""

    @abstractmethod
    def _searching(self, collection: str | None = None) -> tuple[Identify, FacePipeline]:
        """Return what searches with a collection's embedder, and what finds faces."""

    @abstractmethod
    def _collection(self, name: str | None) -> str:
        """Return the name of a collection, that of the settings for None."""

    def search(
        self,
        photo: ImageSource,
        k: int = 5,
        *,
        collection: str | None = None,
        tags: Iterable[str] = (),
        roi: Box | None = None,
    ) -> tuple[FaceCandidates, ...]:
        """Return whom the faces of a photograph resemble most, and decide nothing: no threshold, so any embedder can do it.

        Args:
            photo: The photograph.
            k: Candidates shown a face, at least 1.
            collection: Where to search.
            tags: Only people who carry all of these.
            roi: Search for faces only inside this box.

        Returns:
            One entry a face, by falling detection score. ``identify`` says which candidates are matches. People who are searchable
            with a former embedder only (``gallery migrate``) are not among them: their scores cannot be ranked with the others'.

        Raises:
            NoFaceError: There is no face in the photograph.
            IncompatibleTemplatesError: The gallery was enrolled with another embedder.
        """
        where = self._collection(collection)
        identify, pipeline = self._searching(where)
        return tuple(
            FaceCandidates(detection, candidates, n_templates)
            for detection, candidates, n_templates in identify.candidates(
                pipeline.faces(photo, roi=roi), k, collection=where, tags=tags
            )
        )
