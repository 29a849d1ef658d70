"""The three stages of MTCNN over several photographs at once.

The P-Net proposes boxes at all scales, the R-Net throws most of them away, the O-Net decides and places five points (Zhang et al.
2016, section II). It works on arrays; ``mtcnn`` makes ``Detection`` values of the result and splits long lists of photographs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Pixels
from facesearch.core.protocols import Network
from facesearch.detection.boxes import Boxes, clipped_pixels, corrected, squared, suppress
from facesearch.detection.networks import ONET_PX, PNET_CELL_PX, PNET_STRIDE, RNET_PX
from facesearch.detection.pyramid import Canvas, Pyramid, plan_pyramid
from facesearch.detection.sampling import AreaSampler

_LEVEL_OVERLAP = 0.5
"""Proposals of one level that overlap more are one; this and the next two as in the published cascade."""

_STAGE_OVERLAP = 0.7
_FINAL_OVERLAP_OF_SMALLER = 0.7

_PNET_RUN_PX = 2**17
"""Canvas pixels of one run of the P-Net: beyond it the first layer's maps leave the cache and a pixel takes twice the time."""

_RNET_RUN = 512
_ONET_RUN = 128

_BATCH_STEP = 8
_BATCH_STEP_LARGE = 64
"""Batches are filled up to multiples (beyond 64 crops, of 64): an engine prepares itself anew for every batch size it meets."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Smallest scores that pass the P-, R- and O-Net."""

    proposal: float
    refinement: float
    output: float


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """What one photograph holds, by falling score.

    Attributes:
        boxes: float32 ``(N, 4)``, x1, y1, x2, y2 in pixels of the array searched.
        landmarks: float32 ``(N, 5, 2)``, x then y.
        scores: float32 ``(N,)`` in [0, 1].
    """

    boxes: Boxes
    landmarks: NDArray[np.float32]
    scores: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Candidates:
    """Boxes of several photographs, grouped by photograph."""

    boxes: Boxes
    scores: NDArray[np.float32]
    photos: NDArray[np.intp]

    def take(self, places: NDArray[Any]) -> _Candidates:
        return _Candidates(self.boxes[places], self.scores[places], self.photos[places])


class Cascade:
    """The three networks and how their answers are put together. Safe to use from several threads.

    Args:
        networks: P-, R- and O-Net with the inputs and outputs of ``networks.network_specs``.
        min_face_px: Smallest face in pixels.
        scale_factor: Ratio of a level's scale to the one before it.
        thresholds: Smallest scores that pass.
    """

    def __init__(
        self, networks: tuple[Network, Network, Network], min_face_px: int, scale_factor: float, thresholds: Thresholds
    ) -> None:
        self._pnet, self._rnet, self._onet = networks
        self._min_face_px = min_face_px
        self._scale_factor = scale_factor
        self._thresholds = thresholds

    def run(self, photos: Sequence[Pixels]) -> list[Faces]:
        """Return the faces of each array of pixels (RGB uint8 ``(H, W, 3)``, of any sizes)."""
        pyramids = [plan_pyramid(photo.shape[0], photo.shape[1], self._min_face_px, self._scale_factor) for photo in photos]
        samplers = [AreaSampler(photo) if pyramid.levels else None for photo, pyramid in zip(photos, pyramids, strict=True)]
        proposals = self._propose(samplers, pyramids)
        refined = self._refine(samplers, proposals)
        return self._decide(samplers, refined, len(photos))

    def _propose(self, samplers: Sequence[AreaSampler | None], pyramids: Sequence[Pyramid]) -> _Candidates:
        """Return the P-Net's proposals, corrected and squared."""
        jobs = [
            (photo, canvas, sampler)
            for photo, (pyramid, sampler) in enumerate(zip(pyramids, samplers, strict=True))
            for canvas in pyramid.canvases
            if sampler is not None
        ]
        found = [_no_hits()]
        for run in _runs_of_one_shape(jobs):
            scores, corrections = self._pnet.run(_painted([(canvas, sampler) for _, canvas, sampler in run]))
            found += [
                _hits(photo, canvas, scores[place], corrections[place], self._thresholds.proposal)
                for place, (photo, canvas, _) in enumerate(run)
            ]
        hits = np.concatenate(found)
        hits = hits[np.lexsort((hits["col"], hits["row"], hits["level"], hits["photo"]))]
        boxes = _cell_boxes(hits, pyramids)
        key = hits["photo"].astype(np.int64) * (2**16) + hits["level"]
        kept = _suppress_within(key, boxes, hits["score"], _LEVEL_OVERLAP)
        hits, boxes = hits[kept], boxes[kept]
        kept = _suppress_within(hits["photo"], boxes, hits["score"], _STAGE_OVERLAP)
        boxes = squared(corrected(boxes[kept], hits["correction"][kept], extra_px=0.0))
        return _Candidates(boxes, hits["score"][kept], hits["photo"][kept].astype(np.intp))

    def _refine(self, samplers: Sequence[AreaSampler | None], proposals: _Candidates) -> _Candidates:
        """Return the proposals that pass the R-Net, corrected and squared."""
        candidates, (scores, corrections) = self._judged(self._rnet, RNET_PX, _RNET_RUN, samplers, proposals)
        passed = np.flatnonzero(scores > self._thresholds.refinement)
        boxes, scores, photos = candidates.boxes[passed], scores[passed], candidates.photos[passed]
        kept = _suppress_within(photos, boxes, scores, _STAGE_OVERLAP)
        boxes = squared(corrected(boxes[kept], corrections[passed][kept], extra_px=1.0))
        return _Candidates(boxes, scores[kept], photos[kept])

    def _decide(self, samplers: Sequence[AreaSampler | None], refined: _Candidates, n_photos: int) -> list[Faces]:
        """Return the faces that pass the O-Net."""
        candidates, (scores, corrections, points) = self._judged(self._onet, ONET_PX, _ONET_RUN, samplers, refined)
        passed = np.flatnonzero(scores > self._thresholds.output)
        boxes, scores, photos = candidates.boxes[passed], scores[passed], candidates.photos[passed]
        sizes = boxes[:, 2:] - boxes[:, :2] + np.float32(1)
        shares = points[passed].reshape(-1, 2, 5).transpose(0, 2, 1)
        landmarks = shares * sizes[:, None, :] + boxes[:, None, :2] - np.float32(1)
        boxes = corrected(boxes, corrections[passed], extra_px=1.0)
        real = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
        boxes, scores, photos, landmarks = boxes[real], scores[real], photos[real], landmarks[real]
        kept = _suppress_within(photos, boxes, scores, _FINAL_OVERLAP_OF_SMALLER, over="smaller", extra_px=1.0, of_equals="last")
        owners = photos[kept]
        places = [kept[owners == photo] for photo in range(n_photos)]
        return [Faces(boxes[place], landmarks[place], scores[place]) for place in places]

    def _judged(
        self,
        network: Network,
        crop_px: int,
        n_run: int,
        samplers: Sequence[AreaSampler | None],
        candidates: _Candidates,
    ) -> tuple[_Candidates, tuple[NDArray[np.float32], ...]]:
        """Return the candidates that touch their photograph and what a network says of each."""
        pixels = np.zeros((len(candidates.boxes), 4), dtype=np.int64)
        for photo, rows in _groups(candidates.photos):
            sampler = samplers[photo]
            if sampler is not None:
                pixels[rows] = clipped_pixels(candidates.boxes[rows], sampler.height, sampler.width)
        inside = np.flatnonzero((pixels[:, 2] > pixels[:, 0]) & (pixels[:, 3] > pixels[:, 1]))
        candidates, pixels = candidates.take(inside), pixels[inside]
        answers = []
        # One run at least, on blank crops if need be, so that the outputs' number and shapes are always the network's own.
        for start in range(0, max(1, len(inside)), n_run):
            n_crops = min(n_run, len(inside) - start)
            crops = np.zeros((_batch_size(n_crops), crop_px, crop_px, 3), dtype=np.float32)
            for photo, rows in _groups(candidates.photos[start : start + n_crops]):
                sampler = samplers[photo]
                if sampler is not None:
                    crops[rows] = sampler.crops(pixels[start + rows.start : start + rows.stop], crop_px)
            answers.append([output[:n_crops] for output in network.run(crops)])
        return candidates, tuple(np.concatenate(outputs) for outputs in zip(*answers, strict=True))


_HIT = np.dtype(
    [("photo", "i4"), ("level", "i2"), ("row", "i4"), ("col", "i4"), ("score", "f4"), ("correction", "f4", (4,))],
)
"""A cell of the P-Net that sees a face."""


def _no_hits() -> NDArray[Any]:
    return np.zeros(0, dtype=_HIT)


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


def _hits(
    photo: int, canvas: Canvas, scores: NDArray[np.float32], corrections: NDArray[np.float32], threshold: float
) -> NDArray[Any]:
    """Return the cells of a canvas that reach the P-Net's threshold."""
    rows, cols = np.nonzero((scores >= threshold) & (canvas.cell_levels >= 0))
    hits = np.zeros(len(rows), dtype=_HIT)
    hits["photo"] = photo
    hits["level"] = canvas.cell_levels[rows, cols]
    hits["row"] = canvas.cell_rows[rows, cols]
    hits["col"] = canvas.cell_cols[rows, cols]
    hits["score"] = scores[rows, cols]
    hits["correction"] = corrections[:, rows, cols].T
    return hits


def _cell_boxes(hits: NDArray[Any], pyramids: Sequence[Pyramid]) -> Boxes:
    """Return what each cell sees, in pixels of its photograph, cut to whole pixels as the published cascade does."""
    scales = np.zeros(len(hits), dtype=np.float32)
    for photo, rows in _groups(hits["photo"]):
        scales[rows] = np.array([level.scale for level in pyramids[photo].levels], dtype=np.float32)[hits["level"][rows]]
    corners = np.stack([hits["col"], hits["row"]], axis=1).astype(np.float32) * np.float32(PNET_STRIDE)
    starts, ends = ((corners + np.float32(offset)) / scales[:, None] for offset in (1, PNET_CELL_PX))
    boxes: Boxes = np.floor(np.concatenate([starts, ends], axis=1))
    return boxes


def _groups(keys: NDArray[Any]) -> Iterator[tuple[int, slice]]:
    """Yield each run of equal keys with its rows."""
    if len(keys) == 0:
        return
    starts = [0, *(np.flatnonzero(keys[1:] != keys[:-1]) + 1).tolist(), len(keys)]
    for start, stop in pairwise(starts):
        yield int(keys[start]), slice(start, stop)


def _suppress_within(
    keys: NDArray[Any], boxes: Boxes, scores: NDArray[np.float32], threshold: float, **how: Any
) -> NDArray[np.intp]:
    """Return the rows that survive suppression among rows of the same key, by key and then by falling score."""
    kept = [rows.start + suppress(boxes[rows], scores[rows], threshold, **how) for _, rows in _groups(keys)]
    return np.concatenate([np.zeros(0, dtype=np.intp), *kept])


def _batch_size(n_crops: int) -> int:
    step = _BATCH_STEP if n_crops <= _BATCH_STEP_LARGE else _BATCH_STEP_LARGE
    return max(1, -(-n_crops // step)) * step
