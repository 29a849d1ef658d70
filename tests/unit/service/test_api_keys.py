"""API keys: shown once, stored as a digest, refused with one message, dead within a second after they were revoked elsewhere."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from facesearch.core.access import ApiKey, Scope, is_secret_of, key_text, local_key, parsed_key, secret_digest
from facesearch.core.errors import ForbiddenError, InputError, UnauthorizedError, UnknownKeyError
from facesearch.service.api_keys import ApiKeys
from facesearch.store.sql import SqlStore

NOW = datetime(2026, 3, 4, tzinfo=UTC)


class Time:
    """A clock and a timer that stand still until they are told."""

    def __init__(self):
        self.passed_s = 0.0

    def clock(self):
        return NOW + timedelta(seconds=self.passed_s)

    def timer(self):
        return self.passed_s


@pytest.fixture
def store(tmp_path):
    opened = SqlStore(f"sqlite:///{tmp_path}/keys.db")
    yield opened
    opened.close()


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def keys(store, time):
    return ApiKeys(store, clock=time.clock, timer=time.timer)


def test_a_key_is_recognised_by_its_text(keys, store, tmp_path):
    made = keys.create(" door ", ["identify", Scope.READ], collections=["office"], requests_per_minute=60)
    assert keys.authenticate(made.text) == made.key == keys.get(made.key.key_id)
    assert (made.key.name, made.key.scopes) == ("door", {Scope.READ, Scope.IDENTIFY})
    assert keys.list() == (made.key,)
    key_id, secret = parsed_key(made.text)
    assert (key_id, len(secret)) == (made.key.key_id, 32)
    with store.reading() as reader:
        assert reader.api_key(key_id).digest == hashlib.sha256(secret).hexdigest()
    store.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert made.key.key_id.encode() in stored
    assert made.text.encode()[-43:] not in stored
    assert secret not in stored
    assert made.text not in f"{made!r} {made}"


def test_keys_and_their_texts_are_all_different(keys):
    made = [keys.create("same name", ["read"]) for _ in range(50)]
    assert len({one.text for one in made}) == len({one.key.key_id for one in made}) == 50


def test_every_bad_key_gets_the_same_answer(keys, time):
    right = keys.create("a", ["read"])
    other = keys.create("b", ["read"])
    gone = keys.create("c", ["read"])
    keys.revoke(gone.key.key_id)
    short = keys.create("d", ["read"], expires_at=NOW + timedelta(seconds=30))
    assert keys.authenticate(short.text).name == "d"
    time.passed_s = 30
    swapped = right.text[:20] + other.text[20:]
    assert parsed_key(swapped) is not None
    bad = ["", "x", right.text[:-1], right.text + "A", right.text.upper(), swapped, gone.text, short.text]
    bad += [key_text("0" * 16, b"\0" * 32), right.text.replace("fs_", "sk_"), right.text + "\n", "fs_" + "é" * 60, "0" * 100_000]
    messages = set()
    for text in bad:
        with pytest.raises(UnauthorizedError) as caught:
            keys.authenticate(text)
        messages.add((caught.value.message, str(caught.value.context)))
    assert len(messages) == 1
    assert keys.authenticate(right.text) == right.key


def test_an_unknown_id_is_compared_too():
    secret = b"\7" * 32
    assert is_secret_of(secret_digest(secret), secret)
    assert not is_secret_of(secret_digest(secret), b"\6" * 32)
    assert not is_secret_of(None, secret)


def test_a_key_revoked_by_another_process_is_dead_within_a_second(keys, store, time):
    made = keys.create("a", ["read"])
    elsewhere = ApiKeys(store, clock=time.clock)
    assert keys.authenticate(made.text) == made.key
    elsewhere.revoke(made.key.key_id)
    time.passed_s = 0.99
    assert keys.authenticate(made.text) == made.key  # the price of not asking the database every time
    time.passed_s = 1.0
    with pytest.raises(UnauthorizedError):
        keys.authenticate(made.text)


def test_at_once_a_key_is_known_for_as_long_as_it_is_remembered(keys, time):
    made = keys.create("a", ["read"], expires_at=NOW + timedelta(seconds=5))
    assert keys.authenticate_at_once(made.text) is None
    assert keys.authenticate_at_once("no key") is None
    keys.authenticate(made.text)
    assert keys.authenticate_at_once(made.text) == made.key
    with pytest.raises(UnauthorizedError):
        keys.authenticate_at_once(keys.create("b", ["read"]).text.replace(*_ids(keys)[::-1]))
    time.passed_s = 1.0
    assert keys.authenticate_at_once(made.text) is None
    keys.authenticate(made.text)
    keys.revoke(made.key.key_id)
    assert keys.authenticate_at_once(made.text) is None


def _ids(keys):
    first, second = (one.key_id for one in keys.list())
    return first, second


def test_at_once_a_key_that_expires_is_refused(keys, time):
    made = keys.create("a", ["read"], expires_at=NOW + timedelta(seconds=0.5))
    keys.authenticate(made.text)
    time.passed_s = 0.5
    with pytest.raises(UnauthorizedError):
        keys.authenticate_at_once(made.text)


def test_a_key_revoked_here_is_dead_at_once(keys):
    made = keys.create("a", ["read"])
    assert keys.authenticate(made.text)
    first = keys.revoke(made.key.key_id)
    assert first.revoked_at == NOW
    assert keys.revoke(made.key.key_id) == first
    with pytest.raises(UnauthorizedError):
        keys.authenticate(made.text)


def test_a_key_that_expires_is_refused_though_it_is_remembered(keys, time):
    made = keys.create("a", ["read"], expires_at=NOW + timedelta(seconds=0.5))
    assert keys.authenticate(made.text)
    time.passed_s = 0.5
    with pytest.raises(UnauthorizedError):
        keys.authenticate(made.text)


def test_rotating_gives_a_new_secret_with_the_same_rights(keys, time):
    end = NOW + timedelta(days=9)
    old = keys.create("a", ["read", "admin"], collections=["x"], expires_at=end, requests_per_minute=7)
    time.passed_s = 5
    new = keys.rotate(old.key.key_id)
    with pytest.raises(UnauthorizedError):
        keys.authenticate(old.text)
    got = keys.authenticate(new.text)
    assert (got.scopes, got.collections, got.expires_at, got.requests_per_minute, got.name) == (
        *(old.key.scopes, old.key.collections, end, 7, "a"),
    )
    assert got.key_id != old.key.key_id
    assert got.created_at == NOW + timedelta(seconds=5)
    with pytest.raises(InputError, match="revoked or expired"):
        keys.rotate(old.key.key_id)


def test_rotating_with_grace_leaves_the_old_key_a_while(keys, time):
    old = keys.create("a", ["read"])
    short = keys.create("b", ["read"], expires_at=NOW + timedelta(seconds=20))
    new = keys.rotate(old.key.key_id, grace_s=60)
    keys.rotate(short.key.key_id, grace_s=60)
    assert keys.get(short.key.key_id).expires_at == NOW + timedelta(seconds=20)  # grace prolongs nothing
    time.passed_s = 59
    assert keys.authenticate(old.text)
    time.passed_s = 60
    with pytest.raises(UnauthorizedError):
        keys.authenticate(old.text)
    assert keys.authenticate(new.text)
    with pytest.raises(InputError):
        keys.rotate(new.key.key_id, grace_s=-1)


def test_wrong_values_are_refused_and_leave_no_key(keys):
    for scopes in ([], "read", ["root"], ["read", "READ"]):
        with pytest.raises(InputError, match=r"there are read, verify|several names"):
            keys.create("a", scopes)
    for wrong in (
        {"collections": []},
        {"collections": "office"},
        {"requests_per_minute": 0},
        {"expires_at": NOW},
        {"expires_at": datetime(2030, 1, 1)},  # without a time zone
    ):
        with pytest.raises(InputError):
            keys.create("a", ["read"], **wrong)
    with pytest.raises(InputError):
        keys.create("  ", ["read"])
    assert keys.list() == ()
    for ask in (keys.get, keys.revoke, keys.rotate):
        with pytest.raises(UnknownKeyError, match="nope"):
            ask("nope")


def test_scopes_imply_nothing_and_collections_are_names():
    admin = ApiKey("k", "a", frozenset({Scope.ADMIN}), frozenset({"Zoe\u0308"}), NOW)
    admin.require(Scope.ADMIN, "Zo\u00eb")
    for scope in Scope:
        if scope is not Scope.ADMIN:
            with pytest.raises(ForbiddenError, match=scope.value):
                admin.require(scope)
    with pytest.raises(ForbiddenError, match="collection"):
        admin.require(Scope.ADMIN, "office")
    everything = local_key(NOW)
    for scope in Scope:
        everything.require(scope, "any")
