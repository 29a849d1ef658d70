from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesearch.detection.sampling import AreaSampler, area_bins

SAME_GREY = 1e-4
"""Means of bytes in float32: the last bit at 255 is 1.5e-5."""


def resample_slowly(pixels, height, width):
    out = np.zeros((height, width, 3))
    for row in range(height):
        top, bottom = math.floor(row * pixels.shape[0] / height), math.ceil((row + 1) * pixels.shape[0] / height)
        for col in range(width):
            left, right = math.floor(col * pixels.shape[1] / width), math.ceil((col + 1) * pixels.shape[1] / width)
            out[row, col] = pixels[top:bottom, left:right].reshape(-1, 3).mean(axis=0)
    return out


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.integers(1, 60))
def test_bins_cover_the_axis_and_hold_at_least_one_pixel(n_from, n_to):
    bins = area_bins(n_from, n_to)
    assert bins.starts[0] == 0
    assert bins.ends[-1] == n_from
    assert (bins.ends > bins.starts).all()
    assert (bins.starts[1:] <= bins.ends[:-1]).all()


@pytest.mark.parametrize("size", [(40, 30), (13, 50), (7, 9), (24, 24), (1, 1), (60, 3)])
def test_a_grid_equals_the_slow_means(size):
    pixels = noise(31, 43)
    found = AreaSampler(pixels).grid(area_bins(31, size[0]), area_bins(43, size[1]))
    assert found.dtype == np.float32
    assert np.abs(found - resample_slowly(pixels, *size)).max() < SAME_GREY


def test_a_part_of_a_grid_is_the_part_of_the_whole():
    pixels = noise(90, 70)
    sampler = AreaSampler(pixels)
    rows, cols = area_bins(90, 33), area_bins(70, 41)
    whole = sampler.grid(rows, cols)
    part = sampler.grid(rows.take(np.arange(5, 20)), cols.take(np.array([30, 31, 32, 40, 40])))
    assert np.array_equal(part, whole[5:20][:, [30, 31, 32, 40, 40]])


def test_crops_equal_the_slow_means_larger_and_smaller_than_the_square():
    pixels = noise(80, 100)
    places = np.array([[0, 0, 100, 80], [3, 5, 4, 6], [10, 20, 17, 79], [76, 56, 100, 80], [99, 0, 100, 80]])
    found = AreaSampler(pixels).crops(places, 24)
    assert found.shape == (5, 24, 24, 3)
    for crop, (left, top, right, bottom) in zip(found, places, strict=True):
        assert np.abs(crop - resample_slowly(pixels[top:bottom, left:right], 24, 24)).max() < SAME_GREY


def test_sums_that_wrap_around_still_give_means():
    white = np.full((3000, 3000, 3), 255, dtype=np.uint8)
    assert 3000 * 3000 * 255 > 2**31
    sampler = AreaSampler(white)
    assert np.abs(sampler.grid(area_bins(3000, 12), area_bins(3000, 12)) - 255).max() < SAME_GREY
    assert np.abs(sampler.crops(np.array([[2000, 2000, 3000, 3000]]), 24) - 255).max() < SAME_GREY


def test_read_only_pixels_and_views_are_taken():
    pixels = noise(50, 60)
    pixels.setflags(write=False)
    view = pixels[10:40, 5:50]
    rows, cols = area_bins(30, 12), area_bins(45, 12)
    assert np.array_equal(AreaSampler(view).grid(rows, cols), AreaSampler(view.copy()).grid(rows, cols))
