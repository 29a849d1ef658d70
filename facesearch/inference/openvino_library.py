"""The one place where OpenVINO is imported, with its telemetry switched off.

OpenVINO's Python package reports its own import, and every conversion, to a server on the internet through the package
``openvino_telemetry``. While OpenVINO is imported here a silent module stands in for that package, so OpenVINO's modules keep a
reference to the silent one for good; afterwards ``sys.modules`` is put back as it was, because the real package may belong to
somebody else in the process. It cannot silence an ``import openvino`` that the program made before.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from facesearch.core.errors import EngineError

_TELEMETRY = "openvino_telemetry"
_lock = threading.Lock()


class SilentTelemetry:
    """Takes the calls OpenVINO makes to ``openvino_telemetry.Telemetry`` and does nothing."""

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        """Accept any configuration."""

    def _ignore(self, *_args: object, **_kwargs: object) -> None:
        """Do nothing."""

    init = start_session = end_session = force_shutdown = send_event = send_error = send_stack_trace = _ignore


def _silent_modules() -> dict[str, ModuleType]:
    names = (_TELEMETRY, f"{_TELEMETRY}.backend", f"{_TELEMETRY}.backend.backend_ga4")
    package, backend, backend_ga4 = modules = [ModuleType(name, "Silent stand-in of facesearch.") for name in names]
    package.__dict__.update(Telemetry=SilentTelemetry, backend=backend, __path__=[])
    backend.__dict__.update(backend_ga4=backend_ga4, __path__=[])
    return dict(zip(names, modules, strict=True))


@contextmanager
def _telemetry_replaced() -> Iterator[None]:
    """Let ``openvino_telemetry`` be the silent one inside the block."""
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == _TELEMETRY}
    for name in before:
        del sys.modules[name]
    sys.modules.update(_silent_modules())
    try:
        yield
    finally:
        for name in _silent_modules():
            sys.modules.pop(name, None)
        sys.modules.update(before)


def openvino() -> Any:
    """Return the module ``openvino``, imported on the first call.

    Raises:
        EngineError: OpenVINO is not installed or does not load on this machine.
    """
    with _lock:
        loaded = sys.modules.get("openvino")
        if loaded is not None and hasattr(loaded, "Core"):
            _make_tables(loaded)
            return loaded
        try:
            with _telemetry_replaced():
                import openvino as library
        except (ImportError, OSError) as exc:
            raise EngineError(
                f"OpenVINO cannot be imported ({exc}): pip install 'openvino>=2025.0', or choose engine torch", engine="openvino"
            ) from exc
        _make_tables(library)
        return library


def _make_tables(library: Any) -> None:
    """Let OpenVINO make its tables of NumPy types now, while one thread alone asks.

    They are static variables of C++ that call Python when they are made: in two threads at once, as in the first runs of a network,
    one waits for the variable and holds the interpreter, the other for the interpreter, for ever (seen with 2026.4).
    """
    library.Type.f32.to_dtype()
    library.Type(np.float32)
