"""Answers as clients of deepface's API and of CompreFace know them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from facesearch.api.schemas import examples
from facesearch.api.schemas.base import Answer

Confidence = Annotated[float | None, Field(description="Calibrated probability in percent; null where nothing was calibrated.")]
Eye = Annotated[list[int], Field(min_length=2, max_length=2)]


class FacialArea(Answer):
    """A face's box as deepface gives it; the eyes are named as the person would."""

    model_config = examples.shown(examples.FACIAL_AREA)

    x: int
    y: int
    w: int
    h: int
    left_eye: Eye
    right_eye: Eye


class Representation(Answer):
    """A face with its vector."""

    model_config = examples.shown(examples.REPRESENTATION)

    embedding: list[float]
    facial_area: FacialArea
    face_confidence: float


class Representations(Answer):
    """Faces with their vectors."""

    model_config = examples.shown({"results": [examples.REPRESENTATION]})

    results: list[Representation]


class DeepfaceAreas(Answer):
    """The faces compared."""

    model_config = examples.shown(examples.DEEPFACE_AREAS)

    img1: FacialArea
    img2: FacialArea


class DeepfaceVerification(Answer):
    """Whether two photographs show the same person, as deepface says it."""

    model_config = examples.shown(examples.DEEPFACE_VERIFICATION)

    verified: bool
    distance: float
    threshold: Annotated[float, Field(description="Largest distance of a match.")]
    confidence: Confidence
    model: Annotated[str, Field(description="The embedder that decided, whichever was asked for.")]
    detector_backend: str
    similarity_metric: str
    facial_areas: DeepfaceAreas
    time: Annotated[float, Field(description="Seconds.")]


class DeepfaceMatch(Answer):
    """Somebody found, as deepface says it."""

    model_config = examples.shown(examples.DEEPFACE_MATCH)

    identity: Annotated[str, Field(description="The label; not a file's path.")]
    target_x: int
    target_y: int
    target_w: int
    target_h: int
    source_x: int
    source_y: int
    source_w: int
    source_h: int
    threshold: float
    distance: float
    confidence: Confidence


class DeepfaceMatches(Answer):
    """For each face of the photograph who it may be, the most alike first; empty for somebody unknown."""

    model_config = examples.shown({"results": [[examples.DEEPFACE_MATCH]]})

    results: list[list[DeepfaceMatch]]


class CompreFaceBox(Answer):
    """A face's box as CompreFace gives it."""

    model_config = examples.shown(examples.COMPREFACE_BOX)

    probability: float
    x_max: int
    y_max: int
    x_min: int
    y_min: int


class CompreFaceSubject(Answer):
    """Somebody found, as CompreFace says it."""

    model_config = examples.shown(examples.COMPREFACE_SUBJECT)

    subject: str
    similarity: Annotated[float, Field(description="Cosine similarity; CompreFace's own numbers mean something else.")]


class CompreFaceResult(Answer):
    """A face and who it may be, as CompreFace says it."""

    model_config = examples.shown(examples.COMPREFACE_RESULT)

    box: CompreFaceBox
    subjects: Annotated[list[CompreFaceSubject], Field(description="Empty for somebody unknown.")]
    landmarks: list[list[int]] | None = None
    embedding: list[float] | None = None
    execution_time: dict[str, float] | None = None


class CompreFaceResults(Answer):
    """The faces of a photograph, the largest first."""

    model_config = examples.shown({"result": [examples.COMPREFACE_RESULT]})

    result: list[CompreFaceResult]
    plugins_versions: dict[str, Any] | None = None


class CompreFaceExample(Answer):
    """A photograph that was enrolled, as CompreFace says it."""

    model_config = examples.shown(examples.COMPREFACE_EXAMPLE)

    image_id: Annotated[str, Field(description="The template's id.")]
    subject: str


class CompreFaceSubjects(Answer):
    """Everybody enrolled, as CompreFace says it."""

    model_config = examples.shown({"subjects": ["Ada", "Grace Hopper"]})

    subjects: list[str]
