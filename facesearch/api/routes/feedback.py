"""What people say of answers: "not this person", "is this person", and taking it back."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Depends, Path, Request, Response, status
from pydantic import Field

from facesearch.api.access import Caller, require
from facesearch.api.audit_hook import change
from facesearch.api.calls import in_pool
from facesearch.api.context import ServerContext, context_of
from facesearch.api.paging import DEFAULT_LIMIT, Cursor, Limit, number_position, paged
from facesearch.api.parameters import CollectionPath
from facesearch.api.photographs import Fields, PhotoBody, Sent
from facesearch.api.routing import guarded_router
from facesearch.api.schemas.base import MAX_ID, FaceChoiceValue, Id, Roi
from facesearch.api.schemas.people import Feedback, FeedbackPage
from facesearch.core.access import Scope
from facesearch.core.records import Feedback as Said
from facesearch.service.shapes import feedback_shape

router = guarded_router("/v1/collections/{collection}/feedback", tag="feedback")


class FeedbackFields(Fields):
    """What is said of a face and a person."""

    identity_id: Id
    kind: Annotated[
        Literal["reject", "confirm"], Field(description="`reject`: not this person; `confirm`: takes a rejection back.")
    ]
    face: FaceChoiceValue = "only"
    roi: Roi | None = None
    raise_threshold: Annotated[
        bool, Field(description="With `reject`: ask from now on for a score above this face's before anybody is this person.")
    ] = False


_BODY = PhotoBody(FeedbackFields, photos=("photo",), examples={"identity_id": 7, "kind": "reject"})


@router.post("", status_code=status.HTTP_201_CREATED, operation_id="give_feedback", openapi_extra=_BODY.openapi())
async def give_feedback(
    request: Request,
    caller: Annotated[Caller, Depends(require(Scope.ENROLL))],
    collection: CollectionPath,
    sent: Annotated[Sent[FeedbackFields], Depends(_BODY.read)],
) -> Feedback:
    """Say whether a face is an enrolled person's; later answers go by it, and none becomes a match by it."""
    fields, by = sent.fields, caller.key.key_id

    def write(context: ServerContext) -> Said:
        found = context.faces.find_face(sent.one(), face=fields.face, roi=fields.roi)
        if fields.kind == "confirm":
            said = context.faces.confirm(found, fields.identity_id, collection=collection, by=by)
        else:
            said = context.faces.reject(
                found, fields.identity_id, collection=collection, by=by, raise_threshold=fields.raise_threshold
            )
        _note(context, caller, f"feedback.{fields.kind}", collection, said)
        return said

    return Feedback.model_validate(feedback_shape(await in_pool(request, write, context_of(request))))


@router.get("", operation_id="list_feedback")
async def list_feedback(
    request: Request,
    caller: Annotated[Caller, Depends(require(Scope.READ))],
    collection: CollectionPath,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> FeedbackPage:
    """Return what was said in a collection, oldest first."""
    about = ("feedback", collection)
    after = number_position(about, cursor)

    def read(context: ServerContext) -> tuple[Said, ...]:
        context.faces.collection_id(collection)
        return context.faces.feedback(collection=collection)

    said = await in_pool(request, read, context_of(request))
    page, following = paged([one for one in said if one.feedback_id > after], limit, about, lambda one: one.feedback_id)
    return FeedbackPage(items=[Feedback.model_validate(feedback_shape(one)) for one in page], next_cursor=following)


@router.delete("/{feedback_id}", status_code=status.HTTP_204_NO_CONTENT, operation_id="delete_feedback")
async def delete_feedback(
    request: Request,
    caller: Annotated[Caller, Depends(require(Scope.ENROLL))],
    collection: CollectionPath,
    feedback_id: Annotated[int, Path(ge=1, le=MAX_ID)],
) -> Response:
    """Strike out what was said, with its effect."""

    def write(context: ServerContext) -> None:
        _note(context, caller, "feedback.delete", collection, context.faces.remove_feedback(feedback_id, collection=collection))

    await in_pool(request, write, context_of(request))
    return Response(status_code=status.HTTP_204_NO_CONTENT)


def _note(context: ServerContext, caller: Caller, action: str, collection: str, said: Said) -> None:
    collection_id = context.faces.collection_id(collection)
    event = change(
        caller, action, collection_id=collection_id, identity_ids=(said.said.identity_id,), subject=str(said.feedback_id)
    )
    context.audit.append(event)
