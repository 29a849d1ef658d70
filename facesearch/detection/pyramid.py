"""Photographs at falling scales, and how an engine's P-Net takes them: laid out on a few canvases of similar size.

For an engine a whole pyramid would mean a network run for each level, every one of another shape. Instead each level is cut into
tiles that overlap by what a cell of the P-Net sees, and tiles of all levels are packed onto canvases: few runs, few shapes, bounded
memory, and small enough that the first layers stay in the cache of the processor. It plans; resampling is the work of ``sampling``.
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

_CUT_PX = PNET_CELL_PX - 1
"""What the last cell of an odd level sees: its pooling window is cut by the border and still counts."""

_TILE_CELLS = 120
"""Most cells along a side of a tile (250 pixels)."""

_CANVAS_STEP_PX = 32
"""Canvas sides are multiples of this, so that photographs of many sizes share the network's compiled shapes."""

_CANVAS_WIDTHS_PX = range(64, 449, _CANVAS_STEP_PX)
_CANVAS_MAX_HEIGHT_PX = 384

_KEPT_PLANS = 64
_KEPT_PLAN_PX = 2**19
"""Plans are kept for photographs whose largest level has at most so many pixels (1.4 megapixels at 20-pixel faces, 2.6 MB a plan).
A plan of 12 megapixels takes 28 MB, of which a folder of cut photographs, each of another size, would pile up one a photograph."""


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class _Run:
    """Neighbouring cells along one axis of a level.

    Attributes:
        first: The first cell.
        count: How many.
        is_cut: Whether it is the one last cell whose window the level's border cuts short by a pixel.
    """

    first: int
    count: int
    is_cut: bool = False

    @property
    def side_px(self) -> int:
        """Pixels its cells see."""
        return self.count * PNET_STRIDE + _HALO_PX - int(self.is_cut)


@dataclass(frozen=True, slots=True)
class _Part:
    """A tile before it has a place."""

    level: int
    rows: _Run
    cols: _Run

    @property
    def height(self) -> int:
        return self.rows.side_px

    @property
    def width(self) -> int:
        return self.cols.side_px


@dataclass(slots=True, eq=False)
class _Layout:
    """A canvas being filled with parts, each at (top, left)."""

    height: int
    width: int
    placed: list[tuple[_Part, int, int]]


@dataclass(slots=True, eq=False)
class _Shelf:
    """A row of parts on a canvas."""

    layout: _Layout
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


def levels_of(height: int, width: int, min_face_px: int, scale_factor: float) -> tuple[Level, ...]:
    """Return the levels of a photograph's size, from the largest to the smallest; none when it is smaller than the smallest face.

    Args:
        height: Rows of the photograph.
        width: Its columns.
        min_face_px: Smallest face, in pixels of the photograph.
        scale_factor: Ratio of a scale to the one before it, in (0, 1).
    """
    scales = level_scales(height, width, min_face_px, scale_factor)
    return tuple(Level(scale, int(height * scale + 1), int(width * scale + 1)) for scale in scales)


def canvases_of(height: int, width: int, levels: tuple[Level, ...]) -> tuple[Canvas, ...]:
    """Return canvases with every cell of every level exactly once.

    Args:
        height: Rows of the photograph.
        width: Its columns.
        levels: See ``levels_of``.
    """
    if levels and levels[0].height * levels[0].width > _KEPT_PLAN_PX:
        return _planned(height, width, levels)
    return _kept_plan(height, width, levels)


def _planned(height: int, width: int, levels: tuple[Level, ...]) -> tuple[Canvas, ...]:
    """Plan; see ``canvases_of``."""
    parts = [part for index, level in enumerate(levels) for part in _parts(index, level)]
    whole = [part for part in parts if not part.rows.is_cut and not part.cols.is_cut]
    widths = [side for side in _CANVAS_WIDTHS_PX if all(part.width <= side for part in whole)]
    layouts = [min((_shelved(whole, side, _CANVAS_MAX_HEIGHT_PX) for side in widths), key=_area)]
    # The short window of a cut cell is short only where the canvas ends with it.
    layouts.append(_shelved([part for part in parts if part.rows.is_cut and not part.cols.is_cut], max(_CANVAS_WIDTHS_PX), _CUT_PX))
    layouts.append(_shelved([part for part in parts if part.cols.is_cut and not part.rows.is_cut], _CUT_PX, _CANVAS_MAX_HEIGHT_PX))
    layouts.append([_Layout(_CUT_PX, _CUT_PX, [(part, 0, 0)]) for part in parts if part.rows.is_cut and part.cols.is_cut])
    bins = [(area_bins(height, level.height), area_bins(width, level.width)) for level in levels]
    return tuple(_canvas(layout, bins) for group in layouts for layout in group)


_kept_plan = lru_cache(maxsize=_KEPT_PLANS)(_planned)


def _n_cells(side_px: int) -> int:
    # A 3×3 convolution, pooling by 2 that keeps a half window, and two more 3×3 convolutions.
    return -(-(side_px - 2) // 2) - 4


def _runs(side_px: int) -> list[_Run]:
    """Return the cells along an axis of a level as the fewest, most even runs that are short enough for a tile."""
    n_cells, is_cut = _n_cells(side_px), side_px % 2 == 1
    n_whole = n_cells - int(is_cut)
    n_runs = -(-n_whole // _TILE_CELLS)
    edges = [n_whole * run // n_runs for run in range(n_runs + 1)] if n_runs else []
    runs = [_Run(first, after - first) for first, after in pairwise(edges)]
    return [*runs, _Run(n_whole, 1, is_cut=True)] if is_cut else runs


def _parts(index: int, level: Level) -> list[_Part]:
    return [_Part(index, rows, cols) for rows in _runs(level.height) for cols in _runs(level.width)]


def _area(layouts: list[_Layout]) -> int:
    return sum(layout.height * layout.width for layout in layouts)


def _shelved(parts: list[_Part], width: int, max_height: int) -> list[_Layout]:
    """Return parts on canvases of one width: first fit on shelves, tallest parts first."""
    layouts: list[_Layout] = []
    shelves: list[_Shelf] = []  # those with room left: looking through full ones takes minutes for a very wide photograph
    open_layouts: list[_Layout] = []
    narrowest, lowest = min((part.width for part in parts), default=0), min((part.height for part in parts), default=0)
    for part in sorted(parts, key=lambda part: (-part.height, -part.width)):
        shelf = next((shelf for shelf in shelves if part.width <= width - shelf.used and part.height <= shelf.height), None)
        if shelf is None:
            layout = next((layout for layout in open_layouts if layout.height + part.height <= max_height), None)
            if layout is None:
                layout = _Layout(0, width, [])
                layouts.append(layout)
                open_layouts.append(layout)
            shelf = _Shelf(layout, layout.height, part.height, 0)
            shelves.append(shelf)
            layout.height += part.height
            if layout.height + lowest > max_height:
                open_layouts.remove(layout)
        shelf.layout.placed.append((part, shelf.top, shelf.used))
        shelf.used += part.width
        if shelf.used + narrowest > width:
            shelves.remove(shelf)
    for layout in layouts:
        layout.height = min(max_height, -(-layout.height // _CANVAS_STEP_PX) * _CANVAS_STEP_PX)
    return layouts


def _canvas(layout: _Layout, bins: list[tuple[Bins, Bins]]) -> Canvas:
    """Return a canvas with its tiles and the map from its cells to the levels' cells, given each level's bins (rows, columns)."""
    shape = (_n_cells(layout.height), _n_cells(layout.width))
    cell_levels = np.full(shape, -1, dtype=np.int16)
    cell_rows = np.zeros(shape, dtype=np.int32)
    cell_cols = np.zeros(shape, dtype=np.int32)
    tiles = []
    for part, top, left in layout.placed:
        of_rows, of_cols = bins[part.level]
        rows = np.arange(part.height) + part.rows.first * PNET_STRIDE
        cols = np.arange(part.width) + part.cols.first * PNET_STRIDE
        tiles.append(Tile(of_rows.take(rows), of_cols.take(cols), top, left))
        row, col = top // PNET_STRIDE, left // PNET_STRIDE
        here = np.s_[row : row + part.rows.count, col : col + part.cols.count]
        cell_levels[here] = part.level
        cell_rows[here] = part.rows.first + np.arange(part.rows.count)[:, None]
        cell_cols[here] = part.cols.first + np.arange(part.cols.count)[None, :]
    return Canvas(layout.height, layout.width, tuple(tiles), cell_levels, cell_rows, cell_cols)
