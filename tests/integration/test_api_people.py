"""People over HTTP: enrolment, changes and races, repeated requests, pages, and labels that try to be something else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from facesearch.api.repeats import finish_under_way
from facesearch.core.access import Scope
from tests.api_world import Api
from tests.world import face_at, person_vector

PEOPLE = "/v1/collections/default/identities"

INJECTIONS = [
    *("'; DROP TABLE identities; --", '" OR 1=1 --', "%", "_", "\\", "{{7*7}}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "{0.__class__}"),
    *(
        "<img src=x onerror=alert(1)>",
        "</script><script>alert(1)</script>",
        "../../etc/passwd",
        "%00",
        "%s%s%n",
        "日本語 ☕",
        "\u202etxt.exe",
    ),
]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    made = Api(tmp_path, requests_per_minute=None)
    yield made
    made.close()


def enrolled(api: Api, label: str, person: int, **named: object) -> int:
    answer = api.enroll(label, person, **named)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["identity"]["identity_id"])


def test_several_photographs_make_one_person_and_failures_are_listed(api: Api) -> None:
    photos = [api.networks.portrait_png(f"p{n}", 1, 0.9, photo=n) for n in range(2)]
    files = [("photo", ("a.png", photos[0])), ("photo", ("b.png", b"broken")), ("photo", ("c.png", photos[1]))]
    answer = api.ask("POST", PEOPLE, files=files, data={"label": "Ada", "tag": ["staff", "london"]})
    assert answer.status_code == 201
    body = answer.json()
    assert [one["photo"] for one in body["enrollments"]] == [0, 2]
    assert [(one["photo"], one["name"], one["code"]) for one in body["failures"]] == [(1, "b.png", "image_undecodable")]
    assert body["identity"]["tags"] == ["london", "staff"]
    assert body["identity"]["n_faces"] == 2
    assert answer.headers["Location"] == f"{PEOPLE}/{body['identity']['identity_id']}"


def test_where_no_photograph_can_be_enrolled_the_first_error_is_the_answer(api: Api) -> None:
    two = api.networks.png("two", (face_at(0, 0, 30), person_vector(1)), (face_at(32, 32, 30), person_vector(2)))
    files = [("photo", ("a.png", two)), ("photo", ("b.png", b"broken"))]
    answer = api.ask("POST", PEOPLE, files=files, data={"label": "Ada"})
    assert answer.status_code == 422
    assert answer.json()["code"] == "several_faces"
    assert [one["code"] for one in answer.json()["context"]["failures"]] == ["several_faces", "image_undecodable"]
    assert api.ask("GET", "/v1/collections").json()["items"] == []


def test_of_several_faces_one_is_chosen_by_region(api: Api) -> None:
    two = api.networks.png("two", (face_at(0, 0, 30), person_vector(1)), (face_at(32, 32, 30), person_vector(2)))
    answer = api.ask("POST", PEOPLE, files={"photo": ("a.png", two)}, data={"label": "Ada", "roi": "30,30,64,64"})
    assert answer.status_code == 201
    assert answer.json()["enrollments"][0]["box"] == [32.0, 32.0, 62.0, 62.0]


def test_two_who_saw_the_same_person_cannot_both_rename(api: Api) -> None:
    where = f"{PEOPLE}/{enrolled(api, 'Ada', 1)}"
    seen = api.ask("GET", where).headers["ETag"]

    def rename(number: int) -> int:
        return api.ask("PATCH", where, json={"label": f"Ada {number}"}, headers={"If-Match": seen}).status_code

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(rename, range(8)))
    assert sorted(answers) == [200] + [412] * 7
    now = api.ask("GET", where)
    assert now.headers["ETag"] != seen
    assert now.json()["label"] == f"Ada {answers.index(200)}"


@pytest.mark.parametrize("change", ["enroll", "tags", "merge", "face"])
def test_every_change_of_a_person_changes_the_etag(api: Api, change: str) -> None:
    ada, bob = enrolled(api, "Ada", 1), enrolled(api, "Bob", 2)
    where = f"{PEOPLE}/{ada}"
    seen = api.ask("GET", where).headers["ETag"]
    assert api.ask("GET", where).headers["ETag"] == seen
    if change == "enroll":
        photo = {"photo": ("p.png", api.networks.portrait_png("further", 1, 0.9, photo=7))}
        assert api.ask("POST", f"{where}/faces", files=photo).status_code == 201
    elif change == "tags":
        assert api.ask("PATCH", where, json={"tags": ["new"]}).status_code == 200
    elif change == "merge":
        assert api.ask("POST", f"{PEOPLE}/{bob}/merge", json={"into": ada}).status_code == 200
    else:
        template = api.ask("GET", f"{where}/faces").json()["items"][0]["template_id"]
        assert api.ask("DELETE", f"{where}/faces/{template}").status_code == 204
    assert api.ask("GET", where).headers["ETag"] != seen
    for method, path, body in (("DELETE", where, None), ("PATCH", where, {"label": "late"})):
        answer = api.ask(method, path, headers={"If-Match": seen}, **({"json": body} if body else {}))
        assert answer.status_code == 412


def test_if_match_is_one_etag(api: Api) -> None:
    where = f"{PEOPLE}/{enrolled(api, 'Ada', 1)}"
    for tag in ("abc", 'W/"abc"', '"a", "b"', ""):
        assert api.ask("PATCH", where, json={"label": "x"}, headers={"If-Match": tag}).status_code == 422
    assert api.ask("PATCH", where, json={"label": "x"}, headers={"If-Match": "*"}).status_code == 200


def test_a_write_sent_twice_is_done_once(api: Api) -> None:
    photo = api.networks.portrait_png("once", 1)
    answers = [
        api.ask("POST", PEOPLE, files={"photo": ("p.png", photo)}, data={"label": "Ada"}, headers={"Idempotency-Key": "k1"})
        for _ in range(3)
    ]
    assert [one.status_code for one in answers] == [201] * 3
    assert len({one.text for one in answers}) == 1
    assert [one.headers.get("Idempotent-Replayed") for one in answers] == [None, "true", "true"]
    assert len({one.headers["ETag"] for one in answers}) == 1
    assert len({one.headers["X-Request-ID"] for one in answers}) == 3
    assert api.ask("GET", "/v1/collections/default").json()["n_templates"] == 1
    other = api.ask("POST", PEOPLE, files={"photo": ("p.png", photo)}, data={"label": "Bob"}, headers={"Idempotency-Key": "k1"})
    assert other.status_code == 409
    assert other.json()["code"] == "idempotency_conflict"


def test_what_was_answered_about_somebody_deleted_is_forgotten_with_them(api: Api) -> None:
    photo = api.networks.portrait_png("once", 1, 0.9)
    asked = {"files": {"photo": ("p.png", photo)}, "data": {"label": "Zenobia"}, "headers": {"Idempotency-Key": "k1"}}
    identity_id = api.ask("POST", PEOPLE, **asked).json()["identity"]["identity_id"]
    like = api.networks.portrait_png("twin", 1, 0.9, photo=2)
    twin = {"files": {"photo": ("p.png", like)}, "data": {"label": "Bob", "allow_duplicate": "true"}}
    twin["headers"] = {"Idempotency-Key": "k2"}
    answer = api.ask("POST", PEOPLE, **twin)
    assert answer.json()["enrollments"][0]["possible_duplicate"] == "Zenobia"
    changed = {"json": {"label": "Zenobia", "tags": ["q"]}, "headers": {"Idempotency-Key": "k3"}}
    assert api.ask("PATCH", f"{PEOPLE}/{identity_id}", **changed).status_code == 200
    other = {"json": {"name": "office"}, "headers": {"Idempotency-Key": "k4"}}
    assert api.ask("POST", "/v1/collections", **other).status_code == 201
    assert api.ask("POST", PEOPLE, **asked).headers["Idempotent-Replayed"] == "true"
    assert api.ask("DELETE", f"{PEOPLE}/{identity_id}").status_code == 204
    for method, path, again in (("POST", PEOPLE, asked), ("POST", PEOPLE, twin), ("PATCH", f"{PEOPLE}/{identity_id}", changed)):
        answer = api.ask(method, path, **again)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_identity")
    assert [one.label for one in api.world.faces.list(collection="default")] == ["Bob"]
    assert api.ask("POST", "/v1/collections", **other).headers["Idempotent-Replayed"] == "true"


def test_what_was_answered_about_a_collection_is_forgotten_with_it(api: Api) -> None:
    photo = api.networks.portrait_png("once", 1)
    asked = {"files": {"photo": ("p.png", photo)}, "data": {"label": "Ada"}, "headers": {"Idempotency-Key": "k1"}}
    assert api.ask("POST", "/v1/collections/gone/identities", **asked).status_code == 201
    assert api.ask("POST", "/v1/collections/kept/identities", **asked | {"headers": {"Idempotency-Key": "k2"}}).status_code == 201
    assert api.ask("DELETE", "/v1/collections/gone").status_code == 204
    assert api.ask("POST", "/v1/collections/gone/identities", **asked).status_code == 404
    kept = api.ask("POST", "/v1/collections/kept/identities", **asked | {"headers": {"Idempotency-Key": "k2"}})
    assert (kept.status_code, kept.headers["Idempotent-Replayed"]) == (201, "true")


def test_keys_of_repetition_belong_to_their_holder(api: Api) -> None:
    for key in (api.every, api.key(Scope.ENROLL)):
        name = f"Ada {key[:8]}"
        answer = api.ask("PATCH", f"{PEOPLE}/999", key=key, json={"label": name}, headers={"Idempotency-Key": "k"})
        assert answer.status_code == 404


def test_a_write_that_failed_may_be_sent_again_under_its_key(api: Api) -> None:
    asked = {"json": {"label": "Eve"}, "headers": {"Idempotency-Key": "again"}}
    assert api.ask("PATCH", f"{PEOPLE}/1", **asked).status_code == 404
    assert enrolled(api, "Ada", 1) == 1
    assert api.ask("PATCH", f"{PEOPLE}/1", **asked).status_code == 200


@pytest.mark.parametrize("end", ["late", "cancelled"])
def test_a_write_that_goes_on_without_its_caller_is_answered_when_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    api = Api(tmp_path, requests_per_minute=None, request_timeout_s=0.2 if end == "late" else 30)
    try:
        begun, go = threading.Event(), threading.Event()
        add = api.world.faces.add_collection

        def slowly(name: str) -> Any:
            begun.set()
            assert go.wait(20)
            return add(name)

        monkeypatch.setattr(api.world.faces, "add_collection", slowly)
        asked = {"json": {"name": "office"}, "headers": {"Idempotency-Key": "k"}}
        if end == "late":
            assert api.ask("POST", "/v1/collections", **asked).status_code == 504
        else:
            assert api.leave(begun, "POST", "/v1/collections", **asked)
        waiting = api.ask("POST", "/v1/collections", **asked)
        assert (waiting.status_code, waiting.headers["Retry-After"]) == (409, "1")
        go.set()
        api.run(finish_under_way(api.app))
        answer = api.ask("POST", "/v1/collections", **asked)
        assert (answer.status_code, answer.json()["name"]) == (201, "office")
        assert answer.headers["Idempotent-Replayed"] == "true"
    finally:
        go.set()
        api.close()


def test_concurrent_repetitions_enroll_once(api: Api) -> None:
    photo = api.networks.portrait_png("once", 1)

    def enroll(_: int) -> int:
        return api.ask(
            "POST", PEOPLE, files={"photo": ("p.png", photo)}, data={"label": "Ada"}, headers={"Idempotency-Key": "same"}
        ).status_code

    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(enroll, range(6)))
    assert set(answers) <= {201, 409}
    assert 201 in answers
    assert api.ask("GET", "/v1/collections/default").json()["n_templates"] == 1


def test_a_new_key_is_not_kept_for_repetition(api: Api) -> None:
    asked = {"json": {"name": "x", "scopes": ["read"]}, "headers": {"Idempotency-Key": "secret"}}
    first, second = (api.ask("POST", "/v1/keys", **asked).json() for _ in range(2))
    assert first["text"] != second["text"]
    database = b"".join(file.read_bytes() for file in api.world.folder.glob("gallery.db*"))
    assert first["text"].encode() not in database


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    made = Api(tmp_path_factory.mktemp("shared"), requests_per_minute=None)
    yield made
    made.close()


@pytest.mark.parametrize(("number", "label"), list(enumerate(INJECTIONS)))
def test_a_label_is_text_and_nothing_else(shared: Api, number: int, label: str) -> None:
    api, collection = shared, f"injection {number}"
    people = f"/v1/collections/{collection}/identities"
    identity_id = enrolled(api, label, 1, tag=[label], collection=collection)
    enrolled(api, "Bystander", 2, collection=collection)
    shown = api.ask("GET", f"{people}/{identity_id}")
    assert (shown.json()["label"], shown.json()["tags"]) == (label, [label])
    assert shown.headers["content-type"] == "application/json"
    found = api.ask("GET", people, params={"contains": label}).json()["items"]
    assert [one["label"] for one in found] == [label]
    assert [one["label"] for one in api.ask("GET", people, params={"tag": label}).json()["items"]] == [label]
    photo = {"photo": ("p.png", api.networks.portrait_png("probe", 1, 0.9, photo=5))}
    who = api.ask("POST", f"/v1/collections/{collection}/identify", files=photo).json()["faces"][0]
    assert who["label"] == label
    assert api.ask("GET", f"/v1/collections/{collection}").json()["n_identities"] == 2


@pytest.mark.parametrize("name", ["'; DROP TABLE collections; --", "{{7*7}}", "%2e%2e", "名", "a?b#c"])
def test_a_collections_name_is_text_and_nothing_else(shared: Api, name: str) -> None:
    made = shared.ask("POST", "/v1/collections", json={"name": name})
    assert made.status_code == 201
    assert made.json()["name"] == name
    where = f"/v1/collections/{quote(name, safe='')}"
    assert shared.ask("GET", where).json()["name"] == name
    assert shared.ask("DELETE", where).status_code == 204


@pytest.mark.parametrize("name", ["a/b", "..", ".", "", "a\nb", "x" * 201])
def test_a_collection_that_no_address_could_name_is_not_made(shared: Api, name: str) -> None:
    assert shared.ask("POST", "/v1/collections", json={"name": name}).status_code == 422
    job = {"collection": name, "items": [{"digest": "0" * 64, "label": "Ada"}]}
    assert shared.ask("POST", "/v1/jobs", json=job).status_code == 422
    photo = {"file": ("p.png", shared.networks.portrait_png("unreachable", 3))}
    at = f"/api/v1/recognition/faces?subject=Ada&collection={quote(name, safe='')}"
    assert shared.ask("POST", at, files=photo).status_code == 422
    if "/" not in name and name:
        where = f"/v1/collections/{quote(name, safe='').replace('.', '%2e')}"
        assert shared.ask("POST", f"{where}/identities", files={"photo": photo["file"]}, data={"label": "Ada"}).status_code == 422
        assert shared.ask("POST", f"{where}/import", content=b"PK").status_code == 422
    assert name not in [one["name"] for one in shared.ask("GET", "/v1/collections?limit=500").json()["items"]]


@pytest.mark.parametrize("label", ["", "   ", "a\nb", "a\x00b", "\x1b[31m", "x" * 201])
def test_a_label_that_is_none_is_refused(shared: Api, label: str) -> None:
    assert shared.enroll(label, 1).status_code == 422
    identity_id = shared.ask("GET", "/v1/collections/injection 0/identities").json()["items"][0]["identity_id"]
    changed = shared.ask("PATCH", f"/v1/collections/injection 0/identities/{identity_id}", json={"label": label})
    assert changed.status_code == 422


def test_pages_hold_everybody_once(api: Api) -> None:
    labels = sorted(f"Person {number:02}" for number in range(7))
    for number, label in enumerate(labels):
        enrolled(api, label, number)
    seen, cursor = [], None
    for _ in range(10):
        page = api.ask("GET", PEOPLE, params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        seen += [one["label"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == labels


def test_a_cursor_that_was_tampered_with_is_refused(api: Api) -> None:
    for number in range(3):
        enrolled(api, f"Person {number}", number)
    cursor = api.ask("GET", PEOPLE, params={"limit": 1}).json()["next_cursor"]
    assert api.ask("GET", PEOPLE, params={"limit": 1, "cursor": cursor}).status_code == 200
    altered = [cursor[:place] + ("A" if one != "A" else "B") + cursor[place + 1 :] for place, one in enumerate(cursor)]
    assert len(altered) > 10
    others = [cursor + "A", cursor[:-1], cursor + "=", "", "x", "é", "A" * 5000]
    for one in [*altered, *others[:3], *others[4:]]:
        answer = api.ask("GET", PEOPLE, params={"limit": 1, "cursor": one})
        assert answer.status_code == 422, one
    foreign = api.ask("GET", PEOPLE, params={"limit": 1, "cursor": cursor, "contains": "Person"})
    assert foreign.status_code == 422, "a cursor belongs to its filters"


def test_somebody_of_another_collection_is_nobody_here(api: Api) -> None:
    ada = enrolled(api, "Ada", 1)
    enrolled(api, "Bob", 2, collection="other")
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/faces"), ("GET", "/faces/1/picture"), ("DELETE", "/faces/1")):
        assert api.ask(method, f"/v1/collections/other/identities/{ada}{path}").status_code == 404
    assert api.ask("POST", f"{PEOPLE}/{ada}/merge", json={"into": 2}).status_code == 404


def test_a_removed_person_is_found_no_more(api: Api) -> None:
    ada = enrolled(api, "Ada", 1)
    photo = {"photo": ("p.png", api.networks.portrait_png("probe", 1, 0.9, photo=5))}
    asked = ("POST", "/v1/collections/default/identify")
    assert api.ask(*asked, files=photo).json()["faces"][0]["identity_id"] == ada
    assert api.ask("DELETE", f"{PEOPLE}/{ada}", params={"erase": "true"}).status_code == 204
    assert api.ask(*asked, files=photo).json()["faces"][0]["reason"] == "empty_gallery"
    assert api.ask("GET", f"{PEOPLE}/{ada}").status_code == 404


def test_not_this_person_holds_until_it_is_taken_back(api: Api) -> None:
    ada = enrolled(api, "Ada", 1)
    photo = {"photo": ("p.png", api.networks.portrait_png("probe", 1, 0.9, photo=5))}
    asked = ("POST", "/v1/collections/default/identify")
    said = api.ask("POST", "/v1/collections/default/feedback", files=photo, data={"identity_id": ada, "kind": "reject"})
    assert said.status_code == 201
    assert api.ask(*asked, files=photo).json()["faces"][0]["reason"] == "rejected"
    listed = api.ask("GET", "/v1/collections/default/feedback").json()["items"]
    assert [one["feedback_id"] for one in listed] == [said.json()["feedback_id"]]
    assert api.ask("DELETE", f"/v1/collections/default/feedback/{said.json()['feedback_id']}").status_code == 204
    assert api.ask(*asked, files=photo).json()["faces"][0]["is_match"] is True


def test_every_decision_and_change_is_in_the_audit_log_without_labels(api: Api) -> None:
    ada = enrolled(api, "Ada Secret", 1)
    photo = api.networks.portrait_png("probe", 1, 0.9, photo=5)
    one = {"photo": ("p.png", photo)}
    api.ask("POST", "/v1/verify", files={"photo_a": ("a.png", photo), "photo_b": ("b.png", photo)})
    api.ask("POST", "/v1/collections/default/identify", files=one)
    api.ask("POST", f"{PEOPLE}/{ada}/verify", files=one)
    request_id = api.ask("PATCH", f"{PEOPLE}/{ada}", json={"label": "Ada Other"}).headers["X-Request-ID"]
    api.ask("DELETE", f"{PEOPLE}/{ada}")
    listed = api.ask("GET", "/v1/audit").json()["items"]
    assert [entry["action"] for entry in listed] == [
        *("identity.delete", "identity.update", "identity.verify", "identify", "verify", "enroll")
    ]
    decisions = [entry for entry in listed if entry["action"] in ("verify", "identify", "identity.verify")]
    assert all(entry["threshold"] is not None and entry["score"] is not None for entry in decisions)
    assert [entry["identity_ids"] for entry in decisions] == [[ada], [ada], []]
    assert listed[1]["request_id"] == request_id
    assert "Secret" not in str(listed)
    assert api.ask("POST", "/v1/audit/verify").json()["is_whole"] is True


def test_an_answer_that_cannot_be_audited_is_not_given(api: Api) -> None:
    enrolled(api, "Ada", 1)
    (api.world.folder / "audit.head").unlink()
    photo = {"photo": ("p.png", api.networks.portrait_png("probe", 1, 0.9, photo=5))}
    answer = api.ask("POST", "/v1/collections/default/identify", files=photo)
    assert answer.status_code == 503
    assert answer.json()["code"] == "audit_broken"
    assert "Ada" not in answer.text
    assert str(api.world.folder) not in answer.text, "an answer names no file of the server"


def test_request_ids_are_taken_over_where_they_are_harmless(api: Api) -> None:
    assert api.ask("GET", "/v1/me", headers={"X-Request-ID": "order-66.a_B"}).headers["X-Request-ID"] == "order-66.a_B"
    for odd in ("a b", "x" * 65, "é", '"', "<b>"):
        given = api.ask("GET", "/v1/me", headers={"X-Request-ID": odd.encode("latin-1")}).headers["X-Request-ID"]
        assert given != odd
        assert len(given) == 32


def test_logs_at_info_tell_neither_labels_nor_scores(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        ada = enrolled(api, "Ada Secret", 1)
        api.ask("PATCH", f"{PEOPLE}/{ada}", json={"label": "Ada Other"})
        photo = {"photo": ("p.png", api.networks.portrait_png("probe", 1, 0.9, photo=5))}
        score = api.ask("POST", "/v1/collections/default/identify", files=photo).json()["faces"][0]["candidates"][0]["score"]
        api.ask("DELETE", f"{PEOPLE}/{ada}", params={"erase": "true"})
    told = " ".join(record.getMessage() for record in caplog.records)
    assert "Secret" not in told
    assert "Ada" not in told
    assert f"{score:.3f}" not in told


def test_a_machine_may_ask_for_the_headers_only(api: Api) -> None:
    for path in ("/healthz", "/readyz"):
        assert api.ask("HEAD", path, key=None).status_code == 200


def test_pages_of_answers_have_the_security_headers(api: Api) -> None:
    for path in ("/v1/me", "/v1/nothing", "/healthz"):
        headers = api.ask("GET", path).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe-inline" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
    assert api.ask("GET", "/v1/me").headers["Cache-Control"] == "no-store"
