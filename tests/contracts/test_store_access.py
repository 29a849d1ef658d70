"""API keys, rate buckets, idempotency keys and audit rows come back from each database as they went in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine, text

from facesearch.core.access import ApiKey, Scope, StoredKey
from facesearch.core.access_protocols import IdempotencyRecord, RateBucket, StoredResponse
from facesearch.core.audit import AuditRow
from facesearch.core.errors import StoreError, UnknownKeyError
from facesearch.store.engine import parsed_url

WHEN = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
KEY = StoredKey(
    ApiKey("ab" * 8, "Tür", frozenset({Scope.READ, Scope.ENROLL}), frozenset({"office", "Büro"}), WHEN, None, None, 60), "cd" * 32
)


def test_keys_come_back_oldest_first(store):
    plain = StoredKey(ApiKey("00" * 8, "all", frozenset(Scope), None, WHEN, WHEN + timedelta(days=1)), "ef" * 32)
    with store.writing() as writer:
        writer.add_api_key(KEY)
        writer.add_api_key(plain)
    with store.reading() as reader:
        assert reader.api_keys() == (KEY, plain)
        assert reader.api_key(KEY.key.key_id) == KEY
        assert reader.api_key("11" * 8) is None


def test_a_key_ends_when_it_is_said(store):
    with store.writing() as writer:
        writer.add_api_key(KEY)
        assert writer.end_api_key(KEY.key.key_id) == KEY
        ended = writer.end_api_key(KEY.key.key_id, revoked_at=WHEN, expires_at=WHEN + timedelta(hours=1))
        assert (ended.key.revoked_at, ended.key.expires_at) == (WHEN, WHEN + timedelta(hours=1))
        assert writer.end_api_key(KEY.key.key_id) == ended
        with pytest.raises(UnknownKeyError, match="facesearch keys list"):
            writer.end_api_key("11" * 8, revoked_at=WHEN)


@pytest.mark.parametrize("scopes", ['["root"]', "[]", '"read"', "7"])
def test_damaged_scopes_are_an_error_and_never_more_rights(store, store_url, scopes):
    with store.writing() as writer:
        writer.add_api_key(KEY)
    engine = create_engine(parsed_url(store_url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE api_keys SET scopes = :scopes"), {"scopes": scopes})
    engine.dispose()
    with store.reading() as reader, pytest.raises(StoreError, match="damaged"):
        reader.api_key(KEY.key.key_id)


def test_a_bucket_is_one_a_key(store):
    with store.writing() as writer:
        assert writer.rate_bucket("local") is None
        writer.set_rate_bucket("local", RateBucket(1.5, 1e9 + 1 / 3))
        writer.set_rate_bucket("other", RateBucket(7.0, 2e9))
        writer.set_rate_bucket("local", RateBucket(0.25, 1e9 + 2 / 3))
    with store.reading() as reader:
        assert reader.rate_bucket("local") == RateBucket(0.25, 1e9 + 2 / 3)
        assert reader.rate_bucket("other") == RateBucket(7.0, 2e9)


def test_an_idempotency_key_belongs_to_an_api_key(store):
    begun = IdempotencyRecord("ab" * 32, WHEN, None)
    done = replace(begun, response=StoredResponse(201, {"etag": '"1"'}, b"\0\xffanswer"))
    with store.writing() as writer:
        writer.set_idempotency_record("a", "k", begun)
        writer.set_idempotency_record("b", "k", replace(begun, began_at=WHEN + timedelta(hours=1)))
        writer.set_idempotency_record("a", "k", done)
    with store.writing() as writer:
        assert writer.idempotency_record("a", "k") == done
        assert writer.idempotency_record("a", "l") is None
        writer.remove_idempotency_records(WHEN + timedelta(minutes=1))
        assert writer.idempotency_record("a", "k") is None
        assert writer.idempotency_record("b", "k") is not None
        writer.remove_idempotency_record("b", "k")
        assert writer.idempotency_record("b", "k") is None


def test_answers_that_name_somebody_are_forgotten_wherever_the_name_is(store):
    bodies = {"first": b'{"label":"T\xc3\xbcr"}', "last": b'\0\xff%_"T\xc3\xbcr"', "other": b'{"label":"T\xc3\xbcrk"}', "none": b""}
    with store.writing() as writer:
        for name, body in bodies.items():
            writer.set_idempotency_record("a", name, IdempotencyRecord("ab" * 32, WHEN, StoredResponse(201, {"etag": '"1"'}, body)))
        writer.set_idempotency_record("a", "begun", IdempotencyRecord("ab" * 32, WHEN, None))
        writer.forget_answers(['"Tür"'.encode(), b"nobody"])
        found = {name: writer.idempotency_record("a", name) for name in (*bodies, "begun")}
    assert [name for name, one in found.items() if one.is_forgotten] == ["first", "last"]
    assert [name for name, one in found.items() if one.response is None] == ["first", "last", "begun"]
    assert found["other"].response.body == bodies["other"]


def test_an_empty_body_is_not_no_answer(store):
    with store.writing() as writer:
        writer.set_idempotency_record("a", "k", IdempotencyRecord("ab" * 32, WHEN, StoredResponse(204, {}, b"")))
        found = writer.idempotency_record("a", "k")
    assert found is not None
    assert found.response == StoredResponse(204, {}, b"")


def test_audit_rows_are_read_by_number(store):
    rows = [AuditRow(number, f'{{"n":{number}}}', f"{number:064x}") for number in range(1, 6)]
    with store.writing() as writer:
        assert writer.last_audit_row() is None
        writer.add_audit_rows(rows[:2])
        writer.add_audit_rows([])
        writer.add_audit_rows(rows[2:])
    with store.reading() as reader:
        assert reader.audit_rows(0, 100) == tuple(rows)
        assert reader.audit_rows(2, 2) == tuple(rows[2:4])
        assert reader.audit_rows(5, 10) == ()
        assert reader.last_audit_row() == rows[-1]
    with pytest.raises(StoreError), store.writing() as writer:
        writer.add_audit_rows([rows[4]])  # a number is given once
