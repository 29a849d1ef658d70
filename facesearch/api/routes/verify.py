"""1:1: two photographs, or a photograph and an enrolled person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Request

from facesearch.api.access import Caller, require
from facesearch.api.audit_hook import verification
from facesearch.api.calls import in_pool
from facesearch.api.context import ServerContext, context_of
from facesearch.api.parameters import CollectionPath, IdentityPath
from facesearch.api.photographs import Fields, PhotoBody, Sent
from facesearch.api.routing import guarded_router
from facesearch.api.schemas.base import FaceChoiceValue, Rate
from facesearch.api.schemas.faces import Verification
from facesearch.core.access import Scope
from facesearch.core.decision import Verification as Decision
from facesearch.service.found_face import ProbeFace
from facesearch.service.shapes import quality_shape, verification_shape

router = guarded_router(tag="decisions")


class VerifyPhotos(Fields):
    """What two photographs are compared with."""

    face_a: FaceChoiceValue = "only"
    face_b: FaceChoiceValue = "only"
    fmr: Rate | None = None
    operating_point: str | None = None


class VerifyIdentity(Fields):
    """What a photograph and a person are compared with."""

    face: FaceChoiceValue = "only"
    fmr: Rate | None = None
    operating_point: str | None = None


_TWO = PhotoBody(VerifyPhotos, photos=("photo_a", "photo_b"), examples={"face_b": "largest", "fmr": 1e-4})
_ONE = PhotoBody(VerifyIdentity, photos=("photo",), examples={"fmr": 1e-4})


@router.post("/verify", operation_id="verify_photos", openapi_extra=_TWO.openapi())
async def verify_photos(
    request: Request,
    caller: Annotated[Caller, Depends(require(Scope.VERIFY))],
    sent: Annotated[Sent[VerifyPhotos], Depends(_TWO.read)],
) -> Verification:
    """Say whether two photographs show the same person."""
    fields = sent.fields

    def decide(context: ServerContext) -> Verification:
        found = context.faces.find_face_each((sent.one("photo_a"), fields.face_a), (sent.one("photo_b"), fields.face_b))
        decision = context.faces.verify(found[0], found[1], fmr=fields.fmr, operating_point=fields.operating_point)
        context.audit.append(verification(caller, decision))
        return _answer(context, decision, found)

    return await in_pool(request, decide, context_of(request))


@router.post(
    "/collections/{collection}/identities/{identity_id}/verify", operation_id="verify_identity", openapi_extra=_ONE.openapi()
)
async def verify_identity(
    request: Request,
    caller: Annotated[Caller, Depends(require(Scope.VERIFY))],
    collection: CollectionPath,
    identity_id: IdentityPath,
    sent: Annotated[Sent[VerifyIdentity], Depends(_ONE.read)],
) -> Verification:
    """Say whether a photograph shows an enrolled person."""
    fields = sent.fields

    def decide(context: ServerContext) -> Verification:
        collection_id = context.faces.collection_id(collection)
        found = context.faces.find_face(sent.one(), face=fields.face)
        decision = context.faces.verify_identity(
            found, identity_id, collection=collection, fmr=fields.fmr, operating_point=fields.operating_point
        )
        context.audit.append(verification(caller, decision, collection_id=collection_id, identity_id=identity_id))
        return _answer(context, decision, [found])

    return await in_pool(request, decide, context_of(request))


def _answer(context: ServerContext, decision: Decision, found: Sequence[ProbeFace]) -> Verification:
    context.metrics.decision("verify", is_match=decision.is_match)
    shape = verification_shape(decision)
    for face, one in zip(shape["faces"], found, strict=True):
        face.update(quality=quality_shape(one.quality), width=one.image.width, height=one.image.height)
    return Verification.model_validate(shape)
