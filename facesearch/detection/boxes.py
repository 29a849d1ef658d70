"""Arithmetic on many boxes at once: suppression, correction, squaring and clipping.

Boxes are rows ``(x1, y1, x2, y2)`` of float arrays, in pixels. The cascade's conventions differ from stage to stage (whether a
box of equal corners is one pixel wide) and are kept as its weights were trained with them. No image and no network is seen here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]

_BLOCK = 256
"""Boxes compared at once in ``suppress``: 256 × 256 overlaps stay in the processor's cache."""

Overlap = Literal["union", "smaller"]


@dataclass(frozen=True, slots=True)
class Rule:
    """When a box goes because of a better one; see ``suppress``."""

    threshold: float
    over: Overlap = "union"
    extra_px: float = 0.0
    of_equals: Literal["first", "last"] = "first"


def overlaps(first: NDArray[Any], second: NDArray[Any], *, over: Overlap = "union", extra_px: float = 0.0) -> NDArray[Any]:
    """Return how much each box of one set overlaps each of another, in [0, 1].

    Args:
        first: ``(N, 4)``.
        second: ``(M, 4)``.
        over: Divide the shared area by the union's, or by the smaller box's.
        extra_px: Added to every width and height; 1 where corners are pixels that belong to the box.

    Returns:
        ``(N, M)``; 0 where two boxes have no area.
    """
    x1, y1, x2, y2 = first.T[:, :, None]
    u1, v1, u2, v2 = second.T[:, None, :]
    shared = np.maximum(np.minimum(x2, u2) - np.maximum(x1, u1) + extra_px, 0)
    shared *= np.maximum(np.minimum(y2, v2) - np.maximum(y1, v1) + extra_px, 0)
    area = (x2 - x1 + extra_px) * (y2 - y1 + extra_px)
    other = (u2 - u1 + extra_px) * (v2 - v1 + extra_px)
    total = np.minimum(area, other) if over == "smaller" else area + other - shared
    shares: NDArray[Any] = np.divide(shared, total, out=np.zeros_like(shared), where=total > 0)
    return shares


def suppress(boxes: NDArray[Any], scores: NDArray[Any], rule: Rule) -> NDArray[np.intp]:
    """Return the boxes that no better kept box overlaps too much (greedy non-maximum suppression).

    Args:
        boxes: ``(N, 4)``.
        scores: ``(N,)``.
        rule: A box goes when its overlap with a kept one (see ``overlaps``) is larger than the threshold. ``of_equals`` says which
            of boxes with equal scores counts as better, by place: scores of clear faces are all exactly 1 in float32, so this
            decides between real boxes.

    Returns:
        Indices of the kept boxes by falling score.
    """
    over, extra_px, threshold = rule.over, rule.extra_px, rule.threshold
    order = np.argsort(-scores, kind="stable") if rule.of_equals == "first" else np.argsort(scores, kind="stable")[::-1]
    ranked = boxes[order]
    kept = np.zeros(0, dtype=np.intp)
    for start in range(0, len(order), _BLOCK):
        block = ranked[start : start + _BLOCK]
        alive = np.ones(len(block), dtype=bool)
        for earlier in range(0, len(kept), _BLOCK):
            rivals = ranked[kept[earlier : earlier + _BLOCK]]
            alive &= ~(overlaps(rivals, block, over=over, extra_px=extra_px) > threshold).any(axis=0)
        chosen = np.flatnonzero(alive)
        if len(chosen):
            block = block[chosen]
            rivalry = overlaps(block, block, over=over, extra_px=extra_px) > threshold
            kept = np.concatenate([kept, start + chosen[_survivors(rivalry)]])
    return order[kept]


def suppress_within(keys: NDArray[Any], boxes: NDArray[Any], scores: NDArray[Any], rule: Rule) -> NDArray[np.intp]:
    """Return the boxes that survive suppression among boxes of the same key.

    Args:
        keys: ``(N,)``, equal ones side by side.
        boxes: ``(N, 4)``.
        scores: ``(N,)``.
        rule: See ``suppress``.

    Returns:
        Indices of the kept boxes, by key as they come and then by falling score.
    """
    kept = [rows.start + suppress(boxes[rows], scores[rows], rule) for _, rows in groups(keys)]
    return np.concatenate([np.zeros(0, dtype=np.intp), *kept])


def groups(keys: NDArray[Any]) -> Iterator[tuple[int, slice]]:
    """Yield each run of equal keys with its rows."""
    if len(keys) == 0:
        return
    starts = [0, *(np.flatnonzero(keys[1:] != keys[:-1]) + 1).tolist(), len(keys)]
    for start, stop in pairwise(starts):
        yield int(keys[start]), slice(start, stop)


def _survivors(rivalry: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return which of some ranked boxes remain when each kept one removes its rivals after it; ``rivalry`` is ``(N, N)``."""
    alive = np.ones(len(rivalry), dtype=bool)
    has_rivals = np.count_nonzero(rivalry, axis=1) > 1
    for place in np.flatnonzero(has_rivals):
        if alive[place]:
            alive[place + 1 :] &= ~rivalry[place, place + 1 :]
    return np.flatnonzero(alive)


def corrected(boxes: Boxes, corrections: Boxes, *, extra_px: float) -> Boxes:
    """Return boxes moved by a network's corrections.

    Args:
        boxes: ``(N, 4)``.
        corrections: ``(N, 4)``: of each corner coordinate, in shares of the box's width or height.
        extra_px: Added to width and height: 0 after the P-Net, 1 after the R- and the O-Net.
    """
    sizes = boxes[:, 2:] - boxes[:, :2] + np.float32(extra_px)
    moved: Boxes = boxes + corrections * np.concatenate([sizes, sizes], axis=1)
    return moved


def squared(boxes: Boxes) -> Boxes:
    """Return boxes of the same middle with both sides as long as the longer one."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    side = sizes.max(axis=1, keepdims=True)
    corner = boxes[:, :2] + sizes * np.float32(0.5) - side * np.float32(0.5)
    return np.concatenate([corner, corner + side], axis=1)


def clipped_pixels(boxes: Boxes, height: int | NDArray[np.int64], width: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pixels of an image that boxes cover, as rows ``(left, top, right, bottom)``, right and bottom excluded.

    Corners are cut to whole numbers towards zero and counted from 1, as the cascade was trained; a box outside the image comes back
    empty (``right <= left`` or ``bottom <= top``).

    Args:
        boxes: ``(N, 4)``.
        height: Rows of the image, or ``(N,)`` of the image of each box.
        width: Its columns, likewise.
    """
    whole = np.clip(boxes, -(2**30), 2**30).astype(np.int64)
    starts = np.maximum(whole[:, :2], 1) - 1
    ends = np.minimum(whole[:, 2:], np.stack([width, height], axis=-1))
    return np.concatenate([starts, ends], axis=1)
