"""Calls of CompreFace's recognition service, for programs that were written for it; ``docs/compat.md`` says what differs.

It answers with this service's networks and thresholds: somebody unknown has an empty list of subjects.
"""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import Depends, Query, Request, status

from facesearch.api.access import Caller, require
from facesearch.api.audit_hook import change, identification
from facesearch.api.calls import in_pool
from facesearch.api.context import ServerContext, context_of
from facesearch.api.parameters import new_collection
from facesearch.api.photographs import Fields, PhotoBody, Sent
from facesearch.api.routes.deepface import collection_of
from facesearch.api.routing import guarded_router
from facesearch.api.schemas.compatibility import (
    CompreFaceBox,
    CompreFaceExample,
    CompreFaceResult,
    CompreFaceResults,
    CompreFaceSubject,
    CompreFaceSubjects,
)
from facesearch.core.access import Scope
from facesearch.core.decision import Identification
from facesearch.core.errors import NoFaceError
from facesearch.service.enroll import Enrollment
from facesearch.service.found_face import ProbeFace

router = guarded_router("/api/v1/recognition", tag="compatibility")

MAX_PREDICTIONS = 1000
MAX_SUBJECTS = 100_000

CALCULATOR, LANDMARKS = "calculator", "landmarks"
"""CompreFace's plugins that mean something here; the others are taken and add nothing."""


class CompreFaceFields(Fields):
    """Nothing beside the photograph: CompreFace's options are in the address."""


_FILE = PhotoBody(CompreFaceFields, photos=("file",))

CollectionQuery = Annotated[
    str | None, Query(max_length=200, description="The collection; the key's only one, or the service's own, where it is left out.")
]
Threshold = Annotated[float, Query(ge=0, le=1, description="Least detection score of a face.")]


@router.post("/recognize", operation_id="compreface_recognize", openapi_extra=_FILE.openapi(), response_model_exclude_none=True)
async def recognize(
    request: Request,
    caller: Annotated[Caller, Depends(require(Scope.IDENTIFY))],
    sent: Annotated[Sent[CompreFaceFields], Depends(_FILE.read)],
    limit: Annotated[int, Query(ge=0, le=10_000, description="Most faces, the largest first; 0 for all.")] = 0,
    det_prob_threshold: Threshold = 0.0,
    prediction_count: Annotated[int, Query(ge=1, le=MAX_PREDICTIONS, description="Most people a face.")] = 1,
    face_plugins: Annotated[str, Query(max_length=200, description="`landmarks`, `calculator` (vectors), by comma.")] = "",
    status: Annotated[bool, Query(description="Say what answered, and how long it took.")] = False,
    collection: CollectionQuery = None,
) -> CompreFaceResults:
    """Say who the faces of a photograph are: those who reach the threshold, an empty list for somebody unknown."""
    plugins = {one.strip() for one in face_plugins.split(",")}
    if CALCULATOR in plugins:
        caller.key.require(Scope.TEMPLATES)
    name, began = collection_of(request, caller, collection), time.perf_counter()

    def decide(context: ServerContext) -> tuple[tuple[ProbeFace, ...], tuple[Identification, ...]]:
        found = [one for one in context.faces.find_faces(sent.one("file")) if one.detection.score >= det_prob_threshold]
        if not found:
            raise NoFaceError(
                f"no face has a detection score of {det_prob_threshold} or more", det_prob_threshold=det_prob_threshold
            )
        found.sort(key=lambda one: -one.detection.width * one.detection.height)
        chosen = tuple(found[:limit] if limit else found)
        decided = context.faces.identify(chosen, prediction_count, collection=name)
        collection_id = context.faces.collection_id(name)
        context.audit.append_many([identification(caller, one, collection_id=collection_id) for one in decided])
        return chosen, decided

    found, decided = await in_pool(request, decide, context_of(request))
    for one in decided:
        context_of(request).metrics.decision("identify", is_match=one.is_match)
    took_ms = round(1000 * (time.perf_counter() - began), 1)
    results = [_result(face, one, plugins) for face, one in zip(found, decided, strict=True)]
    if not status:
        return CompreFaceResults(result=results)
    versions = {"detector": "mtcnn", CALCULATOR: context_of(request).faces.embedder_id}
    timed = [one.model_copy(update={"execution_time": {"all": took_ms}}) for one in results]
    return CompreFaceResults(result=timed, plugins_versions=versions)


@router.post("/faces", status_code=status.HTTP_201_CREATED, operation_id="compreface_add_face", openapi_extra=_FILE.openapi())
async def add_face(
    request: Request,
    caller: Annotated[Caller, Depends(require(Scope.ENROLL))],
    sent: Annotated[Sent[CompreFaceFields], Depends(_FILE.read)],
    subject: Annotated[str, Query(min_length=1, max_length=200, description="The person's label.")],
    det_prob_threshold: Threshold = 0.0,
    collection: CollectionQuery = None,
) -> CompreFaceExample:
    """Enroll the one face of a photograph."""
    name = new_collection(collection_of(request, caller, collection))

    def enroll(context: ServerContext) -> Enrollment:
        if det_prob_threshold:
            score = context.faces.find_face(sent.one("file")).detection.score
            if score < det_prob_threshold:
                raise NoFaceError(f"the face has a detection score of {score:.3f}, {det_prob_threshold} is asked for", score=score)
        made = context.faces.enroll(sent.one("file"), subject, collection=name)
        collection_id = context.faces.collection_id(name)
        event = change(
            caller,
            "enroll",
            collection_id=collection_id,
            identity_ids=(made.identity.identity_id,),
            template_ids=(made.template.template_id,),
        )
        context.audit.append(event)
        return made

    made = await in_pool(request, enroll, context_of(request))
    return CompreFaceExample(image_id=str(made.template.template_id), subject=made.identity.label)


@router.get("/subjects", operation_id="compreface_list_subjects")
async def list_subjects(
    request: Request, caller: Annotated[Caller, Depends(require(Scope.READ))], collection: CollectionQuery = None
) -> CompreFaceSubjects:
    """Return the labels of everybody enrolled."""
    name = collection_of(request, caller, collection)
    found = await in_pool(request, context_of(request).faces.list, collection=name, limit=MAX_SUBJECTS)
    return CompreFaceSubjects(subjects=[one.label for one in found])


def _result(face: ProbeFace, one: Identification, plugins: set[str]) -> CompreFaceResult:
    x1, y1, x2, y2 = (round(value) for value in face.detection.box)
    reached = [candidate for candidate in one.candidates if candidate.score >= one.threshold_of(candidate)]
    return CompreFaceResult(
        box=CompreFaceBox(probability=face.detection.score, x_max=x2, y_max=y2, x_min=x1, y_min=y1),
        subjects=[CompreFaceSubject(subject=candidate.label, similarity=round(candidate.score, 5)) for candidate in reached],
        landmarks=[[round(value) for value in point] for point in face.detection.landmarks.tolist()]
        if LANDMARKS in plugins
        else None,
        embedding=[float(value) for value in face.template.vector] if CALCULATOR in plugins else None,
    )
