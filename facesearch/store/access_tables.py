"""The tables of the service: API keys, rate limits, idempotency keys, the audit log, jobs.

Like ``tables``, whose metadata they share: they open no connection and create no table.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Double, ForeignKey, Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from facesearch.store.tables import ID, NAME, Base, UtcDateTime


class ApiKeyRow(Base):
    """An API key; ``digest`` is the SHA-256 of its secret. ``collections`` is a sorted list of names, None for all."""

    __tablename__ = "api_keys"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(ID, primary_key=True)
    key_id: Mapped[str] = mapped_column(String(64), unique=True)
    digest: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(NAME)
    scopes: Mapped[list[str]] = mapped_column(JSON)
    collections: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    requests_per_minute: Mapped[int | None] = mapped_column(BigInteger)


class RateBucketRow(Base):
    """What an API key has left; ``key_id`` is no foreign key, since requests without keys are counted too."""

    __tablename__ = "rate_buckets"

    key_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    tokens: Mapped[float] = mapped_column(Double)
    at_s: Mapped[float] = mapped_column(Double)


class IdempotencyRow(Base):
    """A request that may be sent twice; ``status`` is None while it is worked on. Forgotten after a day."""

    __tablename__ = "idempotency_keys"

    key_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    idempotency_key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_digest: Mapped[str] = mapped_column(String(64))
    began_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    status: Mapped[int | None] = mapped_column(Integer)
    headers: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    body: Mapped[bytes | None] = mapped_column(LargeBinary)


class AuditRowRow(Base):
    """An entry of the audit log; see ``facesearch.core.audit``.

    It outlives the people and collections whose ids it holds, hence no foreign key. ``number`` is given by the program, so that
    it has no gaps: a sequence of the database would leave one at every transaction that is rolled back.
    """

    __tablename__ = "audit_log"

    number: Mapped[int] = mapped_column(ID, primary_key=True, autoincrement=False)
    payload: Mapped[str] = mapped_column(Text)
    mac: Mapped[str] = mapped_column(String(64))


class JobRow(Base):
    """Long work in the background; gone with its collection, and a week after its last change."""

    __tablename__ = "jobs"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(ID, primary_key=True)
    job_id: Mapped[str] = mapped_column(String(64), unique=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(32))
    made_by: Mapped[str] = mapped_column(String(64))
    options: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    error_code: Mapped[str] = mapped_column(String(64))
    error_message: Mapped[str] = mapped_column(Text)
    leased_by: Mapped[str] = mapped_column(String(64))
    leased_until: Mapped[datetime | None] = mapped_column(UtcDateTime)


class JobItemRow(Base):
    """An item of a job. Ids of people and templates are noted only, hence no foreign key."""

    __tablename__ = "job_items"
    __table_args__ = (Index(None, "job_row", "state", "number"),)

    job_row: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(ID, primary_key=True, autoincrement=False)
    digest: Mapped[str] = mapped_column(String(64))
    label: Mapped[str] = mapped_column(NAME)
    tags: Mapped[list[str]] = mapped_column(JSON)
    name: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    identity_id: Mapped[int | None] = mapped_column(BigInteger)
    template_id: Mapped[int | None] = mapped_column(BigInteger)
    error_code: Mapped[str] = mapped_column(String(64))
    error_message: Mapped[str] = mapped_column(Text)
    leased_by: Mapped[str] = mapped_column(String(64))
    leased_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
