"""The cascade's networks as an engine computes them: on a graphics card, as the reference, and where nothing was compiled.

It lays whole pyramids out on canvases (``pyramid``), paints them from a table of sums (``sampling``), and fills batches up to sizes
the engine has met before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Pixels
from facesearch.core.protocols import Network
from facesearch.detection.boxes import Boxes, Rule, groups, suppress_within
from facesearch.detection.networks import ONET_PX, RNET_PX
from facesearch.detection.pyramid import Canvas, Level, canvases_of
from facesearch.detection.sampling import AreaSampler
from facesearch.detection.stages import HIT, Floats

_PNET_RUN_PX = 2**17
"""Canvas pixels of one run of the P-Net: beyond it the first layer's maps leave the cache and a pixel takes twice the time."""

_RNET_RUN = 512
_ONET_RUN = 128

_BATCH_STEP = 8
_BATCH_STEP_LARGE = 64
"""Batches are filled up to multiples (beyond 64 crops, of 64): an engine prepares itself anew for every batch size it meets."""


class EngineStages:
    """The three networks of an engine.

    Holds 16 bytes a pixel of the photographs being searched.

    Args:
        networks: P-, R- and O-Net with the inputs and outputs of ``networks.network_specs``.
    """

    def __init__(self, networks: tuple[Network, Network, Network]) -> None:
        self._networks = networks

    def search(self, photos: Sequence[Pixels], levels: Sequence[tuple[Level, ...]]) -> EngineSearch:
        """Return the networks over some photographs."""
        return EngineSearch(self._networks, photos, levels)

    def suppress_within(self, keys: NDArray[np.int64], boxes: Boxes, scores: Floats, rule: Rule) -> NDArray[np.int64]:
        """Return the boxes that survive among those of the same key."""
        return suppress_within(keys, boxes, scores, rule)


class EngineSearch:
    """The networks over one list of photographs; see ``stages.Search``."""

    def __init__(
        self, networks: tuple[Network, Network, Network], photos: Sequence[Pixels], levels: Sequence[tuple[Level, ...]]
    ) -> None:
        self._pnet, self._rnet, self._onet = networks
        self._levels = levels
        self._sizes = [photo.shape[:2] for photo in photos]
        self._samplers = [AreaSampler(photo) if of_one else None for photo, of_one in zip(photos, levels, strict=True)]

    def proposals(self, threshold: float) -> NDArray[Any]:
        """Return the P-Net's cells whose score reaches a threshold."""
        jobs = [
            (photo, canvas, sampler)
            for photo, ((height, width), of_one, sampler) in enumerate(zip(self._sizes, self._levels, self._samplers, strict=True))
            if sampler is not None
            for canvas in canvases_of(height, width, of_one)
        ]
        found = [np.zeros(0, dtype=HIT)]
        for run in _runs_of_one_shape(jobs):
            scores, corrections = self._pnet.run(_painted([(canvas, sampler) for _, canvas, sampler in run]))
            found += [
                _hits(photo, canvas, scores[place], corrections[place], threshold) for place, (photo, canvas, _) in enumerate(run)
            ]
        hits = np.concatenate(found)
        return hits[np.lexsort((hits["col"], hits["row"], hits["level"], hits["photo"]))]

    def refinements(self, crops: NDArray[np.int32]) -> tuple[Floats, Floats]:
        """Return the R-Net's scores and corrections."""
        scores, corrections = self._judged(self._rnet, crops, RNET_PX, _RNET_RUN)
        return scores, corrections

    def outputs(self, crops: NDArray[np.int32]) -> tuple[Floats, Floats, Floats]:
        """Return the O-Net's scores, corrections and landmarks."""
        scores, corrections, points = self._judged(self._onet, crops, ONET_PX, _ONET_RUN)
        return scores, corrections, points

    def _judged(self, network: Network, crops: NDArray[np.int32], crop_px: int, n_run: int) -> tuple[Floats, ...]:
        answers = []
        # One run at least, on blank crops if need be, so that the outputs' number and shapes are always the network's own.
        for start in range(0, max(1, len(crops)), n_run):
            here = crops[start : start + n_run]
            batch = np.zeros((_batch_size(len(here)), crop_px, crop_px, 3), dtype=np.float32)
            for photo, rows in groups(here[:, 0]):
                sampler = self._samplers[photo]
                if sampler is not None:
                    batch[rows] = sampler.crops(here[rows, 1:].astype(np.int64), crop_px)
            answers.append([output[: len(here)] for output in network.run(batch)])
        return tuple(np.concatenate(outputs) for outputs in zip(*answers, strict=True))


def _runs_of_one_shape(
    jobs: list[tuple[int, Canvas, AreaSampler]],
) -> Iterator[list[tuple[int, Canvas, AreaSampler]]]:
    """Yield jobs that fit into one run of the P-Net: canvases of one shape, within the pixels of a run."""

    def shape(job: tuple[int, Canvas, AreaSampler]) -> tuple[int, int]:
        return (job[1].height, job[1].width)

    for (height, width), group in groupby(sorted(jobs, key=shape), key=shape):
        alike = list(group)
        n_run = max(1, _PNET_RUN_PX // (height * width))
        for start in range(0, len(alike), n_run):
            yield alike[start : start + n_run]


def _painted(canvases: list[tuple[Canvas, AreaSampler]]) -> NDArray[np.float32]:
    """Return canvases of one shape with their tiles on them, float32 ``(N, H, W, 3)``; black between tiles."""
    first = canvases[0][0]
    batch = np.zeros((len(canvases), first.height, first.width, 3), dtype=np.float32)
    for picture, (canvas, sampler) in zip(batch, canvases, strict=True):
        for tile in canvas.tiles:
            means = sampler.grid(tile.rows, tile.cols)
            picture[tile.top : tile.top + means.shape[0], tile.left : tile.left + means.shape[1]] = means
    return batch


def _hits(photo: int, canvas: Canvas, scores: Floats, corrections: Floats, threshold: float) -> NDArray[Any]:
    """Return the cells of a canvas that reach the P-Net's threshold."""
    rows, cols = np.nonzero((scores >= threshold) & (canvas.cell_levels >= 0))
    hits = np.zeros(len(rows), dtype=HIT)
    hits["photo"] = photo
    hits["level"] = canvas.cell_levels[rows, cols]
    hits["row"] = canvas.cell_rows[rows, cols]
    hits["col"] = canvas.cell_cols[rows, cols]
    hits["score"] = scores[rows, cols]
    hits["correction"] = corrections[:, rows, cols].T
    return hits


def _batch_size(n_crops: int) -> int:
    step = _BATCH_STEP if n_crops <= _BATCH_STEP_LARGE else _BATCH_STEP_LARGE
    return max(1, -(-n_crops // step)) * step
