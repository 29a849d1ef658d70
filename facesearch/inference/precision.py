"""Which arithmetic a network gets: what was asked for, what it was measured in, and what the processor has.

It computes nothing; the engines do. What ``auto`` took is in the log (level info) and in ``Engine.precision_of``.
"""

from __future__ import annotations

from typing import Literal, cast, get_args

from facesearch.core.errors import EngineError, SettingsError
from facesearch.inference.network import NetworkSpec, Precision
from facesearch.inference.processor import NATIVE_BF16_FLAGS, NATIVE_INT8_FLAGS

WantedPrecision = Literal["auto", "f32", "bf16", "int8"]
"""What can be asked for; ``auto`` is for each network the fastest that the processor has and its results were shown to bear."""

FASTEST_FIRST: tuple[Precision, ...] = ("int8", "bf16", "f32")


def choose_precision(wanted: WantedPrecision, spec: NetworkSpec, native: frozenset[Precision]) -> Precision:
    """Return what a network is computed in.

    Args:
        wanted: ``"f32"`` and ``"bf16"`` are for every network; ``"int8"`` for those that have scales for it, others stay f32.
        spec: The network.
        native: What the processor (or the graphics card) has.
    """
    if wanted == "auto":
        return next((one for one in FASTEST_FIRST if one in spec.precisions and one in native), "f32")
    if wanted == "int8" and spec.int8 is None:
        return "f32"
    return wanted


def check_precision(wanted: str, native: frozenset[Precision], *, engine: str, on_cpu: bool) -> WantedPrecision:
    """Return a precision that can be asked of an engine on this machine.

    Args:
        wanted: As the settings have it.
        native: What the processor has.
        engine: ``"openvino"`` or ``"torch"``.
        on_cpu: Whether the networks run on the processor.

    Raises:
        SettingsError: There is none of that name.
        EngineError: The engine does not know it, or the processor lacks it.
    """
    if wanted not in get_args(WantedPrecision):
        raise SettingsError(f"precision is {', '.join(get_args(WantedPrecision))}, not {wanted!r}")
    if wanted == "int8" and engine != "openvino":
        raise EngineError(f"engine {engine} does not compute in int8: use precision auto, or engine openvino", engine=engine)
    if wanted == "int8" and "int8" not in native:
        raise EngineError(
            f"this processor has none of {', '.join(sorted(NATIVE_INT8_FLAGS))}: int8 sums would saturate and give other vectors; "
            "use precision auto, bf16 or f32"
        )
    if wanted == "bf16" and on_cpu and "bf16" not in native:
        raise EngineError(
            f"this processor has none of {', '.join(sorted(NATIVE_BF16_FLAGS))}: bf16 would be emulated; use precision f32 or auto"
        )
    return cast(WantedPrecision, wanted)
