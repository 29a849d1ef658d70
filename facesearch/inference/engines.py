"""Engines by name, and the arithmetic this machine has natively.

It chooses and refuses; the engines themselves are in ``openvino_engine`` and ``torch_engine``.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import get_args

from facesearch.core.errors import EngineError, SettingsError
from facesearch.inference.network import Engine, Precision
from facesearch.inference.openvino_engine import OpenVinoEngine
from facesearch.inference.torch_engine import TorchEngine

NATIVE_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""Linux's names (/proc/cpuinfo) of the instructions that multiply bfloat16; without one bf16 is emulated: slower and less exact."""

_CPUINFO = Path("/proc/cpuinfo")


def has_native_bf16(cpuinfo: Path = _CPUINFO) -> bool:
    """Return whether the processor multiplies bfloat16 itself; False where that cannot be told (not Linux, not x86-64).

    Args:
        cpuinfo: Linux's description of the processors.
    """
    if platform.machine() not in {"x86_64", "AMD64"} or not cpuinfo.is_file():
        return False
    for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("flags"):
            return not NATIVE_BF16_FLAGS.isdisjoint(line.split())
    return False


def create_engine(
    name: str = "openvino",
    *,
    precision: str = "f32",
    threads: int | None = None,
    cache_dir: Path | None = None,
    device: str = "cpu",
) -> Engine:
    """Return an engine.

    Args:
        name: ``"openvino"`` (processor only) or ``"torch"``.
        precision: ``"f32"``; ``"bf16"``, refused where the processor would emulate it; ``"auto"``: bf16 where native, else f32.
        threads: Threads a network may use, at least 1; None leaves it to the library (one a core).
        cache_dir: Where converted networks are kept, made when needed; None converts at every load. Not used by torch.
        device: ``"cpu"``, and for torch also ``"cuda"``, ``"cuda:1"``, … or ``"mps"``.

    Raises:
        SettingsError: A value is out of range or unknown.
        EngineError: The library or device is missing, or bf16 was asked for and the processor lacks it.
    """
    if precision not in {*get_args(Precision), "auto"}:
        raise SettingsError(f"precision is f32, bf16 or auto, not {precision!r}")
    if threads is not None and threads < 1:
        raise SettingsError(f"threads must be at least 1, not {threads}")
    if name not in {"openvino", "torch"}:
        raise SettingsError(f"the engine is openvino or torch, not {name!r}")
    if name == "openvino" and device.lower() != "cpu":
        raise SettingsError(f"the openvino engine runs on the cpu, not on {device!r}: choose engine torch for that device")
    native = has_native_bf16()
    if precision == "bf16" and device.lower() == "cpu" and not native:
        raise EngineError(
            f"this processor has none of {', '.join(sorted(NATIVE_BF16_FLAGS))}: bf16 would be emulated; use precision f32 or auto"
        )
    chosen: Precision = "bf16" if precision == "bf16" or (precision == "auto" and native and device.lower() == "cpu") else "f32"
    if name == "torch":
        return TorchEngine(precision=chosen, threads=threads, device=device)
    return OpenVinoEngine(precision=chosen, threads=threads, cache_dir=cache_dir)
