"""The three stages of MTCNN over several photographs at once.

The P-Net proposes boxes at all scales, the R-Net throws most of them away, the O-Net decides and places five points (Zhang et al.
2016, section II). It works on arrays; the networks themselves are in ``stages``, and ``mtcnn`` makes ``Detection`` values of the
result and splits long lists of photographs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Pixels
from facesearch.detection.boxes import Boxes, Rule, clipped_pixels, corrected, groups, squared
from facesearch.detection.networks import PNET_CELL_PX, PNET_STRIDE
from facesearch.detection.pyramid import Level, levels_of
from facesearch.detection.stages import Search, Stages

_OF_LEVEL = Rule(0.5)
"""Proposals of one level that overlap more are one; this and the next two as in the published cascade."""

_OF_STAGE = Rule(0.7)
_FINAL = Rule(0.7, over="smaller", extra_px=1.0, of_equals="last")

_Sizes = Sequence[tuple[int, int]]
"""Height and width of each photograph."""


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
    """How the answers of the three networks are put together. Safe to use from several threads.

    Args:
        stages: The networks.
        min_face_px: Smallest face in pixels.
        scale_factor: Ratio of a level's scale to the one before it.
        thresholds: Smallest scores that pass.
    """

    def __init__(self, stages: Stages, min_face_px: int, scale_factor: float, thresholds: Thresholds) -> None:
        self._stages = stages
        self._min_face_px = min_face_px
        self._scale_factor = scale_factor
        self._thresholds = thresholds

    def run(self, photos: Sequence[Pixels]) -> list[Faces]:
        """Return the faces of each array of pixels (RGB uint8 ``(H, W, 3)``, of any sizes)."""
        sizes = [photo.shape[:2] for photo in photos]
        levels = [levels_of(height, width, self._min_face_px, self._scale_factor) for height, width in sizes]
        search = self._stages.search(photos, levels)
        proposals = self._propose(search, levels)
        refined = self._refine(search, sizes, proposals)
        return self._decide(search, sizes, refined)

    def _propose(self, search: Search, levels: Sequence[tuple[Level, ...]]) -> _Candidates:
        """Return the P-Net's proposals, corrected and squared."""
        hits = search.proposals(self._thresholds.proposal)
        boxes = _cell_boxes(hits, levels)
        key = hits["photo"].astype(np.int64) * (2**16) + hits["level"]
        kept = self._stages.suppress_within(key, boxes, hits["score"], _OF_LEVEL)
        hits, boxes = hits[kept], boxes[kept]
        kept = self._stages.suppress_within(hits["photo"], boxes, hits["score"], _OF_STAGE)
        boxes = squared(corrected(boxes[kept], hits["correction"][kept], extra_px=0.0))
        return _Candidates(boxes, hits["score"][kept], hits["photo"][kept].astype(np.intp))

    def _refine(self, search: Search, sizes: _Sizes, proposals: _Candidates) -> _Candidates:
        """Return the proposals that pass the R-Net, corrected and squared."""
        candidates, crops = _crops(sizes, proposals)
        scores, corrections = search.refinements(crops)
        passed = np.flatnonzero(scores > self._thresholds.refinement)
        boxes, scores, photos = candidates.boxes[passed], scores[passed], candidates.photos[passed]
        kept = self._stages.suppress_within(photos, boxes, scores, _OF_STAGE)
        boxes = squared(corrected(boxes[kept], corrections[passed][kept], extra_px=1.0))
        return _Candidates(boxes, scores[kept], photos[kept])

    def _decide(self, search: Search, sizes: _Sizes, refined: _Candidates) -> list[Faces]:
        """Return the faces that pass the O-Net."""
        candidates, crops = _crops(sizes, refined)
        scores, corrections, points = search.outputs(crops)
        passed = np.flatnonzero(scores > self._thresholds.output)
        boxes, scores, photos = candidates.boxes[passed], scores[passed], candidates.photos[passed]
        sides = boxes[:, 2:] - boxes[:, :2] + np.float32(1)
        shares = points[passed].reshape(-1, 2, 5).transpose(0, 2, 1)
        landmarks = shares * sides[:, None, :] + boxes[:, None, :2] - np.float32(1)
        boxes = corrected(boxes, corrections[passed], extra_px=1.0)
        real = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
        boxes, scores, photos, landmarks = boxes[real], scores[real], photos[real], landmarks[real]
        kept = self._stages.suppress_within(photos, boxes, scores, _FINAL)
        owners = photos[kept]
        places = [kept[owners == photo] for photo in range(len(sizes))]
        return [Faces(boxes[place], landmarks[place], scores[place]) for place in places]


def _crops(sizes: _Sizes, candidates: _Candidates) -> tuple[_Candidates, NDArray[np.int32]]:
    """Return the candidates that touch their photograph and the rectangles they cover there; see ``stages.Search``."""
    limits = np.array(sizes, dtype=np.int64).reshape(-1, 2)[candidates.photos]
    pixels = clipped_pixels(candidates.boxes, limits[:, 0], limits[:, 1])
    inside = np.flatnonzero((pixels[:, 2:] > pixels[:, :2]).all(axis=1))
    candidates = candidates.take(inside)
    return candidates, np.concatenate([candidates.photos[:, None], pixels[inside]], axis=1).astype(np.int32)


def _cell_boxes(hits: NDArray[Any], levels: Sequence[tuple[Level, ...]]) -> Boxes:
    """Return what each cell sees, in pixels of its photograph, cut to whole pixels as the published cascade does."""
    scales = np.zeros(len(hits), dtype=np.float32)
    for photo, rows in groups(hits["photo"]):
        scales[rows] = np.array([level.scale for level in levels[photo]], dtype=np.float32)[hits["level"][rows]]
    corners = np.stack([hits["col"], hits["row"]], axis=1).astype(np.float32) * np.float32(PNET_STRIDE)
    starts, ends = ((corners + np.float32(offset)) / scales[:, None] for offset in (1, PNET_CELL_PX))
    boxes: Boxes = np.floor(np.concatenate([starts, ends], axis=1))
    return boxes
