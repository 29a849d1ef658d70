"""How calls are sent, sent again, and read: against answers made here, without a service."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from facesearch.client import ApiError, Client, Retries
from facesearch.client import errors as client_errors
from facesearch.client.errors import ERRORS, ConnectionFailedError, NoFaceError, UnexpectedAnswerError
from facesearch.client.photographs import box_text, upload_of

COLLECTION = {"name": "staff", "revision": 1, "n_identities": 0, "n_templates": 0, "embedders": {}}
QUICK = Retries(max_retries=3, first_wait_s=0.001, max_wait_s=0.05)


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    body = {"type": f"urn:facesearch:error:{code}", "title": code, "status": status, "detail": f"it is {code}", "code": code}
    return httpx.Response(status, json={**body, "instance": "r1", "context": {"min_face_px": 20}}, headers=headers)


class Service:
    """Answers as a test says, and remembers what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def client_of(service: Callable[[httpx.Request], httpx.Response], **options: object) -> Client:
    return Client("http://service/", "fs_key", transport=httpx.MockTransport(service), **{"retries": QUICK, **options})


def test_a_call_carries_the_key_and_its_values():
    service = Service(httpx.Response(200, json={"items": [], "next_cursor": None}))
    with client_of(service) as client:
        page = client.list_identities("a/b ü", contains="x y", tag=["one", "two"], limit=5)
    assert page.items == []
    (asked,) = service.asked
    assert asked.url.raw_path == b"/v1/collections/a%2Fb%20%C3%BC/identities?contains=x%20y&tag=one&tag=two&limit=5".replace(
        b"%20y", b"+y"
    )
    assert asked.headers["Authorization"] == "Bearer fs_key"
    assert "Idempotency-Key" not in asked.headers


def test_pages_are_gone_through():
    first = {"items": [COLLECTION, {**COLLECTION, "name": "b"}], "next_cursor": "more"}
    last = {"items": [{**COLLECTION, "name": "c"}], "next_cursor": None}
    service = Service(httpx.Response(200, json=first), httpx.Response(200, json=last))
    assert [one.name for one in client_of(service).iter_collections(limit=2)] == ["staff", "b", "c"]
    assert [one.url.params.get("cursor") for one in service.asked] == [None, "more"]


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_asked_again_with_the_same_idempotency_key(status: int):
    busy = problem(status, "overloaded", **{"Retry-After": "0"})
    service = Service(busy, busy, httpx.Response(201, json=COLLECTION))
    assert client_of(service).create_collection("staff").name == "staff"
    keys = {one.headers["Idempotency-Key"] for one in service.asked}
    assert len(service.asked) == 3
    assert len(keys) == 1
    assert all(json.loads(one.content) == {"name": "staff"} for one in service.asked)


def test_every_call_has_an_idempotency_key_of_its_own():
    service = Service(
        httpx.Response(201, json=COLLECTION), httpx.Response(201, json=COLLECTION), httpx.Response(201, json=COLLECTION)
    )
    client = client_of(service)
    client.create_collection("staff")
    client.create_collection("staff")
    client.create_collection("staff", idempotency_key="mine")
    keys = [one.headers["Idempotency-Key"] for one in service.asked]
    assert len(set(keys)) == 3
    assert keys[2] == "mine"


def test_a_broken_connection_is_tried_again_and_then_told():
    service = Service(httpx.ConnectError("refused"), httpx.Response(201, json=COLLECTION))
    assert client_of(service).create_collection("staff").name == "staff"
    never = Service(*[httpx.ConnectError("refused")] * 4)
    with pytest.raises(ConnectionFailedError, match="refused"):
        client_of(never).get_me()
    assert len(never.asked) == 1 + QUICK.max_retries


def test_a_key_is_not_asked_for_twice_where_the_first_request_may_have_arrived():
    broken = Service(httpx.ReadError("reset"), httpx.Response(201, json={}))
    with pytest.raises(ConnectionFailedError, match="reset"):
        client_of(broken).create_key("door", ["identify"])
    with pytest.raises(ConnectionFailedError, match="reset"):
        client_of(Service(httpx.ReadError("reset"), httpx.Response(201, json={}))).rotate_key("0123456789abcdef")
    assert len(broken.asked) == 1
    unreached = Service(httpx.ConnectError("refused"), problem(403, "forbidden"))
    with pytest.raises(client_errors.ForbiddenError):
        client_of(unreached).create_key("door", ["identify"])
    assert len(unreached.asked) == 2


def test_a_key_is_asked_for_again_only_where_the_service_did_not_begin():
    late = Service(problem(503, "store_error", **{"Retry-After": "0"}), httpx.Response(201, json={}))
    with pytest.raises(client_errors.StoreError):
        client_of(late).create_key("door", ["identify"])
    assert len(late.asked) == 1
    busy = Service(problem(503, "overloaded", **{"Retry-After": "0"}), problem(403, "forbidden"))
    with pytest.raises(client_errors.ForbiddenError):
        client_of(busy).create_key("door", ["identify"])
    assert len(busy.asked) == 2


def test_a_wait_longer_than_allowed_is_an_error_at_once():
    service = Service(problem(429, "rate_limited", **{"Retry-After": "3600"}))
    with pytest.raises(client_errors.RateLimitedError) as refused:
        client_of(service).get_me()
    assert refused.value.status == 429
    assert len(service.asked) == 1


def test_a_conflict_is_sent_again_only_where_the_first_request_is_still_worked_on():
    busy = problem(409, "idempotency_conflict", **{"Retry-After": "0"})
    service = Service(busy, httpx.Response(201, json=COLLECTION))
    assert client_of(service).create_collection("staff").name == "staff"
    taken = Service(problem(409, "label_taken"))
    with pytest.raises(client_errors.LabelTakenError):
        client_of(taken).create_collection("staff")
    assert len(taken.asked) == 1


def test_a_problem_is_an_exception_named_by_its_code():
    service = Service(problem(422, "no_face", **{"X-Request-ID": "r1"}))
    with pytest.raises(NoFaceError) as refused:
        client_of(service).detect_faces(b"photo")
    error = refused.value
    assert (error.message, error.status, error.code, error.request_id) == ("it is no_face", 422, "no_face", "r1")
    assert error.context == {"min_face_px": 20}
    assert isinstance(error, client_errors.InputError)
    assert isinstance(error, ApiError)


def test_a_code_of_a_newer_service_is_still_a_problem():
    with pytest.raises(ApiError) as refused:
        client_of(Service(problem(418, "is_a_teapot"))).get_me()
    assert type(refused.value) is ApiError
    assert refused.value.code == "is_a_teapot"


@pytest.mark.parametrize(
    "answer", [httpx.Response(200, text="<html>"), httpx.Response(200, json={"x": 1}), httpx.Response(502, text="bad")]
)
def test_what_is_no_answer_of_the_service_is_told(answer: httpx.Response):
    with pytest.raises(UnexpectedAnswerError):
        client_of(Service(answer)).get_collection("staff")


def test_fields_of_a_newer_service_are_kept_and_the_version_is_there():
    answer = httpx.Response(200, json={**COLLECTION, "colour": "green"}, headers={"ETag": '"v1"'})
    found = client_of(Service(answer)).get_collection("staff")
    assert found.model_extra == {"colour": "green"}
    assert found.etag == '"v1"'


def test_a_photograph_is_bytes_a_path_or_a_file(tmp_path: Path):
    file = tmp_path / "ada.jpg"
    file.write_bytes(b"pixels")
    assert upload_of(b"pixels", name="photo") == ("photo", b"pixels", "application/octet-stream")
    assert upload_of(str(file))[:2] == ("ada.jpg", b"pixels")
    assert upload_of(file)[:2] == ("ada.jpg", b"pixels")
    with file.open("rb") as stream:
        assert upload_of(stream)[:2] == ("ada.jpg", b"pixels")
    assert upload_of(io.BytesIO(b"pixels"), name="x")[:2] == ("x", b"pixels")
    with pytest.raises(TypeError, match="binary mode"):
        upload_of(io.StringIO("pixels"))
    with pytest.raises(TypeError, match="not int"):
        upload_of(3)
    with pytest.raises(FileNotFoundError):
        upload_of(tmp_path / "none.jpg")


def test_forms_hold_photographs_boxes_and_lists():
    service = Service(problem(422, "no_face"))
    with pytest.raises(NoFaceError):
        client_of(service).enroll_identity("staff", [b"one", b"two"], "Ada", tag=["x", "y"], roi=(1, 2.5, 3, 4), new=True)
    body = service.asked[0].content
    assert body.count(b'name="photo"; filename="photo"') == 2
    assert body.count(b'name="tag"') == 2
    assert b'name="roi"\r\n\r\n1,2.5,3,4\r\n' in body
    assert b'name="new"\r\n\r\ntrue\r\n' in body
    assert b"allow_mismatch" not in body
    with pytest.raises(ValueError, match="four numbers"):
        box_text((1, 2, 3))


def test_waits_grow_and_never_pass_the_limit():
    retries = Retries(max_retries=5, max_wait_s=7.9, first_wait_s=1.0)
    waits = [retries.wait_s(n_before, None) for n_before in range(6)]
    assert waits[5] is None
    assert waits[4] is None  # 8 to 16 s, by chance, all of them more than may be waited
    assert all(wait is not None and 0.5 * 2**place <= wait <= 2**place for place, wait in enumerate(waits[:3]))
    assert retries.wait_s(0, "7") == pytest.approx(7.0)
    assert retries.wait_s(0, "11") is None
    assert retries.wait_s(0, "Wed, 21 Oct 2026 07:28:00 GMT") is None


def test_there_is_an_exception_for_every_error_of_the_library():
    from facesearch.core import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.FaceSearchError)]
    assert len(kinds) > 40
    for kind in kinds[1:]:
        own = ERRORS[kind.code]
        assert own.__name__ == kind.__name__
        bases = [base.__name__.replace("FaceSearchError", "ApiError") for base in kind.__mro__ if base.__name__.endswith("Error")]
        assert [base.__name__ for base in own.__mro__ if base.__name__.endswith("Error")] == bases
