"""Errors become problem bodies: the caller's with what they know, the server's without."""

from __future__ import annotations

import json

import pytest

from facesearch.api.problems import problem_of, validation_problem
from facesearch.core import errors


def all_errors(cls: type[errors.FaceSearchError] = errors.FaceSearchError) -> list[type[errors.FaceSearchError]]:
    return [one for child in cls.__subclasses__() for one in (child, *all_errors(child)) if one.__module__ == errors.__name__]


@pytest.mark.parametrize("error", all_errors(), ids=lambda error: error.__name__)
def test_every_error_has_a_problem_body(error: type[errors.FaceSearchError]) -> None:
    answer = problem_of(error("what /srv/secret/path says", path="/srv/secret/path", retry_after_s=2.4), "request-1")
    body = json.loads(bytes(answer.body))
    assert answer.status_code == body["status"] == error.status
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(body) == {"type", "title", "status", "detail", "instance", "code", "context"}
    assert (body["type"], body["instance"]) == (f"urn:facesearch:error:{error.code}", "request-1")
    assert answer.headers["Retry-After"] == "3"  # not before it is over
    is_told = error.status < 500 or error.code in ("overloaded", "request_timeout")
    assert ("/srv/secret" in str(body)) is is_told
    assert ("WWW-Authenticate" in answer.headers) is (error.status == 401)


def test_what_json_cannot_hold_is_told_as_text() -> None:
    answer = problem_of(errors.InputError("x", score=float("nan"), when=object(), many=[1, {"a": {2}}]), "r")
    body = json.loads(bytes(answer.body), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert body["context"]["score"] == "nan"
    assert body["context"]["many"] == [1, {"a": [2]}]


def test_faults_of_fields_are_told_without_their_values() -> None:
    found = [{"loc": ("body", "label"), "msg": "too long", "input": "Ada Secret", "type": "x"}] * 30
    body = json.loads(bytes(validation_problem(found, "r").body))
    assert body["detail"] == "body.label: too long (and 29 more)"
    assert len(body["context"]["errors"]) == 20
    assert "Secret" not in str(body)


def test_the_form_that_a_value_failed_to_have_is_no_part_of_its_place() -> None:
    found = [
        {"loc": ("body", "face", "literal['only','largest','central']"), "msg": "no"},
        {"loc": ("body", "face", "int"), "msg": "no"},
    ]
    body = json.loads(bytes(validation_problem(found, "r").body))
    assert [one["field"] for one in body["context"]["errors"]] == ["body.face", "body.face"]
