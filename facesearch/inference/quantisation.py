"""What turns a network of floats into one of bytes: for each layer the range of its input, its channels' balance, its mean error.

The steps of the weights follow from the weights.

It holds values only. How they are found is in ``benchmarks/quantise.py``, what is made of them in ``openvino_int8``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facesearch.core.errors import EngineError

LEVELS = 256
"""Values a byte has."""

WEIGHT_MAX = 127
"""Largest magnitude of a weight's byte: symmetric, so that zero stays zero."""

ZERO_TOLERANCE = 1e-3
"""How far zero may lie from one of the 256 values, in steps: what float32 bounds leave open."""


def _none() -> NDArray[np.float32]:
    return np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class QuantisedLayer:
    """One convolution or linear layer (Jacob et al. 2018: affine input, symmetric weights a channel).

    Attributes:
        name: As the network's module has it, for messages.
        low: Least value of the layer's input that a byte can stand for, at most 0; float32, ``(1,)`` or one a channel.
        high: The greatest one, at least 0 and above ``low``; of the same shape. Zero must be one of the 256 values in between.
        balance: What each input channel is divided by before the layer, and its weights multiplied with: channels of small values
            get more of the 256 steps (Nagel et al. 2019; Xiao et al. 2023). float32, positive, one a channel; empty for none. The
            layer before takes the division into its weights, so only what keeps proportions (PReLU, max pooling) may stand between.
        shift: Added to each output channel: the mean error of the bytes, negative. float32; empty for none.
    """

    name: str
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    balance: NDArray[np.float32] = field(default_factory=_none)
    shift: NDArray[np.float32] = field(default_factory=_none)

    def __post_init__(self) -> None:
        """Check shapes and ranges, and clear the write flags."""
        for values in (self.low, self.high, self.balance, self.shift):
            if values.dtype != np.float32 or values.ndim != 1 or not np.isfinite(values).all():
                raise EngineError(f"the scales of layer {self.name} are not lists of finite float32")
            values.setflags(write=False)
        if self.low.shape != self.high.shape or self.low.size == 0:
            raise EngineError(f"the scales of layer {self.name} have {self.low.size} lower and {self.high.size} upper bounds")
        if not ((self.low <= 0) & (self.high >= 0) & (self.high > self.low)).all() or not (self.balance > 0).all():
            raise EngineError(f"the scales of layer {self.name} are out of range: every range holds 0, and a balance is positive")
        zero = -self.low.astype(np.float64) * (LEVELS - 1) / (self.high.astype(np.float64) - self.low)
        if (np.abs(zero - np.rint(zero)) > ZERO_TOLERANCE).any():
            raise EngineError(f"the scales of layer {self.name} have no byte for zero, which is what pictures are padded with")


def with_zero(low: ArrayLike, high: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a range moved, by at most half a step, so that zero is one of the 256 values.

    Args:
        low: Least values, one or one a channel; above 0 counts as 0.
        high: Greatest values; below 0 counts as 0. Where both are 0 nothing is ever put in, and any range will do.
    """
    least, most = np.minimum(np.atleast_1d(low), 0.0).astype(np.float64), np.maximum(np.atleast_1d(high), 0.0).astype(np.float64)
    step = np.where(most > least, most - least, 1.0) / (LEVELS - 1)
    zero = np.rint(-least / step)
    return (-zero * step).astype(np.float32), ((LEVELS - 1 - zero) * step).astype(np.float32)


def bytes_of(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return weights as bytes, and what one unit of a byte stands for.

    The greatest weight of an output channel becomes 127 or -127, the others the nearest step, ties to even; zeros stay zeros.

    Args:
        weights: Float32 ``(O, …)``, output channels first.

    Returns:
        Int8 of the same shape, and float32 ``(O,)``, above 0.
    """
    rows = weights.reshape(len(weights), -1)
    steps = (np.abs(rows).max(axis=1) / np.float32(WEIGHT_MAX)).astype(np.float32)
    steps[steps == 0] = 1
    return np.clip(np.rint(rows / steps[:, None]), -WEIGHT_MAX, WEIGHT_MAX).astype(np.int8).reshape(weights.shape), steps


@dataclass(frozen=True, slots=True, eq=False)
class Quantisation:
    """The layers of a network that compute in bytes, in the order of the graph."""

    layers: tuple[QuantisedLayer, ...]

    def __post_init__(self) -> None:
        """Check that there is something to do."""
        if not self.layers:
            raise EngineError("a quantisation of no layers")


@dataclass(frozen=True, slots=True)
class Int8Scales:
    """Where a network's quantisation is to be had.

    Attributes:
        digest: SHA-256 (hex) of the file; part of the name of compiled copies.
        load: Reads it. Called only where no compiled copy is at hand.
    """

    digest: str
    load: Callable[[], Quantisation]
