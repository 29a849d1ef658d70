"""Calls of deepface's API, for programs that were written for it; ``docs/compat.md`` says what differs.

It answers with this service's networks, thresholds and error rates, whatever model or detector is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from itertools import product
from typing import Annotated, Any

from fastapi import Depends, Request

from facesearch.api.access import Caller, require
from facesearch.api.audit_hook import identification, verification
from facesearch.api.calls import in_pool
from facesearch.api.context import ServerContext, context_of
from facesearch.api.deepface_requests import METRICS, DeepfaceRequest, deepface_request, described, distance_of
from facesearch.api.routing import guarded_router
from facesearch.api.schemas.compatibility import (
    DeepfaceAreas,
    DeepfaceMatch,
    DeepfaceMatches,
    DeepfaceVerification,
    FacialArea,
    Representation,
    Representations,
)
from facesearch.core.access import Scope
from facesearch.core.decision import Candidate, Identification
from facesearch.core.decision import Verification as Decision
from facesearch.core.errors import UnknownIdentityError
from facesearch.core.face import Detection
from facesearch.core.template import compare
from facesearch.service.found_face import ProbeFace

router = guarded_router("/deepface", tag="compatibility")

DETECTOR = "mtcnn"
"""Deepface's name for the detector that answers, whichever is asked for."""

DEFAULT_K = 5
MAX_K = 100
"""As many as `identify` shows: a photograph may have hundreds of faces, each with so many candidates."""

Asked = Annotated[DeepfaceRequest, Depends(deepface_request)]

_METRIC: dict[str, Any] = {"type": "string", "enum": list(METRICS), "default": "cosine"}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 1}
_FIND = {
    "collection": {"type": "string", "description": "Where to search; the service's own collection where it is left out."},
    "k": {**_COUNT, "maximum": MAX_K, "description": "Candidates of a face."},
    "similarity_search": {"type": "boolean", "description": "Return the most alike, also those below the threshold."},
    "distance_metric": _METRIC,
}


@router.post(
    "/represent", operation_id="deepface_represent", openapi_extra=described(("img",), {"max_faces": {**_COUNT, "maximum": 10_000}})
)
async def represent(
    request: Request, caller: Annotated[Caller, Depends(require(Scope.TEMPLATES))], asked: Asked
) -> Representations:
    """Return the vectors of a photograph's faces; the largest ones where `max_faces` is given."""
    max_faces = asked.count("max_faces")
    found = await in_pool(request, context_of(request).faces.find_faces, asked.photo("img", "img_path"))
    if max_faces is not None:
        found = tuple(sorted(found, key=lambda one: -one.detection.width * one.detection.height)[:max_faces])
    return Representations(
        results=[
            Representation(
                embedding=[float(value) for value in one.template.vector],
                facial_area=_area(one.detection),
                face_confidence=round(one.detection.score, 4),
            )
            for one in found
        ]
    )


@router.post("/verify", operation_id="deepface_verify", openapi_extra=described(("img1", "img2"), {"distance_metric": _METRIC}))
async def verify(request: Request, caller: Annotated[Caller, Depends(require(Scope.VERIFY))], asked: Asked) -> DeepfaceVerification:
    """Say whether two photographs show the same person, by the two faces that are most alike."""
    began, metric = time.perf_counter(), asked.metric
    first, second = asked.photo("img1", "img1_path"), asked.photo("img2", "img2_path")

    def decide(context: ServerContext) -> tuple[Decision, ProbeFace, ProbeFace]:
        faces_a, faces_b = context.faces.find_faces(first), context.faces.find_faces(second)
        a, b = max(product(faces_a, faces_b), key=lambda pair: compare(pair[0].template, pair[1].template))
        decision = context.faces.verify(a, b)
        context.audit.append(verification(caller, decision))
        return decision, a, b

    decision, a, b = await in_pool(request, decide, context_of(request))
    context_of(request).metrics.decision("verify", is_match=decision.is_match)
    return DeepfaceVerification(
        verified=decision.is_match,
        distance=distance_of(decision.score, metric),
        threshold=distance_of(decision.threshold, metric),
        confidence=None if decision.probability is None else round(100 * decision.probability, 2),
        model=decision.operating_point.embedder_id,
        detector_backend=DETECTOR,
        similarity_metric=metric,
        facial_areas=DeepfaceAreas(img1=_area(a.detection), img2=_area(b.detection)),
        time=round(time.perf_counter() - began, 2),
    )


@router.post("/find", operation_id="deepface_find", openapi_extra=described(("img",), _FIND))
async def find(request: Request, caller: Annotated[Caller, Depends(require(Scope.IDENTIFY))], asked: Asked) -> DeepfaceMatches:
    """Say who the faces of a photograph may be: those who reach the threshold, an empty list for somebody unknown."""
    return await _found(request, caller, asked)


@router.post("/search", operation_id="deepface_search", openapi_extra=described(("img",), _FIND))
async def search(request: Request, caller: Annotated[Caller, Depends(require(Scope.IDENTIFY))], asked: Asked) -> DeepfaceMatches:
    """Do what `find` does, under the name that later releases of deepface give it."""
    return await _found(request, caller, asked)


async def _found(request: Request, caller: Caller, asked: DeepfaceRequest) -> DeepfaceMatches:
    metric, photo, is_all = asked.metric, asked.photo("img", "img_path"), asked.flag("similarity_search")
    k = asked.count("k", most=MAX_K) or DEFAULT_K
    collection = collection_of(request, caller, asked.text("collection"))

    def decide(context: ServerContext) -> tuple[tuple[Identification, ...], list[list[DeepfaceMatch]]]:
        collection_id = context.faces.collection_id(collection)
        decided = context.faces.identify(photo, k, collection=collection)
        shown = [[each for each in one.candidates if is_all or each.score >= one.threshold_of(each)] for one in decided]
        places = _places(context, {each.identity_id for some in shown for each in some}, collection)
        matches = [
            [_match(one, each, places[each.template_id], metric) for each in some if each.template_id in places]
            for one, some in zip(decided, shown, strict=True)
        ]
        context.audit.append_many([identification(caller, one, collection_id=collection_id) for one in decided])
        return decided, matches

    decided, matches = await in_pool(request, decide, context_of(request))
    for one in decided:
        context_of(request).metrics.decision("identify", is_match=one.is_match)
    return DeepfaceMatches(results=matches)


def collection_of(request: Request, caller: Caller, named: str | None) -> str:
    """Return the collection that a request of another service's client is about.

    Args:
        request: The request.
        caller: Whose key may be for one collection only: that one is meant then.
        named: The collection that the request names, where it does.

    Raises:
        UnknownCollectionError: The key may not touch it.
    """
    if named is None and caller.key.collections is not None and len(caller.key.collections) == 1:
        return next(iter(caller.key.collections))
    name = context_of(request).faces.default_collection if named is None else named
    caller.check_collection(name)
    return name


def _places(context: ServerContext, identity_ids: Iterable[int], collection: str) -> dict[int, Detection]:
    """Return where the faces of people were, by template id; without those of people who were removed meanwhile."""
    places = {}
    for identity_id in identity_ids:
        with suppress(UnknownIdentityError):
            person = context.faces.show(identity_id, collection=collection)
            places.update({stored.template_id: stored.provenance.detection for stored in person.templates})
    return places


def _match(one: Identification, candidate: Candidate, target: Detection, metric: str) -> DeepfaceMatch:
    return DeepfaceMatch(
        identity=candidate.label,
        **{f"target_{name}": value for name, value in _box(target).items()},
        **{f"source_{name}": value for name, value in _box(one.detection).items()},
        threshold=distance_of(one.threshold_of(candidate), metric),
        distance=distance_of(candidate.score, metric),
        confidence=None,
    )


def _box(face: Detection) -> dict[str, int]:
    x1, y1, x2, y2 = face.box
    return {"x": round(x1), "y": round(y1), "w": round(x2 - x1), "h": round(y2 - y1)}


def _area(face: Detection) -> FacialArea:
    image_left, image_right = ([round(float(value)) for value in point] for point in face.landmarks[:2])
    return FacialArea(**_box(face), left_eye=image_right, right_eye=image_left)
