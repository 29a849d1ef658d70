"""API keys, rate limits, idempotency keys and the audit log inside one transaction.

It decides nothing and computes no MAC: see ``facesearch.service``. Jobs are ``jobs``' work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import LargeBinary, Row, Select, delete, insert, literal, or_, select, update

from facesearch.core.access import ApiKey, StoredKey, checked_scopes
from facesearch.core.access_protocols import IdempotencyRecord, RateBucket, StoredResponse
from facesearch.core.audit import AuditRow
from facesearch.core.errors import InputError, StoreError, UnknownKeyError
from facesearch.store import codec
from facesearch.store.access_tables import ApiKeyRow, AuditRowRow, IdempotencyRow, RateBucketRow
from facesearch.store.bytes_sql import Contains
from facesearch.store.session import Session

_FORGOTTEN = 410  # "gone", in the column of an answer's HTTP status: what was answered named somebody who was deleted


class AccessReader:
    """What ``facesearch.core.access_protocols.AccessReader`` asks about all but jobs, on one open transaction."""

    _session: Session

    def api_keys(self) -> tuple[StoredKey, ...]:
        """Return all keys, revoked and expired ones too, oldest first.

        Raises:
            StoreError: A stored row is damaged.
        """
        return tuple(_key(row) for row in self._session.rows(_keys().order_by(ApiKeyRow.id)))

    def api_key(self, key_id: str) -> StoredKey | None:
        """Return the key of an id, or None.

        Raises:
            StoreError: The stored row is damaged.
        """
        row = self._session.first(_keys().where(ApiKeyRow.key_id == key_id))
        return None if row is None else _key(row)

    def rate_bucket(self, key_id: str) -> RateBucket | None:
        """Return what a key has left, or None where it made no request yet."""
        row = self._session.first(select(RateBucketRow.tokens, RateBucketRow.at_s).where(RateBucketRow.key_id == key_id))
        return None if row is None else RateBucket(row.tokens, row.at_s)

    def idempotency_record(self, key_id: str, idempotency_key: str) -> IdempotencyRecord | None:
        """Return what is known of an idempotency key of an API key, or None."""
        columns = (
            *(IdempotencyRow.request_digest, IdempotencyRow.began_at),
            *(IdempotencyRow.status, IdempotencyRow.headers, IdempotencyRow.body),
        )
        row = self._session.first(select(*columns).where(*_is_idempotency_key(key_id, idempotency_key)))
        if row is None:
            return None
        if row.status is None or row.status == _FORGOTTEN:
            return IdempotencyRecord(row.request_digest, row.began_at, None, is_forgotten=row.status == _FORGOTTEN)
        response = StoredResponse(row.status, dict(row.headers or {}), bytes(row.body or b""))
        return IdempotencyRecord(row.request_digest, row.began_at, response)

    def audit_rows(self, after: int, limit: int) -> tuple[AuditRow, ...]:
        """Return the entries numbered above ``after`` by number, at most ``limit``."""
        statement = _entries().where(AuditRowRow.number > after).order_by(AuditRowRow.number).limit(limit)
        return tuple(AuditRow(row.number, row.payload, row.mac) for row in self._session.rows(statement))

    def last_audit_row(self) -> AuditRow | None:
        """Return the entry of the highest number, or None where there is none."""
        row = self._session.first(_entries().order_by(AuditRowRow.number.desc()).limit(1))
        return None if row is None else AuditRow(row.number, row.payload, row.mac)


class AccessWriter(AccessReader):
    """What ``facesearch.core.access_protocols.AccessWriter`` changes about all but jobs, on one open writing transaction."""

    def add_api_key(self, key: StoredKey) -> None:
        """Store a new key."""
        about = key.key
        self._session.insert(
            insert(ApiKeyRow).values(
                key_id=about.key_id,
                digest=key.digest,
                name=about.name,
                scopes=sorted(one.value for one in about.scopes),
                collections=None if about.collections is None else sorted(about.collections),
                created_at=codec.encode_moment(about.created_at),
                expires_at=_moment(about.expires_at),
                revoked_at=_moment(about.revoked_at),
                requests_per_minute=about.requests_per_minute,
            )
        )

    def end_api_key(self, key_id: str, *, revoked_at: datetime | None = None, expires_at: datetime | None = None) -> StoredKey:
        """Say when a key ends; None leaves a moment as it is.

        Raises:
            UnknownKeyError: There is no such key.
        """
        ends = {"revoked_at": _moment(revoked_at), "expires_at": _moment(expires_at)}
        changed = {name: moment for name, moment in ends.items() if moment is not None}
        if changed:
            self._session.run(update(ApiKeyRow).where(ApiKeyRow.key_id == key_id).values(**changed))
        found = self.api_key(key_id)
        if found is None:
            raise UnknownKeyError(f"there is no API key {key_id!r}: `facesearch keys list` shows what there is", key_id=key_id)
        return found

    def set_rate_bucket(self, key_id: str, bucket: RateBucket) -> None:
        """Store what a key has left."""
        values = {"tokens": bucket.tokens, "at_s": bucket.at_s}
        if self.rate_bucket(key_id) is None:
            self._session.run(insert(RateBucketRow).values(key_id=key_id, **values))
        else:
            self._session.run(update(RateBucketRow).where(RateBucketRow.key_id == key_id).values(**values))

    def set_idempotency_record(self, key_id: str, idempotency_key: str, record: IdempotencyRecord) -> None:
        """Store what is known of an idempotency key, in place of what was."""
        self.remove_idempotency_record(key_id, idempotency_key)
        answer = record.response
        self._session.run(
            insert(IdempotencyRow).values(
                key_id=key_id,
                idempotency_key=idempotency_key,
                request_digest=record.request_digest,
                began_at=codec.encode_moment(record.began_at),
                status=None if answer is None else answer.status,
                headers=None if answer is None else dict(answer.headers),
                body=None if answer is None else answer.body,
            )
        )

    def remove_idempotency_record(self, key_id: str, idempotency_key: str) -> None:
        """Forget an idempotency key; nothing happens where there is none."""
        self._session.run(delete(IdempotencyRow).where(*_is_idempotency_key(key_id, idempotency_key)))

    def remove_idempotency_records(self, before: datetime) -> None:
        """Forget the idempotency keys of requests that began before a moment."""
        self._session.run(delete(IdempotencyRow).where(IdempotencyRow.began_at < codec.encode_moment(before)))

    def forget_answers(self, texts: Iterable[bytes]) -> None:
        """Forget every kept answer with one of these in its body: that there was one is all that stays."""
        told = or_(*(Contains(IdempotencyRow.body, literal(text, LargeBinary)) for text in texts))
        self._session.run(update(IdempotencyRow).where(told).values(status=_FORGOTTEN, headers=None, body=None))

    def add_audit_rows(self, rows: Sequence[AuditRow]) -> None:
        """Append entries; their numbers follow on from the last one's."""
        if rows:
            values = [{"number": row.number, "payload": row.payload, "mac": row.mac} for row in rows]
            self._session.run(insert(AuditRowRow), values)


def _keys() -> Select[*tuple[Any, ...]]:
    columns = (
        *(ApiKeyRow.key_id, ApiKeyRow.digest, ApiKeyRow.name, ApiKeyRow.scopes, ApiKeyRow.collections),
        *(ApiKeyRow.created_at, ApiKeyRow.expires_at, ApiKeyRow.revoked_at, ApiKeyRow.requests_per_minute),
    )
    return select(*columns)


def _key(row: Row[*tuple[Any, ...]]) -> StoredKey:
    # Damaged scopes must never read as more than was given, so they are an error.
    try:
        key = ApiKey(
            key_id=row.key_id,
            name=row.name,
            scopes=checked_scopes(row.scopes),
            collections=None if row.collections is None else frozenset(row.collections),
            created_at=row.created_at,
            expires_at=row.expires_at,
            revoked_at=row.revoked_at,
            requests_per_minute=row.requests_per_minute,
        )
    except (InputError, TypeError) as exc:
        raise StoreError(f"the stored API key {row.key_id} is damaged: {exc}; revoke it", key_id=row.key_id) from exc
    return StoredKey(key, row.digest)


def _is_idempotency_key(key_id: str, idempotency_key: str) -> tuple[Any, Any]:
    return (IdempotencyRow.key_id == key_id, IdempotencyRow.idempotency_key == idempotency_key)


def _entries() -> Select[*tuple[Any, ...]]:
    return select(AuditRowRow.number, AuditRowRow.payload, AuditRowRow.mac)


def _moment(moment: datetime | None) -> datetime | None:
    return None if moment is None else codec.encode_moment(moment)
