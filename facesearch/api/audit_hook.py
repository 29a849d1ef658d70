"""Entries of the audit log.

Routes append them in the call that decides or changes, on its thread: they are on the disk before an answer is sent, and an answer
that nobody could be held to is not given.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from facesearch.api.access import Caller
from facesearch.core.audit import AuditEvent
from facesearch.core.decision import Identification, Verification

MATCH, NO_MATCH, DONE = "match", "no_match", "done"


def change(
    caller: Caller,
    action: str,
    *,
    collection_id: int | None = None,
    identity_ids: Sequence[int] = (),
    template_ids: Sequence[int] = (),
    subject: str = "",
) -> AuditEvent:
    """Return the entry of something that was changed."""
    return AuditEvent(
        action=action,
        actor=caller.key.key_id,
        outcome=DONE,
        at=datetime.now(UTC),
        collection_id=collection_id,
        identity_ids=tuple(identity_ids),
        template_ids=tuple(template_ids),
        subject=subject,
        request_id=caller.request_id,
    )


def verification(
    caller: Caller, found: Verification, *, collection_id: int | None = None, identity_id: int | None = None
) -> AuditEvent:
    """Return the entry of a 1:1 decision."""
    point = found.operating_point
    return AuditEvent(
        action="verify" if identity_id is None else "identity.verify",
        actor=caller.key.key_id,
        outcome=MATCH if found.is_match else NO_MATCH,
        at=datetime.now(UTC),
        collection_id=collection_id,
        identity_ids=() if identity_id is None else (identity_id,),
        threshold=found.threshold,
        fmr=point.fmr,
        embedder_id=point.embedder_id,
        score=found.score,
        request_id=caller.request_id,
    )


def identification(caller: Caller, found: Identification, *, collection_id: int | None) -> AuditEvent:
    """Return the entry of a 1:N decision about one face: the person found, or the nearest one's score where nobody was."""
    match, best = found.match, found.candidates[0] if found.candidates else None
    return AuditEvent(
        action="identify",
        actor=caller.key.key_id,
        outcome=MATCH if match else NO_MATCH,
        at=datetime.now(UTC),
        collection_id=collection_id,
        identity_ids=(match.identity_id,) if match else (),
        template_ids=(match.template_id,) if match else (),
        threshold=found.threshold_of(match) if match else found.threshold,
        fmr=found.operating_point.fmr,
        fpir=found.fpir,
        embedder_id=found.operating_point.embedder_id,
        score=best.score if best else None,
        request_id=caller.request_id,
    )
