from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesearch.core.errors import EngineError
from facesearch.inference.quantisation import LEVELS, ZERO_TOLERANCE, Quantisation, QuantisedLayer, bytes_of, with_zero

finite = st.floats(-50, 50, allow_subnormal=False).filter(lambda value: value == 0 or abs(value) > 1e-6)


@settings(max_examples=200, deadline=None)
@given(ends=st.lists(st.tuples(finite, finite), min_size=1, max_size=5))
def test_a_range_is_as_wide_as_asked_moved_by_half_a_step_at_most_and_has_a_byte_for_zero(ends):
    low = np.array([min(*pair, 0.0) for pair in ends])
    high = np.array([max(*pair, 0.0) for pair in ends])
    layer = QuantisedLayer("one", *with_zero([min(pair) for pair in ends], [max(pair) for pair in ends]))
    step = (layer.high.astype(np.float64) - layer.low) / (LEVELS - 1)
    assert layer.low.shape == low.shape
    used = high > low
    assert np.allclose(step[used] * (LEVELS - 1), (high - low)[used], rtol=1e-5)
    assert (np.abs(layer.low - low)[used] <= 0.501 * step[used]).all()
    zero = -layer.low.astype(np.float64) / step
    assert np.abs(zero - np.rint(zero)).max() < ZERO_TOLERANCE


def rounded_slowly(row):
    """One weight after the other."""
    step = max(abs(value) for value in row) / 127
    return [0 if step == 0 else round(value / step) for value in row]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_out=st.integers(1, 6))
def test_weights_in_bytes_equal_the_slow_way_within_a_tie(seed, n_out):
    weights = np.random.default_rng(seed).standard_normal((n_out, 3, 2, 2)).astype(np.float32)
    found, steps = bytes_of(weights)
    expected = np.array([rounded_slowly(row.tolist()) for row in weights.reshape(n_out, -1)]).reshape(weights.shape)
    assert found.dtype == np.int8
    assert np.abs(found - expected).max() <= 1
    assert (np.abs(found).reshape(n_out, -1).max(axis=1) == 127).all()
    assert np.abs(found * steps.reshape(-1, 1, 1, 1) - weights).max() <= steps.max() * 0.501


def test_a_channel_of_zeros_stays_zero():
    found, steps = bytes_of(np.zeros((2, 4), np.float32))
    assert not found.any()
    assert (steps > 0).all()


def floats(*values):
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (floats(0.5), floats(1.0), "out of range"),
        (floats(-1.0), floats(-0.5), "out of range"),
        (floats(0.0), floats(0.0), "out of range"),
        (floats(-1.0, -1.0), floats(1.0), "2 lower and 1 upper"),
        (floats(), floats(), "0 lower"),
        (floats(math.nan), floats(1.0), "finite"),
        (np.array([-1.0]), floats(1.0), "float32"),
        (floats(-1.0), floats(1.01), "no byte for zero"),
    ],
)
def test_ranges_that_nothing_can_be_computed_with_are_refused(low, high, told):
    with pytest.raises(EngineError, match=told):
        QuantisedLayer("one", low, high)


def test_a_quantisation_of_nothing_is_refused():
    with pytest.raises(EngineError, match="no layers"):
        Quantisation(())


def test_values_are_frozen():
    layer = QuantisedLayer("one", *with_zero(-1.0, 1.0))
    with pytest.raises(ValueError, match="read-only"):
        layer.low[0] = 2
