"""OpenVINO on the processor: the default engine.

It converts a torch module once, compiles it once a processor and keeps both; with a warm cache torch is never imported and nothing
is compiled. It runs on the CPU only.
"""

from __future__ import annotations

import errno
import logging
import threading
import warnings
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.core.protocols import Network
from facesearch.inference.graph_file import read_graph
from facesearch.inference.model_cache import (
    ConvertedNetwork,
    read_compiled,
    read_converted,
    write_compiled,
    write_converted,
)
from facesearch.inference.network import NetworkSpec, Precision, engine_errors
from facesearch.inference.openvino_int8 import quantise_graph
from facesearch.inference.openvino_library import openvino
from facesearch.inference.precision import WantedPrecision, choose_precision
from facesearch.inference.processor import native_precisions, processor_key

logger = logging.getLogger("facesearch")

_NAME = "openvino"


class OpenVinoNetwork:
    """A compiled network; every thread that calls it has an infer request of its own, the engine's streams decide how many run."""

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
        threads: Threads of all streams together; None is one a core.
        streams: Runs at once, at least 1, each on its share of the threads. With 1 a run has all threads and runs wait for each
            other: the quickest answer. With one a core, callers in as many threads get the most work done, since no core waits.
        cache_dir: Where converted and compiled networks are kept; None makes them at every load.
        native: What the processor computes in itself; None for this one's.
    """

    def __init__(
        self,
        *,
        precision: WantedPrecision = "f32",
        threads: int | None = None,
        streams: int = 1,
        cache_dir: Path | None = None,
        native: frozenset[Precision] | None = None,
    ) -> None:
        self.name = _NAME
        self.precision: WantedPrecision = precision
        self._native = native_precisions() if native is None else native
        self._threads = threads
        self._streams = streams
        self._cache_dir = Path(cache_dir) if cache_dir is not None else None
        self._core: Any = None
        self._lock = threading.Lock()

    def precision_of(self, spec: NetworkSpec) -> Precision:
        """Return the arithmetic a network gets."""
        return choose_precision(self.precision, spec, self._native)

    def load(self, spec: NetworkSpec) -> Network:
        """Return a network from the cache, or converted from torch, compiled and then cached.

        Raises:
            EngineError: OpenVINO is missing, or could not convert or compile it.
            ModelError: The network's own ``build`` failed (no weights, wrong digest).
        """
        with self._lock:
            library = self._started()
            precision = self.precision_of(spec)
            with engine_errors(_NAME, f"compile {spec.name}"):
                compiled = self._compiled(library, spec, precision)
            logger.info("network %s computes in %s (engine %s)", spec.name, precision, _NAME)
            return OpenVinoNetwork(compiled, spec)

    def graph(self, spec: NetworkSpec) -> Any:
        """Return OpenVINO's model of a network in floats, not compiled; for tools that look into it.

        Raises:
            EngineError: OpenVINO is missing, or could not convert it.
            ModelError: The network's own ``build`` failed.
        """
        with self._lock:
            return self._model(self._started(), spec)

    def cache_path(self, spec: NetworkSpec) -> Path | None:
        """Return where the converted network is kept: ``<name>-<digest12>-<fingerprint>-ov<version>.ir``; None without a cache."""
        return None if self._cache_dir is None else self._cache_dir / f"{_stem(spec)}.ir"

    def compiled_path(self, spec: NetworkSpec) -> Path | None:
        """Return where the compiled network is kept, None without a cache or where the processor's abilities cannot be told.

        The name goes on from the converted one's with the precision (with int8 also the digest of its scales) and the processor.
        """
        processor = processor_key()
        if self._cache_dir is None or processor is None:
            return None
        precision = self.precision_of(spec)
        scales = f"-{spec.int8.digest[:12]}" if precision == "int8" and spec.int8 is not None else ""
        return self._cache_dir / f"{_stem(spec)}-{precision}{scales}-{processor}.compiled"

    def _started(self) -> Any:
        """Return the library with its core at hand."""
        library = openvino()
        if self._core is None:
            with engine_errors(_NAME, "start"):
                self._core = library.Core()
        return library

    def _options(self, precision: Precision) -> dict[str, str | int | bool]:
        # A graph of bytes says itself what is computed in bytes; the hint is for what is left of it.
        options: dict[str, str | int | bool] = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "PERFORMANCE_HINT": "LATENCY" if self._streams == 1 else "THROUGHPUT",
            # Pinned, two networks (or processes) of one thread each would sit on the same core.
            "ENABLE_CPU_PINNING": False,
        }
        if self._streams > 1:
            options["NUM_STREAMS"] = self._streams
        if self._threads is not None:
            options["INFERENCE_NUM_THREADS"] = self._threads
        return options

    def _compiled(self, library: Any, spec: NetworkSpec, precision: Precision) -> Any:
        """Return the network as the processor runs it, from the cache where it is there and sound."""
        path = self.compiled_path(spec)
        kept = read_compiled(path) if path is not None else None
        if kept is not None:
            try:
                return self._core.import_model(kept, "CPU", self._options(precision))
            except RuntimeError as exc:
                logger.warning("OpenVINO does not take the compiled network %s, it is made anew (%s)", path, _last_line(exc))
        model = self._model(library, spec)
        if precision == "int8" and spec.int8 is not None:
            model = quantise_graph(model, spec.int8.load(), network=spec.name)
        compiled = self._core.compile_model(model, "CPU", self._options(precision))
        if path is not None:
            write_compiled(path, compiled.export_model().getvalue())
        return compiled

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


def _stem(spec: NetworkSpec) -> str:
    """Return the part of a file's name that all its forms share."""
    version = str(openvino().get_version()).split("-")[0]
    return f"{spec.name}-{spec.digest[:12]}-{spec.fingerprint}-ov{version}"


def _last_line(exc: Exception) -> str:
    lines = str(exc).strip().splitlines()
    return lines[-1] if lines else type(exc).__name__


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
