"""Reading dlib's face network (``dlib_face_recognition_resnet_model_v1.dat``) without dlib.

It reads this one serialised network, not dlib's formats in general: the layers are found by the names that mark them, in forward
order, and the number of each is checked.
"""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import NDArray

from facesearch.core.errors import CheckpointFormatError

_MARK = re.compile(rb"con_4|affine_|fc_2")
N_CONVOLUTIONS = 29
_MAX_VALUES = 50_000_000


class _Reader:
    """The bytes of a file, read from one place on."""

    def __init__(self, content: bytes, place: int) -> None:
        self._content = content
        self.place = place

    def integer(self) -> int:
        """Return an integer: a byte of length (low seven bits) and sign (top bit), then that many bytes, the lowest first."""
        head = self._content[self.place]
        n_bytes = head & 0x7F
        value = int.from_bytes(self._content[self.place + 1 : self.place + 1 + n_bytes], "little")
        self.place += 1 + n_bytes
        return -value if head & 0x80 else value

    def tensor(self) -> NDArray[np.float32]:
        """Return a tensor: version, four sizes, float32 values.

        Raises:
            ValueError: No tensor begins here.
        """
        version, *sizes = (self.integer() for _ in range(5))
        n_values = math.prod(sizes)
        if version != 2 or min(sizes) < 0 or not 0 < n_values <= _MAX_VALUES:
            raise ValueError(f"no tensor at byte {self.place}")
        values = np.frombuffer(self._content, "<f4", n_values, self.place)
        self.place += 4 * n_values
        return values.reshape(sizes)


def read_dlib(content: bytes, *, source: str) -> dict[str, NDArray[np.float32]]:
    """Return the arrays of dlib's face network under the names of ``DlibResNet``, affine layers folded into the convolutions.

    Args:
        content: The file.
        source: Where it came from, for messages.

    Raises:
        CheckpointFormatError: It is no such network.
    """
    try:
        convolutions, affines, last = _layers(content)
    except (IndexError, ValueError) as exc:
        raise CheckpointFormatError(f"{source} is not dlib's face network: {exc}", path=source) from exc
    if (len(convolutions), len(affines), len(last)) != (N_CONVOLUTIONS, N_CONVOLUTIONS, 1):
        raise CheckpointFormatError(
            f"{source} is not dlib's face network: {len(convolutions)} convolutions, {len(affines)} affine and {len(last)} "
            f"connected layers instead of {N_CONVOLUTIONS}, {N_CONVOLUTIONS} and 1",
            path=source,
        )
    names = ["stem", *(f"blocks.{block}.conv{half}" for block in range((N_CONVOLUTIONS - 1) // 2) for half in (1, 2))]
    found: dict[str, NDArray[np.float32]] = {}
    for name, values, (gamma, beta), side in zip(names, convolutions, affines, (7, *(3,) * 28), strict=True):
        n_out = len(gamma)
        weights = values[: len(values) - n_out].reshape(n_out, -1, side, side)
        bias = values[len(values) - n_out :]
        found[f"{name}.weight"] = weights * gamma.reshape(-1, 1, 1, 1)
        found[f"{name}.bias"] = bias * gamma + beta
    found["fc.weight"] = np.ascontiguousarray(last[0].T)
    return found


_Arrays = list[NDArray[np.float32]]


def _layers(content: bytes) -> tuple[_Arrays, list[tuple[NDArray[np.float32], NDArray[np.float32]]], _Arrays]:
    """Return the values of the convolutions (weights, then biases), the affines' (gamma, beta), and the connected layers'."""
    convolutions: _Arrays = []
    affines: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    connected: _Arrays = []
    for mark in _MARK.finditer(content):
        reader = _Reader(content, mark.end())
        if mark.group() == b"fc_2":
            outputs, inputs = reader.integer(), reader.integer()
            connected.append(reader.tensor().reshape(inputs, outputs))
            continue
        values = reader.tensor().reshape(-1)
        if mark.group() == b"con_4":
            convolutions.append(values)
        else:
            half = len(values) // 2
            affines.append((values[:half], values[half:]))
    return convolutions, affines, connected
