"""The benchmark's peers do what their own code does: the frozen graph in facenet-pytorch's network, SCRFD's faces, OpenCV."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import peer_systems

pytestmark = [pytest.mark.peers, pytest.mark.slow]

COSINE_TOLERANCE = 1e-4


@pytest.fixture
def carried():
    def path(name):
        try:
            return peer_systems.carried(name)
        except peer_systems.MissingFileError as exc:
            pytest.skip(str(exc))

    return path


def test_facenet_pytorchs_network_with_the_graphs_weights_equals_the_graph(carried):
    import cv2
    import torch

    graph = cv2.dnn.readNetFromTensorflow(carried("casia"))
    network = peer_systems.casia_network()
    crops = np.random.default_rng(0).normal(size=(2, 3, 160, 160)).astype(np.float32)
    with torch.inference_mode():
        found = network(torch.from_numpy(crops)).numpy()
    for crop, vector in zip(crops, found, strict=True):
        graph.setInput(crop[None])
        expected = graph.forward().ravel()
        assert expected @ vector / np.linalg.norm(expected) / np.linalg.norm(vector) == pytest.approx(1.0, abs=COSINE_TOLERANCE)
    assert abs(found[0] @ found[1]) < 0.999


def test_opencvs_pair_finds_and_recognises(carried, astronaut, cat):
    carried("yunet")
    system = peer_systems.opencv()
    crop = system.find(astronaut)
    assert crop.shape == (112, 112, 3)
    darker = system.embed((crop * 0.8).astype(np.uint8))
    assert darker @ system.embed(crop) > 0.9
    assert system.find(cat) is None


def test_scrfds_outputs_become_faces_without_overlapping_ones():
    sides = {8: 80, 16: 40, 32: 20}
    parts = {
        stride: [np.zeros((side * side * 2, width), dtype=np.float32) for width in (1, 4, 10)] for stride, side in sides.items()
    }
    score, box, points = parts[16]
    for place, value in ((2 * (5 * 40 + 7), 0.9), (2 * (5 * 40 + 8), 0.8), (2 * (30 * 40 + 30) + 1, 0.6), (4, 0.4)):
        score[place], box[place] = value, 2.0
        points[place] = np.tile([0.5, -1.0], 5)
    outputs = [parts[stride][part] for part in range(3) for stride in (8, 16, 32)]
    boxes, five = peer_systems._scrfd_faces(outputs)
    assert boxes.tolist() == [[80.0, 48.0, 144.0, 112.0], [448.0, 448.0, 512.0, 512.0]]
    assert five.shape == (2, 5, 2)
    assert five[0, 0].tolist() == [120.0, 64.0]
