"""torch: the reference engine, and the one for graphics cards.

It converts nothing and caches nothing; torch is imported when the first network is loaded.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.core.errors import EngineError
from facesearch.core.protocols import Network
from facesearch.inference.network import NetworkSpec, Precision, engine_errors

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
        precision: ``"f32"`` or ``"bf16"`` (autocast).
        threads: Threads of torch in this whole process, set when the first network is loaded; None leaves them alone.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:<n>"`` or ``"mps"``.
    """

    def __init__(self, *, precision: Precision = "f32", threads: int | None = None, device: str = "cpu") -> None:
        self.name = _NAME
        self.precision: Precision = precision
        self._threads = threads
        self._device_name = device
        self._lock = threading.Lock()

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
                return TorchNetwork(module.eval().requires_grad_(False).to(device), spec, device, self.precision)

    def _device(self, torch: Any) -> Any:
        with engine_errors(_NAME, f"use the device {self._device_name!r}"):
            device = torch.device(self._device_name)
        present = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}.get(device.type, 0)
        if (device.index or 0) >= present:
            raise EngineError(f"torch sees {present} devices of type {device.type} here, {self._device_name!r} is not among them")
        return device
