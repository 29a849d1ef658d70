"""The audit log over HTTP: read, and looked through for tampering."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import Depends, Request

from facesearch.api.access import Caller, require
from facesearch.api.calls import in_pool
from facesearch.api.context import context_of
from facesearch.api.paging import DEFAULT_LIMIT, Cursor, Limit, number_position, paged
from facesearch.api.routing import guarded_router
from facesearch.api.schemas.service import AuditEntry, AuditPage, AuditReport
from facesearch.core.access import Scope
from facesearch.core.errors import ForbiddenError

router = guarded_router("/v1/audit", tag="audit")

_LIST = ("audit",)


@router.get("", operation_id="list_audit")
async def list_audit(
    request: Request, caller: Annotated[Caller, Depends(require(Scope.ADMIN))], limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> AuditPage:
    """Return entries of the log, newest first; they are read, not verified."""
    _refuse_limited(caller)
    before = number_position(_LIST, cursor) or None
    found = await in_pool(request, context_of(request).audit.latest, limit + 1, before=before)
    page, following = paged(found, limit, _LIST, lambda one: one.number)
    items = [AuditEntry.model_validate({"number": one.number, **asdict(one.event)}) for one in page]
    return AuditPage(items=items, next_cursor=following)


@router.post("/verify", operation_id="verify_audit")
async def verify_audit(request: Request, caller: Annotated[Caller, Depends(require(Scope.ADMIN, repeatable=False))]) -> AuditReport:
    """Look the whole log through: an altered entry, a dropped one, a chain computed anew."""
    _refuse_limited(caller)
    # Without a limit of time: a log of years is whole or not, and half of it says nothing.
    found = await context_of(request).pool.run(context_of(request).audit.verify)
    return AuditReport(
        is_whole=found.is_sound,
        n_rows=found.n_entries,
        last_number=found.last_number,
        head_number=found.head_number,
        n_after_head=found.n_after_head,
        reason=found.problem,
        number=found.number,
    )


def _refuse_limited(caller: Caller) -> None:
    """Raise where a key for some collections only asks: the log is about all of them."""
    if caller.key.collections is not None:
        raise ForbiddenError("the audit log is read with a key for all collections; this one is for some only")
