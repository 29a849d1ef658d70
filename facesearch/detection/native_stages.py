"""The cascade's networks as the compiled library computes them; see ``native_library``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from ctypes import CDLL
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Pixels
from facesearch.detection.boxes import Boxes, Rule
from facesearch.detection.native_library import NativeJudge, NativePNet, Photos, suppress_natively
from facesearch.detection.networks import ONET_HEADS, ONET_LAYERS, ONET_PX, RNET_HEADS, RNET_LAYERS, RNET_PX
from facesearch.detection.pyramid import Level
from facesearch.detection.stages import HIT, Floats
from facesearch.detection.weights import ONET_DIGEST, PNET_DIGEST, RNET_DIGEST, read_weights


class NativeStages:
    """The three networks with their published weights.

    Each thread works in a few rows of a level: about 160 bytes times the photograph's width at a smallest face of 20 pixels (460 at
    6); photographs are not copied.

    Args:
        library: The compiled library.
        weights_folder: Where pnet.pt, rnet.pt and onet.pt are; None finds those of the installed facenet-pytorch.
        threads: Threads to use; None is one a core that this process may run on.
        instructions: Place in ``native_library.instruction_sets``.

    Raises:
        CheckpointNotFoundError: The weights are missing.
        CheckpointDigestError: They are not the published ones.
    """

    def __init__(
        self, library: CDLL, weights_folder: Path | None = None, *, threads: int | None = None, instructions: int = 0
    ) -> None:
        tensors = [
            read_weights(weights_folder, name, digest)
            for name, digest in (("pnet.pt", PNET_DIGEST), ("rnet.pt", RNET_DIGEST), ("onet.pt", ONET_DIGEST))
        ]
        self._library = library
        self._pnet = NativePNet(library, tensors[0], instructions)
        self._rnet = NativeJudge(library, tensors[1], RNET_LAYERS, RNET_HEADS, crop_px=RNET_PX, instructions=instructions)
        self._onet = NativeJudge(library, tensors[2], ONET_LAYERS, ONET_HEADS, crop_px=ONET_PX, instructions=instructions)
        self._n_threads = threads if threads is not None else _n_cores()

    def search(self, photos: Sequence[Pixels], levels: Sequence[tuple[Level, ...]]) -> NativeSearch:
        """Return the networks over some photographs."""
        return NativeSearch(self._pnet, (self._rnet, self._onet), photos, levels, n_threads=self._n_threads)

    def suppress_within(self, keys: NDArray[np.int64], boxes: Boxes, scores: Floats, rule: Rule) -> NDArray[np.int64]:
        """Return the boxes that survive among those of the same key."""
        return suppress_natively(self._library, keys, boxes, scores, rule)


class NativeSearch:
    """The networks over one list of photographs; see ``stages.Search``."""

    def __init__(
        self,
        pnet: NativePNet,
        judges: tuple[NativeJudge, NativeJudge],
        photos: Sequence[Pixels],
        levels: Sequence[tuple[Level, ...]],
        *,
        n_threads: int,
    ) -> None:
        self._pnet = pnet
        self._rnet, self._onet = judges
        self._photos = Photos(photos)
        rows = [
            (photo, number, level.height, level.width) for photo, of_one in enumerate(levels) for number, level in enumerate(of_one)
        ]
        self._levels = np.array(rows, dtype=np.int32).reshape(-1, 4)
        self._n_threads = n_threads

    def proposals(self, threshold: float) -> NDArray[Any]:
        """Return the P-Net's cells whose score reaches a threshold."""
        if len(self._levels) == 0:
            return np.zeros(0, dtype=HIT)
        return self._pnet.run(self._photos, self._levels, threshold, self._n_threads)

    def refinements(self, crops: NDArray[np.int32]) -> tuple[Floats, Floats]:
        """Return the R-Net's scores and corrections."""
        said = self._rnet.run(self._photos, crops, self._n_threads)
        return said[:, 0], said[:, 1:5]

    def outputs(self, crops: NDArray[np.int32]) -> tuple[Floats, Floats, Floats]:
        """Return the O-Net's scores, corrections and landmarks."""
        said = self._onet.run(self._photos, crops, self._n_threads)
        return said[:, 0], said[:, 1:5], said[:, 5:15]


def _n_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
