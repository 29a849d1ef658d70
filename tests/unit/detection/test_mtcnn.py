from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from facesearch.core.errors import CheckpointDigestError, CheckpointNotFoundError, ModelError, SettingsError
from facesearch.core.image import Image
from facesearch.detection import DetectorSettings, MtcnnDetector
from facesearch.detection.networks import network_specs
from facesearch.detection.weights import weights_folder
from facesearch.inference import create_engine


def image(pixels) -> Image:
    return Image(np.ascontiguousarray(pixels), "0" * 64)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return create_engine("openvino", threads=2, cache_dir=tmp_path_factory.mktemp("networks"))


@pytest.fixture(scope="module")
def crowd(astronaut, hopper):
    """Four faces of falling size, the largest about 120 pixels wide."""
    scene = np.full((640, 900, 3), 90, np.uint8)
    scene[:512, :400] = astronaut[:, 50:450]
    scene[:512:, 400:800] = hopper[:512, 50:450]
    scene[512:640, 0:128] = astronaut[::2, ::2][:128, 50:178]
    scene[512:612, 300:400] = astronaut[::3, ::3][:100, 30:130]
    return scene


@pytest.mark.parametrize(
    "values",
    [
        {"min_face_px": 5},
        {"min_face_px": 20.0},
        {"min_face_px": True},
        {"scale_factor": 0.0},
        {"scale_factor": 1.0},
        {"scale_factor": 0.9999},
        {"scale_factor": float("nan")},
        {"thresholds": (0.6, 0.7)},
        {"thresholds": (0.6, 0.7, 1.1)},
        {"thresholds": (0.6, float("nan"), 0.7)},
        {"max_faces": 0},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(SettingsError):
        DetectorSettings(**values)


def test_max_faces_keeps_those_of_highest_score(engine, crowd):
    every = MtcnnDetector(engine).detect(image(crowd))
    assert len(every) == 4
    best = MtcnnDetector(engine, DetectorSettings(max_faces=2)).detect(image(crowd))
    assert [face.box for face in best] == [face.box for face in every[:2]]


def test_faces_much_smaller_than_the_smallest_are_not_found(engine, crowd):
    sizes = {
        min_face_px: [face.height for face in MtcnnDetector(engine, DetectorSettings(min_face_px=min_face_px)).detect(image(crowd))]
        for min_face_px in (20, 80, 160)
    }
    assert [len(found) for found in sizes.values()] == [4, 3, 2]
    assert all(height > min_face_px / 2 for min_face_px, found in sizes.items() for height in found)


def test_higher_thresholds_find_no_more(engine, crowd):
    counts = [
        len(MtcnnDetector(engine, DetectorSettings(thresholds=thresholds)).detect(image(crowd)))
        for thresholds in [(0.3, 0.3, 0.3), (0.6, 0.7, 0.7), (0.6, 0.7, 0.99999)]
    ]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] >= 4 > counts[2]


def test_thresholds_of_one_let_nothing_through(engine, crowd):
    assert MtcnnDetector(engine, DetectorSettings(thresholds=(1.0, 1.0, 1.0))).detect(image(crowd)) == ()


def test_long_lists_go_through_in_runs_and_come_back_in_order(engine, astronaut):
    face, blank = image(astronaut[40:240, 130:330]), image(np.zeros((50, 40, 3), np.uint8))
    found = MtcnnDetector(engine).detect_batch([face, blank, blank] * 25)
    assert [len(faces) for faces in found] == [1, 0, 0] * 25


def test_a_crowd_of_proposals_is_judged_in_several_runs(engine):
    noise = np.random.default_rng(4).integers(0, 256, (180, 180, 3), dtype=np.uint8)
    detector = MtcnnDetector(engine, DetectorSettings(thresholds=(0.0, 0.0, 0.0)))
    faces = detector.detect(image(noise))
    assert len(faces) >= 1
    assert all(0.0 <= face.score <= 1.0 for face in faces)


def test_the_weights_are_those_of_the_wheel_and_found_without_importing_it():
    code = (
        "import sys\nfrom facesearch.detection.weights import weights_folder\n"
        "assert sorted(p.name for p in weights_folder().glob('*net.pt')) == ['onet.pt', 'pnet.pt', 'rnet.pt']\n"
        "print('torch' in sys.modules, 'facenet_pytorch' in sys.modules, 'openvino' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "False"]


def test_a_missing_wheel_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CheckpointNotFoundError, match=r"pip install facenet-pytorch==2\.5\.3"):
        weights_folder()


def test_a_missing_weight_file_is_named(tmp_path, cat):
    with pytest.raises(CheckpointNotFoundError, match=r"pnet\.pt.*pip install"):
        MtcnnDetector(create_engine("torch"), weights_folder=tmp_path).detect(image(cat))


@pytest.mark.parametrize("name", ["pnet.pt", "rnet.pt", "onet.pt"])
@pytest.mark.parametrize("engine_name", ["openvino", "torch"])
def test_other_weights_are_refused_with_both_digests(tmp_path, cat, name, engine_name):
    shutil.copytree(weights_folder(), tmp_path / "data")
    path = tmp_path / "data" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointDigestError, match=f"{name} has SHA-256 [0-9a-f]{{12}}…, the published weights have") as caught:
        MtcnnDetector(create_engine(engine_name), weights_folder=tmp_path / "data").detect(image(cat))
    assert isinstance(caught.value, ModelError)


def test_the_networks_equal_those_of_the_wheel():
    import facenet_pytorch
    import torch

    peers = (facenet_pytorch.models.mtcnn.PNet(), facenet_pytorch.models.mtcnn.RNet(), facenet_pytorch.models.mtcnn.ONet())
    rng = np.random.default_rng(6)
    shapes = [(2, 57, 74, 3), (5, 24, 24, 3), (5, 48, 48, 3)]
    compared = 0
    for spec, peer, shape in zip(network_specs(), peers, shapes, strict=True):
        rgb = rng.uniform(0, 255, shape).astype(np.float32)
        scores, *rest = create_engine("openvino").load(spec).run(rgb)
        with torch.no_grad():
            *others, probabilities = peer(torch.from_numpy((rgb.transpose(0, 3, 1, 2) - 127.5) * 0.0078125))
        assert np.abs(scores - probabilities[:, 1].numpy()).max() < 1e-5
        assert len(rest) == len(others)
        for found, expected in zip(rest, others, strict=True):
            assert np.abs(found - expected.numpy()).max() < 1e-5
            compared += 1
    assert compared == 4


WARM = """
import sys, socket
def refuse(*args, **kwargs): raise AssertionError("a connection was tried")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
import numpy as np
from pathlib import Path
from facesearch.core.image import Image
from facesearch.detection import MtcnnDetector
from facesearch.inference import create_engine
detector = MtcnnDetector(create_engine("openvino", cache_dir=Path(sys.argv[1])), native=sys.argv[2] == "native")
detector.detect(Image(np.zeros((64, 64, 3), np.uint8), ""))
print("torch" in sys.modules, "facenet_pytorch" in sys.modules)
"""


def test_a_warm_detector_imports_neither_torch_nor_the_wheel(tmp_path):
    answers = [
        subprocess.run([sys.executable, "-c", WARM, str(tmp_path), how], capture_output=True, text=True, check=True).stdout.split()
        for how in ("engine", "engine", "native")
    ]
    assert answers == [["True", "False"], ["False", "False"], ["False", "False"]]
    assert len(list(Path(tmp_path).glob("mtcnn-*.ir"))) == 3
