"""Vectors stored as bytes: read beside those of float32, and no damaged one taken for a vector."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.core.compact import quantised, restored
from facesearch.core.errors import TemplateFormatError
from facesearch.store import codec
from tests.store_builders import vector

seeds = st.integers(0, 2**32 - 1)
dims = st.integers(2, 600)


@pytest.mark.parametrize("template_format", ["int8", "binary"])
@given(seeds, dims)
def test_bytes_come_back_as_the_vector_they_stand_for(template_format: str, seed: int, dim: int) -> None:
    original = vector(seed, dim)
    data = codec.encode_vector(original, template_format)
    assert len(data) % 4 == 1
    assert dim + 1 <= len(data) <= dim + 4
    found = codec.decode_vector(data, dim=dim)
    np.testing.assert_array_equal(found, restored(quantised(original[None]))[0])
    assert codec.encode_vector(found, template_format) == data


@given(seeds, st.integers(1, 12), st.integers(2, 64))
def test_a_gallery_may_hold_both(seed: int, count: int, dim: int) -> None:
    is_bytes = np.random.default_rng(seed).random(count) < 0.5
    rows = [codec.encode_vector(vector(seed + n, dim), "int8" if is_bytes[n] else "f32") for n in range(count)]
    for wanted_dim in (None, dim):
        together = codec.decode_vectors(rows, range(count), dim=wanted_dim)
        np.testing.assert_array_equal(together, np.stack([codec.decode_vector(row) for row in rows]))


@given(seeds, st.integers(2, 40), st.integers(0, 60))
def test_a_damaged_first_byte_or_length_is_noticed(seed: int, dim: int, cut: int) -> None:
    data = codec.encode_vector(vector(seed, dim), "int8")
    damaged = [bytes([0x11]) + data[1:], data[: min(cut, len(data) - 1)], data + b"\0"]
    assert len(damaged) == 3
    for one in damaged:
        with pytest.raises(TemplateFormatError):
            codec.decode_vector(one, dim=dim)
        with pytest.raises(TemplateFormatError):
            codec.decode_vectors([data, one], [1, 2], dim=dim)


def test_bytes_of_no_vector_are_named() -> None:
    data = codec.encode_vector(vector(1, 8), "int8")
    dim_3 = codec.encode_vector(vector(1, 7), "int8")
    assert dim_3[-1:] == b"\0"
    cases = [bytes([data[0]]) + bytes(8), dim_3[:-1] + b"\1"]
    for one in cases:
        with pytest.raises(TemplateFormatError, match="stored template 5"):
            codec.decode_vectors([one], [5])
