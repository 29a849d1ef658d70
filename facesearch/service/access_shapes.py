"""API keys and audit entries as plain values for JSON, the same on the command line and in the service. No secret is among them."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import Any

from facesearch.core.access import ApiKey
from facesearch.core.audit import AuditEntry
from facesearch.service.audit import AuditReport

Shape = dict[str, Any]


def api_key_shape(key: ApiKey, now: datetime) -> Shape:
    """Return a key.

    Args:
        key: The key.
        now: What time it is, for ``is_valid``.
    """
    return {
        "key_id": key.key_id,
        "name": key.name,
        "scopes": sorted(one.value for one in key.scopes),
        "collections": None if key.collections is None else sorted(key.collections),
        "created_at": key.created_at.isoformat(),
        "expires_at": _moment(key.expires_at),
        "revoked_at": _moment(key.revoked_at),
        "requests_per_minute": key.requests_per_minute,
        "is_valid": key.is_valid(now),
    }


def audit_entry_shape(entry: AuditEntry) -> Shape:
    """Return an entry of the audit log: its number, and every field of ``AuditEvent``."""
    values: Shape = {"number": entry.number}
    values |= {field.name: getattr(entry.event, field.name) for field in fields(entry.event)}
    return values | {
        "at": entry.event.at.isoformat(),
        "identity_ids": list(entry.event.identity_ids),
        "template_ids": list(entry.event.template_ids),
    }


def audit_report_shape(report: AuditReport) -> Shape:
    """Return what looking the log through found."""
    return {
        "is_sound": report.is_sound,
        "n_entries": report.n_entries,
        "last_number": report.last_number,
        "head_number": report.head_number,
        "n_after_head": report.n_after_head,
        "problem": report.problem or None,
        "number": report.number,
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
