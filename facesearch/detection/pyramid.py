"""Photographs at falling scales, laid out on a few canvases of similar size for the P-Net.

A whole pyramid of levels would mean a network run for each, every one of another shape. Instead each level is cut into tiles that
overlap by what a cell of the P-Net sees, and tiles of all levels are packed onto canvases: few runs, few shapes, bounded memory,
and small enough that the first layers stay in the cache of the processor. It plans; resampling is the work of ``sampling``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from facesearch.detection.networks import PNET_CELL_PX, PNET_STRIDE
from facesearch.detection.sampling import Bins, area_bins

_HALO_PX = PNET_CELL_PX - PNET_STRIDE
"""What a run of n cells needs beyond its n strides."""

_TILE_CELLS = 120
"""Most cells along a side of a tile (250 pixels)."""

_CANVAS_STEP_PX = 32
"""Canvas sides are multiples of this, so that photographs of many sizes share the network's compiled shapes."""

_CANVAS_WIDTHS_PX = range(64, 353, _CANVAS_STEP_PX)
_CANVAS_MAX_HEIGHT_PX = 384


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """The photograph at one scale.

    Attributes:
        scale: Level pixels a photograph pixel.
        height: Rows of pixels.
        width: Columns of pixels.
    """

    scale: float
    height: int
    width: int

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of P-Net cells; where the last pooling window is cut by the border it still counts."""
        return (_n_cells(self.height), _n_cells(self.width))


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A part of a level and its place on a canvas.

    Attributes:
        rows: The photograph's rows that each row of the tile averages.
        cols: The photograph's columns that each column of the tile averages.
        top: First row on the canvas, even.
        left: First column on the canvas, even.
    """

    rows: Bins
    cols: Bins
    top: int
    left: int


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """Tiles that go through the P-Net together.

    Attributes:
        height: Rows of pixels.
        width: Columns of pixels.
        tiles: What is painted on it.
        cell_levels: int16, one for each cell of the P-Net's output: index of its level, or -1 where a cell belongs to no tile.
        cell_rows: int32 of the same shape: the cell's row in its level.
        cell_cols: int32 of the same shape: the cell's column in its level.
    """

    height: int
    width: int
    tiles: tuple[Tile, ...]
    cell_levels: NDArray[np.int16]
    cell_rows: NDArray[np.int32]
    cell_cols: NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Pyramid:
    """How photographs of one size go through the P-Net.

    Attributes:
        levels: From the largest scale to the smallest; none when the photograph is smaller than the smallest face.
        canvases: Every cell of every level exactly once.
    """

    levels: tuple[Level, ...]
    canvases: tuple[Canvas, ...]


@dataclass(slots=True)
class _Part:
    """A tile before it has a place: cells ``row … row + n_rows`` and ``col … col + n_cols`` of a level."""

    level: int
    row: int
    col: int
    n_rows: int
    n_cols: int

    @property
    def height(self) -> int:
        return self.n_rows * PNET_STRIDE + _HALO_PX

    @property
    def width(self) -> int:
        return self.n_cols * PNET_STRIDE + _HALO_PX


@dataclass(slots=True)
class _Shelf:
    """A row of tiles on a canvas."""

    canvas: int
    top: int
    height: int
    used: int


def level_scales(height: int, width: int, min_face_px: int, scale_factor: float) -> Iterator[float]:
    """Yield the scales at which a 12-pixel cell sees faces from the smallest size up to the whole photograph.

    Args:
        height: Rows of the photograph.
        width: Its columns.
        min_face_px: Smallest face, in pixels of the photograph.
        scale_factor: Ratio of a scale to the one before it, in (0, 1).
    """
    scale = PNET_CELL_PX / min_face_px
    side = min(height, width) * scale
    while side >= PNET_CELL_PX:
        yield scale
        scale *= scale_factor
        side *= scale_factor


@lru_cache(maxsize=64)
def plan_pyramid(height: int, width: int, min_face_px: int, scale_factor: float) -> Pyramid:
    """Return the levels of a photograph's size and their places on canvases.

    Args:
        height: Rows of the photograph.
        width: Its columns.
        min_face_px: Smallest face, in pixels of the photograph.
        scale_factor: Ratio of a scale to the one before it, in (0, 1).
    """
    scales = level_scales(height, width, min_face_px, scale_factor)
    levels = tuple(Level(scale, int(height * scale + 1), int(width * scale + 1)) for scale in scales)
    parts = [part for index, level in enumerate(levels) for part in _parts(index, level)]
    parts.sort(key=lambda part: (-part.height, -part.width))
    packings = [_packed(parts, canvas_px) for canvas_px in _CANVAS_WIDTHS_PX if all(part.width <= canvas_px for part in parts)]
    best = min(packings, key=lambda packing: sum(h * w for h, w in packing[1]))
    canvases = []
    for index, (canvas_height, canvas_width) in enumerate(best[1]):
        placed = [(part, top, left) for part, (where, top, left) in zip(parts, best[0], strict=True) if where == index]
        canvases.append(_canvas((canvas_height, canvas_width), placed, levels, (height, width)))
    return Pyramid(levels, tuple(canvases))


def _n_cells(side_px: int) -> int:
    # A 3×3 convolution, pooling by 2 that keeps a half window, and two more 3×3 convolutions.
    return -(-(side_px - 2) // 2) - 4


def _runs(n_cells: int) -> list[tuple[int, int]]:
    """Return (first, count) of the fewest, most even runs of cells that are short enough for a tile."""
    n_runs = -(-n_cells // _TILE_CELLS)
    edges = [n_cells * run // n_runs for run in range(n_runs + 1)]
    return [(first, after - first) for first, after in pairwise(edges)]


def _parts(index: int, level: Level) -> list[_Part]:
    rows, cols = (_runs(n) for n in level.cells)
    return [_Part(index, row, col, n_rows, n_cols) for row, n_rows in rows for col, n_cols in cols]


def _packed(parts: list[_Part], canvas_px: int) -> tuple[list[tuple[int, int, int]], list[tuple[int, int]]]:
    """Return (canvas, top, left) of every part and (height, width) of every canvas: first fit on shelves, tallest parts first."""
    places: list[tuple[int, int, int]] = []
    shelves: list[_Shelf] = []
    heights: list[int] = []
    for part in parts:
        shelf = next((shelf for shelf in shelves if part.width <= canvas_px - shelf.used and part.height <= shelf.height), None)
        if shelf is None:
            canvas = next((at for at, used in enumerate(heights) if used + part.height <= _CANVAS_MAX_HEIGHT_PX), len(heights))
            if canvas == len(heights):
                heights.append(0)
            shelf = _Shelf(canvas, heights[canvas], part.height, 0)
            heights[canvas] += part.height
            shelves.append(shelf)
        places.append((shelf.canvas, shelf.top, shelf.used))
        shelf.used += part.width
    return places, [(-(-used // _CANVAS_STEP_PX) * _CANVAS_STEP_PX, canvas_px) for used in heights]


def _canvas(
    size: tuple[int, int], placed: list[tuple[_Part, int, int]], levels: tuple[Level, ...], photo_size: tuple[int, int]
) -> Canvas:
    """Return a canvas of ``size`` (height, width) with its tiles and the map from its cells to the levels' cells."""
    shape = (_n_cells(size[0]), _n_cells(size[1]))
    cell_levels = np.full(shape, -1, dtype=np.int16)
    cell_rows = np.zeros(shape, dtype=np.int32)
    cell_cols = np.zeros(shape, dtype=np.int32)
    tiles = []
    for part, top, left in placed:
        level = levels[part.level]
        # The half window at a level's border is made whole by repeating the last pixel: the canvas goes on where the level ends.
        rows = np.minimum(np.arange(part.height) + part.row * PNET_STRIDE, level.height - 1)
        cols = np.minimum(np.arange(part.width) + part.col * PNET_STRIDE, level.width - 1)
        bins = (area_bins(photo_size[0], level.height).take(rows), area_bins(photo_size[1], level.width).take(cols))
        tiles.append(Tile(*bins, top, left))
        row, col = top // PNET_STRIDE, left // PNET_STRIDE
        here = np.s_[row : row + part.n_rows, col : col + part.n_cols]
        cell_levels[here] = part.level
        cell_rows[here] = np.arange(part.row, part.row + part.n_rows)[:, None]
        cell_cols[here] = np.arange(part.col, part.col + part.n_cols)[None, :]
    return Canvas(*size, tuple(tiles), cell_levels, cell_rows, cell_cols)
