"""Videos on the command line, with real networks: made from packaged photographs, indexed, searched, shown and removed."""

from __future__ import annotations

import csv
import json

import cv2
import numpy as np
import pytest
from PIL import Image as PilImage

from facesearch.cli.main import execute
from facesearch.imaging.sheet import TILE_PX
from tests.video_files import cut, write_video

FPS = 10.0


def scene(face: np.ndarray, step: float, *, blur: float = 0.0) -> np.ndarray:
    """Return a frame of 640×480 with a photograph that moves to the right, grows and blurs as ``step`` goes from 0 to 1."""
    side = round(300 + 120 * step)
    part = cv2.resize(face[:512, :512], (side, side), interpolation=cv2.INTER_AREA)
    if blur:
        part = cv2.GaussianBlur(part, (0, 0), blur)
    frame = np.full((480, 640, 3), 70, np.uint8)
    x, y = round(20 + 180 * step), round(10 + 40 * step)
    frame[y : y + side, x : x + side] = part
    return frame


@pytest.fixture(scope="module")
def films(tmp_path_factory, astronaut, hopper):
    """Both people's photographs and a video: the one for 2.5 s, nobody for 1.5 s, the other for 2 s, more and more blurred."""
    folder = tmp_path_factory.mktemp("films")
    PilImage.fromarray(np.ascontiguousarray(astronaut[:, ::-1])).save(folder / "eileen.jpg", quality=90)
    PilImage.fromarray(hopper).save(folder / "grace.jpg", quality=90)
    frames = [scene(astronaut, step / 24) for step in range(25)]
    frames += [np.full((480, 640, 3), 70, np.uint8)] * 15
    frames += [scene(hopper, step / 19, blur=0.1 + step / 10) for step in range(20)]
    write_video(folder / "film.mp4", frames, fps=FPS)
    cut(write_video(folder / "cut.avi", frames, fps=FPS), 0.3)
    (folder / "letter.mp4").write_text("This is no video.\n" * 50)
    return folder


@pytest.fixture(scope="module")
def gallery(films, tmp_path_factory):
    """The options of every command: a gallery and a cache of this module's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACESEARCH_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("FACESEARCH_DATA_DIR", raising=False)
        patch.chdir(films)
        yield ["--data-dir", str(tmp_path_factory.mktemp("gallery"))]


def answer(capsys, gallery: list[str], *arguments: str, expect: int = 0) -> str:
    capsys.readouterr()
    code = execute([*gallery, *arguments])
    told = capsys.readouterr()
    assert code == expect, (arguments, told.out, told.err)
    return told.err if expect > 1 else told.out


def test_a_video_is_indexed_searched_and_removed(capsys, gallery, films):
    answer(capsys, gallery, "enroll", "eileen.jpg", "Eileen")
    indexed = json.loads(answer(capsys, gallery, "index-video", "film.mp4", "--enroll-unknown", "--report", "tracks.csv", "--json"))
    long = [one for one in indexed["tracks"] if one["n_faces"] >= 3]
    assert [one["label"] for one in long] == ["Eileen", "unknown-1"]
    assert indexed["enrolled"] == ["unknown-1"]
    assert (indexed["n_frames"], indexed["n_sampled"], indexed["is_cut"], indexed["min_face_px"]) == (60, 30, False, 40)
    assert (long[0]["start_s"], long[0]["end_s"], long[1]["start_s"]) == (0.0, 2.4, 4.0)
    assert long[1]["end_s"] >= 5.0
    with (films / "tracks.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["label"] for row in rows] == [one["label"] or "" for one in indexed["tracks"]]

    found = json.loads(answer(capsys, gallery, "find-in-video", "film.mp4", "--person", "Eileen", "--sheet", "sheet.png", "--json"))
    (video,) = found["videos"]
    assert [(one["start_s"], one["end_s"]) for one in video["sightings"]] == [(0.0, 2.4)]
    assert video["sightings"][0]["score"] >= video["threshold"]
    with PilImage.open(films / "sheet.png") as picture:
        sheet = np.asarray(picture)
    face = sheet[10 : 10 + TILE_PX, 10 : 10 + TILE_PX]
    assert face.std() > 30, "the thumbnail shows something"

    text = answer(capsys, gallery, "find-in-video", "--person", "unknown-1")
    assert "unknown-1 is seen 1 time" in text
    answer(capsys, gallery, "enroll", "grace.jpg", "Grace", "--allow-duplicate")
    grace = json.loads(answer(capsys, gallery, "find-in-video", "1", "--person", "Grace", "--report", "grace.json", "--json"))
    assert grace["videos"][0]["sightings"][0]["start_s"] == 4.0
    assert json.loads((films / "grace.json").read_text()) == grace

    assert "film.mp4" in answer(capsys, gallery, "videos", "list")
    assert "Eileen" in answer(capsys, gallery, "videos", "show", "film.mp4")
    assert "index it again (--again)" in answer(capsys, gallery, "index-video", "film.mp4", expect=3)
    removed = json.loads(answer(capsys, gallery, "videos", "remove", "film.mp4", "--yes", "--json"))
    assert removed["n_tracks"] == len(indexed["tracks"])
    assert json.loads(answer(capsys, gallery, "videos", "list", "--json"))["videos"] == []


def test_a_cut_video_is_used_as_far_as_it_goes_and_the_file_may_go(capsys, gallery, films):
    answer(capsys, gallery, "enroll", "eileen.jpg", "Eileen", "-c", "second")
    capsys.readouterr()
    assert execute([*gallery, "index-video", "cut.avi", "-c", "second", "--min-face", "60"]) == 0
    told = capsys.readouterr()
    assert "1 of 1 track recognised" in told.out
    assert "is incomplete" in told.err
    shown = json.loads(answer(capsys, gallery, "videos", "list", "-c", "second", "--json"))["videos"][0]
    assert (shown["is_cut"], shown["min_face_px"]) == (True, 60)
    assert shown["end_s"] < shown["duration_s"] == 6.0
    (films / "cut.avi").unlink()
    assert execute([*gallery, "find-in-video", "cut.avi", "--person", "Eileen", "-c", "second", "--sheet", "gone.jpg"]) == 0
    assert "no thumbnails of" in capsys.readouterr().err
    with PilImage.open(films / "gone.jpg") as picture:
        assert picture.width > TILE_PX


@pytest.fixture(scope="module")
def third(gallery):
    """The same, with one person enrolled in a collection that has no video."""
    assert execute([*gallery, "enroll", "eileen.jpg", "Eileen", "-c", "third"]) == 0
    return gallery


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["index-video", "letter.mp4"], 2, "is no video"),
        (["index-video", "none.mp4"], 2, "no such file"),
        (["index-video", "film.mp4", "--rate", "0"], 2, "frames looked at a second"),
        (["index-video", "film.mp4", "--report", "tracks.txt"], 2, ".json or .csv"),
        (["index-video", "film.mp4", "--report", "nowhere/tracks.csv"], 2, "there is no folder"),
        (["find-in-video", "--person", "Nobody", "-c", "third"], 3, "nobody is enrolled as 'Nobody'"),
        (["find-in-video", "99", "--person", "Eileen", "-c", "third"], 3, "video 99 is not indexed"),
        (["find-in-video", "film.mp4", "--person", "Eileen", "-c", "third"], 3, "facesearch index-video film.mp4"),
        (["find-in-video", "--person", "Eileen", "--sheet", "sheet.gif"], 2, ".png or .jpg"),
        (["videos", "show", "99"], 3, "video 99 is not indexed"),
        (["videos", "remove", "99"], 2, "add --yes"),
    ],
)
def test_bad_input_is_told_with_its_code(capsys, third, arguments, code, message):
    assert message in answer(capsys, third, *arguments, expect=code)


def test_somebody_who_is_not_there_is_1(capsys, gallery):
    answer(capsys, gallery, "enroll", "eileen.jpg", "Eileen", "-c", "fourth")
    assert "no video is indexed" in answer(capsys, gallery, "find-in-video", "--person", "Eileen", "-c", "fourth", expect=1)
