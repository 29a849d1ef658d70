"""Collections: listed, made, shown, removed.

Who is in them is ``people``'s matter.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Response, status

from facesearch.api.access import Caller, require
from facesearch.api.audit_hook import change
from facesearch.api.calls import in_pool
from facesearch.api.context import ServerContext, context_of
from facesearch.api.paging import DEFAULT_LIMIT, Cursor, Limit, paged, text_position
from facesearch.api.parameters import CollectionPath, new_collection
from facesearch.api.routing import guarded_router
from facesearch.api.schemas.people import Collection, CollectionPage, NewCollection
from facesearch.core.access import Scope
from facesearch.service.people import CollectionSummary
from facesearch.service.shapes import collection_shape

router = guarded_router(tag="collections")


_LIST = ("collections",)


@router.get("/collections", operation_id="list_collections")
async def list_collections(
    request: Request,
    caller: Annotated[Caller, Depends(require(Scope.READ))],
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> CollectionPage:
    """Return the collections that the key may touch, by name."""
    after = text_position(_LIST, cursor)
    found = [one for one in await in_pool(request, context_of(request).faces.collections) if _is_shown(caller, one, after)]
    page, following = paged(found, limit, _LIST, lambda one: one.collection.name)
    return CollectionPage(items=[_collection(one) for one in page], next_cursor=following)


@router.post("/collections", status_code=status.HTTP_201_CREATED, operation_id="create_collection")
async def create_collection(
    request: Request, caller: Annotated[Caller, Depends(require(Scope.ADMIN))], body: NewCollection
) -> Collection:
    """Make an empty collection."""
    name = new_collection(body.name)
    caller.check_collection(name)

    def make(context: ServerContext) -> CollectionSummary:
        made = context.faces.add_collection(name)
        context.audit.append(change(caller, "collection.create", collection_id=made.collection_id))
        return context.faces.collection(made.name)

    return _collection(await in_pool(request, make, context_of(request)))


@router.get("/collections/{collection}", operation_id="get_collection")
async def get_collection(
    request: Request, caller: Annotated[Caller, Depends(require(Scope.READ))], collection: CollectionPath
) -> Collection:
    """Return a collection in numbers."""
    return _collection(await in_pool(request, context_of(request).faces.collection, collection))


@router.delete("/collections/{collection}", status_code=status.HTTP_204_NO_CONTENT, operation_id="delete_collection")
async def delete_collection(
    request: Request, caller: Annotated[Caller, Depends(require(Scope.ADMIN))], collection: CollectionPath
) -> Response:
    """Delete a collection and everybody in it; this cannot be undone."""

    def remove(context: ServerContext) -> None:
        collection_id = context.faces.collection(collection).collection.collection_id
        context.faces.remove_collection(collection)
        context.audit.append(change(caller, "collection.delete", collection_id=collection_id))

    await in_pool(request, remove, context_of(request))
    return Response(status_code=status.HTTP_204_NO_CONTENT)


def _is_shown(caller: Caller, one: CollectionSummary, after: str) -> bool:
    return one.collection.name > after and caller.key.may_touch(one.collection.name)


def _collection(summary: CollectionSummary) -> Collection:
    return Collection.model_validate(collection_shape(summary))
