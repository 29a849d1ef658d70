"""What an engine is given: a network's name, the digest of its weights and how to build it.

It runs nothing and imports neither engine; a network is only built when an engine has no converted copy of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from facesearch.core.errors import EngineError
from facesearch.core.protocols import Network

if TYPE_CHECKING:
    import torch

    from facesearch.inference.precision import WantedPrecision
    from facesearch.inference.quantisation import Int8Scales

Precision = Literal["f32", "bf16", "int8"]
"""Arithmetic of the convolutions and products; inputs and outputs are the same in each."""


@dataclass(frozen=True, slots=True)
class GraphFile:
    """A network that an engine reads from a file itself, and what is done to the pixels before it.

    Attributes:
        path: The file.
        kind: ``"onnx"`` or ``"tensorflow"`` (a frozen graph).
        layout: Of the file's own input, ``"nchw"`` or ``"nhwc"``.
        is_bgr: Whether the file wants blue first.
        is_standardised: Whether each picture is brought to mean 0 and standard deviation 1 over all its values, the deviation being
            at least ``1 / √(number of values)``; ``mean`` and ``scale`` are not used then.
        mean: Subtracted from each channel, in RGB order.
        scale: What the differences are divided by, in RGB order.
        output: Name of the tensor wanted; None for the only one.
    """

    path: Path
    kind: Literal["onnx", "tensorflow"]
    layout: Literal["nchw", "nhwc"]
    is_bgr: bool = False
    is_standardised: bool = False
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    output: str | None = None


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A network that an engine can load.

    Attributes:
        name: Short name, part of the cache file's name: letters, digits, ``-`` and ``_``.
        digest: SHA-256 (hex) of the weights.
        build: Returns the torch module in eval mode with its weights; imports torch when called, never earlier. Called only where
            no converted copy is at hand. It takes one tensor and returns a tensor or a tuple of tensors.
        example_shape: Shape of an input the module accepts; fixed axes keep these sizes.
        example_dtype: NumPy dtype of the input.
        dynamic_axes: Axes of the input that may have any size.
        graph: A file to be read instead of a module built; ``build`` then says which engine cannot.
        int8: Where the scales for computing in bytes are; None where there are none.
        precisions: Those in which its results were measured to hold: what ``auto`` may choose of.
        revision: Raised when the module computes something else from the same weights, so that converted copies are made anew.
    """

    name: str
    digest: str
    build: Callable[[], torch.nn.Module]
    example_shape: tuple[int, ...]
    example_dtype: str = "float32"
    dynamic_axes: tuple[int, ...] = (0,)
    revision: int = 1
    graph: GraphFile | None = None
    int8: Int8Scales | None = None
    precisions: frozenset[Precision] = frozenset({"f32"})

    def __post_init__(self) -> None:
        """Check the values that end up in file names and shapes."""
        if not self.name or not self.name.replace("-", "").replace("_", "").isalnum():
            raise EngineError(f"a network's name is letters, digits, - and _, not {self.name!r}")
        if len(self.digest) < 12 or any(digit not in "0123456789abcdef" for digit in self.digest):
            raise EngineError(f"the digest of network {self.name} is a SHA-256 in hex, not {self.digest!r}")
        if "int8" in self.precisions and self.int8 is None:
            raise EngineError(f"network {self.name} is said to bear int8 but comes without scales for it")
        if any(not 0 <= axis < len(self.example_shape) for axis in self.dynamic_axes):
            raise EngineError(f"network {self.name} has no axis {self.dynamic_axes} in the shape {self.example_shape}")

    @property
    def shape(self) -> tuple[int, ...]:
        """The input's shape with -1 on the axes that may have any size."""
        return tuple(-1 if axis in self.dynamic_axes else size for axis, size in enumerate(self.example_shape))

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits of everything but the weights that a converted copy depends on."""
        text = f"{self.shape}|{self.example_dtype}|{self.revision}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def check(self, batch: object) -> None:
        """Raise unless an array can be this network's input.

        Raises:
            EngineError: Wrong dtype or shape; names both.
        """
        if not isinstance(batch, np.ndarray):
            raise EngineError(f"network {self.name} takes a NumPy array, not {type(batch).__name__}")
        fits = len(batch.shape) == len(self.shape) and all(
            want in (-1, size) for want, size in zip(self.shape, batch.shape, strict=True)
        )
        if not fits or batch.dtype != np.dtype(self.example_dtype):
            raise EngineError(
                f"network {self.name} takes {self.example_dtype} of shape {self.shape} (-1: any), not {batch.dtype} {batch.shape}",
                network=self.name,
            )


class Engine(Protocol):
    """Loads networks. Safe to call from several threads."""

    @property
    def name(self) -> str:
        """``"openvino"`` or ``"torch"``."""
        ...

    @property
    def precision(self) -> WantedPrecision:
        """The arithmetic that was asked for; ``"auto"`` chooses for each network."""
        ...

    def precision_of(self, spec: NetworkSpec) -> Precision:
        """Return the arithmetic a network gets, without loading it.

        Raises:
            EngineError: That takes a library or device that is not there.
        """
        ...

    def load(self, spec: NetworkSpec) -> Network:
        """Return the network, ready to run.

        Raises:
            EngineError: It cannot be built, converted or compiled.
        """
        ...


@contextmanager
def engine_errors(engine: str, doing: str) -> Iterator[None]:
    """Turn what an engine's library raises into ``EngineError``.

    Both libraries raise ``RuntimeError`` for nearly everything, and ``ValueError`` or ``TypeError`` for arguments they refuse.

    Args:
        engine: Name of the engine.
        doing: What was being done, for the message ("compile mtcnn-p").

    Raises:
        EngineError: The library failed.
    """
    try:
        yield
    except (RuntimeError, ValueError, TypeError, MemoryError) as exc:
        reason = str(exc).strip().splitlines()
        raise EngineError(f"{engine} could not {doing}: {reason[-1] if reason else type(exc).__name__}", engine=engine) from exc
