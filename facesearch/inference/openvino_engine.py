"""OpenVINO on the processor: the default engine.

It converts a torch module once and keeps the result; with a warm cache torch is never imported. It runs on the CPU only.
"""

from __future__ import annotations

import errno
import threading
import warnings
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.core.protocols import Network
from facesearch.inference.graph_file import read_graph
from facesearch.inference.model_cache import ConvertedNetwork, read_converted, write_converted
from facesearch.inference.network import NetworkSpec, Precision, engine_errors
from facesearch.inference.openvino_library import openvino

_NAME = "openvino"


class OpenVinoNetwork:
    """A compiled network; as many calls at once as there are threads, each with an infer request of its own."""

    def __init__(self, compiled: Any, spec: NetworkSpec) -> None:
        self._compiled = compiled
        self._spec = spec
        self._idle: SimpleQueue[Any] = SimpleQueue()

    def run(self, batch: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Return the outputs for a batch, as arrays of their own.

        Args:
            batch: Array of the spec's dtype and shape.

        Raises:
            EngineError: The batch does not fit, or OpenVINO failed.
        """
        self._spec.check(batch)
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = None
        with engine_errors(_NAME, f"run {self._spec.name} on an array of shape {batch.shape}"):
            if request is None:
                request = self._compiled.create_infer_request()
            # The input is only read; the outputs are copied because the request's memory is used again by the next call.
            results = request.infer([np.ascontiguousarray(batch)], share_inputs=True, share_outputs=False)
            outputs = tuple(results[index] for index in range(len(results)))
        self._idle.put(request)
        return outputs


class OpenVinoEngine:
    """Loads networks through OpenVINO.

    Args:
        precision: Always handed to OpenVINO: left to itself it computes in bf16 wherever the processor can.
        threads: Threads of one network; None is one a core.
        cache_dir: Where converted networks are kept; None converts at every load.
    """

    def __init__(self, *, precision: Precision = "f32", threads: int | None = None, cache_dir: Path | None = None) -> None:
        self.name = _NAME
        self.precision: Precision = precision
        self._threads = threads
        self._cache_dir = Path(cache_dir) if cache_dir is not None else None
        self._core: Any = None
        self._lock = threading.Lock()

    def load(self, spec: NetworkSpec) -> Network:
        """Return a network from the cache, or converted from torch and then cached.

        Raises:
            EngineError: OpenVINO is missing, or could not convert or compile it.
            ModelError: The network's own ``build`` failed (no weights, wrong digest).
        """
        with self._lock:
            library = openvino()
            if self._core is None:
                with engine_errors(_NAME, "start"):
                    self._core = library.Core()
            with engine_errors(_NAME, f"compile {spec.name}"):
                return OpenVinoNetwork(self._core.compile_model(self._model(library, spec), "CPU", self._options()), spec)

    def cache_path(self, spec: NetworkSpec) -> Path | None:
        """Return where the converted network is kept: ``<name>-<digest12>-<fingerprint>-ov<version>.ir``; None without a cache."""
        if self._cache_dir is None:
            return None
        version = str(openvino().get_version()).split("-")[0]
        return self._cache_dir / f"{spec.name}-{spec.digest[:12]}-{spec.fingerprint}-ov{version}.ir"

    def _options(self) -> dict[str, str | int]:
        options: dict[str, str | int] = {"INFERENCE_PRECISION_HINT": self.precision, "PERFORMANCE_HINT": "LATENCY"}
        if self._threads is not None:
            options["INFERENCE_NUM_THREADS"] = self._threads
        return options

    def _model(self, library: Any, spec: NetworkSpec) -> Any:
        """Return the network as OpenVINO's model, from the cache where it is there and sound."""
        path = self.cache_path(spec)
        kept = read_converted(path) if path is not None else None
        if kept is not None:
            return self._core.read_model(kept.xml, kept.weights)
        model = _converted(library, spec) if spec.graph is None else read_graph(library, self._core, spec)
        if path is not None:
            write_converted(path, lambda folder: _serialised(library, model, folder))
        return model


def _converted(library: Any, spec: NetworkSpec) -> Any:
    """Return OpenVINO's model of a torch module; this is where torch is imported."""
    module = spec.build()
    import torch

    example = torch.from_numpy(np.zeros(spec.example_shape, spec.example_dtype))
    with engine_errors(_NAME, f"convert {spec.name}"), torch.inference_mode(), warnings.catch_warnings():
        # OpenVINO traces with torch.jit, which newer torch releases call deprecated; nothing the user can act on.
        warnings.simplefilter("ignore")
        return library.convert_model(module, example_input=example, input=library.PartialShape(list(spec.shape)))


def _serialised(library: Any, model: Any, folder: Path) -> ConvertedNetwork:
    """Return a model's bytes, written into a folder on the way, constants as float32 (OpenVINO would halve them)."""
    graph = folder / "network.xml"
    try:
        library.save_model(model, graph, compress_to_fp16=False)
    except RuntimeError as exc:
        raise OSError(errno.EIO, str(exc).strip() or "OpenVINO could not write") from exc
    return ConvertedNetwork(graph.read_bytes(), graph.with_suffix(".bin").read_bytes())
