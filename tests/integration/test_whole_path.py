"""From real photographs to answers, through every room."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from facesearch import FaceSearch, compare
from facesearch.core.decision import Reason
from facesearch.core.errors import SettingsError
from facesearch.core.identity import Keep
from facesearch.imaging.crops import align_kept
from tests.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden" / "reference.npz"


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_the_astronaut_gives_the_published_vector(astronaut, tmp_path: Path, network_cache: Path, engine: str):
    with FaceSearch(tmp_path, cache_dir=network_cache, engine=engine, precision="f32") as faces:
        vector = faces.template(astronaut).vector
    with np.load(GOLDEN) as golden:
        assert float(vector @ golden["astronaut_vector"]) >= 0.999


def test_enroll_verify_identify(faces: FaceSearch, astronaut, hopper):
    darker = (astronaut * 0.6).astype(np.uint8)
    mirrored = np.ascontiguousarray(astronaut[:, ::-1])
    enrolled = faces.enroll(astronaut, "Eileen Collins", tags=["nasa"])
    assert enrolled.is_new_identity
    assert faces.verify(astronaut, darker).is_match
    assert not faces.verify(astronaut, hopper).is_match
    known = faces.identify(mirrored)[0]
    assert (known.label, known.reason) == ("Eileen Collins", Reason.MATCH)
    stranger = faces.identify(hopper)[0]
    assert (stranger.label, stranger.reason, len(stranger.candidates)) == (None, Reason.BELOW_THRESHOLD, 1)
    assert faces.verify_identity(darker, "Eileen Collins").is_match


def test_a_group_photograph(faces: FaceSearch, astronaut, hopper):
    both = np.zeros((600, 1024, 3), dtype=np.uint8)
    both[:512, :512] = astronaut
    both[:, 512:] = hopper
    faces.enroll(astronaut, "Eileen Collins")
    answers = {one.detection.centre[0] < 512: one.label for one in faces.identify(both)}
    assert answers == {True: "Eileen Collins", False: None}
    left = faces.identify(both, roi=(0, 0, 512, 512))
    assert [one.label for one in left] == ["Eileen Collins"]


def test_the_kept_crop_gives_the_same_template(faces: FaceSearch, astronaut):
    enrolled = faces.enroll(astronaut, "Eileen Collins", keep="crop")
    picture = faces.picture(enrolled.template.template_id)
    assert picture is not None
    assert picture.kind is Keep.CROP
    parts = FaceSearchParts(faces)
    crop = align_kept(picture, parts.alignment)
    again = parts.embed(crop)
    assert compare(enrolled.template.template, again) > 0.99


class FaceSearchParts:
    """The embedder of a façade's settings, for tests that start from a crop."""

    def __init__(self, faces: FaceSearch) -> None:
        from facesearch.bootstrap import Parts

        self._embedder = Parts(faces.settings).embedder
        self.alignment = self._embedder.alignment

    def embed(self, crop):
        return self._embedder.embed((crop,))[0]


def test_flip_averaged_templates_are_another_embedders(tmp_path: Path, network_cache: Path, astronaut):
    with FaceSearch(tmp_path / "plain", cache_dir=network_cache) as plain:
        single = plain.template(astronaut)
    with FaceSearch(tmp_path / "flip", cache_dir=network_cache, flip_average=True) as flipped:
        both = flipped.template(astronaut)
        mirrored = flipped.template(np.ascontiguousarray(astronaut[:, ::-1]))
        assert flipped.operating_points.at_fmr(1e-4).threshold == pytest.approx(0.4310)
    assert both.embedder_id == f"{single.embedder_id}+flip"
    assert compare(both, mirrored) > 0.99
    assert 0.9 < float(single.vector @ both.vector) < 0.99999


def test_threads_share_one_facade(faces: FaceSearch, astronaut, hopper):
    faces.enroll(astronaut, "Eileen Collins")
    expected = faces.identify(hopper)[0].candidates[0].score
    answers: list[tuple[str | None, float]] = []

    def work() -> None:
        answers.extend((faces.identify(astronaut)[0].label, faces.identify(hopper)[0].candidates[0].score) for _ in range(3))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [("Eileen Collins", pytest.approx(expected, abs=1e-6))] * 12


def test_settings_come_from_one_place(tmp_path: Path):
    with FaceSearch(tmp_path, min_face_px=48) as faces:
        assert (faces.settings.min_face_px, faces.settings.data_dir) == (48, tmp_path)
        with pytest.raises(SettingsError, match="not both"):
            FaceSearch(tmp_path, settings=faces.settings)
    with pytest.raises(SettingsError, match="min_face"):
        FaceSearch(tmp_path, min_face=20)


WARM = textwrap.dedent(
    """
    import socket, sys

    def refuse(*args, **kwargs):
        raise SystemExit(f"network: {args}")

    socket.socket.connect = refuse
    socket.socket.connect_ex = refuse
    socket.getaddrinfo = refuse
    socket.create_connection = refuse

    import facesearch
    heavy = {"torch", "openvino", "cv2", "sqlalchemy", "PIL", "hnswlib", "facenet_pytorch", "pydantic"}
    assert not heavy & set(sys.modules), heavy & set(sys.modules)
    with facesearch.FaceSearch(sys.argv[1], cache_dir=sys.argv[2]) as faces:
        answer = faces.verify(sys.argv[3], sys.argv[3])
    assert answer.is_match
    print("torch" in sys.modules, "facenet_pytorch" in sys.modules, "openvino_telemetry.main" in sys.modules)
    """
)


def test_a_warm_verify_needs_neither_torch_nor_the_network(faces: FaceSearch, tmp_path: Path, network_cache: Path, astronaut):
    faces.template(astronaut)  # converts the networks
    photo = tmp_path / "astronaut.png"
    PilImage.fromarray(astronaut).save(photo)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WARM, str(tmp_path), str(network_cache), str(photo)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["False", "False", "False"], "")
