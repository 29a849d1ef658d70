"""A collection as one file: sent and taken without touching the disk."""

from __future__ import annotations

from io import BytesIO
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import StreamingResponse

from facesearch.api.access import Caller, require
from facesearch.api.audit_hook import change
from facesearch.api.calls import in_pool
from facesearch.api.context import ServerContext, context_of
from facesearch.api.parameters import CollectionPath, new_collection
from facesearch.api.routing import guarded_router
from facesearch.api.schemas.jobs import Imported
from facesearch.api.streaming import streamed
from facesearch.core.access import Scope
from facesearch.core.errors import GalleryFormatError, InputError
from facesearch.service.exchange import ExchangeSummary

router = guarded_router(tag="collections")

MEDIA_TYPE = "application/zip"

_FILE: dict[str, Any] = {"type": "string", "format": "binary"}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "What the export gave.",
        "content": {MEDIA_TYPE: {"schema": _FILE}},
    }
}


@router.get(
    "/collections/{collection}/export",
    operation_id="export_collection",
    response_class=StreamingResponse,
    responses={200: {"description": "The collection as one file.", "content": {MEDIA_TYPE: {"schema": _FILE}}}},
)
async def export_collection(
    request: Request, caller: Annotated[Caller, Depends(require(Scope.TEMPLATES))], collection: CollectionPath
) -> StreamingResponse:
    """Return a collection as one file, with everybody's vectors and kept pictures.

    `import` reads it, and so does the command line.
    """

    def begin(context: ServerContext) -> None:
        collection_id = context.faces.collection(collection).collection.collection_id
        context.audit.append(change(caller, "collection.export", collection_id=collection_id))

    context = context_of(request)
    await in_pool(request, begin, context)
    pieces = await streamed(lambda: context.faces.stream_collection(collection=collection))
    headers = {"Content-Disposition": 'attachment; filename="collection.facesearch"'}
    return StreamingResponse(pieces, media_type=MEDIA_TYPE, headers=headers)


@router.post("/collections/{collection}/import", operation_id="import_collection", openapi_extra=_BODY)
async def import_collection(
    request: Request, caller: Annotated[Caller, Depends(require(Scope.TEMPLATES, Scope.ENROLL))], collection: CollectionPath
) -> Imported:
    """Read an exported file into a collection, everything or nothing; a label that exists there already refuses it all.

    The collection is made where there is none. The file is the body itself, at most as large as a body may be; the command line
    reads larger ones. Pictures of more than the operator keeps are left out.
    """
    body, collection = await request.body(), new_collection(collection)

    def read(context: ServerContext) -> ExchangeSummary:
        try:
            summary = context.faces.import_collection(BytesIO(body), collection=collection, keep=context.faces.keep)
        except GalleryFormatError as exc:  # a fault of the caller's here, not of the gallery's
            raise InputError(exc.message) from exc
        collection_id = context.faces.collection_id(collection)
        context.audit.append(change(caller, "collection.import", collection_id=collection_id))
        return summary

    # Without a limit of time: a long import that was given up would go on all the same.
    summary = await context_of(request).pool.run(read, context_of(request))
    return Imported(
        collection=summary.collection,
        n_identities=summary.n_identities,
        n_templates=summary.n_templates,
        n_pictures=summary.n_pictures,
    )
