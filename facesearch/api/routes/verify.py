"""1:1: two photographs, or a photograph and an enrolled person."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from facesearch.api.access import Caller, require
from facesearch.api.audit_hook import audited, verification
from facesearch.api.calls import in_pool
from facesearch.api.context import ServerContext, context_of
from facesearch.api.parameters import CollectionPath, IdentityPath
from facesearch.api.photographs import Fields, PhotoBody, Sent
from facesearch.api.routing import guarded_router
from facesearch.api.schemas.base import FaceChoiceValue, Rate
from facesearch.api.schemas.faces import Verification
from facesearch.core.access import Scope
from facesearch.core.decision import Verification as Decision
from facesearch.service.pipeline import ProbeFace
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

    def decide(context: ServerContext) -> tuple[Decision, list[ProbeFace]]:
        found = [
            context.faces.find_face(sent.one("photo_a"), face=fields.face_a),
            context.faces.find_face(sent.one("photo_b"), face=fields.face_b),
        ]
        return context.faces.verify(*found, fmr=fields.fmr, operating_point=fields.operating_point), found

    decision, found = await in_pool(request, decide, context_of(request))
    await audited(request, verification(caller, decision))
    return _answer(request, decision, found)


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

    def decide(context: ServerContext) -> tuple[Decision, ProbeFace, int | None]:
        collection_id = context.faces.collection_id(collection)
        found = context.faces.find_face(sent.one(), face=fields.face)
        decision = context.faces.verify_identity(
            found, identity_id, collection=collection, fmr=fields.fmr, operating_point=fields.operating_point
        )
        return decision, found, collection_id

    decision, found, collection_id = await in_pool(request, decide, context_of(request))
    await audited(request, verification(caller, decision, collection_id=collection_id, identity_id=identity_id))
    return _answer(request, decision, [found])


def _answer(request: Request, decision: Decision, found: list[ProbeFace]) -> Verification:
    context_of(request).metrics.decision("verify", is_match=decision.is_match)
    shape = verification_shape(decision)
    for face, one in zip(shape["faces"], found, strict=True):
        face.update(quality=quality_shape(one.quality), width=one.image.width, height=one.image.height)
    return Verification.model_validate(shape)
