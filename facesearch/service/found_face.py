"""One face of a photograph with its template, while the photograph is there and after.

They are values; what finds and embeds faces is ``pipeline``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from facesearch.core.face import Detection
from facesearch.core.image import Image, ImageOrigin
from facesearch.core.quality import Quality
from facesearch.core.template import Template


@dataclass(frozen=True, slots=True, eq=False)
class ProbeFace:
    """One face of a photograph with its template.

    Attributes:
        image: The photograph.
        detection: The face.
        template: Its template.
        quality: How usable the face is; None where the pipeline has no meter.
    """

    image: Image
    detection: Detection
    template: Template
    quality: Quality | None = None

    def record(self) -> FaceRecord:
        """Return the face without the photograph's pixels."""
        return FaceRecord(self.image.origin, self.detection, self.template, self.quality)


@dataclass(frozen=True, slots=True, eq=False)
class FaceRecord:
    """One face of a photograph with its template, after the photograph is gone.

    Attributes:
        image: What is known of the photograph.
        detection: The face.
        template: Its template.
        quality: How usable the face is; None where the pipeline has no meter.
    """

    image: ImageOrigin
    detection: Detection
    template: Template
    quality: Quality | None = None


class FoundFace(Protocol):
    """What enrolment and decisions ask of a face: ``ProbeFace`` or ``FaceRecord``."""

    @property
    def image(self) -> Image | ImageOrigin:
        """The photograph, or what is known of it."""
        ...

    @property
    def detection(self) -> Detection:
        """The face."""
        ...

    @property
    def template(self) -> Template:
        """Its template."""
        ...

    @property
    def quality(self) -> Quality | None:
        """How usable the face is, where it was measured."""
        ...
