"""API keys over HTTP: one's own, and, for administrators, everybody's."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Request, Response, status

from facesearch.api.access import Caller, require
from facesearch.api.audit_hook import change
from facesearch.api.calls import in_pool
from facesearch.api.context import ServerContext, context_of
from facesearch.api.paging import DEFAULT_LIMIT, Cursor, Limit, paged, text_position
from facesearch.api.routing import guarded_router
from facesearch.api.schemas.service import Key, KeyPage, KeyToMake, KeyToRotate, Limits, Me, NewKey
from facesearch.core.access import ApiKey, Scope
from facesearch.core.access import NewKey as Made
from facesearch.core.errors import ForbiddenError

router = guarded_router(tag="keys")

KeyPath = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", description="The key's public id.")]
_LIST = ("keys",)
_SENT_ONCE = {"x-facesearch-sent-once": True}
"""Tells the client that nobody knows what became of a request whose connection broke: a second one would make a second key."""


@router.get("/me", operation_id="get_me")
async def get_me(request: Request, caller: Annotated[Caller, Depends(require())]) -> Me:
    """Return who asks, what they may, and what one request may hold."""
    settings, key = context_of(request).settings, caller.key
    return Me(
        keys=settings.keys,
        key_id=key.key_id,
        name=key.name,
        scopes=sorted(one.value for one in key.scopes),
        collections=None if key.collections is None else sorted(key.collections),
        expires_at=key.expires_at,
        limits=Limits(
            max_body_bytes=settings.max_body_bytes,
            max_photos_per_request=settings.max_photos_per_request,
            max_faces=settings.max_faces,
            request_timeout_s=settings.request_timeout_s,
            requests_per_minute=key.requests_per_minute or settings.requests_per_minute,
        ),
    )


@router.get("/keys", operation_id="list_keys")
async def list_keys(
    request: Request, caller: Annotated[Caller, Depends(require(Scope.ADMIN))], limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> KeyPage:
    """Return all keys, revoked and expired ones too, by id; without their secrets."""
    _refuse_limited(caller)
    after = text_position(_LIST, cursor)
    known = sorted(await in_pool(request, context_of(request).keys.list), key=lambda one: one.key_id)
    page, following = paged([one for one in known if one.key_id > after], limit, _LIST, lambda one: one.key_id)
    return KeyPage(items=[_key(one) for one in page], next_cursor=following)


@router.post("/keys", status_code=status.HTTP_201_CREATED, operation_id="create_key", openapi_extra=_SENT_ONCE)
async def create_key(
    request: Request, caller: Annotated[Caller, Depends(require(Scope.ADMIN, repeatable=False))], body: KeyToMake
) -> NewKey:
    """Make a key; its text is in this answer and never again, so that the answer is not kept for an `Idempotency-Key`."""
    _refuse_limited(caller)

    def make(context: ServerContext) -> Made:
        made = context.keys.create(
            body.name,
            body.scopes,
            collections=body.collections,
            expires_at=body.expires_at,
            requests_per_minute=body.requests_per_minute,
        )
        context.audit.append(change(caller, "key.create", subject=made.key.key_id))
        return made

    made = await in_pool(request, make, context_of(request))
    return NewKey(key=_key(made.key), text=made.text)


@router.delete("/keys/{key_id}", status_code=status.HTTP_204_NO_CONTENT, operation_id="revoke_key")
async def revoke_key(request: Request, caller: Annotated[Caller, Depends(require(Scope.ADMIN))], key_id: KeyPath) -> Response:
    """Take a key back for good; every process refuses it within a second."""
    _refuse_limited(caller)

    def revoke(context: ServerContext) -> None:
        context.keys.revoke(key_id)
        context.audit.append(change(caller, "key.revoke", subject=key_id))

    await in_pool(request, revoke, context_of(request))
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.post("/keys/{key_id}/rotate", operation_id="rotate_key", openapi_extra=_SENT_ONCE)
async def rotate_key(
    request: Request,
    caller: Annotated[Caller, Depends(require(Scope.ADMIN, repeatable=False))],
    key_id: KeyPath,
    body: KeyToRotate,
) -> NewKey:
    """Exchange a key for a new one that allows the same; the answer is not kept for an `Idempotency-Key`."""
    _refuse_limited(caller)

    def rotate(context: ServerContext) -> Made:
        made = context.keys.rotate(key_id, grace_s=body.grace_s)
        context.audit.append(change(caller, "key.rotate", subject=f"{key_id}/{made.key.key_id}"))
        return made

    made = await in_pool(request, rotate, context_of(request))
    return NewKey(key=_key(made.key), text=made.text)


def _refuse_limited(caller: Caller) -> None:
    """Raise where a key for some collections only asks about keys: it could make itself one for all."""
    if caller.key.collections is not None:
        raise ForbiddenError("keys are looked after with a key for all collections; this one is for some only")


def _key(key: ApiKey) -> Key:
    return Key(
        key_id=key.key_id,
        name=key.name,
        scopes=sorted(one.value for one in key.scopes),
        collections=None if key.collections is None else sorted(key.collections),
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        requests_per_minute=key.requests_per_minute,
    )
