"""Files of a form of their own become rows that the page of results can judge."""

from __future__ import annotations

from benchmarks.own_forms import in_one_form
from benchmarks.results import verdict

DETECTOR = {
    "ours": "compiled, avx512",
    "peer": "facenet-pytorch 2.5.3",
    "rows": [
        {"height": 250, "width": 250, "faces": 1, "ratio": 3.8, "ours_ms": 2.0, "peer_ms": 7.8, "ours_faces": 1, "peer_faces": 1}
    ],
}
VIDEO = {
    "video": {"width": 1280, "height": 720, "seconds": 60.0},
    "sample_rate": 5.0,
    "goal": 4.0,
    "rows": [
        {"min_face_px": px, "precision": "f32", "times_real_time": 4.5, "n_faces": 9, "n_sampled": 300, "n_tracks": 2}
        for px in (40, 20)
    ],
}


def verdicts(name: str, held: dict) -> list[str]:
    document = in_one_form(name, held, "python -m x", 2.0, "2026-01-01")
    assert document["name"] == name
    assert document["machine"]["cores"] >= 1
    return [verdict(row, 1.0) for row in document["rows"]]


def test_the_forms() -> None:
    assert verdicts("detector", DETECTOR) == ["**missed** by 0.20× (5 %)"]
    assert verdicts("video", VIDEO) == ["met", ""]


def test_files_in_the_one_form_are_left_as_they_are() -> None:
    held = {"name": "detector", "rows": [], "machine": {"cores": 2}}
    assert in_one_form("detector", held, "python -m x", 2.0, "2026-01-01") is held
