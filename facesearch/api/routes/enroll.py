"""Enrolment over HTTP: one or several photographs of one person, new or known.

Many people at once are ``jobs``' matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, Request, Response, status
from pydantic import Field

from facesearch.api.access import Caller, require
from facesearch.api.audit_hook import change
from facesearch.api.calls import in_pool
from facesearch.api.context import ServerContext, context_of
from facesearch.api.parameters import CollectionPath, IdentityPath, etag, new_collection
from facesearch.api.photographs import Fields, PhotoBody, Photograph, Sent
from facesearch.api.routes.people import described
from facesearch.api.routing import guarded_router
from facesearch.api.schemas.base import FaceChoiceValue, Label, Roi, Tag
from facesearch.api.schemas.people import Enrolled, Enrollment, EnrollmentFailure
from facesearch.core.access import Scope
from facesearch.core.errors import EnrollmentError, FaceSearchError, InputError, UnknownIdentityError
from facesearch.core.identity import Identity
from facesearch.service.enroll import Enrollment as Done
from facesearch.service.shapes import enrollment_shape, plain
from facesearch.service.who import Who, version_of

router = guarded_router("/v1/collections/{collection}/identities", tag="people")


class EnrollFields(Fields):
    """How photographs of a known person are enrolled."""

    tag: Annotated[list[Tag], Field(max_length=20, description="Texts to filter by; added to those the person has.")] = Field(
        default_factory=list
    )
    face: FaceChoiceValue = "only"
    roi: Roi | None = None
    allow_mismatch: Annotated[bool, Field(description="Enroll although the face resembles none of the person's photographs.")] = (
        False
    )
    allow_duplicate: Annotated[bool, Field(description="Enroll although the face is that of somebody else enrolled.")] = False
    allow_low_quality: Annotated[bool, Field(description="Enroll however poor the face is.")] = False


class EnrollPerson(EnrollFields):
    """How photographs of a person are enrolled under a label."""

    label: Label
    new: Annotated[bool, Field(description="Refuse a label that exists.")] = False


_PERSON = PhotoBody(EnrollPerson, several="photo", examples={"label": "Ada", "tag": ["staff"]})
_FACES = PhotoBody(EnrollFields, several="photo", examples={"face": "largest"})


@dataclass(frozen=True, slots=True)
class _Failure:
    """A photograph that could not be enrolled."""

    place: int
    name: str
    error: FaceSearchError


@router.post("", status_code=status.HTTP_201_CREATED, operation_id="enroll_identity", openapi_extra=_PERSON.openapi())
async def enroll_identity(
    request: Request,
    response: Response,
    caller: Annotated[Caller, Depends(require(Scope.ENROLL))],
    collection: CollectionPath,
    sent: Annotated[Sent[EnrollPerson], Depends(_PERSON.read)],
) -> Enrolled:
    """Enroll photographs of a person under a label; the collection and the person are made where they are missing.

    Photographs that cannot be enrolled are listed as failures beside those that were; where none can, the first one's error is the
    answer.
    """
    return await _enrolled(request, response, caller, new_collection(collection), (sent.fields.label, sent))


@router.post(
    "/{identity_id}/faces", status_code=status.HTTP_201_CREATED, operation_id="enroll_faces", openapi_extra=_FACES.openapi()
)
async def enroll_faces(
    request: Request,
    response: Response,
    caller: Annotated[Caller, Depends(require(Scope.ENROLL))],
    collection: CollectionPath,
    identity_id: IdentityPath,
    sent: Annotated[Sent[EnrollFields], Depends(_FACES.read)],
) -> Enrolled:
    """Enroll further photographs of a person; failures are answered as by `enroll_identity`."""
    return await _enrolled(request, response, caller, collection, (identity_id, sent))


async def _enrolled(
    request: Request, response: Response, caller: Caller, collection: str, asked: tuple[Who, Sent[EnrollFields]]
) -> Enrolled:
    who, sent = asked

    def write(context: ServerContext) -> tuple[Enrolled, str]:
        done, failures = _enroll_all(context, caller, collection, who, sent)
        identity, version = _as_left(context, collection, done[-1][1])
        answer = Enrolled(
            identity=described(context, [identity])[0],
            enrollments=[Enrollment.model_validate({**enrollment_shape(one), "photo": place}) for place, one in done],
            failures=[_told(one) for one in failures],
        )
        return answer, version

    answer, version = await in_pool(request, write, context_of(request))
    response.headers["ETag"] = etag(version)
    response.headers["Location"] = f"/v1/collections/{quote(collection, safe='')}/identities/{answer.identity.identity_id}"
    return answer


def _as_left(context: ServerContext, collection: str, last: Done) -> tuple[Identity, str]:
    """Return the person as the enrolment left it, and its version."""
    try:
        person = context.faces.show(last.identity.identity_id, collection=collection)
    except UnknownIdentityError:  # removed by another request since: what was enrolled is answered all the same, with no face left
        return last.identity, version_of(last.identity, ())
    return person.identity, person.version


def _enroll_all(
    context: ServerContext, caller: Caller, collection: str, who: Who, sent: Sent[EnrollFields]
) -> tuple[list[tuple[int, Done]], list[_Failure]]:
    """Enroll photographs one after the other; each that is enrolled is in the audit log before the next one's turn.

    Raises:
        FaceSearchError: Of the first photograph, where none could be enrolled.
    """
    done: list[tuple[int, Done]] = []
    failures: list[_Failure] = []
    is_new = isinstance(sent.fields, EnrollPerson) and sent.fields.new
    photos: Sequence[Photograph] = sent.photos["photo"]
    for place, photo in enumerate(photos):
        try:
            one = _enroll_one(context, photo, collection, who, sent.fields, new=is_new and not done)
        except (InputError, EnrollmentError) as exc:
            failures.append(_Failure(place, photo.name, exc))
            continue
        done.append((place, one))
        who = one.identity.identity_id  # by id from here on: somebody may rename the person meanwhile
        event = change(
            caller,
            "enroll",
            collection_id=context.faces.collection_id(collection),
            identity_ids=(who,),
            template_ids=(one.template.template_id,),
        )
        context.audit.append(event)
    if not done:
        first = failures[0].error
        if len(failures) > 1:
            first.context["failures"] = [_told(one).model_dump() for one in failures]
        raise first
    return done, failures


def _enroll_one(context: ServerContext, photo: Photograph, collection: str, who: Who, fields: EnrollFields, *, new: bool) -> Done:
    return context.faces.enroll(
        photo.data,
        who,
        tags=fields.tag,
        collection=collection,
        face=fields.face,
        roi=fields.roi,
        new=new,
        allow_mismatch=fields.allow_mismatch,
        allow_duplicate=fields.allow_duplicate,
        quality_gate="off" if fields.allow_low_quality else None,
    )


def _told(failure: _Failure) -> EnrollmentFailure:
    error = failure.error
    return EnrollmentFailure(
        photo=failure.place, name=failure.name, code=error.code, message=error.message, context=plain(error.context)
    )
