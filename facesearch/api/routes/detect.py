"""Faces before anybody decides: where they are, how usable they are, and, with the scope for it, their vectors."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from fastapi import Depends, Request

from facesearch.api.access import Caller, require
from facesearch.api.calls import in_pool
from facesearch.api.context import context_of
from facesearch.api.photographs import Fields, PhotoBody, Sent
from facesearch.api.routing import guarded_router
from facesearch.api.schemas.base import Roi
from facesearch.api.schemas.faces import (
    Comparison,
    DetectedFaces,
    FaceTemplate,
    FaceTemplates,
    FaceWithQuality,
    TemplateVector,
    TwoTemplates,
)
from facesearch.core.access import Scope
from facesearch.core.errors import InputError, TemplateFormatError
from facesearch.core.template import Template, squared_distance
from facesearch.service.shapes import detection_shape, quality_shape

router = guarded_router(tag="faces")


class Region(Fields):
    """Where faces are looked for."""

    roi: Roi | None = None


_BODY = PhotoBody(Region, photos=("photo",))


@router.post("/detect", operation_id="detect_faces", openapi_extra=_BODY.openapi())
async def detect_faces(
    request: Request,
    caller: Annotated[Caller, Depends(require(Scope.READ))],
    sent: Annotated[Sent[Region], Depends(_BODY.read)],
) -> DetectedFaces:
    """Return the faces of a photograph with how usable each is; none is no error."""
    seen = await in_pool(request, context_of(request).faces.look, sent.one(), roi=sent.fields.roi)
    faces = [
        FaceWithQuality.model_validate({**detection_shape(face), "quality": quality_shape(quality)})
        for face, quality in zip(seen.faces, seen.qualities, strict=True)
    ]
    return DetectedFaces(width=seen.width, height=seen.height, faces=faces)


@router.post("/templates", operation_id="make_templates", openapi_extra=_BODY.openapi())
async def make_templates(
    request: Request,
    caller: Annotated[Caller, Depends(require(Scope.TEMPLATES))],
    sent: Annotated[Sent[Region], Depends(_BODY.read)],
) -> FaceTemplates:
    """Return the vectors of a photograph's faces; vectors are biometric data and let a face be found again."""
    found = await in_pool(request, context_of(request).faces.find_faces, sent.one(), roi=sent.fields.roi)
    faces = [
        FaceTemplate.model_validate(
            {
                **detection_shape(one.detection),
                "quality": quality_shape(one.quality),
                "vector": one.template.vector.tolist(),
                "embedder_id": one.template.embedder_id,
            }
        )
        for one in found
    ]
    return FaceTemplates(width=found[0].image.width, height=found[0].image.height, faces=faces)


@router.post("/compare", operation_id="compare_templates")
async def compare_templates(
    request: Request, caller: Annotated[Caller, Depends(require(Scope.TEMPLATES))], body: TwoTemplates
) -> Comparison:
    """Return how alike two vectors are; it decides nothing."""
    score = context_of(request).faces.compare(_template(body.a), _template(body.b))
    return Comparison(score=score, squared_distance=squared_distance(score))


def _template(sent: TemplateVector) -> Template:
    try:
        return Template(np.array(sent.vector, dtype=np.float32), sent.embedder_id)
    except TemplateFormatError as exc:  # of what is stored, that is the server's fault; here it is the caller's
        raise InputError(f"what was sent is no template: {exc.message}") from exc
