"""Small model files that tests make: ONNX through the package onnx, frozen graphs byte by byte, TorchScript."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DIM = 4


def weights(seed: int = 0, rows: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, DIM)).astype(np.float32)


def save_onnx(
    path: Path,
    *,
    batch: int | str = "N",
    size: int | str = 112,
    layout: str = "nchw",
    output: str = "vector",
    kind: str = "",
    also: bool = False,
) -> Path:
    """Write a network that returns the mean colour times a matrix; ``kind`` breaks it in one way."""
    shape = [batch, 3, size, size] if layout == "nchw" else [batch, size, size, 3]
    axes = [2, 3] if layout == "nchw" else [1, 2]
    matrix = weights()
    if kind == "nan":
        matrix[0, 0] = np.nan
    if kind == "zero":
        matrix[:] = 0
    nodes = [
        helper.make_node("ReduceMean", ["picture"], ["colour"], axes=axes, keepdims=0),
        helper.make_node("MatMul", ["colour", "matrix"], ["mixed"]),
        helper.make_node("Identity", ["mixed"], [output]),
    ]
    constants = [numpy_helper.from_array(matrix, "matrix")]
    out_shape: list[int | str] = [batch, DIM]
    if kind == "constant":
        nodes[2] = helper.make_node("Add", ["zeroed", "offset"], [output])
        nodes.insert(2, helper.make_node("Mul", ["mixed", "nothing"], ["zeroed"]))
        constants += [
            numpy_helper.from_array(np.ones(DIM, np.float32), "offset"),
            numpy_helper.from_array(np.float32(0), "nothing"),
        ]
    if kind == "map":
        nodes[2] = helper.make_node("Relu", ["picture"], [output])
        out_shape = shape
    if kind == "fixed-reshape":
        nodes[2] = helper.make_node("Reshape", ["mixed", "pattern"], [output])
        constants.append(numpy_helper.from_array(np.array([1, DIM], np.int64), "pattern"))
    if kind == "sum-of-batch":
        nodes.insert(2, helper.make_node("ReduceSum", ["mixed", "first"], ["all"], keepdims=1))
        nodes[3] = helper.make_node("Add", ["mixed", "all"], [output])
        constants.append(numpy_helper.from_array(np.array([0], np.int64), "first"))
    if kind == "unknown-operator":
        nodes[2] = helper.make_node("Teleport", ["mixed"], [output], domain="org.example")
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, out_shape)]
    if also:
        outputs.append(helper.make_tensor_value_info("mixed", TensorProto.FLOAT, [batch, DIM]))
    graph = helper.make_graph(
        nodes, "small", [helper.make_tensor_value_info("picture", TensorProto.FLOAT, shape)], outputs, constants
    )
    domains = [helper.make_opsetid("", 13)] + ([helper.make_opsetid("org.example", 1)] if kind == "unknown-operator" else [])
    model = helper.make_model(graph, opset_imports=domains, ir_version=8)
    if kind == "external":
        onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
        (path.parent / "weights.bin").unlink()
    else:
        onnx.save(model, path)
    return path


def expected(
    pictures: np.ndarray, *, mean: object = 0.0, scale: object = 1.0, is_bgr: bool = False, per_image: bool = False
) -> np.ndarray:
    """Return what that network returns, by NumPy."""
    values = pictures.astype(np.float64)
    if per_image:
        centred = values - values.mean(axis=(1, 2, 3), keepdims=True)
        deviation = np.maximum(values.std(axis=(1, 2, 3), keepdims=True), 1 / np.sqrt(values[0].size))
        values = centred / deviation
    else:
        values = (values - np.asarray(mean, np.float64)) / np.asarray(scale, np.float64)
    if is_bgr:
        values = values[..., ::-1]
    return values.mean(axis=(1, 2)) @ weights().astype(np.float64)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def _bytes(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _int(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _shape(sizes: list[int]) -> bytes:
    return b"".join(_bytes(2, _int(1, size)) for size in sizes)


def _node(name: str, op: str, inputs: list[str], attributes: dict[str, bytes]) -> bytes:
    body = _bytes(1, name.encode()) + _bytes(2, op.encode()) + b"".join(_bytes(3, one.encode()) for one in inputs)
    return _bytes(1, body + b"".join(_bytes(5, _bytes(1, key.encode()) + _bytes(2, value)) for key, value in attributes.items()))


def save_frozen_graph(path: Path, size: int) -> Path:
    """Write TensorFlow's form of the same network, with FaceNet's switch for training: what it adds must be switched off."""
    float_, int_, bool_ = 1, 3, 10

    def constant(name: str, kind: int, array: np.ndarray) -> bytes:
        tensor = _int(1, kind) + _bytes(2, _shape(list(array.shape))) + _bytes(4, array.tobytes())
        return _node(name, "Const", [], {"dtype": _int(6, kind), "value": _bytes(8, tensor)})

    def typed(**kinds: int) -> dict[str, bytes]:
        return {key: _int(6, kind) for key, kind in kinds.items()}

    graph = [
        _node("input", "Placeholder", [], {**typed(dtype=float_), "shape": _bytes(7, _shape([-1, size, size, 3]))}),
        _node("phase_train", "Placeholder", [], {**typed(dtype=bool_), "shape": _bytes(7, b"")}),
        constant("axes", int_, np.array([1, 2], np.int32)),
        constant("matrix", float_, weights()),
        constant("noise", float_, np.full(DIM, 1000.0, np.float32)),
        _node("colour", "Mean", ["input", "axes"], {**typed(T=float_, Tidx=int_), "keep_dims": _int(5, 0)}),
        _node("mixed", "MatMul", ["colour", "matrix"], {**typed(T=float_), "transpose_a": _int(5, 0), "transpose_b": _int(5, 0)}),
        _node("switch", "Cast", ["phase_train"], typed(SrcT=bool_, DstT=float_)),
        _node("drop", "Mul", ["noise", "switch"], typed(T=float_)),
        _node("embeddings", "AddV2", ["mixed", "drop"], typed(T=float_)),
    ]
    path.write_bytes(b"".join(graph))
    return path


def save_torchscript(path: Path) -> Path:
    """Write the same network as TorchScript."""
    import warnings

    import torch

    class Small(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matrix = torch.nn.Parameter(torch.from_numpy(weights()))

        def forward(self, planes: torch.Tensor) -> torch.Tensor:
            return planes.mean(dim=(2, 3)) @ self.matrix

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Small()), path)
    return path


def save_random_bytes(path: Path, n_bytes: int = 1000) -> Path:
    path.write_bytes(struct.pack("<Q", 2**60) + np.random.default_rng(0).bytes(n_bytes))
    return path
