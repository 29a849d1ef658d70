"""Engines by name: what is asked for, what is installed, and what this machine can do.

It chooses and refuses; the engines themselves are in ``openvino_engine`` and ``torch_engine``.
"""

from __future__ import annotations

import importlib.util
import logging
import threading
from pathlib import Path

from facesearch.core.errors import EngineError, SettingsError
from facesearch.inference.network import Engine
from facesearch.inference.openvino_engine import OpenVinoEngine
from facesearch.inference.precision import check_precision
from facesearch.inference.processor import native_precisions
from facesearch.inference.torch_engine import TorchEngine

logger = logging.getLogger("facesearch")

_told: set[str] = set()
_told_lock = threading.Lock()


def create_engine(
    name: str = "openvino",
    *,
    precision: str = "f32",
    threads: int | None = None,
    streams: int = 1,
    cache_dir: Path | None = None,
    device: str = "cpu",
) -> Engine:
    """Return an engine; torch in OpenVINO's place, with one warning, where OpenVINO is not installed.

    Args:
        name: ``"openvino"`` (processor only) or ``"torch"``.
        precision: ``"f32"``; ``"bf16"`` or ``"int8"``, refused where the processor does not compute in them itself; ``"auto"``: for
            each network the fastest of these that the processor has and that its results were measured to bear.
        threads: Threads a network may use, at least 1; None leaves it to the library (one a core).
        streams: Runs of a network at once, at least 1, sharing the threads; see ``OpenVinoEngine``. torch has none.
        cache_dir: Where converted and compiled networks are kept, made when needed; None makes them at every load. torch has none.
        device: ``"cpu"``, and for torch also ``"cuda"``, ``"cuda:1"``, … or ``"mps"``.

    Raises:
        SettingsError: A value is out of range or unknown.
        EngineError: No library is installed, the device is missing, or this engine or processor does not have the precision.
    """
    for value, what in ((threads, "threads"), (streams, "streams")):
        if value is not None and value < 1:
            raise SettingsError(f"{what} must be at least 1, not {value}")
    if name not in {"openvino", "torch"}:
        raise SettingsError(f"the engine is openvino or torch, not {name!r}")
    on_cpu = device.lower() == "cpu"
    if name == "openvino" and not on_cpu:
        raise SettingsError(f"the openvino engine runs on the cpu, not on {device!r}: choose engine torch for that device")
    if name == "openvino" and not _is_installed("openvino"):
        name = "torch"
        _require_torch()
        _tell_once(
            "OpenVINO is not installed: the networks run under torch, several times slower, with templates that stay comparable; "
            "pip install 'openvino>=2025.0'"
        )
    wanted = check_precision(precision, native_precisions(), engine=name, on_cpu=on_cpu)
    if name == "torch":
        return TorchEngine(precision=wanted, threads=threads, device=device)
    return OpenVinoEngine(precision=wanted, threads=threads, streams=streams, cache_dir=cache_dir)


def _is_installed(library: str) -> bool:
    """Return whether a library is there, without importing it."""
    try:
        return importlib.util.find_spec(library) is not None
    except ValueError:  # imported by something that left no trace of where it came from
        return True


def _require_torch() -> None:
    """Raise unless torch is there."""
    if not _is_installed("torch"):
        raise EngineError("neither OpenVINO nor torch is installed, so networks cannot run: pip install 'openvino>=2025.0' torch")


def _tell_once(text: str) -> None:
    """Log a warning the first time in this process."""
    with _told_lock:
        if text in _told:
            return
        _told.add(text)
    logger.warning(text)
