"""People of a collection: listed, shown, changed, merged, removed; what was kept of their faces.

Addresses name them by id: labels are personal data, and addresses end up in logs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response, status

from facesearch.api.access import Caller, require
from facesearch.api.audit_hook import change
from facesearch.api.calls import in_pool
from facesearch.api.context import ServerContext, context_of
from facesearch.api.paging import DEFAULT_LIMIT, Cursor, Limit, number_position, paged, text_position
from facesearch.api.parameters import (
    NOT_MODIFIED,
    CollectionPath,
    IdentityPath,
    IfMatch,
    IfNoneMatch,
    TemplatePath,
    etag,
    is_known,
    wanted_version,
)
from facesearch.api.routing import guarded_router
from facesearch.api.schemas.base import Tag
from facesearch.api.schemas.people import EnrolledFace, FacePage, Identity, IdentityChange, IdentityPage, MergeInto
from facesearch.core.access import Scope
from facesearch.core.errors import UnknownTemplateError
from facesearch.core.identity import Identity as Person
from facesearch.core.identity import Keep, KeptPicture
from facesearch.service.people import Person as WholePerson
from facesearch.service.shapes import identity_shape, template_shape

router = guarded_router("/v1/collections/{collection}/identities", tag="people")

_FORMATS = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n", "image/png"), (b"RIFF", "image/webp"), (b"GIF8", "image/gif"))

_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}, "description": "The picture."}
}


@router.get("", operation_id="list_identities")
async def list_identities(
    request: Request,
    caller: Annotated[Caller, Depends(require(Scope.READ))],
    collection: CollectionPath,
    contains: Annotated[str, Query(max_length=200, description="Only labels with this text, whatever the case.")] = "",
    tag: Annotated[list[Tag] | None, Query(max_length=20, description="Only people who carry all of these.")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> IdentityPage:
    """Return people by label."""
    tags = tuple(tag or ())
    about = ("identities", collection, contains, *tags)
    after = text_position(about, cursor)

    def read(context: ServerContext) -> IdentityPage:
        found = context.faces.list(collection=collection, tags=tags, contains=contains, after=after, limit=limit + 1)
        page, following = paged(found, limit, about, lambda one: one.label)
        return IdentityPage(items=described(context, page), next_cursor=following)

    return await in_pool(request, read, context_of(request))


@router.get("/{identity_id}", operation_id="get_identity", response_model=Identity, responses=NOT_MODIFIED)
async def get_identity(
    request: Request,
    response: Response,
    caller: Annotated[Caller, Depends(require(Scope.READ))],
    collection: CollectionPath,
    identity_id: IdentityPath,
    if_none_match: IfNoneMatch = None,
) -> Identity | Response:
    """Return a person; the answer's `ETag` is for `If-Match` and `If-None-Match`."""

    def read(context: ServerContext) -> tuple[WholePerson, Identity]:
        person = context.faces.show(identity_id, collection=collection)
        return person, described(context, [person.identity])[0]

    person, answer = await in_pool(request, read, context_of(request))
    if is_known(person.version, if_none_match):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers={"ETag": etag(person.version)})
    response.headers["ETag"] = etag(person.version)
    return answer


@router.patch("/{identity_id}", operation_id="update_identity")
async def update_identity(
    request: Request,
    response: Response,
    caller: Annotated[Caller, Depends(require(Scope.ENROLL))],
    collection: CollectionPath,
    identity_id: IdentityPath,
    body: IdentityChange,
    if_match: IfMatch = None,
) -> Identity:
    """Change a person's label, tags or both."""
    version = wanted_version(if_match)

    def write(context: ServerContext) -> tuple[WholePerson, Identity]:
        person = context.faces.change(identity_id, collection=collection, new_label=body.label, tags=body.tags, if_version=version)
        _note(context, caller, "identity.update", collection, identity_id)
        return person, described(context, [person.identity])[0]

    person, answer = await in_pool(request, write, context_of(request))
    response.headers["ETag"] = etag(person.version)
    return answer


@router.delete("/{identity_id}", status_code=status.HTTP_204_NO_CONTENT, operation_id="delete_identity")
async def delete_identity(
    request: Request,
    caller: Annotated[Caller, Depends(require(Scope.ENROLL))],
    collection: CollectionPath,
    identity_id: IdentityPath,
    erase: Annotated[bool, Query(description="Indexes, snapshots and videos forget the vectors too; may take a while.")] = False,
    if_match: IfMatch = None,
) -> Response:
    """Delete a person with all faces."""
    version = wanted_version(if_match)

    def write(context: ServerContext) -> None:
        context.faces.remove(identity_id, collection=collection, erase=erase, if_version=version)
        _note(context, caller, "identity.erase" if erase else "identity.delete", collection, identity_id)

    await in_pool(request, write, context_of(request))
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.post("/{identity_id}/merge", operation_id="merge_identities")
async def merge_identities(
    request: Request,
    caller: Annotated[Caller, Depends(require(Scope.ENROLL))],
    collection: CollectionPath,
    identity_id: IdentityPath,
    body: MergeInto,
    if_match: IfMatch = None,
) -> Identity:
    """Give everything of one person to another, who is returned; the first is gone."""
    version = wanted_version(if_match)

    def write(context: ServerContext) -> Identity:
        person = context.faces.merge(identity_id, body.into, collection=collection, if_version=version)
        _note(context, caller, "identity.merge", collection, identity_id, body.into)
        return described(context, [person])[0]

    return await in_pool(request, write, context_of(request))


@router.get("/{identity_id}/faces", operation_id="list_faces")
async def list_faces(
    request: Request,
    caller: Annotated[Caller, Depends(require(Scope.READ))],
    collection: CollectionPath,
    identity_id: IdentityPath,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> FacePage:
    """Return where a person's templates came from, oldest first; without vectors."""
    about = ("faces", collection, identity_id)
    after = number_position(about, cursor)

    def read(context: ServerContext) -> FacePage:
        person = context.faces.show(identity_id, collection=collection)
        found = [one for one in person.templates if one.template_id > after][: limit + 1]
        page, following = paged(found, limit, about, lambda one: one.template_id)
        shapes = [template_shape(one, context.faces.picture(one.template_id)) for one in page]
        return FacePage(items=[EnrolledFace.model_validate(shape) for shape in shapes], next_cursor=following)

    return await in_pool(request, read, context_of(request))


@router.delete("/{identity_id}/faces/{template_id}", status_code=status.HTTP_204_NO_CONTENT, operation_id="delete_face")
async def delete_face(
    request: Request,
    caller: Annotated[Caller, Depends(require(Scope.ENROLL))],
    collection: CollectionPath,
    identity_id: IdentityPath,
    template_id: TemplatePath,
    if_match: IfMatch = None,
) -> Response:
    """Delete one of a person's faces; the person stays, even without any."""
    version = wanted_version(if_match)

    def write(context: ServerContext) -> WholePerson:
        left = context.faces.remove_face(identity_id, template_id, collection=collection, if_version=version)
        event = change(
            caller,
            "face.delete",
            collection_id=context.faces.collection_id(collection),
            identity_ids=(identity_id,),
            template_ids=(template_id,),
        )
        context.audit.append(event)
        return left

    left = await in_pool(request, write, context_of(request))
    return Response(status_code=status.HTTP_204_NO_CONTENT, headers={"ETag": etag(left.version)})


@router.get(
    "/{identity_id}/faces/{template_id}/picture",
    operation_id="get_face_picture",
    response_class=Response,
    responses=NOT_MODIFIED | _PICTURE,
)
async def get_face_picture(
    request: Request,
    caller: Annotated[Caller, Depends(require(Scope.READ))],
    collection: CollectionPath,
    identity_id: IdentityPath,
    template_id: TemplatePath,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Return the picture that was kept of a face: a JPEG for a crop, the file as it was sent for a photograph.

    No cache may keep it; a client that keeps it by itself sends its `ETag` as `If-None-Match`.
    """

    def read(context: ServerContext) -> tuple[KeptPicture, str]:
        found = context.faces.picture_of(identity_id, template_id, collection=collection)
        if found is None:
            raise UnknownTemplateError(f"no picture was kept of template {template_id}", template_id=template_id)
        return found, hashlib.sha256(found.data).hexdigest()

    picture, version = await in_pool(request, read, context_of(request))
    headers = {"ETag": etag(version), "Content-Security-Policy": "default-src 'none'; sandbox", "Content-Disposition": "inline"}
    if is_known(version, if_none_match):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    return Response(picture.data, media_type=_media_type(picture), headers=headers)


def described(context: ServerContext, people: Sequence[Person]) -> list[Identity]:
    """Return people as answers have them, in order."""
    summaries = context.faces.face_summaries(one.identity_id for one in people)
    answers = []
    for one in people:
        summary = summaries.get(one.identity_id)
        shape = identity_shape(one)
        shape["n_faces"] = 0 if summary is None else summary.n_faces
        shape["thumbnail_template_id"] = None if summary is None else summary.thumbnail_template_id
        answers.append(Identity.model_validate(shape))
    return answers


def _note(context: ServerContext, caller: Caller, action: str, collection: str, *identity_ids: int) -> None:
    collection_id = context.faces.collection_id(collection)
    context.audit.append(change(caller, action, collection_id=collection_id, identity_ids=identity_ids))


def _media_type(picture: KeptPicture) -> str:
    """Return what a browser may take the picture for: never a page or a script, whatever was sent."""
    if picture.kind is Keep.CROP:
        return "image/jpeg"
    return next((kind for head, kind in _FORMATS if picture.data.startswith(head)), "application/octet-stream")
