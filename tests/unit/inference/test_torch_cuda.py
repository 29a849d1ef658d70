"""torch on a graphics card; skipped where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from facesearch.embedding import card
from facesearch.embedding.networks import network_spec
from facesearch.inference import create_engine

CONVOLUTIONS_IN_TF32 = 5e-3
"""cuDNN multiplies with 10 bits of fraction unless told otherwise."""

needs_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics card that torch can use (CUDA)")
SPEC = network_spec(card("mobilenet-128"))


def crops(n):
    return np.random.default_rng(2).integers(0, 256, (n, 112, 112, 3), dtype=np.uint8)


@needs_card
def test_a_card_gives_the_processors_vectors_whatever_the_batch():
    on_card, on_processor = (create_engine("torch", device=device).load(SPEC) for device in ("cuda", "cpu"))
    batch = crops(33)
    found, expected = on_card.run(batch)[0], on_processor.run(batch)[0]
    assert found.shape == (33, 128)
    assert np.abs(found - expected).max() < CONVOLUTIONS_IN_TF32
    assert np.abs(on_card.run(batch[5:6])[0] - found[5]).max() < CONVOLUTIONS_IN_TF32


@needs_card
def test_bf16_on_a_card_stays_near_f32_and_auto_takes_it_where_the_card_has_it():
    engine = create_engine("torch", device="cuda", precision="bf16")
    found = engine.load(SPEC).run(crops(16))[0]
    exact = create_engine("torch", device="cuda").load(SPEC).run(crops(16))[0]
    cosines = np.sum(found * exact, axis=1)
    assert cosines.size == 16
    assert (cosines > 0.999).all()
    auto = create_engine("torch", device="cuda", precision="auto")
    has_it = torch.cuda.get_device_capability()[0] >= 8
    assert auto.precision_of(SPEC) == ("bf16" if has_it else "f32")
    assert auto.precision_of(replace(SPEC, precisions=frozenset({"f32"}))) == "f32"
