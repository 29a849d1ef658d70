"""Clients that have an answer already are told so without being sent it again; nothing that is about people may be cached."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from facesearch.api.parameters import is_known
from tests.api_world import Api

PEOPLE = "/v1/collections/default/identities"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    made = Api(tmp_path)
    yield made
    made.close()


@pytest.fixture
def kept(api: Api) -> str:
    """Somebody of whom a picture is kept: the person's address."""
    made = api.world.faces.enroll(api.networks.portrait("ada", 1), "Ada", collection="default", keep="crop")
    return f"{PEOPLE}/{made.identity.identity_id}"


def picture_of(api: Api, person: str) -> str:
    return f"{person}/faces/{api.ask('GET', person).json()['thumbnail_template_id']}/picture"


def check_not_modified(answer: httpx.Response, tag: str) -> None:
    assert answer.status_code == 304
    assert answer.content == b""
    assert answer.headers["ETag"] == tag
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Content-Length" not in answer.headers


def test_a_person_who_did_not_change_is_not_sent_again(api: Api, kept: str) -> None:
    seen = api.ask("GET", kept).headers["ETag"]
    for tags in (seen, f"W/{seen}", f'"other", {seen}', "*"):
        check_not_modified(api.ask("GET", kept, headers={"If-None-Match": tags}), seen)
    for tags in ('"other"', seen.strip('"'), "", '"' + "0" * 32 + '"'):
        answer = api.ask("GET", kept, headers={"If-None-Match": tags})
        assert (answer.status_code, answer.json()["label"]) == (200, "Ada"), tags
    assert api.ask("PATCH", kept, json={"label": "Ada Lovelace"}).status_code == 200
    answer = api.ask("GET", kept, headers={"If-None-Match": seen})
    assert (answer.status_code, answer.json()["label"]) == (200, "Ada Lovelace")


def test_a_picture_that_is_there_already_is_not_sent_again(api: Api, kept: str) -> None:
    where = picture_of(api, kept)
    first = api.ask("GET", where)
    assert first.status_code == 200
    assert first.content.startswith(b"crop:")
    assert first.headers["Cache-Control"] == "no-store"
    tag = first.headers["ETag"]
    check_not_modified(api.ask("GET", where, headers={"If-None-Match": tag}), tag)
    assert api.ask("GET", where, headers={"If-None-Match": '"other"'}).content == first.content
    other = api.world.faces.enroll(api.networks.portrait("bob", 2), "Bob", collection="default", keep="crop")
    assert api.ask("GET", picture_of(api, f"{PEOPLE}/{other.identity.identity_id}")).headers["ETag"] != tag


def test_whoever_may_not_see_it_does_not_learn_that_it_is_unchanged(api: Api, kept: str) -> None:
    where = picture_of(api, kept)
    stranger = api.key("read", collections=("elsewhere",))
    for path in (kept, where):
        tag = api.ask("GET", path).headers["ETag"]
        for key, status in ((None, 401), (api.key("verify"), 403), (stranger, 404)):
            answer = api.ask("GET", path, key=key, headers={"If-None-Match": tag})
            assert answer.status_code == status
            assert "ETag" not in answer.headers
    assert api.ask("DELETE", kept).status_code == 204
    for path in (kept, where):
        assert api.ask("GET", path, headers={"If-None-Match": "*"}).status_code == 404


@pytest.mark.parametrize(
    ("header", "is_there"),
    [
        (None, False),
        ('"v1"', True),
        ('  "v1"  ', True),
        ('W/"v1"', True),
        ('"a","v1"', True),
        ("*", True),
        ("v1", False),
        ('"v1', False),
        ('"v12"', False),
        ('"a", *', False),
    ],
)
def test_a_list_of_tags_names_what_is_in_it(header: str | None, is_there: bool) -> None:
    assert is_known("v1", header) is is_there
