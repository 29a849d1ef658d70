from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesearch.detection.pyramid import canvases_of, level_scales, levels_of
from facesearch.detection.sampling import AreaSampler, area_bins


@dataclass
class Plan:
    levels: tuple
    canvases: tuple


def plan_pyramid(height, width, min_face_px, scale_factor):
    levels = levels_of(height, width, min_face_px, scale_factor)
    return Plan(levels, canvases_of(height, width, levels))


SIZES = [(250, 250), (37, 512), (333, 20), (61, 61), (700, 901)]


def test_scales_run_from_the_smallest_face_to_the_whole_photograph():
    scales = list(level_scales(250, 300, 20, 0.709))
    assert scales[0] == 12 / 20
    assert np.allclose(np.divide(scales[1:], scales[:-1]), 0.709)
    assert 250 * scales[-1] >= 12 > 250 * scales[-1] * 0.709
    assert len(scales) == 8


@pytest.mark.parametrize("size", [(1, 1), (19, 400), (400, 19)])
def test_a_photograph_smaller_than_the_smallest_face_has_no_levels(size):
    pyramid = plan_pyramid(*size, 20, 0.709)
    assert pyramid.levels == ()
    assert pyramid.canvases == ()


def assert_every_cell_once(pyramid):
    for index, level in enumerate(pyramid.levels):
        seen = np.zeros(level.cells, dtype=int)
        for canvas in pyramid.canvases:
            here = canvas.cell_levels == index
            np.add.at(seen, (canvas.cell_rows[here], canvas.cell_cols[here]), 1)
        assert (seen == 1).all(), f"level {index} of {level.cells} cells"


@pytest.mark.parametrize("size", SIZES)
def test_every_cell_of_every_level_is_on_a_canvas_once(size):
    pyramid = plan_pyramid(*size, 20, 0.709)
    assert len(pyramid.levels) >= 1
    assert_every_cell_once(pyramid)


@settings(max_examples=40, deadline=None)
@given(st.integers(6, 900), st.integers(6, 900), st.integers(6, 90), st.sampled_from([0.5, 0.709, 0.85]))
def test_any_size_is_laid_out_completely(height, width, min_face_px, factor):
    pyramid = plan_pyramid(height, width, min_face_px, factor)
    assert bool(pyramid.levels) == (min(height, width) * (12 / min_face_px) >= 12)
    assert_every_cell_once(pyramid)
    for canvas in pyramid.canvases:
        assert canvas.height <= 384
        assert canvas.width <= 448


@pytest.mark.parametrize("size", SIZES)
def test_tiles_hold_the_levels_pixels_where_the_cells_say(size):
    pixels = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    sampler = AreaSampler(pixels)
    pyramid = plan_pyramid(*size, 20, 0.709)
    wholes = [sampler.grid(area_bins(size[0], level.height), area_bins(size[1], level.width)) for level in pyramid.levels]
    n_checked = 0
    for canvas in pyramid.canvases:
        picture = np.full((canvas.height, canvas.width, 3), np.nan, dtype=np.float32)
        for tile in canvas.tiles:
            means = sampler.grid(tile.rows, tile.cols)
            place = picture[tile.top : tile.top + means.shape[0], tile.left : tile.left + means.shape[1]]
            assert np.isnan(place).all(), "tiles overlap"
            place[:] = means
        for row, col in np.argwhere(canvas.cell_levels >= 0)[::17]:
            whole = wholes[canvas.cell_levels[row, col]]
            top, left = 2 * canvas.cell_rows[row, col], 2 * canvas.cell_cols[row, col]
            expected = whole[top : top + 12, left : left + 12]
            seen = picture[2 * row : 2 * row + 12, 2 * col : 2 * col + 12]
            # At an odd level's border a cell sees 11 pixels, and so it must at the canvas's own border.
            assert min(expected.shape[:2]) >= 11
            assert np.array_equal(seen, expected)
            n_checked += 1
    assert n_checked >= 5


def test_canvases_waste_little_of_a_run():
    for size in [(250, 250), (512, 512), (2048, 1665), (480, 640)]:
        pyramid = plan_pyramid(*size, 20, 0.709)
        painted = sum(canvas.height * canvas.width for canvas in pyramid.canvases)
        needed = sum(level.height * level.width for level in pyramid.levels)
        assert painted < 1.5 * needed, size


def test_plans_of_small_photographs_are_kept_and_those_of_large_ones_are_not():
    assert plan_pyramid(250, 250, 20, 0.709).canvases is plan_pyramid(250, 250, 20, 0.709).canvases
    assert plan_pyramid(1500, 2000, 20, 0.709).canvases is not plan_pyramid(1500, 2000, 20, 0.709).canvases


def test_planning_a_very_wide_photograph_takes_a_second_not_a_quarter_of_a_minute():
    started = time.process_time()
    pyramid = plan_pyramid(100, 400_000, 20, 0.709)
    # 14 s when every tile looked through all shelves and binned its whole level anew; 0.6 s since.
    assert time.process_time() - started < 6.0
    assert len(pyramid.canvases) > 1000
