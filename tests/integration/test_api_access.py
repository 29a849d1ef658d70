"""Who may do what over HTTP, for every route there is: made from the application's own table, so that none can be forgotten."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from facesearch.api.app import routers
from facesearch.api.routing import GuardedRoute, guarded_router
from facesearch.core.access import Scope
from facesearch.core.errors import SettingsError
from tests.api_world import Api

OPEN = {"/healthz", "/readyz", "/metrics"}
"""What everybody may ask."""

VALUES = {
    "collection": "mine",
    "identity_id": "1",
    "template_id": "1",
    "feedback_id": "1",
    "key_id": "0123456789abcdef",
    "job_id": "0123456789abcdef0123456789abcdef",
    "digest": "0" * 64,
}


def guarded() -> list[tuple[str, GuardedRoute]]:
    """Return every method and route that asks for a key."""
    routes = [route for router in routers() for route in router.routes]
    assert len(routes) > 30
    assert {route.path for route in routes if not isinstance(route, GuardedRoute)} == OPEN
    return [(method, route) for route in routes if isinstance(route, GuardedRoute) for method in sorted(route.methods or ())]


ROUTES = guarded()
NAMES = [f"{method} {route.path}" for method, route in ROUTES]
SCOPED = [one for one in ROUTES if one[1].guard.scopes]


def path_of(route: GuardedRoute, collection: str = "mine") -> str:
    return route.path_format.format(**{**VALUES, "collection": collection})


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder: Path = tmp_path_factory.mktemp("access")
    made = Api(folder, requests_per_minute=None)
    for name in ("mine", "theirs"):
        assert made.ask("POST", "/v1/collections", json={"name": name}).status_code == 201
        assert made.enroll("Ada", 1, collection=name).status_code == 201
    yield made
    made.close()


@pytest.mark.parametrize(("method", "route"), ROUTES, ids=NAMES)
def test_a_route_refuses_whoever_has_no_right_key(api: Api, method: str, route: GuardedRoute) -> None:
    path = path_of(route)
    right = api.every
    wrong = right[:-4] + ("AAAA" if right[-4:] != "AAAA" else "BBBB")
    for key in (None, wrong, "fs_nonsense", "x" * 3000):
        answer = api.ask(method, path, key=key)
        assert answer.status_code == 401, answer.text
        assert answer.json()["code"] == "unauthorized"
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("method", "route"), SCOPED, ids=[f"{method} {route.path}" for method, route in SCOPED])
def test_a_route_refuses_a_key_of_every_other_scope(api: Api, method: str, route: GuardedRoute) -> None:
    others = [scope for scope in Scope if scope not in route.guard.scopes]
    answer = api.ask(method, path_of(route), key=api.key(*others))
    assert answer.status_code == 403, answer.text
    assert answer.json()["code"] == "forbidden"


@pytest.mark.parametrize(
    ("method", "route"),
    [one for one in ROUTES if "{collection}" in one[1].path_format],
    ids=[name for name in NAMES if "{collection}" in name],
)
def test_a_key_for_one_collection_finds_no_other(api: Api, method: str, route: GuardedRoute) -> None:
    key = api.key(*Scope, collections=["mine"])
    theirs = api.ask(method, path_of(route, "theirs"), key=key)
    nobodys = api.ask(method, path_of(route, "nobodys"), key=key)
    assert theirs.status_code == nobodys.status_code == 404
    told = [{**one.json(), "instance": ""} for one in (theirs, nobodys)]
    assert str(told[0]).replace("theirs", "nobodys") == str(told[1]), "the answer tells which collections there are"


def test_a_key_for_one_collection_lists_no_other(api: Api) -> None:
    listed = api.ask("GET", "/v1/collections", key=api.key(Scope.READ, collections=["mine"])).json()["items"]
    assert [one["name"] for one in listed] == ["mine"]


@pytest.mark.parametrize("asked", [("GET", "/v1/keys"), ("POST", "/v1/keys"), ("GET", "/v1/audit"), ("POST", "/v1/audit/verify")])
def test_an_administrator_of_one_collection_neither_makes_keys_nor_reads_the_log(api: Api, asked: tuple[str, str]) -> None:
    key = api.key(Scope.ADMIN, collections=["mine"])
    body = {"json": {"name": "all", "scopes": ["admin"]}} if asked == ("POST", "/v1/keys") else {}
    assert api.ask(*asked, key=key, **body).status_code == 403


def test_an_administrator_of_one_collection_makes_no_other(api: Api) -> None:
    key = api.key(Scope.ADMIN, collections=["mine"])
    assert api.ask("POST", "/v1/collections", key=key, json={"name": "another"}).status_code == 404
    assert api.ask("DELETE", "/v1/collections/theirs", key=key).status_code == 404
    assert api.ask("GET", "/v1/collections/theirs").status_code == 200


def test_no_body_is_read_before_the_key_is_known(api: Api) -> None:
    n_read = 0

    async def body():
        nonlocal n_read
        for _ in range(100):
            n_read += 1
            yield b"x" * 10_000

    answer = api.ask("POST", "/v1/detect", key=None, content=body(), headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 401
    assert n_read <= 1


def test_a_revoked_key_is_refused_within_a_second(api: Api) -> None:
    made = api.ask("POST", "/v1/keys", json={"name": "short", "scopes": ["read"]}).json()
    assert api.ask("GET", "/v1/me", key=made["text"]).json()["key_id"] == made["key"]["key_id"]
    assert api.ask("DELETE", f"/v1/keys/{made['key']['key_id']}").status_code == 204
    time.sleep(1.05)
    assert api.ask("GET", "/v1/me", key=made["text"]).status_code == 401


def test_an_expired_key_is_refused(api: Api) -> None:
    key = api.key(Scope.READ, expires_at=datetime.now(UTC) + timedelta(seconds=0.3))
    time.sleep(0.4)
    assert api.ask("GET", "/v1/me", key=key).status_code == 401


def test_a_key_that_asks_too_often_is_told_when_to_come_back(api: Api) -> None:
    key = api.key(Scope.READ, requests_per_minute=3)
    answers = [api.ask("GET", "/v1/me", key=key) for _ in range(5)]
    assert [one.status_code for one in answers[:3]] == [200] * 3
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["Retry-After"]) >= 1


def test_two_different_keys_in_one_request_are_refused(api: Api) -> None:
    headers = {"X-API-Key": api.key(Scope.READ)}
    assert api.ask("GET", "/v1/me", headers=headers).status_code == 401
    assert api.ask("GET", "/v1/me", key=None, headers=headers).status_code == 200


def test_vectors_are_in_no_answer_without_their_scope(api: Api) -> None:
    key = api.key(*(scope for scope in Scope if scope is not Scope.TEMPLATES))
    photo = {"photo": ("p.png", api.networks.portrait_png("probe", 1, 0.9, photo=2))}
    answers = [
        api.ask("POST", "/v1/detect", key=key, files=photo),
        api.ask("POST", "/v1/collections/mine/identify", key=key, files=photo),
        api.ask("POST", "/v1/collections/mine/identities/1/verify", key=key, files=photo),
        api.ask("GET", "/v1/collections/mine/identities/1/faces", key=key),
    ]
    assert [one.status_code for one in answers] == [200] * 4
    assert all('"vector"' not in one.text for one in answers)


def test_only_a_callers_own_key_is_shown_to_any_key() -> None:
    assert [route.path for _, route in ROUTES if not route.guard.scopes] == ["/v1/me"]


def test_a_route_that_asks_for_no_key_cannot_be_made() -> None:
    router = guarded_router(tag="test")
    with pytest.raises(SettingsError, match="does not say whom it is for"):

        @router.get("/open")
        async def for_everybody() -> None: ...


def test_without_keys_only_this_machine_may_ask(tmp_path: Path) -> None:
    api = Api(tmp_path, keys="off")
    try:
        me = api.ask("GET", "/v1/me", key=None)
        assert me.status_code == 200
        assert me.json()["keys"] == "off"
        for headers in (
            {"Host": "attacker.example"},
            {"Origin": "https://attacker.example"},
            {"Origin": "null"},
            {"Host": "["},
            {"Origin": "http://[::1"},
            {"Sec-Fetch-Site": "cross-site"},
        ):
            assert api.ask("GET", "/v1/me", key=None, headers=headers).status_code == 403, headers
        assert api.ask("GET", "/v1/me", key=None, headers={"Origin": "http://127.0.0.1"}).status_code == 200
    finally:
        api.close()


@pytest.mark.parametrize("path", ["/v1/me", "/v1/verify", "/deepface/find", "/healthz", "/v1/collections/mine"])
def test_a_wrong_method_is_told_with_the_right_ones(api: Api, path: str) -> None:
    right = {method for method, route in ROUTES if route.path_format.format(**VALUES) == path} or {"GET", "HEAD"}
    for method in {"GET", "HEAD", "POST", "PUT", "TRACE", "OPTIONS"} - right:
        answer = api.ask(method, path)
        assert answer.status_code == 405, method
        assert set(answer.headers["Allow"].split(", ")) <= right
    for method in ("GET", "POST"):
        assert api.ask(method, "/v1/nothing").status_code == 404


def test_pages_of_other_origins_are_shut_out_unless_they_are_named(tmp_path: Path, api: Api) -> None:
    asking = {"Origin": "https://desk.example", "Access-Control-Request-Method": "GET"}
    assert "access-control-allow-origin" not in api.ask("OPTIONS", "/v1/me", key=None, headers=asking).headers
    opened = Api(tmp_path, cors_origins=("https://desk.example",))
    try:
        answer = opened.ask("OPTIONS", "/v1/me", key=None, headers=asking)
        assert answer.headers["access-control-allow-origin"] == "https://desk.example"
        other = opened.ask("OPTIONS", "/v1/me", key=None, headers={**asking, "Origin": "https://attacker.example"})
        assert "access-control-allow-origin" not in other.headers
    finally:
        opened.close()
