from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import safetensors.numpy

from facesearch.core.errors import CheckpointDigestError, CheckpointFormatError, CheckpointNotFoundError, EngineError
from facesearch.embedding import NetworkEmbedder, card
from facesearch.embedding.networks import network_spec
from facesearch.embedding.scales import F32_ALONE, parse_precisions, read_scales, scales_content
from facesearch.inference import create_engine, native_precisions
from facesearch.inference.quantisation import Quantisation, QuantisedLayer, with_zero

CARD = card("mobilenet-128")
DIGEST = "ab" * 32


def saved(folder, content):
    path = folder / "scales.safetensors"
    path.write_bytes(content)
    return path, hashlib.sha256(content).hexdigest()


def test_scales_round_trip_in_order(tmp_path):
    layers = [QuantisedLayer(f"layer.{place}", *with_zero(-place - 1.0, [2.0] * (place + 1))) for place in range(12)]
    layers[3] = replace(layers[3], balance=np.float32([1, 2]), shift=np.float32([0.5, -1, 3]))
    path, digest = saved(tmp_path, scales_content(Quantisation(tuple(layers))))
    found = read_scales(path, sha256=digest).layers
    assert [layer.name for layer in found] == [layer.name for layer in layers]
    for one, other in zip(found, layers, strict=True):
        for part in ("low", "high", "balance", "shift"):
            assert np.array_equal(getattr(one, part), getattr(other, part))


def test_another_file_is_refused_before_it_is_parsed(tmp_path):
    path, _ = saved(tmp_path, b"no safetensors at all")
    with pytest.raises(CheckpointDigestError, match=DIGEST):
        read_scales(path, sha256=DIGEST)
    with pytest.raises(CheckpointNotFoundError):
        read_scales(tmp_path / "absent", sha256=DIGEST)


ONE = np.ones(1, np.float32)


@pytest.mark.parametrize(
    "content",
    [
        b"no safetensors",
        safetensors.numpy.save({"000.conv.step": ONE}),
        safetensors.numpy.save({"000.conv.low": -ONE}),
        safetensors.numpy.save({"000.conv.low": ONE, "000.conv.high": ONE}),
        safetensors.numpy.save({"000.conv.low": -ONE.astype(np.float64), "000.conv.high": ONE}),
        safetensors.numpy.save({}),
    ],
    ids=["no tensors", "unknown part", "half a range", "zero outside", "float64", "nothing"],
)
def test_a_file_without_usable_scales_is_a_format_error_that_names_it(tmp_path, content):
    path, digest = saved(tmp_path, content)
    with pytest.raises(CheckpointFormatError, match=r"scales\.safetensors"):
        read_scales(path, sha256=digest)


def test_a_card_says_what_was_measured(tmp_path):
    assert parse_precisions({}, tmp_path) == F32_ALONE
    assert parse_precisions({"bf16": {}}, tmp_path).measured == {"f32", "bf16"}
    found = parse_precisions({"int8": {"file": "a.safetensors", "sha256": DIGEST}}, tmp_path)
    assert found.measured == {"f32", "int8"}
    assert (found.scales, found.int8.digest) == (tmp_path / "a.safetensors", DIGEST)


@pytest.mark.parametrize(
    "fields",
    [{"f16": {}}, {"int8": {"file": "../a", "sha256": DIGEST}}, {"int8": {"file": "a", "sha256": "AB" * 32}}],
)
def test_precisions_that_make_no_sense_are_refused(tmp_path, fields):
    with pytest.raises(ValueError, match=r"precisions are|int8 names"):
        parse_precisions(fields, tmp_path)


def test_the_shipped_scales_fit_the_shipped_network():
    scales = CARD.precisions.int8.load()
    assert len(scales.layers) == 28
    assert [layer.name for layer in scales.layers[:3]] == ["stem.conv", "blocks.0.depthwise", "blocks.0.pointwise"]
    assert CARD.precisions.measured == {"f32", "bf16", "int8"}


class RecordingEngine:
    name = "recording"

    def __init__(self, precision):
        self.precision = precision

    def load(self, spec):
        self.spec = spec


def test_int8_asked_of_an_embedder_without_figures_is_an_error_and_auto_is_not():
    unmeasured = replace(CARD, precisions=F32_ALONE)
    with pytest.raises(EngineError, match="mobilenet-128 was never measured in int8"):
        NetworkEmbedder(unmeasured, RecordingEngine("int8"))
    engine = RecordingEngine("auto")
    NetworkEmbedder(unmeasured, engine)
    assert engine.spec.precisions == {"f32"}
    NetworkEmbedder(CARD, RecordingEngine("int8"))


@pytest.mark.skipif("int8" not in native_precisions(), reason="this processor has no instructions for int8 products")
def test_the_shipped_embedder_in_int8_and_f32_give_vectors_to_be_compared(astronaut, caplog):
    with np.load(Path(__file__).parents[2] / "golden" / "reference.npz") as stored:
        crop = cv2.warpAffine(astronaut, stored["astronaut_matrix"], (112, 112), flags=cv2.INTER_LINEAR)
    crops = np.stack([crop, crop[:, ::-1]])
    with caplog.at_level(logging.INFO, logger="facesearch"):
        coarse = create_engine("openvino", precision="auto").load(network_spec(CARD)).run(crops)[0]
    assert "network mobilenet-128 computes in int8" in caplog.text
    exact = create_engine("openvino", precision="f32").load(network_spec(CARD)).run(crops)[0]
    cosines = np.sum(exact * coarse, axis=1)
    assert cosines.size == 2
    assert (cosines > 0.98).all()
    assert (cosines < 1 - 1e-6).all()
