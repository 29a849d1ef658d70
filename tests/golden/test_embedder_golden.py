"""The network as ported gives the vectors that were published with the weights, whatever runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from facesearch.core.face import Detection, FaceCrop
from facesearch.embedding import create_embedder
from facesearch.inference import create_engine

PORT_TOLERANCE = 1e-3  # published with the vectors, f32
BATCH_TOLERANCE = 1e-5
PATH_COSINE = 0.999
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def reference():
    with np.load(Path(__file__).with_name("reference.npz")) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("converted")


@pytest.fixture(scope="module", params=["openvino", "torch"])
def embedder(request, cache_dir):
    return create_embedder("mobilenet-128", create_engine(request.param, precision="f32", threads=2, cache_dir=cache_dir))


def crop_of(pixels):
    return FaceCrop(np.ascontiguousarray(pixels), Detection((0.0, 0.0, 10.0, 10.0), np.zeros((5, 2)), 1.0))


def vectors_of(embedder, pixels):
    return np.stack([template.vector for template in embedder.embed([crop_of(one) for one in pixels])])


def test_the_port_agrees_with_the_published_vectors(embedder, reference):
    assert reference["vectors"].shape == (2, 128)
    assert np.abs(vectors_of(embedder, reference["input"]) - reference["vectors"]).max() < PORT_TOLERANCE


def test_the_astronaut_through_the_published_transform(embedder, reference, astronaut):
    crop = cv2.warpAffine(astronaut, reference["astronaut_matrix"], (112, 112), flags=cv2.INTER_LINEAR)
    (vector,) = vectors_of(embedder, [crop])
    assert float(vector @ reference["astronaut_vector"]) >= PATH_COSINE


def test_a_vector_does_not_depend_on_its_batch(embedder):
    pixels = np.random.default_rng(5).integers(0, 256, (19, 112, 112, 3), dtype=np.uint8)
    together = vectors_of(embedder, pixels)
    alone = np.concatenate([vectors_of(embedder, pixels[place : place + 1]) for place in range(len(pixels))])
    turned = vectors_of(embedder, pixels[::-1])[::-1]
    assert together.shape == (19, 128)
    assert np.abs(together - alone).max() < BATCH_TOLERANCE
    assert np.abs(together - turned).max() < BATCH_TOLERANCE


def test_flip_averaging_forgets_left_and_right(embedder, reference):
    both = type(embedder)(embedder.card, create_engine("torch", threads=2), flip_average=True)
    plain, mirrored = (vectors_of(both, pixels) for pixels in (reference["input"], reference["input"][:, :, ::-1]))
    assert np.abs(plain - mirrored).max() < BATCH_TOLERANCE
    assert np.abs(plain - reference["vectors"]).max() > PORT_TOLERANCE


WARM = """
import sys
import numpy as np
from pathlib import Path
from facesearch.core.face import Detection, FaceCrop
import facesearch.embedding
assert not {"torch", "openvino", "safetensors", "cv2", "sqlalchemy"} & sys.modules.keys()
from facesearch.embedding import create_embedder
from facesearch.inference import create_engine
embedder = create_embedder("mobilenet-128", create_engine("openvino", threads=2, cache_dir=Path(sys.argv[1])))
crop = FaceCrop(np.zeros((112, 112, 3), dtype=np.uint8), Detection((0, 0, 1, 1), np.zeros((5, 2)), 1.0))
(template,) = embedder.embed([crop])
assert template.dim == 128
print("torch" in sys.modules)
"""


def test_a_converted_network_runs_without_torch(cache_dir):
    create_embedder("mobilenet-128", create_engine("openvino", threads=2, cache_dir=cache_dir))
    done = subprocess.run(
        [sys.executable, "-c", WARM, str(cache_dir)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr


STABLE = """
import hashlib, sys
from pathlib import Path
import numpy as np
from facesearch.embedding import card
from facesearch.embedding.networks import network_spec
from facesearch.inference import create_engine
engine = create_engine("openvino", precision="f32", threads=2, cache_dir=Path(sys.argv[1]))
network = engine.load(network_spec(card("mobilenet-128")))
crops = np.random.default_rng(5).integers(0, 256, (7, 112, 112, 3), dtype=np.uint8)
print(hashlib.sha256(network.run(crops)[0].tobytes()).hexdigest())
"""


def test_f32_gives_the_same_bits_from_run_to_run(cache_dir):
    runs = [
        subprocess.run([sys.executable, "-c", STABLE, str(cache_dir)], capture_output=True, text=True, check=True, cwd=ROOT).stdout
        for _ in range(3)
    ]
    assert len(runs[0].strip()) == 64
    assert len(set(runs)) == 1
