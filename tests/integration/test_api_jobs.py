"""Bulk jobs over the service's routes: digests, photographs as forms and as they are, pages, limits, other people's jobs."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from facesearch.core.access import Scope
from tests.api_world import Api

DONE_WITHIN_S = 30


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    made = Api(tmp_path)
    for name in ("staff", "guests"):
        assert made.ask("POST", "/v1/collections", json={"name": name}).status_code == 201
    yield made
    made.close()


def portraits(api: Api, n: int) -> list[bytes]:
    return [api.networks.portrait_png(f"p{place}", place, 0.9) for place in range(n)]


def submit(api: Api, photographs: list[bytes], **more: Any) -> dict[str, Any]:
    items = [
        {"digest": digest_of(data), "label": f"Person {place}", "name": f"{place}.png"} for place, data in enumerate(photographs)
    ]
    answer = api.ask("POST", "/v1/jobs", json={"kind": "enroll", "collection": "staff", "items": items, **more})
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"/v1/jobs/{answer.json()['job_id']}"
    return answer.json()


def finished(api: Api, job_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + DONE_WITHIN_S
    while time.monotonic() < deadline:
        job = api.ask("GET", f"/v1/jobs/{job_id}").json()
        if job["n_waiting"] == 0:
            return job
        time.sleep(0.02)
    raise AssertionError(f"not done within {DONE_WITHIN_S} s: {job}")


def test_photographs_come_as_forms_as_base64_and_as_they_are(api: Api):
    photographs = portraits(api, 4)
    job = submit(api, photographs)
    where = f"/v1/jobs/{job['job_id']}"
    assert (job["state"], job["n_items"], job["n_waiting"], job["collection"]) == ("waiting_for_photos", 4, 4, "staff")
    form = api.ask("POST", f"{where}/photos", files=[("photo", ("b.png", one)) for one in photographs[1:3]])
    assert form.status_code == 202
    assert [one["receipt"] for one in form.json()["photos"]] == ["held", "held"]
    assert [one["digest"] for one in form.json()["photos"]] == [digest_of(one) for one in photographs[1:3]]
    in_json = api.ask("POST", f"{where}/photos", json={"photos": [base64.b64encode(photographs[3]).decode()]})
    assert in_json.status_code == 202
    as_is = api.ask("PUT", f"{where}/photos/{digest_of(photographs[0])}", content=photographs[0])
    assert as_is.status_code == 202, as_is.text
    done = finished(api, job["job_id"])
    assert (done["state"], done["n_done"], done["n_failed"]) == ("done", 4, 0)
    items = api.ask("GET", f"{where}/items").json()["items"]
    assert [(one["label"], one["state"], one["name"]) for one in items] == [(f"Person {n}", "done", f"{n}.png") for n in range(4)]
    people = api.world.faces.list(collection="staff")
    assert [one.identity_id for one in people] == [one["identity_id"] for one in items]


def test_what_is_sent_must_have_the_digest_it_is_sent_under(api: Api):
    photographs = portraits(api, 1)
    job = submit(api, photographs)
    wrong = api.ask("PUT", f"/v1/jobs/{job['job_id']}/photos/{digest_of(photographs[0])}", content=photographs[0] + b"x")
    assert (wrong.status_code, wrong.json()["code"]) == (422, "bad_input")
    foreign = api.ask("POST", f"/v1/jobs/{job['job_id']}/photos", files=[("photo", ("x.png", b"something else"))])
    assert [one["receipt"] for one in foreign.json()["photos"]] == ["not_needed"]
    assert foreign.json()["n_free_bytes"] == api.settings.job_memory_bytes


def test_lists_come_in_pages(api: Api):
    photographs = portraits(api, 5)
    jobs = [submit(api, photographs[:n]) for n in range(1, 4)]
    first = api.ask("GET", "/v1/jobs", params={"limit": 2}).json()
    rest = api.ask("GET", "/v1/jobs", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [one["job_id"] for one in [*first["items"], *rest["items"]]] == [one["job_id"] for one in reversed(jobs)]
    assert rest["next_cursor"] is None
    for part in ("items", "missing"):
        where, found, cursor = f"/v1/jobs/{jobs[2]['job_id']}/{part}", [], None
        while True:
            page = api.ask("GET", where, params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
            found += [one["digest"] for one in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert found == [digest_of(one) for one in photographs[:3]]
    assert api.ask("GET", where, params={"cursor": first["next_cursor"]}).status_code == 422
    waiting = api.ask("GET", f"/v1/jobs/{jobs[0]['job_id']}/items", params={"state": "done"}).json()
    assert waiting["items"] == []


def test_a_job_is_cancelled_resumed_and_forgotten(api: Api):
    photographs = portraits(api, 2)
    job = submit(api, photographs)
    where = f"/v1/jobs/{job['job_id']}"
    assert api.ask("POST", f"{where}/cancel").json()["state"] == "cancelled"
    refused = api.ask("POST", f"{where}/photos", files=[("photo", ("a.png", photographs[0]))])
    assert (refused.status_code, refused.json()["code"]) == (409, "job_over")
    assert api.ask("POST", f"{where}/resume").json()["state"] == "waiting_for_photos"
    api.ask("POST", f"{where}/photos", files=[("photo", ("a.png", one)) for one in photographs])
    assert finished(api, job["job_id"])["state"] == "done"
    assert api.ask("POST", f"{where}/cancel").status_code == 409
    assert api.ask("DELETE", where).status_code == 204
    assert api.ask("GET", where).json()["code"] == "unknown_job"
    assert len(api.world.faces.list(collection="staff")) == 2


def test_a_job_of_another_collection_is_none(api: Api):
    job = submit(api, portraits(api, 1))
    stranger = api.key(Scope.ENROLL, collections=["guests"])
    where = f"/v1/jobs/{job['job_id']}"
    asked = [("GET", where), ("GET", f"{where}/items"), ("GET", f"{where}/missing"), ("POST", f"{where}/cancel")]
    asked += [("POST", f"{where}/resume"), ("DELETE", where)]
    for method, path in asked:
        answer = api.ask(method, path, key=stranger)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_job"), path
    sent = api.ask("POST", f"{where}/photos", key=stranger, files=[("photo", ("a.png", portraits(api, 1)[0]))])
    assert sent.status_code == 404
    assert api.ask("GET", "/v1/jobs", key=stranger).json()["items"] == []
    made = {"collection": "staff", "items": [{"digest": "0" * 64, "label": "Ada"}]}
    assert api.ask("POST", "/v1/jobs", key=stranger, json=made).json()["code"] == "unknown_collection"
    assert api.ask("GET", where, key=api.key(Scope.READ)).status_code == 403


@pytest.mark.parametrize(
    "wrong",
    [
        {"items": []},
        {"items": [{"digest": "0" * 63, "label": "Ada"}]},
        {"items": [{"digest": "0" * 64, "label": ""}]},
        {"items": [{"digest": "0" * 64, "label": "Ada"}, {"digest": "0" * 64, "label": "Ada"}]},
        {"items": [{"digest": "0" * 64, "label": "Ada"}], "kind": "train"},
        {"items": [{"digest": "0" * 64, "label": "Ada"}], "options": {"face": "best"}},
        {"items": [{"digest": "0" * 64, "label": "Ada"}], "options": {"keep": "crop"}},
        {"items": [{"digest": "0" * 64, "label": "Ada"}], "options": {"keep": "photo"}},
        {"items": [{"digest": "0" * 64, "label": "Ada", "url": "http://example.org/a.jpg"}]},
    ],
)
def test_a_wrong_job_is_refused(api: Api, wrong: dict[str, Any]):
    answer = api.ask("POST", "/v1/jobs", json={"collection": "staff", **wrong})
    assert answer.status_code == 422, answer.text
    assert api.ask("GET", "/v1/jobs").json()["items"] == []


def test_a_job_may_ask_for_no_picture(api: Api):
    assert submit(api, portraits(api, 1), options={"keep": "none"})["state"] == "waiting_for_photos"


def test_the_memory_for_photographs_is_bounded(tmp_path: Path):
    api = Api(tmp_path, job_memory_bytes=16 * 1024, max_body_bytes=64 * 1024, body_memory_bytes=64 * 1024)
    api.ask("POST", "/v1/collections", json={"name": "staff"})
    photographs = portraits(api, 3)
    assert 8 * 1024 < len(photographs[0]) < 16 * 1024
    job = submit(api, photographs)
    where = f"/v1/jobs/{job['job_id']}/photos"
    sent = api.ask("POST", where, files=[("photo", ("a.png", one)) for one in photographs])
    assert [one["receipt"] for one in sent.json()["photos"]] == ["held", "no_room", "no_room"]
    deadline = time.monotonic() + DONE_WITHIN_S
    n_refused = 0
    for one in photographs[1:]:
        while (answer := api.ask("POST", where, files=[("photo", ("a.png", one))])).status_code == 429:
            assert answer.json()["code"] == "job_memory_full"
            assert int(answer.headers["Retry-After"]) >= 1
            n_refused += 1
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert finished(api, job["job_id"])["n_done"] == 3
    api.close()


def test_everything_about_a_job_is_in_the_audit_log(api: Api):
    photographs = portraits(api, 2)
    job = submit(api, photographs)
    api.ask("POST", f"/v1/jobs/{job['job_id']}/cancel")
    api.ask("POST", f"/v1/jobs/{job['job_id']}/resume")
    api.ask("POST", f"/v1/jobs/{job['job_id']}/photos", files=[("photo", ("a.png", one)) for one in photographs])
    finished(api, job["job_id"])
    api.ask("DELETE", f"/v1/jobs/{job['job_id']}")
    events = [one.event for one in api.context.audit.rows(0, 100) if one.event.subject == job["job_id"]]
    said = [one.action for one in events]
    assert said[:3] == ["job.create", "job.cancel", "job.resume"]
    assert said[-1] == "job.delete"
    enrolled = [one for one in events if one.action == "enroll"]
    assert sum(len(one.template_ids) for one in enrolled) == 2
    assert api.context.audit.verify().is_sound
