"""The part of the library's face about faces before anything is decided: found once, then verified or identified.

It only passes on, like ``facade``.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from facesearch.core.face import Box, Detection
from facesearch.core.quality import Quality
from facesearch.service.faces import FaceChoice
from facesearch.service.found_face import ProbeFace
from facesearch.service.identify import Identify
from facesearch.service.pipeline import FacePipeline, ImageSource


@dataclass(frozen=True, slots=True)
class SeenPhotograph:
    """The faces of a photograph, none of them embedded.

    Attributes:
        width: Of the upright photograph, in pixels.
        height: Likewise.
        faces: By falling detection score.
        qualities: How usable each is, in order; None for one that cannot even be aligned.
    """

    width: int
    height: int
    faces: tuple[Detection, ...]
    qualities: tuple[Quality | None, ...]


class FacesFacade:
    """Faces of a ``FaceSearch``."""

    @abstractmethod
    def _searching(self, collection: str | None = None) -> tuple[Identify, FacePipeline]:
        """Return what searches, and what finds faces."""

    def look(self, photo: ImageSource, *, roi: Box | None = None) -> SeenPhotograph:
        """Return the faces of a photograph with their quality, decoding it once; no face is no error."""
        pipeline = self._searching()[1]
        image, faces = pipeline.detect(photo, roi=roi)
        return SeenPhotograph(image.width, image.height, faces, pipeline.qualities(image, faces))

    def find_face(self, photo: ImageSource, *, face: FaceChoice = "only", roi: Box | None = None) -> ProbeFace:
        """Return one face of a photograph with its template; ``verify`` and ``reject`` take it in place of the photograph.

        Raises:
            NoFaceError: There is no face.
            SeveralFacesError: There are several and ``face`` is ``"only"``.
        """
        return self._searching()[1].face(photo, face, roi=roi)

    def find_face_each(self, *wanted: tuple[ImageSource, FaceChoice]) -> tuple[ProbeFace, ...]:
        """Return one face of each photograph, in order, as ``find_face`` would of one; quicker than one after the other.

        Raises:
            NoFaceError: There is no face in one of them.
            SeveralFacesError: There are several in one of them and its choice is ``"only"``.
        """
        return self._searching()[1].face_each(wanted)

    def find_faces(self, photo: ImageSource, *, roi: Box | None = None) -> tuple[ProbeFace, ...]:
        """Return every face of a photograph with its template, by falling detection score; ``identify`` takes them in its place.

        Raises:
            NoFaceError: There is no face.
        """
        return self._searching()[1].faces(photo, roi=roi)
