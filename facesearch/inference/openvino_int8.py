"""OpenVINO's graph of a network with its products in bytes, rebuilt from the float graph and the scales.

The graph says what is computed: a ``FakeQuantize`` before each layer and weights of int8; OpenVINO's own passes make instructions
of bytes out of it. It finds no scales (see ``quantisation``), and changes a graph in place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.core.errors import EngineError
from facesearch.inference.openvino_library import openvino
from facesearch.inference.quantisation import LEVELS, Quantisation, QuantisedLayer, bytes_of

_LAYERS = frozenset({"Convolution", "GroupConvolution", "MatMul"})
_PROPORTIONAL = frozenset({"PRelu", "PReLU", "Relu", "ReLU", "MaxPool"})


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
    pairs = list(zip(found, quantisation.layers, strict=True))
    for place, (node, layer) in enumerate(pairs):
        if layer.balance.size:
            _balance(found[place - 1] if place else None, node, layer, network)
    for node, layer in pairs:
        _quantise_input(node, layer, network)
        _quantise_weights(node, layer, network)
        if layer.shift.size:
            _shift(node, layer, network)
    model.validate_nodes_and_infer_types()
    return model


def _balance(before: Any, node: Any, layer: QuantisedLayer, network: str) -> None:
    """Divide a layer's input channels in the layer before, and multiply its weights with the same."""
    weights, rows = _weights(node, layer, network), None if before is None else _weights(before, layer, network)
    addition = None if before is None else _addition_after(before)
    n_channels = len(layer.balance)
    if (
        rows is None
        or addition is None
        or not _keeps_proportions(addition, node)
        or _n_outputs(before, rows) != n_channels
        or _is_grouped(node)
        or weights.shape[1] != n_channels
    ):
        raise EngineError(
            f"the scales of {network} do not fit layer {layer.name}: a balance of {n_channels} channels needs a layer of as many "
            "outputs, a bias and nothing but PReLU and max pooling before it"
        )
    _replace(node, weights * layer.balance.reshape(1, -1, *[1] * (weights.ndim - 2)))
    _replace(before, (rows.reshape(n_channels, -1) / layer.balance[:, None]).reshape(rows.shape))
    bias = _constant(addition.input_value(1).get_node())
    if bias is not None:
        _replace(addition, (bias.ravel() / layer.balance).reshape(bias.shape))


def _shift(node: Any, layer: QuantisedLayer, network: str) -> None:
    """Take the mean error out of a layer's bias."""
    addition = _addition_after(node)
    bias = None if addition is None else _constant(addition.input_value(1).get_node())
    if addition is None or bias is None or bias.size != len(layer.shift):
        raise EngineError(
            f"the scales of {network} do not fit layer {layer.name}: a shift of {len(layer.shift)} channels needs a bias of as many"
        )
    _replace(addition, (bias.ravel() + layer.shift).reshape(bias.shape))


def _quantise_weights(node: Any, layer: QuantisedLayer, network: str) -> None:
    """Give a layer byte weights."""
    ops = openvino().opset13

    weights = _weights(node, layer, network)
    n_out = _n_outputs(node, weights)
    steps_shape = (*weights.shape[:2], 1, 1, 1) if _is_grouped(node) else (n_out, *[1] * (weights.ndim - 1))
    in_bytes, steps = bytes_of(weights.reshape(n_out, -1))
    as_floats = ops.convert(ops.constant(in_bytes.reshape(weights.shape)), "f32")
    node.input(1).replace_source_output(ops.multiply(as_floats, ops.constant(steps.reshape(steps_shape))).output(0))


def _quantise_input(node: Any, layer: QuantisedLayer, network: str) -> None:
    """Put a ``FakeQuantize`` before a layer."""
    ops = openvino().opset13

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


def _weights(node: Any, layer: QuantisedLayer, network: str) -> NDArray[np.float32]:
    """Return a layer's weights, output channels first.

    Raises:
        EngineError: They are no constants, or the other way round.
    """
    weights = _constant(node.input_value(1).get_node())
    is_first = node.get_type_name() != "MatMul" or bool(node.get_attributes().get("transpose_b"))
    if weights is None or not is_first:
        raise EngineError(f"the scales of {network} do not fit layer {layer.name}: its weights are no constants, outputs first")
    return weights


def _replace(node: Any, values: NDArray[np.float32]) -> None:
    """Put other constants in the place of a node's second input."""
    ops = openvino().opset13

    node.input(1).replace_source_output(ops.constant(np.ascontiguousarray(values, dtype=np.float32)).output(0))


def _n_outputs(node: Any, weights: NDArray[np.float32]) -> int:
    return int(weights.shape[0] * weights.shape[1] if _is_grouped(node) else weights.shape[0])


def _addition_after(node: Any) -> Any:
    """Return the addition of a layer's bias, None where something else follows."""
    followers = [follower.get_node() for follower in node.output(0).get_target_inputs()]
    return followers[0] if len(followers) == 1 and followers[0].get_type_name() == "Add" else None


def _keeps_proportions(addition: Any, node: Any) -> bool:
    """Return whether twice as much behind a bias is twice as much before the next layer, and nobody else takes part."""
    source = node.input_value(0)
    while len(source.get_target_inputs()) == 1:
        between = source.get_node()
        # By name: comparing two nodes with == makes a third.
        if between.get_friendly_name() == addition.get_friendly_name():
            return True
        if between.get_type_name() not in _PROPORTIONAL:
            return False
        source = between.input_value(0)
    return False


def _is_grouped(node: Any) -> bool:
    return str(node.get_type_name()) == "GroupConvolution"


def _constant(node: Any) -> NDArray[np.float32] | None:
    """Return a constant's values, None where the node is none of floats."""
    if node.get_type_name() != "Constant":
        return None
    values = np.array(node.data)
    return values if values.dtype == np.float32 else None
