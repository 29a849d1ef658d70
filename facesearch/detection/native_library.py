"""The compiled cascade, loaded with ctypes: the P-Net over whole pyramids, and the R- and O-Net over crops of photographs.

The library is built from ``native/`` when the package is installed (``hatch_build.py``); where that was not possible there is none
and the engine's networks do the same work (``engine_stages``). It holds code for several instruction sets and takes the best that
the processor has. Everything is computed in float32, in an order that depends neither on the number of threads nor on what else is
in a batch: results are the same bit by bit from run to run. Python's lock is released while it computes.
"""

from __future__ import annotations

import ctypes
import logging
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Pixels
from facesearch.core.errors import ModelError
from facesearch.detection.boxes import Boxes, Rule
from facesearch.detection.stages import HIT, Floats
from facesearch.detection.weights import Tensors

LIBRARY = Path(__file__).with_name("native") / "cascade.so"
"""Where the installation puts the compiled library."""

INTERFACE = 1
"""The ``kInterface`` of ``native/kernels.h`` that this module was written for."""

_PHOTO = np.dtype([("pixels", "u8"), ("row_bytes", "i8"), ("height", "i4"), ("width", "i4")])
_logger = logging.getLogger(__name__)


class _PNetWeights(ctypes.Structure):
    _NAMES = ("w1", "b1", "s1", "w2", "b2", "s2", "w3", "b3", "s3", "face", "face_bias", "box", "box_bias")
    _fields_ = [(name, ctypes.c_void_p) for name in _NAMES]


class _Step(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int32) for name in ("side", "n_in", "n_out", "n_per_crop")),
        *((name, ctypes.c_void_p) for name in ("weights", "bias", "slopes")),
    ]


def load_library(path: Path = LIBRARY) -> ctypes.CDLL | None:
    """Return the compiled library with its functions declared, or None.

    There is none where it is missing, of another version or does not load here. Why it is None is logged, once for each path.
    """
    return _loaded(path)


@cache
def _loaded(path: Path) -> ctypes.CDLL | None:
    if not path.is_file():
        _logger.warning("the compiled detector %s is missing: detection runs on the engine, several times slower", path)
        return None
    try:
        library = ctypes.CDLL(str(path))
        if (interface := _interface(library)) != INTERFACE:
            _logger.warning(
                "the compiled detector %s is of another version of facesearch (interface %d, this one needs %d): detection runs on "
                "the engine, several times slower; install facesearch again to compile it anew",
                path,
                interface,
                INTERFACE,
            )
            return None
        _declare(library)
    except (OSError, AttributeError) as exc:
        _logger.warning("the compiled detector does not load (%s): detection runs on the engine, several times slower", exc)
        return None
    _logger.debug("compiled detector: %s", ", ".join(instruction_sets(library)))
    return library


def _interface(library: ctypes.CDLL) -> int:
    """Return which functions and structures a library has: others would be read and written past their ends."""
    try:
        return int(library.facesearch_interface())
    except AttributeError:  # from before it said so
        return 0


def _declare(library: ctypes.CDLL) -> None:
    pointer, number, wide = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "facesearch_instructions": (ctypes.c_char_p, [number]),
        "facesearch_pnet_new": (pointer, [number, pointer]),
        "facesearch_pnet_free": (None, [pointer]),
        "facesearch_pnet_run": (wide, [pointer, pointer, pointer, number, ctypes.c_float, number, pointer]),
        "facesearch_hits_free": (None, [pointer]),
        "facesearch_judge_new": (pointer, [number, pointer, number, number]),
        "facesearch_judge_free": (None, [pointer]),
        "facesearch_judge_run": (number, [pointer, pointer, pointer, wide, number, pointer]),
        "facesearch_suppress": (wide, [pointer] * 3 + [wide, ctypes.c_float, ctypes.c_float, number, number, pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments


def instruction_sets(library: ctypes.CDLL) -> list[str]:
    """Return the instruction sets that this processor has code for, best first; the last one, ``baseline``, is always there."""
    names: list[str] = []
    while (name := library.facesearch_instructions(len(names))) is not None:
        names.append(name.decode())
    return names


class Photos:
    """Photographs where the library finds them.

    Args:
        photos: RGB uint8 ``(H, W, 3)``, none empty; a view whose pixels do not lie side by side is copied.
    """

    def __init__(self, photos: Sequence[Pixels]) -> None:
        self._kept = [photo if photo.strides[1:] == (3, 1) else np.ascontiguousarray(photo) for photo in photos]
        rows = [(photo.ctypes.data, photo.strides[0], *photo.shape[:2]) for photo in self._kept]
        self._table = np.array(rows, dtype=_PHOTO)

    @property
    def address(self) -> int:
        """Where the library's description of them is."""
        return self._table.ctypes.data


class NativePNet:
    """The P-Net over all levels of photographs. Safe to use from several threads.

    Args:
        library: See ``load_library``.
        tensors: The published weights.
        instructions: Place in ``instruction_sets``.
    """

    def __init__(self, library: ctypes.CDLL, tensors: Tensors, instructions: int = 0) -> None:
        self._library = library
        arrays: dict[str, Floats] = {}
        for number in "123":
            arrays["w" + number] = tensors[f"conv{number}.weight"]
            arrays["b" + number] = tensors[f"conv{number}.bias"]
            arrays["s" + number] = tensors[f"prelu{number}.weight"]
        face, bias = tensors["conv4_1.weight"], tensors["conv4_1.bias"]
        arrays |= {"face": face[1] - face[0], "face_bias": bias[1:] - bias[:1]}
        arrays |= {"box": tensors["conv4_2.weight"], "box_bias": tensors["conv4_2.bias"]}
        arrays = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in arrays.items()}
        weights = _PNetWeights(**{name: array.ctypes.data for name, array in arrays.items()})
        self._handle = _checked_handle(library.facesearch_pnet_new(instructions, ctypes.addressof(weights)))
        _freed_with(self, library.facesearch_pnet_free, self._handle)

    def run(self, photos: Photos, levels: NDArray[np.int32], threshold: float, n_threads: int) -> NDArray[Any]:
        """Return the cells that reach a threshold.

        Args:
            photos: The photographs.
            levels: ``(L, 4)``: photograph, number, height and width of each level, every side at least 12.
            threshold: Smallest score.
            n_threads: Threads to use, at least 1.

        Returns:
            ``HIT`` of shape ``(N,)``, in the order of ``levels``, then by row and column.

        Raises:
            ModelError: Memory ran out.
        """
        levels = np.ascontiguousarray(levels, dtype=np.int32)
        found = ctypes.c_void_p()
        n_hits = self._library.facesearch_pnet_run(
            self._handle, photos.address, levels.ctypes.data, len(levels), threshold, n_threads, ctypes.addressof(found)
        )
        _check_memory(n_hits)
        try:
            return np.frombuffer(ctypes.string_at(found, n_hits * HIT.itemsize), dtype=HIT)
        finally:
            self._library.facesearch_hits_free(found)


class NativeJudge:
    """The R- or the O-Net over crops. Safe to use from several threads.

    Args:
        library: See ``load_library``.
        tensors: The published weights.
        layout: The layers, as in ``networks``.
        heads: Names of the last dense layers, the two logits of the face first.
        crop_px: Side of the network's input.
        instructions: Place in ``instruction_sets``.
    """

    def __init__(
        self, library: ctypes.CDLL, tensors: Tensors, layout: str, heads: Sequence[str], *, crop_px: int, instructions: int = 0
    ) -> None:
        self._library = library
        steps, kept, self._n_out = _steps(tensors, layout, heads, crop_px)
        table = (_Step * len(steps))(*steps)
        self._handle = _checked_handle(library.facesearch_judge_new(instructions, ctypes.addressof(table), len(steps), crop_px))
        del kept  # the library has its own copy by now
        _freed_with(self, library.facesearch_judge_free, self._handle)

    def run(self, photos: Photos, crops: NDArray[np.int32], n_threads: int) -> Floats:
        """Return what the heads say of each crop, side by side, the two logits as the face's score.

        Args:
            photos: The photographs.
            crops: ``(N, 5)``: photograph, left, top, right, bottom; inside the photograph, right and bottom excluded, none empty.
            n_threads: Threads to use, at least 1.

        Returns:
            ``(N, outputs)``: the score, then the other heads.

        Raises:
            ModelError: Memory ran out.
        """
        crops = np.ascontiguousarray(crops, dtype=np.int32)
        out = np.empty((len(crops), self._n_out - 1), dtype=np.float32)
        _check_memory(
            self._library.facesearch_judge_run(
                self._handle, photos.address, crops.ctypes.data, len(crops), n_threads, out.ctypes.data
            )
        )
        return out


def suppress_natively(library: ctypes.CDLL, keys: NDArray[np.int64], boxes: Boxes, scores: Floats, rule: Rule) -> NDArray[np.int64]:
    """Return what ``boxes.suppress_within`` returns, for float32 boxes and scores.

    Raises:
        ModelError: Memory ran out.
    """
    keys = np.ascontiguousarray(keys, dtype=np.int64)
    boxes, scores = (np.ascontiguousarray(array, dtype=np.float32) for array in (boxes, scores))
    kept = np.empty(len(keys), dtype=np.int64)
    n_kept = library.facesearch_suppress(
        keys.ctypes.data,
        boxes.ctypes.data,
        scores.ctypes.data,
        len(keys),
        rule.threshold,
        rule.extra_px,
        rule.over == "smaller",
        rule.of_equals == "last",
        kept.ctypes.data,
    )
    _check_memory(n_kept)
    return kept[:n_kept]


def _steps(tensors: Tensors, layout: str, heads: Sequence[str], crop_px: int) -> tuple[list[_Step], list[Floats], int]:
    """Return a network's steps, the arrays they point to, and the number of its outputs.

    A dense layer is a convolution as large as the maps before it, and all heads are one of 1×1.
    """
    steps: list[_Step] = []
    kept: list[Floats] = []
    side, n_in, n_pooled = crop_px, 3, layout.count("m")

    def add(kernels: Floats, bias: Floats, slopes: Floats | None) -> None:
        # Crop by crop up to the second pooling: until there the maps of one crop fill the cache.
        arrays = [np.ascontiguousarray(array, dtype=np.float32) for array in (kernels, bias, slopes) if array is not None]
        kept.extend(arrays)
        addresses = [array.ctypes.data for array in arrays] + [None] * (3 - len(arrays))
        is_early = sum(step.weights is None for step in steps) < min(2, n_pooled)
        steps.append(_Step(kernels.shape[0], kernels.shape[2], kernels.shape[3], int(is_early), *addresses))

    for step in layout.split():
        kind, number = step[0], step[1:]
        if kind == "m":
            is_early = sum(earlier.weights is None for earlier in steps) < min(2, n_pooled)
            steps.append(_Step(int(number), n_in, n_in, int(is_early), None, None, None))
            side = (side - int(number) + 1) // 2 + 1
        elif kind in "cd":
            name = {"c": "conv", "d": "dense"}[kind] + number
            weight = tensors[f"{name}.weight"]
            if kind == "c":
                kernels = weight.transpose(2, 3, 1, 0)
            else:  # its inputs run by column, then row, then channel (networks.FlattenColumnsFirst)
                kernels = weight.reshape(len(weight), side, side, n_in).transpose(2, 1, 3, 0)
            add(kernels, tensors[f"{name}.bias"], tensors[f"prelu{number}.weight"])
            side, n_in = side - kernels.shape[0] + 1, len(weight)
    weight = np.concatenate([tensors[f"{head}.weight"] for head in heads])
    add(weight.T[None, None], np.concatenate([tensors[f"{head}.bias"] for head in heads]), None)
    return steps, kept, len(weight)


def _freed_with(owner: object, free: Callable[[int], None], handle: int) -> None:
    """Have something of the library freed with its owner, but not when Python ends: daemon threads may still be computing then."""
    weakref.finalize(owner, free, handle).atexit = False


def _checked_handle(handle: int | None) -> int:
    if handle is None:
        raise ModelError("the compiled detector found no memory for its weights")
    return handle


def _check_memory(result: int) -> None:
    if result < 0:
        raise ModelError("the compiled detector ran out of memory: give it smaller photographs or fewer at once")
