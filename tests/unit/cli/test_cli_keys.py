"""``facesearch keys`` and ``facesearch audit``, on a real database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from facesearch.cli.keys import parsed_duration, parsed_end
from facesearch.cli.main import hoisted
from facesearch.cli.session import Library
from facesearch.core.access import parsed_key
from facesearch.core.errors import InputError

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.fixture
def library(tmp_path, monkeypatch):
    monkeypatch.setenv("FACESEARCH_DATA_DIR", str(tmp_path / "data"))
    return Library()


def made(cli, *arguments):
    ran = cli("keys", "create", *arguments)
    assert ran.code == 0, ran.err
    return ran.out.strip()


def test_a_key_is_printed_once_and_alone(cli, tmp_path):
    text = made(cli, "door", "--scope", "identify", "--scope", "read", "--collection", "a", "--collection=b", "--rate", "60")
    key_id, _ = parsed_key(text)
    listed = cli("keys", "list", "--json")
    (key,) = listed.json["keys"]
    assert (key["key_id"], key["name"], key["scopes"], key["collections"]) == (key_id, "door", ["identify", "read"], ["a", "b"])
    assert (key["requests_per_minute"], key["expires_at"], key["is_valid"]) == (60, None, True)
    plain = cli("keys", "list")
    audit = cli("audit", "show", "--json")
    for ran in (listed, plain, audit, cli("audit", "show")):
        assert key_id in ran.out
        assert text[-43:] not in ran.out + ran.err
    for path in (tmp_path / "data").iterdir():
        assert text[-43:].encode() not in path.read_bytes()


def test_keys_are_revoked_and_rotated_and_all_of_it_is_logged(cli):
    old, _ = parsed_key(made(cli, "door", "--scope", "read"))
    ran = cli("keys", "rotate", old, "--grace", "1h", "--json")
    new = ran.json["key"]["key_id"]
    assert parsed_key(ran.json["text"])[0] == new
    assert cli("keys", "revoke", new).out == f"revoked {new} (door)\n"
    states = {one["key_id"]: (one["is_valid"], one["expires_at"] is None) for one in cli("keys", "list", "--json").json["keys"]}
    assert states == {old: (True, False), new: (False, True)}
    entries = cli("audit", "show", "--json").json["entries"]
    assert [(one["number"], one["actor"], one["action"], one["subject"]) for one in entries] == [
        (1, "cli", "key.create", old),
        (2, "cli", "key.rotate", f"{old}/{new}"),
        (3, "cli", "key.revoke", new),
    ]
    assert [one["number"] for one in cli("audit", "show", "--after", "1", "--limit", "1", "--json").json["entries"]] == [2]
    assert [one["number"] for one in cli("audit", "show", "--limit", "2", "--json").json["entries"]] == [2, 3]


def test_wrong_calls_make_no_key(cli):
    for arguments, said in (
        (("x",), "needs a scope"),
        (("x", "--scope", "root"), "'root' is no scope"),
        (("x", "--scope", "read", "--expires", "soon"), "90d"),
        (("x", "--scope", "read", "--expires", "2001-01-01"), "past"),
    ):
        ran = cli("keys", "create", *arguments)
        assert ran.code == 2
        assert said in ran.err
    for before in (("-c", "office"), ("--collection=office",)):
        ran = cli(*before, "keys", "create", "x", "--scope", "read")
        assert ran.code == 2
        assert "behind" in ran.err
    assert cli("keys", "list", "--json").json == {"keys": []}
    for command in ("revoke", "rotate"):
        ran = cli("keys", command, "nope")
        assert ran.code == 7
        assert "nope" in ran.err


def test_a_key_that_cannot_be_logged_is_not_given_out(cli, tmp_path):
    made(cli, "first", "--scope", "read")
    (tmp_path / "data" / "audit.key").chmod(0o644)
    ran = cli("keys", "create", "second", "--scope", "admin")
    assert ran.code == 6
    assert "chmod 600" in ran.err
    assert ran.out == ""
    keys = {one["name"]: one["is_valid"] for one in cli("keys", "list", "--json").json["keys"]}
    assert keys == {"first": True, "second": False}


def test_the_log_is_verified_and_its_head_renewed(cli, tmp_path):
    assert cli("audit", "verify").out == "the audit log is whole: 0 entries\n"
    made(cli, "a", "--scope", "read")
    made(cli, "b", "--scope", "read")
    assert cli("audit", "verify").out == "the audit log is whole: 2 entries\n"
    assert cli("audit", "verify", "--json").json["is_sound"] is True
    (tmp_path / "data" / "audit.head").unlink()
    for arguments in ((), ("--json",)):
        ran = cli("audit", "verify", *arguments)
        assert ran.code == 6
        assert "is missing" in ran.err + ran.out
    assert cli("keys", "create", "c", "--scope", "read").code == 6
    assert cli("audit", "renew-head").code == 2  # nobody can answer
    assert cli("audit", "renew-head", "--yes").code == 0
    assert cli("audit", "verify").out == "the audit log is whole: 3 entries\n"


def test_the_files_can_lie_elsewhere(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("FACESEARCH_SERVER_AUDIT_KEY_FILE", str(tmp_path / "vault" / "key"))
    monkeypatch.setenv("FACESEARCH_SERVER_AUDIT_HEAD_FILE", str(tmp_path / "vault" / "head"))
    made(cli, "a", "--scope", "read")
    assert sorted(path.name for path in (tmp_path / "vault").iterdir()) == ["head", "head.lock", "key"]
    assert not list((tmp_path / "data").glob("audit*"))


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("90d", NOW + timedelta(days=90)),
        ("12h", NOW + timedelta(hours=12)),
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC)),
        ("2027-01-31T10:00+02:00", datetime(2027, 1, 31, 8, tzinfo=UTC)),
    ],
)
def test_ends_of_keys(text, end):
    assert parsed_end(text, NOW) == end


@pytest.mark.parametrize("text", ["", "0d", "1w", "-1d", "d", "1.5d", "٣d", "99999999d", "90 d"])
def test_no_durations(text):
    with pytest.raises(InputError, match="90d"):
        parsed_duration(text)


def test_a_keys_own_collection_stays_behind_its_command():
    assert hoisted(["keys", "create", "x", "--collection", "a", "--data-dir", "d"]) == [
        *("--data-dir", "d", "keys", "create", "x", "--collection", "a")
    ]
    assert hoisted(["identify", "a.jpg", "-c", "keys"]) == ["-c", "keys", "identify", "a.jpg"]
