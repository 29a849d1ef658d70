"""OpenVINO's graph of a network with its products in bytes, rebuilt from the float graph and the scales.

The graph says what is computed: a ``FakeQuantize`` before each layer and weights of int8; OpenVINO's own passes make instructions
of bytes out of it. It finds no scales (see ``quantisation``), and changes a graph in place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.core.errors import EngineError
from facesearch.inference.quantisation import LEVELS, Quantisation, QuantisedLayer, bytes_of

_LAYERS = frozenset({"Convolution", "GroupConvolution", "MatMul"})


def layers_of(model: Any) -> list[Any]:
    """Return the convolutions and matrix products of a model in the graph's order: what scales are of."""
    return [node for node in model.get_ordered_ops() if node.get_type_name() in _LAYERS]


def quantise_graph(model: Any, quantisation: Quantisation, *, network: str) -> Any:
    """Return a model whose layers take and multiply bytes.

    Args:
        model: OpenVINO's model in floats; changed.
        quantisation: A layer for each convolution and matrix product, in the graph's order.
        network: Its name, for messages.

    Raises:
        EngineError: The layers are not those of the graph; names the first that does not fit.
    """
    found = layers_of(model)
    if len(found) != len(quantisation.layers):
        raise EngineError(f"the scales of {network} are of {len(quantisation.layers)} layers, the network has {len(found)}")
    for node, layer in zip(found, quantisation.layers, strict=True):
        _quantise_layer(node, layer, network)
    model.validate_nodes_and_infer_types()
    return model


def _quantise_layer(node: Any, layer: QuantisedLayer, network: str) -> None:
    """Give one layer byte inputs and byte weights."""
    from openvino import opset13 as ops

    weights = _constant(node.input_value(1).get_node())
    n_out = None if weights is None else _n_outputs(node, weights)
    if weights is None or n_out is None:
        raise EngineError(f"the scales of {network} do not fit layer {layer.name}: its weights are not constants, rows first")
    _quantise_input(node, layer, network)
    steps_shape = (*weights.shape[:2], 1, 1, 1) if _is_grouped(node) else (n_out, *[1] * (weights.ndim - 1))
    in_bytes, steps = bytes_of(weights.reshape(n_out, -1))
    as_floats = ops.convert(ops.constant(in_bytes.reshape(weights.shape)), "f32")
    node.input(1).replace_source_output(ops.multiply(as_floats, ops.constant(steps.reshape(steps_shape))).output(0))


def _quantise_input(node: Any, layer: QuantisedLayer, network: str) -> None:
    """Put a ``FakeQuantize`` before a layer."""
    from openvino import opset13 as ops

    entry = node.input(0)
    # A flattening moves bytes as well as floats: the layer before it can hand over bytes at once.
    while len(layer.low) == 1 and entry.get_source_output().get_node().get_type_name() == "Reshape":
        entry = entry.get_source_output().get_node().input(0)
    shape = entry.get_source_output().get_partial_shape()
    if len(layer.low) not in (1, shape[1].get_length()):
        raise EngineError(
            f"the scales of {network} do not fit layer {layer.name}: {len(layer.low)} input ranges, {shape[1]} channels"
        )
    bounds_shape = (1, -1, *[1] * (len(shape) - 2)) if len(layer.low) > 1 else ()
    low, high = (ops.constant(values.reshape(bounds_shape)) for values in (layer.low, layer.high))
    entry.replace_source_output(ops.fake_quantize(entry.get_source_output(), low, high, low, high, LEVELS).output(0))


def _n_outputs(node: Any, weights: NDArray[np.float32]) -> int | None:
    """Return a layer's number of output channels, None where its weights do not have them first."""
    if node.get_type_name() == "MatMul" and not node.get_attributes().get("transpose_b"):
        return None
    return int(weights.shape[0] * weights.shape[1] if _is_grouped(node) else weights.shape[0])


def _is_grouped(node: Any) -> bool:
    return str(node.get_type_name()) == "GroupConvolution"


def _constant(node: Any) -> NDArray[np.float32] | None:
    """Return a constant's values, None where the node is none of floats."""
    if node.get_type_name() != "Constant":
        return None
    values = np.array(node.data)
    return values if values.dtype == np.float32 else None
