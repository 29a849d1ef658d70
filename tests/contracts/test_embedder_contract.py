"""What every embedder promises, run over each engine and way of embedding."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from facesearch.core.errors import InputError
from facesearch.core.face import Detection, FaceCrop
from facesearch.core.protocols import Embedder
from facesearch.core.template import Template, compare
from facesearch.embedding import create_embedder
from facesearch.inference import create_engine

SAME_VECTOR = 1e-5


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("converted")


@pytest.fixture(scope="module", params=[("openvino", False), ("openvino", True), ("torch", False), ("torch", True)], ids=str)
def embedder(request, cache_dir) -> Embedder:
    engine, flip_average = request.param
    return create_embedder(
        "mobilenet-128", create_engine(engine, threads=2, cache_dir=cache_dir), flip_average=flip_average, batch_size=4
    )


@pytest.fixture
def crops(embedder):
    side = embedder.alignment.crop_px
    pixels = np.random.default_rng(11).integers(0, 256, (6, side, side, 3), dtype=np.uint8)
    return [FaceCrop(np.ascontiguousarray(one), Detection((0.0, 0.0, 9.0, 9.0), np.zeros((5, 2)), 1.0)) for one in pixels]


def test_one_template_a_crop_of_the_stated_length_and_id(embedder, crops):
    templates = embedder.embed(crops)
    assert len(templates) == 6
    for template in templates:
        assert isinstance(template, Template)
        assert template.dim == embedder.dim
        assert template.embedder_id == embedder.embedder_id
        assert not template.vector.flags.writeable


def test_in_order_and_the_same_again(embedder, crops):
    first, again = embedder.embed(crops), embedder.embed(list(reversed(crops)))
    assert len(first) == len(again) == 6
    for one, other in zip(first, reversed(again), strict=True):
        assert np.abs(one.vector - other.vector).max() < SAME_VECTOR
    assert compare(first[0], first[1]) < 1 - SAME_VECTOR


def test_nothing_for_nothing(embedder):
    assert embedder.embed([]) == ()


def test_another_size_of_crop(embedder, crops):
    small = FaceCrop(np.ascontiguousarray(crops[0].pixels[1:, 1:]), crops[0].detection)
    with pytest.raises(InputError, match="111"):
        embedder.embed([*crops, small])


def test_from_several_threads(embedder, crops):
    expected = [template.vector for template in embedder.embed(crops)]
    with ThreadPoolExecutor(4) as pool:
        rounds = list(pool.map(lambda _: embedder.embed(crops), range(4)))
    assert len(rounds) == 4
    for templates in rounds:
        assert np.abs(np.stack([template.vector for template in templates]) - expected).max() < SAME_VECTOR
