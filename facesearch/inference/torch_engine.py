"""torch: the reference engine, and the one for graphics cards.

It converts nothing and caches nothing; torch is imported when the first network is loaded.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.core.errors import EngineError
from facesearch.core.protocols import Network
from facesearch.inference.network import NetworkSpec, Precision, engine_errors
from facesearch.inference.precision import WantedPrecision, choose_precision
from facesearch.inference.processor import native_precisions

logger = logging.getLogger("facesearch")

_NAME = "torch"


def _torch() -> Any:
    """Return the module ``torch``.

    Raises:
        EngineError: It is not installed or does not load on this machine.
    """
    try:
        import torch
    except (ImportError, OSError) as exc:
        raise EngineError(f"torch cannot be imported ({exc}): pip install torch, or choose engine openvino", engine=_NAME) from exc
    return torch


class TorchNetwork:
    """A module on its device, run without gradients."""

    def __init__(self, module: Any, spec: NetworkSpec, device: Any, precision: Precision) -> None:
        self._module = module
        self._spec = spec
        self._device = device
        self._precision = precision

    def run(self, batch: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Return the outputs for a batch, as float32 arrays of their own.

        Args:
            batch: Array of the spec's dtype and shape.

        Raises:
            EngineError: The batch does not fit, or torch failed (out of memory on the device included).
        """
        self._spec.check(batch)
        torch = _torch()
        with engine_errors(_NAME, f"run {self._spec.name} on an array of shape {batch.shape}"), torch.inference_mode():
            # A copy, so that a read-only array is no cause for torch's warning.
            tensor = torch.from_numpy(np.array(batch, order="C")).to(self._device)
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._precision == "bf16"):
                results = self._module(tensor)
            outputs = results if isinstance(results, tuple) else (results,)
            return tuple(output.float().cpu().numpy().copy() for output in outputs)


class TorchEngine:
    """Loads networks through torch.

    Args:
        precision: ``"f32"``, ``"bf16"`` (autocast) or ``"auto"``; it knows no int8.
        threads: Threads of torch in this whole process, set when the first network is loaded; None leaves them alone.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:<n>"`` or ``"mps"``.
    """

    def __init__(self, *, precision: WantedPrecision = "f32", threads: int | None = None, device: str = "cpu") -> None:
        self.name = _NAME
        self.precision: WantedPrecision = precision
        self._threads = threads
        self._device_name = device
        self._lock = threading.Lock()

    def precision_of(self, spec: NetworkSpec) -> Precision:
        """Return the arithmetic a network gets.

        Raises:
            EngineError: It depends on a graphics card, and torch or the card is missing.
        """
        if self.precision != "auto":
            return choose_precision(self.precision, spec, frozenset())
        return choose_precision("auto", spec, self._native() - {"int8"})

    def load(self, spec: NetworkSpec) -> Network:
        """Return the network on its device.

        Raises:
            EngineError: torch or the device is missing, or the module does not fit on it.
            ModelError: The network's own ``build`` failed (no weights, wrong digest).
        """
        torch = _torch()
        with self._lock:
            device = self._device(torch)
            module = spec.build()
            with engine_errors(_NAME, f"put {spec.name} on {device}"):
                if self._threads is not None:
                    torch.set_num_threads(self._threads)
                on_device = module.eval().requires_grad_(False).to(device)
            precision = self.precision_of(spec)
            logger.info("network %s computes in %s (engine %s, %s)", spec.name, precision, _NAME, device)
            return TorchNetwork(on_device, spec, device, precision)

    def _native(self) -> frozenset[Precision]:
        """Return the precisions that the device computes in itself."""
        if self._device_name.lower() == "cpu":
            return native_precisions()
        torch = _torch()
        device = self._device(torch)
        # Ampere (8.0) is the first generation with units for bfloat16; earlier ones emulate it.
        if device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8:
            return frozenset({"f32", "bf16"})
        return frozenset({"f32"})

    def _device(self, torch: Any) -> Any:
        with engine_errors(_NAME, f"use the device {self._device_name!r}"):
            device = torch.device(self._device_name)
        present = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}.get(device.type, 0)
        if (device.index or 0) >= present:
            raise EngineError(f"torch sees {present} devices of type {device.type} here, {self._device_name!r} is not among them")
        return device
