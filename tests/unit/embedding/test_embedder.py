from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesearch.core.errors import CheckpointDigestError, InputError, ModelError, SettingsError, UnknownEmbedderError
from facesearch.core.face import Detection, FaceCrop
from facesearch.embedding import NetworkEmbedder, card, create_embedder
from facesearch.embedding.card import Preparation
from facesearch.embedding.networks import network_spec

CARD = card("mobilenet-128")
SAME = 1e-6


def crop_of(pixels):
    return FaceCrop(np.ascontiguousarray(pixels), Detection((0.0, 0.0, 10.0, 10.0), np.zeros((5, 2)), 1.0))


def random_crops(n, seed=3, side=112):
    rng = np.random.default_rng(seed)
    return [crop_of(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)) for _ in range(n)]


def left_columns(batch):
    """A stand-in for a network whose vector depends on left and right: the first 43 columns' sums, cut to 128 numbers."""
    return batch[:, 0, :43].reshape(len(batch), -1)[:, :128].astype(np.float32) + 1


class FakeNetwork:
    def __init__(self, compute):
        self.compute = compute
        self.sizes = []

    def run(self, batch):
        assert batch.dtype == np.uint8
        self.sizes.append(len(batch))
        return (self.compute(batch),)


class FakeEngine:
    name = "fake"
    precision = "f32"

    def __init__(self, compute=left_columns):
        self.network = FakeNetwork(compute)
        self.specs = []

    def load(self, spec):
        self.specs.append(spec)
        return self.network


def test_vectors_in_order_with_the_embedders_id():
    crops = random_crops(5)
    engine = FakeEngine()
    embedder = NetworkEmbedder(CARD, engine, batch_size=2)
    templates = embedder.embed(crops)
    assert len(templates) == 5
    assert engine.network.sizes == [2, 2, 1]
    for crop, template in zip(crops, templates, strict=True):
        expected = left_columns(crop.pixels[None])[0]
        assert np.abs(template.vector - expected / np.linalg.norm(expected)).max() < SAME
        assert template.embedder_id == "mobilenet-128@2ba6bdb49bd2"
    assert (embedder.dim, embedder.alignment.name, embedder.alignment.crop_px) == (128, "arcface-112", 112)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 9), batch_size=st.integers(1, 7))
def test_flip_averaging_is_the_normalised_mean_of_both_views(n, batch_size):
    crops = random_crops(n)
    engine = FakeEngine()
    embedder = NetworkEmbedder(CARD, engine, flip_average=True, batch_size=batch_size)
    templates = embedder.embed(crops)
    assert len(templates) == n
    assert sum(engine.network.sizes) == 2 * n
    assert max(engine.network.sizes) <= batch_size
    for crop, template in zip(crops, templates, strict=True):
        views = [left_columns(pixels[None])[0].astype(np.float64) for pixels in (crop.pixels, crop.pixels[:, ::-1])]
        mean = sum(view / np.linalg.norm(view) for view in views) / 2
        assert np.abs(template.vector - mean / np.linalg.norm(mean)).max() < SAME
        assert template.embedder_id == "mobilenet-128@2ba6bdb49bd2+flip"


def test_no_crops_give_no_templates_and_run_nothing():
    engine = FakeEngine()
    assert NetworkEmbedder(CARD, engine).embed([]) == ()
    assert engine.network.sizes == []


def test_a_crop_of_another_size_is_named_before_anything_runs():
    engine = FakeEngine()
    with pytest.raises(InputError, match="crop 1 is 96 pixels wide, mobilenet-128 wants 112"):
        NetworkEmbedder(CARD, engine).embed([*random_crops(1), *random_crops(1, side=96)])
    assert engine.network.sizes == []


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
@pytest.mark.parametrize("flip_average", [False, True])
def test_a_vector_without_direction_is_an_error(value, flip_average):
    engine = FakeEngine(lambda batch: np.full((len(batch), 128), value, dtype=np.float32))
    with pytest.raises(ModelError, match="zero or not finite"):
        NetworkEmbedder(CARD, engine, flip_average=flip_average).embed(random_crops(1))


def test_views_that_cancel_out_are_an_error():
    def opposite(batch):
        return np.where(np.arange(len(batch)) % 2, -1.0, 1.0)[:, None].astype(np.float32) * np.ones(128, dtype=np.float32)

    with pytest.raises(ModelError, match="zero or not finite"):
        NetworkEmbedder(CARD, FakeEngine(opposite), flip_average=True).embed(random_crops(1))


@pytest.mark.parametrize("shape", [(1, 64), (2, 128), (128,)])
def test_an_output_of_another_shape_is_an_error(shape):
    engine = FakeEngine(lambda _batch: np.ones(shape, dtype=np.float32))
    with pytest.raises(ModelError, match="instead of"):
        NetworkEmbedder(CARD, engine).embed(random_crops(1))


def test_batch_size_below_one():
    with pytest.raises(SettingsError, match="at least 1, not 0"):
        NetworkEmbedder(CARD, FakeEngine(), batch_size=0)


def test_unknown_name_lists_what_there_is():
    with pytest.raises(UnknownEmbedderError, match=r"'facenet'.*mobilenet-128@2ba6bdb49bd2"):
        create_embedder("facenet", FakeEngine())


def test_damaged_weights_are_found_even_where_the_engine_needs_none(tmp_path):
    damaged = tmp_path / "damaged.safetensors"
    content = bytearray(CARD.weights_path.read_bytes())
    content[5_000_000] ^= 1
    damaged.write_bytes(content)
    engine = FakeEngine()
    with pytest.raises(CheckpointDigestError, match=CARD.sha256):
        NetworkEmbedder(dataclasses.replace(CARD, weights_path=damaged), engine)
    assert engine.specs == []


def test_what_the_graph_depends_on_is_in_the_digest_it_is_kept_under():
    specs = [
        network_spec(changed)
        for changed in (
            CARD,
            dataclasses.replace(CARD, sha256="0" * 64),
            dataclasses.replace(CARD, preparation=Preparation(mean=CARD.mean)),
            dataclasses.replace(CARD, preparation=Preparation(scale=CARD.preparation.scale)),
            dataclasses.replace(CARD, preparation=dataclasses.replace(CARD.preparation, is_bgr=True)),
            dataclasses.replace(CARD, preparation=dataclasses.replace(CARD.preparation, is_standardised=True)),
            dataclasses.replace(CARD, dim=64),
            dataclasses.replace(CARD, format="onnx", output="fc1"),
            dataclasses.replace(CARD, format="onnx", layout="nhwc"),
        )
    ]
    assert len({spec.digest for spec in specs}) == 9
    assert network_spec(CARD).digest == specs[0].digest
    assert specs[0].example_shape[1:] == (112, 112, 3)
    assert specs[0].example_dtype == "uint8"


@pytest.mark.parametrize(("batch_size", "sizes"), [(1, [1]), (16, [1, 16])])
def test_warming_up_runs_a_crop_and_a_full_batch(batch_size, sizes):
    engine = FakeEngine()
    NetworkEmbedder(CARD, engine, batch_size=batch_size).warm_up()
    assert engine.network.sizes == sizes
