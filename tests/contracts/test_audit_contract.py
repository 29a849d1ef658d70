"""The audit log on each database: whoever alters, drops or forges an entry is found out."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import create_engine, text

from facesearch.core.audit import NO_MAC, AuditEvent, AuditRow
from facesearch.core.errors import AuditError, UnknownCollectionError
from facesearch.service.audit import AuditLog
from facesearch.service.audit_files import AuditFiles
from facesearch.store.engine import parsed_url

WHEN = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)


def event(number=0, **changes):
    said = {"action": "identify", "actor": "ab" * 8, "outcome": "match", "at": WHEN, "identity_ids": (number,)}
    return AuditEvent(**{**said, "threshold": 0.43, "fpir": 1e-2, "embedder_id": "net@0123456789ab", "score": 1 / 3, **changes})


@pytest.fixture
def log(store, tmp_path):
    return AuditLog(store, tmp_path / "keys" / "audit.key", tmp_path / "heads" / "audit.head")


@pytest.fixture
def change(store_url):
    """Changes the database behind the log's back."""

    def run(statement, **values):
        engine = create_engine(parsed_url(store_url))
        with engine.begin() as connection:
            found = connection.execute(text(statement), values)
            rows = found.all() if found.returns_rows else found.rowcount
        engine.dispose()
        return rows

    return run


def forged_mac(key, before, number, payload):
    """The documented MAC, written down a second time."""
    message = f"facesearch-audit-1\n{before}\n{number}\n{payload}".encode()
    return hmac.new(key, message, hashlib.sha256).hexdigest()


def recompute(change, key):
    """Compute every MAC of the chain anew with a key, as an intruder would after a change."""
    before = NO_MAC
    rows = change("SELECT number, payload FROM audit_log ORDER BY number")
    assert len(rows) >= 4
    change("DELETE FROM audit_log")
    for number, (_, payload) in enumerate(rows, start=1):
        before = forged_mac(key, before, number, payload)
        change("INSERT INTO audit_log (number, payload, mac) VALUES (:n, :p, :m)", n=number, p=payload, m=before)


def roll_back_after_an_entry(store):
    with store.writing() as writer:
        last = writer.last_audit_row()
        writer.add_audit_rows([AuditRow(last.number + 1, "{}", NO_MAC)])
        writer.remove_collection("nowhere")


def test_entries_come_back_numbered_without_gaps(log, store):
    assert log.verify().is_sound
    assert log.rows() == log.latest() == ()
    events = [event(number) for number in range(5)]
    log.append(events[0])
    log.append_many(events[1:4])
    log.append_many([])
    with pytest.raises(UnknownCollectionError):
        roll_back_after_an_entry(store)
    log.append(events[4])
    assert [(one.number, one.event) for one in log.rows()] == list(enumerate(events, start=1))
    assert [one.number for one in log.rows(after=2, limit=2)] == [3, 4]
    assert [one.number for one in log.latest(2)] == [5, 4]
    assert [one.number for one in log.latest(2, before=4)] == [3, 2]
    assert [one.number for one in log.latest(9, before=2)] == [1]
    assert log.latest(9, before=1) == ()
    report = log.verify()
    assert (report.n_entries, report.last_number, report.head_number, report.problem) == (5, 5, 5, "")


def test_the_chain_is_the_documented_one(log, change, tmp_path):
    log.append_many([event(1), event(2)])
    key = (tmp_path / "keys" / "audit.key").read_bytes()
    before = NO_MAC
    rows = change("SELECT number, payload, mac FROM audit_log ORDER BY number")
    assert len(rows) == 2
    for number, payload, mac in rows:
        assert mac == forged_mac(key, before, number, payload)
        before = mac
    said = json.loads(rows[0][1])
    assert list(said) == sorted(said)
    assert said["at"] == "2026-03-04T05:06:07.000089+00:00"
    assert " " not in rows[0][1]


def test_an_altered_entry_is_found(log, change):
    log.append_many([event(number) for number in range(4)])
    assert change("UPDATE audit_log SET payload = replace(payload, '\"match\"', '\"no_match\"') WHERE number = 2") == 1
    report = log.verify()
    assert (report.number, report.n_entries) == (2, 1)
    assert "entry 2 was altered" in report.problem


def test_a_dropped_middle_entry_is_found(log, change):
    log.append_many([event(number) for number in range(4)])
    assert change("DELETE FROM audit_log WHERE number = 3") == 1
    report = log.verify()
    assert (report.number, report.n_entries) == (3, 2)
    assert "entry 3 is missing" in report.problem


def test_a_dropped_middle_entry_whose_place_was_closed_is_found(log, change):
    log.append_many([event(number) for number in range(4)])
    change("DELETE FROM audit_log WHERE number = 3")
    change("UPDATE audit_log SET number = 3 WHERE number = 4")
    assert log.verify().number == 3


@pytest.mark.parametrize("n_dropped", [1, 2, 4])
def test_dropped_last_entries_are_found_and_nothing_is_appended_over_them(log, change, n_dropped):
    log.append_many([event(number) for number in range(4)])
    assert change("DELETE FROM audit_log WHERE number > :n", n=4 - n_dropped) == n_dropped
    report = log.verify()
    assert report.number == 5 - n_dropped
    assert "the head says 4" in report.problem
    for _ in range(n_dropped + 1):  # as many as would fill the hole
        with pytest.raises(AuditError, match="the head says 4"):
            log.append(event())
    assert not log.verify().is_sound
    assert len(log.rows()) == 4 - n_dropped


def test_a_chain_computed_anew_without_the_key_is_found(log, change):
    log.append_many([event(number) for number in range(4)])
    change("DELETE FROM audit_log WHERE number = 2")
    change("INSERT INTO audit_log (number, payload, mac) SELECT 9, payload, mac FROM audit_log WHERE number = 1")
    recompute(change, b"\0" * 32)
    report = log.verify()
    assert report.number == 1
    assert "without the key" in report.problem


def test_a_chain_computed_anew_with_a_key_of_the_intruders_is_found(log, change, tmp_path):
    log.append_many([event(number) for number in range(4)])
    change("UPDATE audit_log SET payload = replace(payload, '\"match\"', '\"no_match\"')")
    (tmp_path / "keys" / "audit.key").write_bytes(b"\1" * 32)
    recompute(change, b"\1" * 32)
    assert "was not written with the key" in log.verify().problem
    with pytest.raises(AuditError, match="was not written with the key"):
        log.append(event())


def test_a_chain_that_is_right_but_not_the_heads_is_found(log, change, tmp_path):
    """Somebody who has read the key, but cannot write the head, exchanges an entry and computes the chain anew."""
    log.append_many([event(number) for number in range(4)])
    change("UPDATE audit_log SET payload = replace(payload, '\"match\"', '\"no_match\"') WHERE number = 4")
    recompute(change, (tmp_path / "keys" / "audit.key").read_bytes())
    assert "entry 4 is not the one that the head names" in log.verify().problem
    with pytest.raises(AuditError, match="entry 4"):
        log.append(event())


def test_entries_behind_the_head_are_accepted_only_where_they_chain_on(log, change, tmp_path):
    head = tmp_path / "heads" / "audit.head"
    log.append_many([event(1), event(2)])
    old = head.read_bytes()
    log.append_many([event(3), event(4)])
    head.write_bytes(old)  # as a process leaves it that was killed between the commit and the head
    report = log.verify()
    assert report.is_sound
    assert (report.n_entries, report.head_number, report.n_after_head) == (4, 2, 2)
    kept = change("SELECT mac FROM audit_log WHERE number = 4")[0][0]
    change("UPDATE audit_log SET mac = :m WHERE number = 4", m="0" * 64)
    assert log.verify().number == 4
    with pytest.raises(AuditError, match="entry 4"):
        log.append(event())
    change("UPDATE audit_log SET mac = :m WHERE number = 4", m=kept)
    log.append(event(5))
    report = log.verify()
    assert (report.is_sound, report.n_entries, report.n_after_head) == (True, 5, 0)


def test_the_key_is_for_its_owner_alone_and_never_made_twice(log, change, tmp_path):
    key, head = tmp_path / "keys" / "audit.key", tmp_path / "heads" / "audit.head"
    log.append(event())
    assert [path.stat().st_mode & 0o777 for path in (key, head)] == [0o600, 0o600]
    secret = key.read_bytes()
    assert len(secret) == 32
    assert [path.name for path in key.parent.iterdir()] == ["audit.key"]
    key.chmod(0o640)
    for use in (lambda: log.append(event()), log.verify):
        with pytest.raises(AuditError, match="chmod 600"):
            use()
    key.chmod(0o600)
    key.write_bytes(secret[:31])
    with pytest.raises(AuditError, match="32 bytes"):
        log.verify()
    key.unlink()
    change("DELETE FROM audit_log")  # an empty log is no reason to make a new key while the head remembers entries
    for use in (lambda: log.append(event()), log.verify):
        with pytest.raises(AuditError, match="missing"):
            use()
    assert not key.exists()


def test_a_missing_head_is_told_and_renewed_on_purpose_only(log, change, tmp_path):
    head = tmp_path / "heads" / "audit.head"
    log.append_many([event(number) for number in range(3)])
    head.unlink()
    assert "is missing" in log.verify().problem
    with pytest.raises(AuditError, match="renew-head"):
        log.append(event())
    assert log.renew_head("cli").head_number is None
    (last,) = log.latest(1)
    assert (last.number, last.event.action, last.event.actor, last.event.subject) == (4, "audit.renew_head", "cli", "unknown-3")
    assert log.verify().is_sound


def test_a_restored_backup_goes_on_after_the_head_was_renewed(log, change):
    log.append_many([event(number) for number in range(4)])
    change("DELETE FROM audit_log WHERE number > 2")
    assert not log.renew_head("cli").is_sound
    assert log.latest(1)[0].event.subject == "4-2"
    assert log.verify().is_sound
    change("UPDATE audit_log SET mac = :m WHERE number = 1", m="0" * 64)
    with pytest.raises(AuditError, match="entry 1"):
        log.renew_head("cli")


def test_a_torn_head_leaves_the_one_before(log, tmp_path):
    head = tmp_path / "heads" / "audit.head"
    for number in range(3):
        log.append(event(number))
    slots = head.read_bytes()
    assert len(slots) == 512
    for slot in (0, 1):
        torn = bytearray(slots)
        torn[slot * 256 + 40 : (slot + 1) * 256] = b"\0" * 216
        head.write_bytes(torn)
        report = log.verify()
        assert report.is_sound
        assert report.n_after_head in (0, 1)
    head.write_bytes(b"\0" * 512)
    assert not log.verify().is_sound


def test_threads_share_transactions_and_lose_nothing(log):
    n_threads, n_each = 8, 10
    failures = []

    def work(thread):
        try:
            for number in range(n_each):
                log.append_many([event(thread * 100 + number), event(thread * 100 + number + 50)])
        except AuditError as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(one,)) for one in range(n_threads)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not failures
    report = log.verify()
    assert (report.is_sound, report.n_entries) == (True, n_threads * n_each * 2)
    people = [one.event.identity_ids[0] for one in log.rows(limit=1_000)]
    assert sorted(people) == sorted(t * 100 + n + extra for t in range(n_threads) for n in range(n_each) for extra in (0, 50))
    places = {person: place for place, person in enumerate(people)}
    assert all(places[one + 50] == places[one] + 1 for one in places if one % 100 < 50)  # those of one call stay together


def test_nobody_appends_while_another_is_between_its_commit_and_its_head(log, tmp_path):
    appending = threading.Thread(target=log.append, args=(event(),))
    with AuditFiles(tmp_path / "keys" / "audit.key", tmp_path / "heads" / "audit.head").locked():
        appending.start()
        appending.join(0.3)
        assert appending.is_alive()
        assert log.rows() == ()
    appending.join(30)
    assert [one.number for one in log.rows()] == [1]


def test_a_long_log_is_looked_through_page_by_page(log, change):
    log.append_many([event(number) for number in range(2_500)])
    assert log.verify().n_entries == 2_500
    change("UPDATE audit_log SET payload = replace(payload, '\"match\"', '\"no_match\"') WHERE number = 2400")
    assert log.verify().number == 2_400
    change("UPDATE audit_log SET payload = 'x' WHERE number = 2")
    with pytest.raises(AuditError, match="audit verify"):
        log.rows()
