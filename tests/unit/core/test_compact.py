"""Bytes and bits against loops over numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.core import compact
from facesearch.core.errors import TemplateFormatError
from tests.gallery_oracle import unit

seeds = st.integers(0, 2**32 - 1)
dims = st.integers(2, 300)


def drawn(seed: int, dim: int, n: int = 4) -> np.ndarray:
    return unit(np.random.default_rng(seed), n, dim)


@given(seeds, dims)
def test_bytes_are_rounded_numbers_scaled_to_127(seed: int, dim: int) -> None:
    vectors = drawn(seed, dim)
    codes = compact.quantised(vectors)
    assert codes.dtype == np.int8
    for vector, row in zip(vectors.tolist(), codes.tolist(), strict=True):
        largest = max(abs(value) for value in vector)
        assert max(abs(code) for code in row) == 127
        assert all(abs(code - 127 * value / largest) <= 0.5 + 1e-4 for code, value in zip(row, vector, strict=True))


@given(seeds, dims)
def test_bytes_made_vectors_and_bytes_again_stay(seed: int, dim: int) -> None:
    codes = compact.quantised(drawn(seed, dim))
    vectors = compact.restored(codes)
    np.testing.assert_allclose(np.linalg.norm(vectors.astype(np.float64), axis=1), 1.0, atol=1e-6)
    np.testing.assert_array_equal(compact.quantised(vectors), codes)
    np.testing.assert_array_equal(compact.restored(compact.quantised(vectors)), vectors)


def test_directions_of_bytes_are_near_those_of_the_vectors() -> None:
    vectors = drawn(1, 128, 500)
    cosines = np.einsum("ij,ij->i", vectors, compact.restored(compact.quantised(vectors)))
    angles = np.arccos(np.minimum(cosines.astype(np.float64), 1.0))
    assert float(np.median(angles)) < 0.008
    assert float(angles.max()) < 0.015


def test_zeros_stay_zeros() -> None:
    nothing = np.zeros((2, 5), dtype=np.float32)
    assert not compact.quantised(nothing).any()
    assert not compact.restored(compact.quantised(nothing)).any()
    assert compact.quantised(np.zeros((0, 5), dtype=np.float32)).shape == (0, 5)


@given(seeds, dims)
def test_bits_and_their_differences_are_what_a_loop_counts(seed: int, dim: int) -> None:
    vectors = drawn(seed, dim)
    words = compact.sign_words(vectors)
    assert words.shape == (4, math.ceil(dim / 64))
    for vector, row in zip(vectors, words.tolist(), strict=True):
        bits = [(row[place // 64] >> (place % 64)) & 1 for place in range(64 * len(row))]
        assert bits == [int(value > 0) for value in vector] + [0] * (64 * len(row) - dim)
    wanted = [sum(int((a > 0) != (b > 0)) for a, b in zip(vector, vectors[0], strict=True)) for vector in vectors]
    assert compact.bit_differences(words, words[0]).tolist() == wanted
    different = np.bitwise_xor(words, words[0])
    assert compact._counted(different).sum(axis=1).tolist() == wanted


def test_bytes_without_a_largest_one_are_refused() -> None:
    with pytest.raises(TemplateFormatError, match="row 1 has 126 for its largest byte"):
        compact.checked_codes(np.array([[127, 0], [126, 3]], dtype=np.int8), what="row")
    with pytest.raises(TemplateFormatError, match="128 for its largest byte"):
        compact.checked_codes(np.array([[-128, 0]], dtype=np.int8), what="row")
