"""Networks read from other people's files: ONNX, and TensorFlow's frozen graphs.

The preparation of the pixels (channel order, mean and scale, or standardisation of each picture) becomes part of the graph, so that
it is compiled and kept with it. Which preparation is right it cannot know; what comes out it does not judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from facesearch.core.errors import ModelFileError, UnsupportedModelError
from facesearch.inference.network import GraphFile, NetworkSpec
from facesearch.inference.openvino_library import openvino

_REASON_MOST = 300  # characters of a library's message that are passed on
_NOISE = re.compile(r"^(Exception from|Check '.*' failed at|While validating|\[ .* \]|FrontEnd API failed|-+$|={3,}|Summary:)")


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a graph.

    Attributes:
        name: As the file has it; empty where it has none.
        shape: Sizes, None for those that may be any; None altogether where not even the number of axes is known.
        dtype: OpenVINO's name of the type.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str

    def __str__(self) -> str:
        """Return name and shape, ``fc1 (1, 128)``."""
        sizes = (
            "of any shape" if self.shape is None else f"({', '.join('?' if size is None else str(size) for size in self.shape)})"
        )
        return f"{self.name or 'unnamed'} {sizes}"


@dataclass(frozen=True, slots=True)
class GraphPorts:
    """What goes into a graph and what comes out."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def inspect_graph(path: Path) -> GraphPorts:
    """Return a file's inputs (constant switches left out) and outputs.

    Raises:
        ModelFileError: It is no such graph, or a part of it lies in another file that is missing.
        EngineError: OpenVINO is missing.
    """
    library = openvino()
    model = _read(library, library.Core(), path)
    return GraphPorts(tuple(map(_port, model.inputs)), tuple(map(_port, model.outputs)))


def read_graph(library: Any, core: Any, spec: NetworkSpec) -> Any:
    """Return OpenVINO's model of a spec's file: pixels ``(N, S, S, 3)`` RGB uint8 in, one float32 output.

    Raises:
        ModelFileError: The file is no graph, or incomplete.
        UnsupportedModelError: It uses what OpenVINO lacks, has several inputs, or does not take this number of pictures or size.
    """
    graph = spec.graph
    if graph is None:
        raise ValueError(f"network {spec.name} is not read from a file")
    model = _only_output(library, _read(library, core, graph.path), graph)
    ports = tuple(map(_port, model.inputs))
    if len(ports) != 1:
        raise UnsupportedModelError(
            f"{graph.path.name} wants {len(ports)} inputs ({', '.join(map(str, ports))}); an embedder takes one picture",
            path=str(graph.path),
        )
    batch, side = spec.shape[0], spec.example_shape[1]
    sizes = [batch, 3, side, side] if graph.layout == "nchw" else [batch, side, side, 3]
    with _unsupported(
        graph.path, f"does not take pictures of {side}×{side} pixels, {'any number' if batch < 0 else batch} at once"
    ):
        if list(_sizes(ports[0].shape)) != sizes:
            model.reshape({model.inputs[0]: library.PartialShape(sizes)})
        prepared = _with_preparation(library, model, graph)
        prepared.reshape({prepared.inputs[0]: library.PartialShape(list(spec.shape))})
    shape = prepared.outputs[0].get_partial_shape()
    if batch < 0 and shape.rank.is_static and shape.rank.get_length() > 0 and shape[0].is_static:
        # Somewhere inside the number of pictures is fixed: OpenVINO would run it on several all the same, past the end of memory.
        raise UnsupportedModelError(f"{graph.path.name} takes one picture at a time", path=str(graph.path))
    return prepared


def _sizes(shape: tuple[int | None, ...] | None) -> Iterator[int]:
    yield from (-1 if size is None else size for size in shape or ())


def _read(library: Any, core: Any, path: Path) -> Any:
    """Return the graph as it stands in the file, its switches (``phase_train``) set to off."""
    try:
        model = core.read_model(path)
    except (RuntimeError, ValueError, TypeError) as exc:
        reason = _reason(exc).replace(str(path), path.name)
        wanted = "is no model that OpenVINO can read"
        if re.search(r"external(ly stored)? data", str(exc), re.IGNORECASE):
            wanted = "keeps its weights in another file, which does not come along; save the model with its weights inside"
        elif re.search(r"unsupported|not supported|no conversion rule|cannot create|not registered", str(exc), re.IGNORECASE):
            raise UnsupportedModelError(
                f"{path.name} uses operators that OpenVINO does not know: {reason}", path=str(path)
            ) from exc
        raise ModelFileError(f"{path.name} {wanted}: {reason}", path=str(path)) from exc
    for parameter in model.get_parameters():
        if parameter.get_element_type() == library.Type.boolean and parameter.get_partial_shape().rank.is_static:
            off = library.op.Constant(np.zeros([], np.bool_))
            parameter.output(0).replace(off.output(0))
            model.remove_parameter(parameter)
    return model


def require_one_output(path: Path, outputs: Sequence[Port]) -> None:
    """Raise unless a graph returns one thing.

    Raises:
        UnsupportedModelError: It returns several; names them.
    """
    if len(outputs) != 1:
        raise UnsupportedModelError(
            f"{path.name} has {len(outputs)} outputs ({', '.join(map(str, outputs))}): say which is the template (--output NAME); "
            "a face detector has several and is no embedder",
            path=str(path),
        )


def _only_output(library: Any, model: Any, graph: GraphFile) -> Any:
    """Return the model with the wanted output alone."""
    ports = tuple(map(_port, model.outputs))
    if graph.output is None:
        require_one_output(graph.path, ports)
        return model
    chosen = [
        output for output in model.outputs if graph.output in {name for full in output.names for name in (full, full.split(":")[0])}
    ]
    if not chosen:
        raise UnsupportedModelError(
            f"{graph.path.name} has no output {graph.output!r}, only {', '.join(map(str, ports))}", path=str(graph.path)
        )
    if len(ports) == 1:
        return model
    return library.Model(
        [library.op.Result(chosen[0].get_node().input_value(0))], model.get_parameters(), model.get_friendly_name()
    )


def _with_preparation(library: Any, model: Any, graph: GraphFile) -> Any:
    """Return the model behind what makes its input of RGB bytes."""
    colours = library.preprocess.ColorFormat
    chain = library.preprocess.PrePostProcessor(model)
    source = chain.input(0)
    source.tensor().set_element_type(library.Type.u8).set_layout(library.Layout("NHWC")).set_color_format(colours.RGB)
    source.model().set_layout(library.Layout(graph.layout.upper()))
    steps = source.preprocess().convert_element_type(library.Type.f32)
    if graph.is_standardised:
        steps.custom(partial(_standardised, library.opset13))
    else:
        steps.mean(list(graph.mean)).scale(list(graph.scale))
    if graph.is_bgr:
        steps.convert_color(colours.BGR)
    chain.output(0).tensor().set_element_type(library.Type.f32)
    return chain.build()


def _standardised(ops: Any, pixels: Any) -> Any:
    """Return pictures of mean 0 and standard deviation 1 (FaceNet's ``prewhiten``; tf.image.per_image_standardization)."""
    axes = ops.constant(np.array([1, 2, 3], np.int64))
    centred = ops.subtract(pixels, ops.reduce_mean(pixels, axes, keep_dims=True))
    deviation = ops.sqrt(ops.reduce_mean(ops.multiply(centred, centred), axes, keep_dims=True))
    shape = pixels.get_partial_shape()
    n_values = int(np.prod([shape[axis].get_length() for axis in (1, 2, 3)]))
    least = ops.constant(np.float32(1.0 / np.sqrt(n_values)))
    return ops.divide(centred, ops.maximum(deviation, least)).output(0)


def _port(output: Any) -> Port:
    shape = output.get_partial_shape()
    sizes = tuple(size.get_length() if size.is_static else None for size in shape) if shape.rank.is_static else None
    names = sorted(output.names, key=lambda name: (len(name), name))
    return Port(names[0] if names else "", sizes, output.get_element_type().get_type_name())


@contextmanager
def _unsupported(path: Path, what: str) -> Iterator[None]:
    """Turn what OpenVINO raises while a graph is prepared into an error that says what the graph does not take."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError) as exc:
        raise UnsupportedModelError(f"{path.name} {what}: {_reason(exc)}", path=str(path)) from exc


def _reason(exc: Exception) -> str:
    """Return the part of OpenVINO's message that says something."""
    lines = [line.strip().removeprefix("-- ") for line in str(exc).splitlines()]
    told = " ".join(line for line in lines if line and not _NOISE.match(line)) or type(exc).__name__
    return told if len(told) <= _REASON_MOST else f"{told[:_REASON_MOST]} …"
