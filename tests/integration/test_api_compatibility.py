"""Calls of deepface's API and of CompreFace: their shapes, this service's decisions, and nothing read that was not sent."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from facesearch.core.access import Scope
from tests.api_world import Api
from tests.world import face_at, person_vector

PLACES = [
    "/etc/passwd",
    "./a.jpg",
    "../a.jpg",
    "~/a.jpg",
    "C:\\a.jpg",
    "file:///etc/passwd",
    "http://127.0.0.1/a.jpg",
    "https://a.b/c.jpg",
]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    made = Api(tmp_path_factory.mktemp("compat"), requests_per_minute=None)
    for place, label in enumerate(("Ada", "Bob")):
        assert made.enroll(label, place).status_code == 201
    yield made
    made.close()


def portrait(api: Api, name: str, person: int, photo: int = 1) -> bytes:
    return api.networks.portrait_png(name, person, 0.9, photo)


def two_faces(api: Api) -> bytes:
    return api.networks.png("two", (face_at(2, 2, 20), person_vector(0, 0.9, 2)), (face_at(30, 30, 30), person_vector(5)), size=64)


def text_of(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def deepface(api: Api, call: str, **body: Any) -> Any:
    answer = api.ask("POST", f"/deepface/{call}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "euclidean_l2", "angular"])
def test_deepface_verifies(api: Api, metric: str):
    a, b, c = portrait(api, "a", 0), portrait(api, "b", 0, 2), portrait(api, "c", 1)
    same = deepface(
        api, "verify", img1=text_of(a), img2=text_of(b), distance_metric=metric, model_name="Facenet", detector_backend="opencv"
    )
    other = deepface(api, "verify", img1=text_of(a), img2=text_of(c), distance_metric=metric)
    assert set(same) == {
        *(
            "verified",
            "distance",
            "threshold",
            "confidence",
            "model",
            "detector_backend",
            "similarity_metric",
            "facial_areas",
            "time",
        )
    }
    assert same["verified"] is True
    assert same["distance"] <= same["threshold"] == other["threshold"] < other["distance"]
    assert other["verified"] is False
    assert same["similarity_metric"] == metric
    assert same["model"] == api.world.faces.embedder_id
    area = same["facial_areas"]["img1"]
    assert set(area) == {"x", "y", "w", "h", "left_eye", "right_eye"}
    assert (area["x"], area["y"], area["w"], area["h"]) == (10, 10, 40, 40)
    assert area["left_eye"][0] > area["right_eye"][0]


def test_deepface_takes_files_old_names_and_plain_base64(api: Api):
    a, b = portrait(api, "a", 0), portrait(api, "b", 0, 2)
    by_file = api.ask(
        "POST", "/deepface/verify", files={"img1": ("a.png", a), "img2": ("b.png", b)}, data={"model_name": "ArcFace"}
    )
    assert by_file.json()["verified"] is True
    old = deepface(api, "verify", img1_path=base64.b64encode(a).decode(), img2_path=text_of(b))
    assert old["distance"] == pytest.approx(by_file.json()["distance"])


def test_deepface_compares_the_most_alike_faces(api: Api):
    answer = deepface(api, "verify", img1=text_of(two_faces(api)), img2=text_of(portrait(api, "b", 0, 2)))
    assert answer["verified"] is True
    assert answer["facial_areas"]["img1"]["x"] == 2


def test_deepface_looks_at_each_photograph_once(api: Api):
    before = api.networks.n_embedded
    two = text_of(two_faces(api))
    assert deepface(api, "verify", img1=two, img2=two)["verified"] is True
    assert api.networks.n_embedded - before == 4


def test_deepface_leaves_out_who_was_removed_while_it_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    api = Api(tmp_path)
    try:
        for place, label in enumerate(("Ada", "Bob")):
            assert api.enroll(label, place).status_code == 201
        faces = api.world.faces
        identify = faces.identify

        def decided(*given: Any, **named: Any) -> Any:
            found = identify(*given, **named)
            faces.remove("Ada")
            return found

        monkeypatch.setattr(faces, "identify", decided)
        (found,) = deepface(api, "find", img=text_of(portrait(api, "a", 0)), similarity_search=True)["results"]
        assert [one["identity"] for one in found] == ["Bob"]
    finally:
        api.close()


def test_deepface_represents(api: Api):
    results = deepface(api, "represent", img=text_of(two_faces(api)))["results"]
    assert len(results) == 2
    for one in results:
        assert set(one) == {"embedding", "facial_area", "face_confidence"}
        assert math.hypot(*one["embedding"]) == pytest.approx(1.0, abs=1e-5)
    (largest,) = deepface(api, "represent", img_path=text_of(two_faces(api)), max_faces=1)["results"]
    assert largest["facial_area"]["w"] == 30
    no_vectors = api.ask("POST", "/deepface/represent", key=api.key(Scope.VERIFY, Scope.IDENTIFY), json={"img": "x"})
    assert no_vectors.status_code == 403


@pytest.mark.parametrize("call", ["find", "search"])
def test_deepface_finds(api: Api, call: str):
    results = deepface(api, call, img=text_of(two_faces(api)))["results"]
    assert len(results) == 2
    named = [[one["identity"] for one in face] for face in results]
    assert sorted(named) == [[], ["Ada"]]
    (found,) = next(face for face in results if face)
    assert found["distance"] <= found["threshold"]
    assert (found["source_x"], found["target_x"]) == (2, 10)
    everybody = deepface(api, call, img=text_of(portrait(api, "stranger", 6)), similarity_search=True, k=2)["results"]
    assert [len(face) for face in everybody] == [2]
    assert everybody[0][0]["distance"] <= everybody[0][1]["distance"]
    for k, status in ((100, 200), (101, 422)):
        body = {"img": text_of(two_faces(api)), "k": k}
        assert api.ask("POST", f"/deepface/{call}", json=body).status_code == status


@pytest.mark.parametrize("place", PLACES)
def test_paths_and_addresses_are_never_followed(api: Api, place: str):
    good = text_of(portrait(api, "a", 0))
    for call, body in (
        ("represent", {"img": place}),
        ("represent", {"img_path": place}),
        ("verify", {"img1": place, "img2": good}),
        ("verify", {"img1": good, "img2_path": place}),
        ("find", {"img": place}),
    ):
        for sent in ({"json": body}, {"files": {name: (None, value) for name, value in body.items()}}):
            answer = api.ask("POST", f"/deepface/{call}", **sent)
            assert answer.status_code == 422, (call, body)
            assert "not followed" in answer.json()["detail"] or "base64" in answer.json()["detail"]
    recognised = api.ask("POST", "/api/v1/recognition/recognize", json={"file": place})
    assert recognised.status_code == 422


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("verify", {"img1": "QUJD"}),
        ("verify", {"img1": "QUJD", "img2": "QUJD", "distance_metric": "manhattan"}),
        ("represent", {"img": 3}),
        ("represent", {"img": "QUJD", "max_faces": 0}),
        ("find", {"img": "QUJD", "k": "many"}),
        ("find", {"img": "QUJD", "collection": ["a"]}),
        ("find", []),
    ],
)
def test_wrong_requests_are_refused(api: Api, call: str, body: Any):
    answer = api.ask("POST", f"/deepface/{call}", json=body)
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert api.ask("POST", f"/deepface/{call}", content=b"x", headers={"Content-Type": "text/plain"}).status_code == 415


def recognised(api: Api, photo: bytes, **params: Any) -> Any:
    answer = api.ask("POST", "/api/v1/recognition/recognize", files={"file": ("a.png", photo)}, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_compreface_recognises(api: Api):
    (stranger, ada) = recognised(api, two_faces(api))["result"]
    assert stranger["box"] == {"probability": pytest.approx(0.99), "x_min": 30, "y_min": 30, "x_max": 60, "y_max": 60}
    assert stranger["subjects"] == []
    assert [one["subject"] for one in ada["subjects"]] == ["Ada"]
    assert 0 < ada["subjects"][0]["similarity"] <= 1
    assert set(ada) == {"box", "subjects"}


def test_compreface_s_options_hold(api: Api):
    assert len(recognised(api, two_faces(api), limit=1)["result"]) == 1
    told = recognised(api, two_faces(api), face_plugins="landmarks,calculator,age", status="true", detect_faces="true")
    assert len(told["result"]) == 2
    for one in told["result"]:
        assert len(one["landmarks"]) == 5
        assert len(one["embedding"]) == api.networks.dim
        assert one["execution_time"]["all"] >= 0
    assert told["plugins_versions"]["calculator"] == api.world.faces.embedder_id
    nobody = api.ask(
        "POST", "/api/v1/recognition/recognize", files={"file": ("a.png", two_faces(api))}, params={"det_prob_threshold": 1.0}
    )
    assert nobody.json()["code"] == "no_face"
    in_json = api.ask("POST", "/api/v1/recognition/recognize", json={"file": base64.b64encode(portrait(api, "a", 0)).decode()})
    assert in_json.json()["result"][0]["subjects"][0]["subject"] == "Ada"
    vectors = api.ask(
        *("POST", "/api/v1/recognition/recognize"),
        key=api.key(Scope.IDENTIFY),
        files={"file": ("a.png", two_faces(api))},
        params={"face_plugins": "calculator"},
    )
    assert vectors.status_code == 403


def test_compreface_adds_faces_to_the_only_collection_of_the_key(api: Api):
    api.ask("POST", "/v1/collections", json={"name": "doors"})
    own = {"X-API-Key": api.key(Scope.ENROLL, Scope.IDENTIFY, Scope.READ, collections=["doors"])}
    photo = portrait(api, "eva", 4)
    added = api.ask(
        *("POST", "/api/v1/recognition/faces"), key=None, headers=own, params={"subject": "Eva"}, files={"file": ("a.png", photo)}
    )
    assert added.status_code == 201
    assert (added.json()["subject"], added.json()["image_id"].isdigit()) == ("Eva", True)
    assert api.ask("GET", "/api/v1/recognition/subjects", key=None, headers=own).json() == {"subjects": ["Eva"]}
    found = api.ask(
        "POST", "/api/v1/recognition/recognize", key=None, headers=own, files={"file": ("a.png", portrait(api, "eva 2", 4, 3))}
    )
    assert found.json()["result"][0]["subjects"][0]["subject"] == "Eva"
    foreign = api.ask("GET", "/api/v1/recognition/subjects", key=None, headers=own, params={"collection": "default"})
    assert (foreign.status_code, foreign.json()["code"]) == (404, "unknown_collection")


def test_every_decision_is_in_the_audit_log(api: Api):
    before = len(api.context.audit.rows(0, 10_000))
    deepface(api, "verify", img1=text_of(portrait(api, "a", 0)), img2=text_of(portrait(api, "c", 1)))
    deepface(api, "find", img=text_of(two_faces(api)))
    recognised(api, two_faces(api))
    new = [one.event for one in api.context.audit.rows(0, 10_000)[before:]]
    assert [one.action for one in new] == ["verify", *["identify"] * 4]
    assert [one.outcome for one in new] == ["no_match", *["match", "no_match"], *["no_match", "match"]]
    assert all(one.threshold is not None and one.score is not None for one in new)
