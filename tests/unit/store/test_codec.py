"""What goes into a column comes out of it, and nothing else does."""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.core.errors import InputError, TemplateFormatError
from facesearch.store import codec
from tests.store_builders import vector

seeds = st.integers(0, 2**32 - 1)
dims = st.integers(1, 600)
finite = st.floats(allow_nan=False, allow_infinity=False)


@given(seeds, dims)
def test_vectors_come_back_exactly(seed, dim):
    original = vector(seed, dim)
    data = codec.encode_vector(original)
    assert len(data) == 4 * dim
    assert data == b"".join(struct.pack("<f", value) for value in original)
    np.testing.assert_array_equal(codec.decode_vector(data, dim=dim), original)


@given(seeds, st.integers(1, 20), st.integers(1, 64))
def test_many_vectors_come_back_as_one_by_one(seed, count, dim):
    rows = [codec.encode_vector(vector(seed + number, dim)) for number in range(count)]
    together = codec.decode_vectors(rows, range(count))
    assert together.dtype == np.float32
    np.testing.assert_array_equal(together, np.stack([codec.decode_vector(row) for row in rows]))


@given(seeds, dims, st.integers(1, 8))
def test_wrong_lengths_are_refused(seed, dim, cut):
    data = codec.encode_vector(vector(seed, dim))
    with pytest.raises(TemplateFormatError, match="bytes"):
        codec.decode_vector(data[: -min(cut, len(data))], dim=dim)
    with pytest.raises(TemplateFormatError, match="template 8 has"):
        codec.decode_vectors([data, data + b"\0" * cut], [7, 8])
    with pytest.raises(TemplateFormatError, match="template 7 has"):
        codec.decode_vectors([data, data], [7, 8], dim=dim + 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.5, 2.0])
def test_damaged_values_are_refused(value):
    bad = np.array([value, 0, 0, 0], dtype="<f4")
    with pytest.raises(TemplateFormatError):
        codec.encode_vector(bad)
    with pytest.raises(TemplateFormatError):
        codec.decode_vector(bad.tobytes())
    with pytest.raises(TemplateFormatError, match="template 12 "):
        codec.decode_vectors([codec.encode_vector(vector(1, 4)), bad.tobytes()], [11, 12])


def test_no_rows_are_no_vectors():
    assert codec.decode_vectors([], []).shape == (0, 0)
    assert codec.decode_vectors([], [], dim=5).shape == (0, 5)


@given(st.tuples(finite, finite, finite, finite))
def test_boxes_come_back_exactly_or_are_refused(numbers):
    if numbers[0] < numbers[2] and numbers[1] < numbers[3]:
        assert codec.decode_box(json.loads(json.dumps(codec.encode_box(numbers)))) == numbers
    else:
        with pytest.raises(InputError):
            codec.encode_box(numbers)


@given(st.lists(st.tuples(finite, finite), min_size=5, max_size=5))
def test_landmarks_come_back_exactly(points):
    assert codec.decode_landmarks(json.loads(json.dumps(codec.encode_landmarks(points)))) == tuple(points)


@given(st.lists(st.tuples(st.floats(width=32, allow_nan=False, allow_infinity=False), st.just(0.1)), min_size=5, max_size=5))
def test_float32_landmarks_come_back_exactly(points):
    array = np.array(points, dtype=np.float32)
    stored = json.loads(json.dumps(codec.encode_landmarks(array)))
    np.testing.assert_array_equal(np.array(codec.decode_landmarks(stored), dtype=np.float32), array)


@pytest.mark.parametrize(
    "stored", [None, 3, "12345", [], [[0, 0]] * 4, [[0, 0]] * 6, [[0, 0, 0]] * 5, [["a", 0]] * 5, [[float("nan"), 0]] * 5]
)
def test_damaged_landmarks_are_refused(stored):
    with pytest.raises(TemplateFormatError, match="landmarks"):
        codec.decode_landmarks(stored)


@pytest.mark.parametrize("stored", [None, 3, "abcd", [1, 2, 3], [3, 3, 1, 1], [0, 0, float("inf"), 1]])
def test_damaged_boxes_are_refused(stored):
    with pytest.raises(TemplateFormatError, match="box"):
        codec.decode_box(stored)


def test_quality_is_plain_finite_numbers():
    assert codec.encode_quality({"face_px": np.float32(0.5)}) == {"face_px": 0.5}
    with pytest.raises(InputError, match="blur"):
        codec.encode_quality({"blur": float("inf")})


def test_moments_become_utc():
    there = datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    assert codec.encode_moment(there) == there
    assert codec.encode_moment(there).tzinfo == UTC
    with pytest.raises(InputError, match="time zone"):
        codec.encode_moment(datetime(2024, 1, 1))
