"""Faces, decisions about them, and vectors, as answers have them.

It decides nothing: see ``facesearch.core.decision``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from facesearch.api.schemas import examples
from facesearch.api.schemas.base import Answer, Body, BoxValues, Count, Id, Rate, Score


class Face(Answer):
    """A face found in a photograph."""

    model_config = examples.shown(examples.FACE)

    box: BoxValues
    landmarks: Annotated[
        list[Annotated[list[float], Field(min_length=2, max_length=2)]],
        Field(min_length=5, max_length=5, description="Image-left eye, other eye, nose tip, image-left mouth corner, the other."),
    ]
    detection_score: Annotated[float, Field(ge=0, le=1, description="The detector's confidence; no probability.")]


class Quality(Answer):
    """How usable a face is."""

    model_config = examples.shown(examples.QUALITY)

    score: Annotated[float, Field(ge=0, le=1, description="How usable the face is; 1 is best.")]
    face_px: float
    detail_px: float
    acuity: float
    sharpness: float
    yaw: float
    pitch: float
    roll: float
    brightness: float
    dark_share: float
    bright_share: float
    visible: float
    detection_score: float
    reasons: Annotated[list[str], Field(description="Codes of what is wanting, e.g. `too_small`; empty where nothing is.")]


class FaceWithQuality(Face):
    """A face with how usable it is."""

    model_config = examples.shown(examples.FACE_WITH_QUALITY)

    quality: Annotated[Quality | None, Field(description="Null where the face cannot even be aligned.")]


class DetectedFaces(Answer):
    """The faces of a photograph by falling detection score."""

    model_config = examples.shown(examples.DETECTED_FACES)

    width: Count
    height: Count
    faces: list[FaceWithQuality]


class SeenFace(FaceWithQuality):
    """A face that was compared, with the size of its photograph."""

    model_config = examples.shown(examples.SEEN_FACE)

    width: Annotated[int, Field(ge=1, description="Of the upright photograph, in pixels.")]
    height: Annotated[int, Field(ge=1)]


class DecidedAt(Answer):
    """What an answer was decided at."""

    model_config = examples.shown(examples.DECIDED_AT)

    threshold: Score
    fmr: Annotated[Rate, Field(description="False match rate of one comparison that the threshold was set for.")]
    n_non_mated: Annotated[Count, Field(description="Comparisons of different people behind it.")]
    embedder_id: str
    operating_point: Annotated[str | None, Field(description="Name of the saved point; null for the embedder's own.")]
    in_sample: Annotated[bool, Field(description="Whether it was set on the data its rates are reported on.")]


class Verification(DecidedAt):
    """The answer to "are these two the same person?" (1:1)."""

    model_config = examples.shown(examples.VERIFICATION)

    is_match: Annotated[bool, Field(description="Whether the score reaches the threshold, and nobody rejected the pair.")]
    score: Score
    squared_distance: Annotated[float, Field(ge=-1e-3, le=4.001, description="Squared distance of the two unit vectors.")]
    fmr_supported: Annotated[bool, Field(description="Whether the evidence reaches the rate asked for.")]
    reason: Literal["match", "below_threshold", "empty_gallery", "rejected"]
    label: Annotated[str | None, Field(description="The person compared with; null for two photographs.")]
    is_rejected: Annotated[bool, Field(description="Whether somebody said that this face is not this person's.")]
    floor: Annotated[Score | None, Field(description="Score that feedback made too little for this person.")]
    probability: Annotated[float | None, Field(ge=0, le=1, description="Of the same person at `prior`; null if not calibrated.")]
    log_likelihood_ratio: float | None
    llr_clamp: list[float] | None
    llr_is_clamped: bool | None
    prior: float | None
    faces: Annotated[list[SeenFace], Field(description="The faces compared, in the order of the photographs.")]


class Candidate(Answer):
    """Somebody enrolled who may be the person searched for."""

    model_config = examples.shown(examples.CANDIDATE)

    rank: Annotated[int, Field(ge=1)]
    identity_id: Id
    label: str
    template_id: Id
    score: Score
    squared_distance: float
    floor: Annotated[Score | None, Field(description="Score that feedback made too little for this person.")]


class Identification(Face, DecidedAt):
    """The answer to "who is this?" for one face (1:N); unknown is an answer."""

    model_config = examples.shown(examples.IDENTIFICATION)

    is_match: bool
    label: Annotated[str | None, Field(description="Who it is; null for unknown.")]
    identity_id: Annotated[Id | None, Field(description="Likewise.")]
    reason: Literal["match", "below_threshold", "empty_gallery", "rejected"]
    fpir: Annotated[Rate | None, Field(description="Share of strangers that may come back as somebody; null for an FMR.")]
    fpir_supported: bool
    n_templates: Annotated[Count, Field(description="Templates searched.")]
    n_rejected: Annotated[Count, Field(description="People left out because somebody said that this face is not theirs.")]
    candidates: Annotated[list[Candidate], Field(description="Nearest first, whether or not they reach the threshold.")]
    quality: Quality | None


class Identifications(Answer):
    """Who the faces of a photograph are."""

    model_config = examples.shown(examples.IDENTIFICATIONS)

    width: Count
    height: Count
    faces: list[Identification]


class TemplateVector(Body):
    """A vector with the embedder that made it."""

    model_config = examples.shown(examples.TEMPLATE_VECTOR)

    vector: Annotated[
        list[Annotated[float, Field(ge=-1.001, le=1.001)]], Field(min_length=1, max_length=4096, description="Unit L2 norm.")
    ]
    embedder_id: Annotated[str, Field(min_length=1, max_length=200)]


class FaceTemplate(FaceWithQuality):
    """A face with its vector."""

    model_config = examples.shown(examples.FACE_TEMPLATE)

    vector: list[float]
    embedder_id: str


class FaceTemplates(Answer):
    """The faces of a photograph with their vectors, by falling detection score."""

    model_config = examples.shown(examples.FACE_TEMPLATES)

    width: Count
    height: Count
    faces: list[FaceTemplate]


class TwoTemplates(Body):
    """Two vectors to compare."""

    model_config = examples.shown(examples.TWO_TEMPLATES)

    a: TemplateVector
    b: TemplateVector


class Comparison(Answer):
    """How alike two vectors are; nothing is decided."""

    model_config = examples.shown(examples.COMPARISON)

    score: Score
    squared_distance: float
