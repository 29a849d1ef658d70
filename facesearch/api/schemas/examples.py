"""What the examples of the OpenAPI document show: one person, one photograph, one key and one job, the same everywhere.

Plain values only; a test holds each against the schema that shows it. ``shown`` is what the models of this room put them in by.
"""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

Example = dict[str, Any]

_AT = "2026-03-02T09:30:00+00:00"
_EMBEDDER_ID = "mobilenet-128@0123456789ab"
_LABEL = {"identity_id": 7, "label": "Ada"}
_KEY_ID = "0123456789abcdef"
_REQUEST_ID = "5f0c1d2e3b4a59687766554433221100"
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

_SCORE = {"score": 0.7213, "squared_distance": 0.5574}
_THRESHOLD = 0.4312
_PHOTOGRAPH = {"width": 640, "height": 480}
_VECTOR = [0.6, 0.8]
"""Shorter than any embedder's, for the reader's sake; of unit length all the same."""


def shown(*examples: Example) -> ConfigDict:
    """Return what a model shows as its examples, to be its ``model_config``."""
    return ConfigDict(json_schema_extra={"examples": list(examples)})


def page(*items: Example) -> Example:
    """Return the only page of some items."""
    return {"items": list(items), "next_cursor": None}


FACE: Example = {
    "box": [136.0, 58.5, 257.0, 215.25],
    "landmarks": [[171.5, 117.0], [226.0, 119.0], [199.5, 150.0], [174.0, 180.0], [222.0, 181.5]],
    "detection_score": 0.9998,
}
_FIGURES: Example = {
    "score": 0.91,
    "face_px": 121.0,
    "detail_px": 96.0,
    "acuity": 14.2,
    "sharpness": 0.31,
    "yaw": 0.08,
    "pitch": -0.02,
    "roll": 1.4,
    "brightness": 0.47,
    "dark_share": 0.0,
    "bright_share": 0.01,
    "visible": 0.83,
    "detection_score": 0.9998,
}
QUALITY: Example = {**_FIGURES, "reasons": []}
FACE_WITH_QUALITY: Example = {**FACE, "quality": QUALITY}
SEEN_FACE: Example = {**FACE_WITH_QUALITY, **_PHOTOGRAPH}
DETECTED_FACES: Example = {**_PHOTOGRAPH, "faces": [FACE_WITH_QUALITY]}
DECIDED_AT: Example = {
    "threshold": _THRESHOLD,
    "fmr": 1e-4,
    "n_non_mated": 45140155,
    "embedder_id": _EMBEDDER_ID,
    "operating_point": None,
    "in_sample": False,
}
VERIFICATION: Example = {
    "is_match": True,
    **_SCORE,
    **DECIDED_AT,
    "fmr_supported": True,
    "reason": "match",
    "label": None,
    "is_rejected": False,
    "floor": None,
    "probability": None,
    "log_likelihood_ratio": None,
    "llr_clamp": None,
    "llr_is_clamped": None,
    "prior": None,
    "faces": [SEEN_FACE, SEEN_FACE],
}
CANDIDATE: Example = {"rank": 1, **_LABEL, "template_id": 19, **_SCORE, "floor": None}
IDENTIFICATION: Example = {
    **FACE,
    **DECIDED_AT,
    "is_match": True,
    **_LABEL,
    "reason": "match",
    "fpir": 0.01,
    "fpir_supported": True,
    "n_templates": 12,
    "n_rejected": 0,
    "quality": QUALITY,
    "candidates": [CANDIDATE],
}
IDENTIFICATIONS: Example = {**_PHOTOGRAPH, "faces": [IDENTIFICATION]}
TEMPLATE_VECTOR: Example = {"vector": _VECTOR, "embedder_id": _EMBEDDER_ID}
FACE_TEMPLATE: Example = {**FACE_WITH_QUALITY, **TEMPLATE_VECTOR}
FACE_TEMPLATES: Example = {**_PHOTOGRAPH, "faces": [FACE_TEMPLATE]}
TWO_TEMPLATES: Example = {"a": TEMPLATE_VECTOR, "b": {"vector": _VECTOR[::-1], "embedder_id": _EMBEDDER_ID}}
COMPARISON: Example = {"score": 0.96, "squared_distance": 0.08}

_PERSON: Example = {**_LABEL, "collection": "default", "tags": ["staff"], "enrolled_at": _AT}
PERSON: Example = {**_PERSON, "n_faces": 2, "thumbnail_template_id": 19}
COLLECTION: Example = {
    "name": "default",
    "revision": 12,
    "n_identities": 7,
    "n_templates": 12,
    "embedders": {_EMBEDDER_ID: 12},
}
KEPT_PICTURE: Example = {"kind": "crop", "n_bytes": 5213}
ENROLLED_FACE: Example = {
    **FACE,
    "template_id": 19,
    "embedder_id": _EMBEDDER_ID,
    "source": "",
    "image_digest": DIGEST,
    "enrolled_at": _AT,
    "quality": _FIGURES,
    "picture": KEPT_PICTURE,
}
ENROLLMENT: Example = {
    **FACE,
    **_PERSON,
    "template_id": 19,
    "embedder_id": _EMBEDDER_ID,
    "is_new_identity": False,
    "possible_duplicate": None,
    "quality": _FIGURES,
    "photo": 0,
}
ENROLLMENT_FAILURE: Example = {
    "photo": 1,
    "name": "garden.jpg",
    "code": "no_face",
    "message": "image 4f2c9d1a0b3e: no face of at least 20 pixels found in 640×480 pixels",
    "context": {"min_face_px": 20},
}
ENROLLED: Example = {"identity": PERSON, "enrollments": [ENROLLMENT], "failures": [ENROLLMENT_FAILURE]}
FEEDBACK: Example = {
    "feedback_id": 3,
    "collection": "default",
    "kind": "not_this_person",
    **_LABEL,
    "score": 0.4527,
    "floor": 0.4527,
    "image_digest": DIGEST,
    "box": FACE["box"],
    "embedder_id": _EMBEDDER_ID,
    "by": _KEY_ID,
    "created_at": _AT,
}

NEW_JOB_ITEM: Example = {"digest": DIGEST, "label": "Ada", "tags": ["staff"], "name": "ada.jpg"}
JOB_OPTIONS: Example = {"face": "largest", "keep": "crop"}
NEW_JOB: Example = {"kind": "enroll", "collection": "default", "items": [NEW_JOB_ITEM], "options": JOB_OPTIONS}
JOB: Example = {
    "job_id": _REQUEST_ID[::-1],
    "kind": "enroll",
    "collection": "default",
    "state": "waiting_for_photos",
    "made_by": _KEY_ID,
    "created_at": _AT,
    "updated_at": "2026-03-02T09:31:00+00:00",
    "n_items": 120,
    "n_waiting": 88,
    "n_done": 31,
    "n_failed": 1,
    "code": "",
    "message": "",
}
JOB_ITEM: Example = {
    "number": 0,
    **NEW_JOB_ITEM,
    "state": "done",
    "identity_id": 7,
    "template_id": 19,
    "code": "",
    "message": "",
}
MISSING_PHOTOGRAPH: Example = {"number": 4, "digest": DIGEST}
RECEIVED_PHOTOGRAPH: Example = {"digest": DIGEST, "receipt": "held"}
RECEIVED_PHOTOGRAPHS: Example = {"photos": [RECEIVED_PHOTOGRAPH], "n_free_bytes": 201326592, "job": JOB}

KEY: Example = {
    "key_id": _KEY_ID,
    "name": "front desk",
    "scopes": ["identify", "read"],
    "collections": ["visitors"],
    "created_at": _AT,
    "expires_at": None,
    "revoked_at": None,
    "requests_per_minute": 600,
}
NEW_KEY: Example = {"key": KEY, "text": f"fs_{_KEY_ID}_{'A' * 43}"}
LIMITS: Example = {
    "max_body_bytes": 33554432,
    "max_photos_per_request": 64,
    "max_faces": 256,
    "request_timeout_s": 30.0,
    "requests_per_minute": 600,
}
ME: Example = {
    "keys": "required",
    **{name: KEY[name] for name in ("key_id", "name", "scopes", "collections", "expires_at")},
    "limits": LIMITS,
}
AUDIT_ENTRY: Example = {
    "number": 812,
    "at": _AT,
    "action": "identify",
    "actor": _KEY_ID,
    "outcome": "match",
    "collection_id": 1,
    "identity_ids": [7],
    "template_ids": [19],
    "subject": "",
    "threshold": _THRESHOLD,
    "fmr": 1e-4,
    "fpir": 0.01,
    "embedder_id": _EMBEDDER_ID,
    "score": _SCORE["score"],
    "request_id": _REQUEST_ID,
}
AUDIT_REPORT: Example = {
    "is_whole": True,
    "n_rows": 812,
    "last_number": 812,
    "head_number": 812,
    "n_after_head": 0,
    "reason": "",
    "number": None,
}
OPERATING_POINT: Example = {name: DECIDED_AT[name] for name in ("threshold", "fmr", "n_non_mated")}
MODEL: Example = {
    "name": "mobilenet-128",
    "version": 1,
    "embedder_id": _EMBEDDER_ID,
    "sha256": "0123456789ab" + 52 * "0",
    "format": "safetensors",
    "dim": 128,
    "crop_px": 112,
    "alignment": "arcface-112",
    "licence": "Apache-2.0",
    "licence_terms": "",
    "source": "not stated",
    "is_calibrated": True,
    "precisions": ["bf16", "f32", "int8"],
    "lfw": {"single": {"accuracy": 0.9962, "standard_error": 0.0009, "operating_points": [OPERATING_POINT]}},
    "card": "# mobilenet-128\n\nA small embedder, shipped with the package.\n",
}
MODELS: Example = {"items": [MODEL], "in_use": _EMBEDDER_ID}
SAVED_POINT: Example = {
    "name": "entrance",
    "embedder_id": _EMBEDDER_ID,
    "kind": "fpir",
    "rate": 0.01,
    "threshold": 0.5127,
    "n_non_mated": 4000,
    "n_person_pairs": 1000,
    "n_templates": 312,
    "fusion": "single",
    "data_digest": DIGEST,
    "source": "5000 photographs of 1312 people in entrance-2025",
    "in_sample": False,
    "created_at": _AT,
}
SCORE_HISTOGRAMS: Example = {
    "measured_on": "LFW, peopleDevTest",
    "n_people": 1711,
    "n_mated": 24620,
    "n_non_mated": 6848144,
    "start": -0.5,
    "width": 0.5,
    "mated": [0.0, 0.0481, 0.9519],
    "non_mated": [0.4874, 0.5126, 0.0],
}
OPERATING_POINTS: Example = {
    "embedder_id": _EMBEDDER_ID,
    "points": [OPERATING_POINT],
    "saved": [SAVED_POINT],
    "score_histograms": SCORE_HISTOGRAMS,
}

# The same person and photograph, as clients of deepface's API and of CompreFace know answers.

FACIAL_AREA: Example = {"x": 136, "y": 58, "w": 121, "h": 157, "left_eye": [226, 119], "right_eye": [172, 117]}
REPRESENTATION: Example = {"embedding": _VECTOR, "facial_area": FACIAL_AREA, "face_confidence": 0.9998}
DEEPFACE_AREAS: Example = {"img1": FACIAL_AREA, "img2": FACIAL_AREA}
_DISTANCES = {"distance": 0.2787, "threshold": 0.5688, "confidence": None}
DEEPFACE_VERIFICATION: Example = {
    "verified": True,
    **_DISTANCES,
    "model": _EMBEDDER_ID,
    "detector_backend": "mtcnn",
    "similarity_metric": "cosine",
    "facial_areas": DEEPFACE_AREAS,
    "time": 0.12,
}
DEEPFACE_MATCH: Example = {
    "identity": "Ada",
    **{f"{which}_{name}": FACIAL_AREA[name] for which in ("target", "source") for name in "xywh"},
    **_DISTANCES,
}
COMPREFACE_BOX: Example = {"probability": 0.9998, "x_max": 257, "y_max": 215, "x_min": 136, "y_min": 58}
COMPREFACE_SUBJECT: Example = {"subject": "Ada", "similarity": 0.7213}
COMPREFACE_RESULT: Example = {"box": COMPREFACE_BOX, "subjects": [COMPREFACE_SUBJECT]}
COMPREFACE_EXAMPLE: Example = {"image_id": "19", "subject": "Ada"}
