"""What the processor computes natively, and a short name for what compiled networks depend on.

It only reads what the operating system says; which precision a network takes is chosen in ``precision``.
"""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

from facesearch.inference.network import Precision

NATIVE_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""Linux's names (/proc/cpuinfo) of the instructions that multiply bfloat16; without one bf16 is emulated: slower and less exact."""

NATIVE_INT8_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
"""Linux's names of the instructions that add products of bytes in 32 bits. Without one, sums of two products saturate at 16 bits:
the vectors would be others, not just slower."""

_CPUINFO = Path("/proc/cpuinfo")
_X86_64 = frozenset({"x86_64", "AMD64"})


def processor_flags(cpuinfo: Path = _CPUINFO) -> frozenset[str]:
    """Return the processor's abilities by Linux's names; none where they cannot be told (not Linux, not x86-64).

    Args:
        cpuinfo: Linux's description of the processors.
    """
    if platform.machine() not in _X86_64 or not cpuinfo.is_file():
        return frozenset()
    for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def native_precisions(cpuinfo: Path = _CPUINFO) -> frozenset[Precision]:
    """Return the precisions the processor computes in itself; f32 always."""
    flags = processor_flags(cpuinfo)
    found: set[Precision] = {"f32"}
    if flags & NATIVE_BF16_FLAGS:
        found.add("bf16")
    if flags & NATIVE_INT8_FLAGS:
        found.add("int8")
    return frozenset(found)


def has_native_bf16(cpuinfo: Path = _CPUINFO) -> bool:
    """Return whether the processor multiplies bfloat16 itself; False where that cannot be told."""
    return "bf16" in native_precisions(cpuinfo)


def processor_key(cpuinfo: Path = _CPUINFO) -> str | None:
    """Return eight hex digits of the processor's abilities, or None where they cannot be told.

    What is compiled for one processor may be wrong or crash on another: the key is part of its file's name.
    """
    flags = processor_flags(cpuinfo)
    return hashlib.sha256(" ".join(sorted(flags)).encode()).hexdigest()[:8] if flags else None


def processor_name(cpuinfo: Path = _CPUINFO) -> str:
    """Return what the processor calls itself, for reports; the machine's kind where it cannot be told."""
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or "unknown processor"
