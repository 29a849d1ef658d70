"""Reading FaceNet's Inception-ResNet v1 from a frozen TensorFlow graph, without TensorFlow.

It reads this one network's constants (Szegedy et al. 2017, as David Sandberg's facenet froze it, batch norms folded), not graphs in
general: OpenVINO runs those. The tensors come under the names of facenet-pytorch, whose class holds the architecture.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facesearch.core.errors import CheckpointFormatError

if TYPE_CHECKING:
    import torch

N_CONVOLUTIONS = 132
"""Convolutions of the network, the linear layer apart."""

_EPS = 0.001
"""Added to variances by the graph's batch norms and by facenet-pytorch's."""

_FLOAT = 1  # tensorflow.DataType.DT_FLOAT
_REPEATS = {"Repeat": "repeat_1", "Repeat_1": "repeat_2", "Repeat_2": "repeat_3"}
_NUMBER = re.compile(r"block\d+_(\d+)")
_STEM = re.compile(r"Conv2d_(\d[ab])_\dx\d")

_Arrays = dict[str, NDArray[np.float32]]


def read_inception(content: bytes, *, source: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a frozen graph under facenet-pytorch's names.

    Args:
        content: The file.
        source: Its name, for messages.

    Raises:
        CheckpointFormatError: It is no such graph.
    """
    import torch

    try:
        constants = dict(_constants(memoryview(content)))
        named = _named(constants)
    except (IndexError, KeyError, ValueError, UnicodeDecodeError) as exc:
        raise CheckpointFormatError(f"{source} is no frozen graph of Inception-ResNet v1: {exc}", path=source) from exc
    n_found = sum(name.endswith(("conv.weight", "conv2d.weight")) for name in named)
    if n_found != N_CONVOLUTIONS:
        raise CheckpointFormatError(
            f"{source} is no frozen graph of Inception-ResNet v1: {n_found} convolutions instead of {N_CONVOLUTIONS}", path=source
        )
    return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in named.items()}


def _named(constants: _Arrays) -> _Arrays:
    """Return constants under facenet-pytorch's names."""
    prefix = "InceptionResnetV1/"
    scopes = sorted(name.removesuffix("/weights") for name in constants if name.endswith("/weights") and "Bottleneck" not in name)
    places = _places([scope.removeprefix(prefix) for scope in scopes])
    found: _Arrays = {}
    for scope in scopes:
        place = places[scope.removeprefix(prefix)]
        weights = constants[f"{scope}/weights"].transpose(3, 2, 0, 1)
        if place.endswith(".conv2d"):
            found |= {f"{place}.weight": weights, f"{place}.bias": constants[f"{scope}/biases"]}
            continue
        found[f"{place}.conv.weight"] = weights
        found |= {f"{place}.bn.{name}": value for name, value in _folded(constants[f"{scope}/Conv2D_bn_offset"]).items()}
    bottleneck = f"{prefix}Bottleneck"
    n = constants[f"{bottleneck}/weights"].shape[1]
    found["last_linear.weight"] = constants[f"{bottleneck}/weights"].T
    found["last_bn.weight"] = np.ones(n, dtype=np.float32)
    found["last_bn.bias"] = constants[f"{bottleneck}/BatchNorm/beta"]
    found["last_bn.running_mean"] = constants[f"{bottleneck}/BatchNorm/moving_mean"]
    found["last_bn.running_var"] = constants[f"{bottleneck}/BatchNorm/moving_variance"]
    return found


def _folded(offset: NDArray[np.float32]) -> _Arrays:
    """Return a batch norm that adds an offset and does nothing else."""
    one = np.ones_like(offset)
    return {"weight": one, "bias": offset, "running_mean": 0 * one, "running_var": one * np.float32(1.0 - _EPS)}


def _places(scopes: list[str]) -> dict[str, str]:
    """Return where each convolution is in facenet-pytorch's network, by its scope in the graph."""
    branches: dict[tuple[str, str], list[str]] = defaultdict(list)
    places: dict[str, str] = {}
    for scope in scopes:
        parts = scope.split("/")
        stem = _STEM.fullmatch(scope)
        if stem is not None:
            places[scope] = f"conv2d_{stem[1]}"
        elif parts[-2].startswith("Branch_"):
            branches["/".join(parts[:-2]), parts[-2]].append(scope)
        else:
            places[scope] = f"{_block('/'.join(parts[:-1]))}.conv2d"
    for (block, branch), members in branches.items():
        own = f"{_block(block)}.branch{branch.removeprefix('Branch_')}"
        for number, scope in enumerate(sorted(members)):
            places[scope] = own if len(members) == 1 else f"{own}.{number}"
    return places


def _block(scope: str) -> str:
    """Return ``repeat_1.4`` of ``Repeat/block35_5``, ``mixed_6a`` of ``Mixed_6a``."""
    head, _, rest = scope.partition("/")
    found = _NUMBER.fullmatch(rest)
    return scope.lower() if found is None else f"{_REPEATS[head]}.{int(found[1]) - 1}"


def _constants(graph: memoryview) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield the named float constants of a ``GraphDef`` (``tensorflow/core/framework/graph.proto``, ``tensor.proto``)."""
    for field, node in _fields(graph):
        if field != 1:
            continue
        parts = list(_fields(node))
        name = next(bytes(value).decode() for key, value in parts if key == 1)
        for attribute in (value for key, value in parts if key == 5):
            entry = dict(_fields(attribute))
            if bytes(entry[1]) != b"value":
                continue
            tensor = dict(_fields(entry[2])).get(8)
            values = None if tensor is None else _tensor(tensor)
            if values is not None:
                yield name, values


def _tensor(message: memoryview) -> NDArray[np.float32] | None:
    """Return a ``TensorProto`` of floats that holds its values as bytes; None for others."""
    fields = dict(_fields(message))
    if fields.get(1) != _FLOAT or 4 not in fields:
        return None
    sizes = [dict(_fields(size)).get(1, 0) for key, size in _fields(fields.get(2, memoryview(b""))) if key == 2]
    return np.frombuffer(fields[4], dtype="<f4").reshape(sizes).astype(np.float32)


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """Yield number and value of each field of a message in protobuf's wire format: a whole number, or bytes as a view."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        n_bytes = {1: 8, 5: 4}.get(kind)
        if kind == 2:
            n_bytes, place = _varint(message, place)
        if n_bytes is None or place + n_bytes > len(message):
            raise ValueError(f"no field begins at byte {place}")
        yield key >> 3, message[place : place + n_bytes]
        place += n_bytes


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, place
    raise ValueError(f"no number ends at byte {place}")
