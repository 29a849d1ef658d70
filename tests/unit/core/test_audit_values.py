"""An entry of the audit log: its serialisation reads back, and it has no room for names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.core.audit import NO_MAC, AuditEvent, decoded_event, encoded_event, entry_mac
from facesearch.core.errors import InputError

WHEN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
WORDS = st.text("abcXYZ019_.:@+/-", min_size=1, max_size=64)
NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
IDS = st.lists(st.integers(-(2**70), 2**70), max_size=5).map(tuple)
EVENTS = st.builds(
    AuditEvent,
    action=WORDS,
    actor=WORDS,
    outcome=WORDS,
    at=st.datetimes(
        min_value=datetime(1970, 1, 2),
        max_value=datetime(9000, 1, 1),
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))]),
    ),
    collection_id=st.none() | st.integers(),
    identity_ids=IDS,
    template_ids=IDS,
    subject=st.just("") | WORDS,
    threshold=NUMBERS,
    fmr=NUMBERS,
    fpir=NUMBERS,
    embedder_id=st.text([chr(code) for code in range(0x21, 0x7F)], max_size=200),
    score=NUMBERS,
    request_id=st.just("") | WORDS,
)


@given(EVENTS)
def test_an_event_reads_back_and_is_written_the_same_again(event):
    payload = encoded_event(event)
    assert payload.isascii()
    assert "\n" not in payload
    assert decoded_event(payload) == event
    assert encoded_event(decoded_event(payload)) == payload


@given(EVENTS, EVENTS)
def test_different_events_are_written_differently(one, other):
    assert (encoded_event(one) == encoded_event(other)) == (one == other)


def test_the_mac_depends_on_everything():
    key, before, payload = b"k" * 32, NO_MAC, '{"a":1}'
    macs = {
        entry_mac(key, before, 1, payload),
        entry_mac(b"l" * 32, before, 1, payload),
        entry_mac(key, "1" * 64, 1, payload),
        entry_mac(key, before, 11, payload),
        entry_mac(key, before, 1, '{"a":2}'),
    }
    assert len(macs) == 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": "Zoë entered"},
        {"actor": ""},
        {"subject": "Ada Lovelace"},
        {"request_id": "x" * 65},
        {"outcome": "a\nb"},
        {"embedder_id": "net with spaces"},
        {"score": float("nan")},
        {"identity_ids": ("Ada",)},
        {"identity_ids": tuple(range(10_001))},
        {"template_ids": (True,)},
        {"at": datetime(2026, 1, 1)},
    ],
    ids=str,
)
def test_nothing_but_ids_and_numbers_can_be_said(wrong):
    with pytest.raises(InputError):
        AuditEvent(**{"action": "verify", "actor": "cli", "outcome": "match", "at": WHEN, **wrong})


@pytest.mark.parametrize(
    "payload", ["", "x", "[]", "{}", "7", '{"at":7}', '{"at":"2026-01-01T00:00:00+00:00","vector":[1]}', "[" * 9_999]
)
def test_other_texts_are_no_entries(payload):
    with pytest.raises(InputError, match="no entry"):
        decoded_event(payload)
