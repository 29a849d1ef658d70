"""1:N: who is in this photograph?"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from pydantic import Field

from facesearch.api.access import Caller, require
from facesearch.api.audit_hook import identification
from facesearch.api.calls import in_pool
from facesearch.api.context import ServerContext, context_of
from facesearch.api.parameters import CollectionPath
from facesearch.api.photographs import Fields, PhotoBody, Sent
from facesearch.api.routing import guarded_router
from facesearch.api.schemas.base import WHOLE, Rate, Roi, Tag
from facesearch.api.schemas.faces import Identification, Identifications
from facesearch.core.access import Scope
from facesearch.core.decision import Identification as Decision
from facesearch.service.facade import DEFAULT_K
from facesearch.service.found_face import ProbeFace
from facesearch.service.shapes import identification_shape, quality_shape

router = guarded_router(tag="decisions")


class IdentifyFields(Fields):
    """How the faces of a photograph are searched for."""

    k: Annotated[int, Field(ge=1, le=100, description="Candidates shown a face, matches or not."), WHOLE] = DEFAULT_K
    roi: Roi | None = None
    fpir: Rate | None = None
    fmr: Rate | None = None
    operating_point: str | None = None
    tag: Annotated[list[Tag], Field(max_length=20, description="Only people who carry all of these.")] = Field(default_factory=list)


_BODY = PhotoBody(IdentifyFields, photos=("photo",), examples={"k": 3, "fpir": 0.01})


@router.post("/collections/{collection}/identify", operation_id="identify_faces", openapi_extra=_BODY.openapi())
async def identify_faces(
    request: Request,
    caller: Annotated[Caller, Depends(require(Scope.IDENTIFY))],
    collection: CollectionPath,
    sent: Annotated[Sent[IdentifyFields], Depends(_BODY.read)],
) -> Identifications:
    """Say who the faces of a photograph are, by falling detection score; unknown is an answer."""
    fields = sent.fields

    def decide(context: ServerContext) -> tuple[tuple[ProbeFace, ...], tuple[Decision, ...]]:
        collection_id = context.faces.collection_id(collection)
        found = context.faces.find_faces(sent.one(), roi=fields.roi)
        decisions = context.faces.identify(
            found,
            fields.k,
            collection=collection,
            tags=fields.tag,
            fpir=fields.fpir,
            fmr=fields.fmr,
            operating_point=fields.operating_point,
        )
        context.audit.append_many([identification(caller, one, collection_id=collection_id) for one in decisions])
        return found, decisions

    found, decisions = await in_pool(request, decide, context_of(request))
    metrics = context_of(request).metrics
    answers = []
    for face, one in zip(found, decisions, strict=True):
        metrics.decision("identify", is_match=one.is_match)
        answers.append(Identification.model_validate({**identification_shape(one), "quality": quality_shape(face.quality)}))
    return Identifications(width=found[0].image.width, height=found[0].image.height, faces=answers)
