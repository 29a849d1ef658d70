"""The shapes of JSON answers: plain values made from the library's, for the command line and the service alike.

They are an interface: ``docs/cli.md`` and the service's OpenAPI document describe them, and a name once given stays. Rates lie in
[0, 1], boxes are ``[x1, y1, x2, y2]`` in pixels of the upright photograph, times are UTC in ISO 8601, and no vector is ever among
them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facesearch.core.calibration import Calibration
    from facesearch.core.decision import Candidate, Identification, OperatingPoint, Verification
    from facesearch.core.errors import FaceSearchError
    from facesearch.core.face import Detection
    from facesearch.core.identity import EnrolledTemplate, Identity, KeptPicture
    from facesearch.core.quality import Quality
    from facesearch.core.records import Feedback, SavedPoint
    from facesearch.service.calibrate import CalibrationOutcome
    from facesearch.service.enroll import Enrollment
    from facesearch.service.enroll_folder import FileOutcome
    from facesearch.service.identify_many import PhotographAnswer
    from facesearch.service.people import CollectionSummary

Shape = dict[str, Any]

_PIXEL_DIGITS = 2
"""Digits behind a pixel's point. Scores and thresholds are not rounded: ``score >= threshold`` can be repeated from an answer."""


def detection_shape(detection: Detection) -> Shape:
    """Return a face: ``box``, ``landmarks`` (five ``[x, y]``), ``detection_score``."""
    return {
        "box": [round(value, _PIXEL_DIGITS) for value in detection.box],
        "landmarks": [[round(value, _PIXEL_DIGITS) for value in point] for point in detection.landmarks.tolist()],
        "detection_score": detection.score,
    }


def quality_shape(quality: Quality | None) -> Shape | None:
    """Return how usable a face is: ``score`` in [0, 1], every figure by name, ``reasons``; null where it cannot be aligned."""
    return None if quality is None else {**quality.figures(), "reasons": [str(reason) for reason in quality.reasons]}


def operating_point_shape(point: OperatingPoint) -> Shape:
    """Return what an answer was decided at."""
    return {
        "threshold": point.threshold,
        "fmr": point.fmr,
        "n_non_mated": point.n_non_mated,
        "embedder_id": point.embedder_id,
        "operating_point": point.name,
        "in_sample": point.is_in_sample,
    }


def verification_shape(verification: Verification) -> Shape:
    """Return a 1:1 answer."""
    return {
        "is_match": verification.is_match,
        "score": verification.score,
        "squared_distance": verification.squared_distance,
        **operating_point_shape(verification.operating_point),
        "threshold": verification.threshold,
        "fmr_supported": verification.operating_point.is_supported,
        "reason": str(verification.reason),
        "label": verification.label,
        "is_rejected": verification.is_rejected,
        "floor": verification.floor,
        **_evidence_shape(verification),
        "faces": [detection_shape(one) for one in verification.detections],
    }


def _evidence_shape(verification: Verification) -> Shape:
    calibration = verification.calibration
    return {
        "probability": verification.probability,
        "log_likelihood_ratio": verification.log_likelihood_ratio,
        "llr_clamp": list(calibration.clamp) if calibration else None,
        "llr_is_clamped": verification.is_llr_clamped,
        "prior": calibration.prior if calibration else None,
    }


def saved_point_shape(point: SavedPoint) -> Shape:
    """Return a saved operating point with its evidence."""
    return {
        "name": point.name,
        "embedder_id": point.embedder_id,
        "kind": str(point.kind),
        "rate": point.rate,
        "threshold": point.threshold,
        "n_non_mated": point.n_non_mated,
        "n_person_pairs": point.n_person_pairs,
        "n_templates": point.n_templates,
        "fusion": point.fusion,
        "data_digest": point.data_digest,
        "source": point.source,
        "in_sample": point.is_in_sample,
        "created_at": point.created_at.isoformat(),
    }


def calibration_shape(calibration: Calibration) -> Shape:
    """Return a calibration; ``llrs`` are natural log-likelihood ratios at the scores ``knots``, before ``clamp``."""
    return {
        "embedder_id": calibration.embedder_id,
        "method": str(calibration.method),
        "prior": calibration.prior,
        "knots": list(calibration.knots),
        "llrs": list(calibration.llrs),
        "clamp": list(calibration.clamp),
        "n_mated": calibration.n_mated,
        "n_non_mated": calibration.n_non_mated,
        "n_people": calibration.n_people,
        "data_digest": calibration.data_digest,
        "source": calibration.source,
        "created_at": calibration.created_at.isoformat(),
    }


def calibration_outcome_shape(outcome: CalibrationOutcome) -> Shape:
    """Return a calibration with what it cost on people left out, in bits a comparison."""
    return {
        **calibration_shape(outcome.calibration),
        "held_out": [
            {
                "cllr": one.check.cllr,
                "min_cllr": one.check.min_cllr,
                "cllr_uncalibrated": one.check.uncalibrated,
                "cllr_prior_only": one.check.prior_only,
                "n_mated": one.check.n_mated,
                "n_non_mated": one.check.n_non_mated,
                "reliability": [
                    {
                        "stated": bin_.stated,
                        "observed": bin_.observed,
                        "observed_interval": None if bin_.interval is None else list(bin_.interval),
                        "n_mated": bin_.n_mated,
                        "n_non_mated": bin_.n_non_mated,
                    }
                    for bin_ in one.bins
                ],
            }
            for one in outcome.held_out
        ],
        "warnings": list(outcome.warnings),
    }


def feedback_shape(feedback: Feedback) -> Shape:
    """Return what somebody said; ``floor`` is null where it left the person's threshold alone."""
    said = feedback.said
    return {
        "feedback_id": feedback.feedback_id,
        "collection": feedback.collection,
        "kind": str(said.kind),
        "identity_id": said.identity_id,
        "label": feedback.label,
        "score": said.score,
        "floor": said.floor,
        "image_digest": said.image_digest,
        "box": [round(value, _PIXEL_DIGITS) for value in said.box],
        "embedder_id": said.template.embedder_id,
        "by": said.by,
        "created_at": said.created_at.isoformat(),
    }


def candidate_shape(candidate: Candidate) -> Shape:
    """Return somebody who may be the person searched for."""
    return {
        "rank": candidate.rank,
        "identity_id": candidate.identity_id,
        "label": candidate.label,
        "template_id": candidate.template_id,
        "score": candidate.score,
        "squared_distance": candidate.squared_distance,
        "floor": candidate.floor,
    }


def identification_shape(identification: Identification) -> Shape:
    """Return the 1:N answer for one face; ``label`` and ``identity_id`` are null for an unknown person."""
    match = identification.match
    return {
        **detection_shape(identification.detection),
        "is_match": identification.is_match,
        "label": identification.label,
        "identity_id": match.identity_id if match else None,
        "reason": str(identification.reason),
        **operating_point_shape(identification.operating_point),
        "fpir": identification.fpir,
        "fpir_supported": identification.fpir_supported,
        "n_templates": identification.n_templates,
        "n_rejected": identification.n_rejected,
        "candidates": [candidate_shape(one) for one in identification.candidates],
    }


def enrollment_shape(enrollment: Enrollment) -> Shape:
    """Return one enrolled face."""
    stored = enrollment.template
    return {
        **identity_shape(enrollment.identity),
        "template_id": stored.template_id,
        "embedder_id": stored.template.embedder_id,
        "is_new_identity": enrollment.is_new_identity,
        "possible_duplicate": enrollment.possible_duplicate,
        **detection_shape(stored.provenance.detection),
        "quality": dict(stored.provenance.quality),
    }


def answer_shape(answer: PhotographAnswer) -> Shape:
    """Return the answer to one of many photographs."""
    return {
        "photo": answer.photo,
        "width": answer.size[0] if answer.size is not None else None,
        "height": answer.size[1] if answer.size is not None else None,
        "error": error_shape(answer.error) if answer.error is not None else None,
        "n_recognised": answer.n_recognised,
        "faces": [identification_shape(one) for one in answer.faces],
    }


def outcome_shape(outcome: FileOutcome) -> Shape:
    """Return what became of one file of a folder."""
    return {
        "path": str(outcome.path),
        "label": outcome.label,
        "status": outcome.status,
        "message": outcome.message,
        "template_id": outcome.template_id,
        "other_label": outcome.other_label,
    }


def identity_shape(identity: Identity) -> Shape:
    """Return a person."""
    return {
        "identity_id": identity.identity_id,
        "label": identity.label,
        "collection": identity.collection,
        "tags": list(identity.tags),
        "enrolled_at": identity.enrolled_at.isoformat(),
    }


def template_shape(enrolled: EnrolledTemplate, picture: KeptPicture | None) -> Shape:
    """Return where one of a person's templates came from, and which picture is kept beside it."""
    origin = enrolled.provenance
    return {
        "template_id": enrolled.template_id,
        "embedder_id": enrolled.template.embedder_id,
        "source": origin.source,
        "image_digest": origin.image_digest,
        "enrolled_at": origin.enrolled_at.isoformat(),
        **detection_shape(origin.detection),
        "quality": dict(origin.quality),
        "picture": None if picture is None else {"kind": str(picture.kind), "n_bytes": len(picture.data)},
    }


def collection_shape(summary: CollectionSummary) -> Shape:
    """Return a collection in numbers."""
    return {
        "name": summary.collection.name,
        "revision": summary.collection.revision,
        "n_identities": summary.n_identities,
        "n_templates": summary.n_templates,
        "embedders": dict(summary.embedders),
    }


def error_shape(error: FaceSearchError) -> Shape:
    """Return an error: its stable code, its message, and what it knows."""
    return {"code": error.code, "message": error.message, "context": plain(error.context)}


def plain(value: object) -> Any:
    """Return a value as JSON can hold it; what it cannot hold, non-finite numbers included, becomes text."""
    if value is None or isinstance(value, bool | int | str):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    return str(value)
