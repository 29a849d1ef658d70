"""Damage does what its name says, to the whole photograph, the same for the same chance."""

from __future__ import annotations

import numpy as np
import pytest

from facesearch.imaging.damage import DAMAGES, SMALL_FACE_PX, TURN_DEGREES

BOX = (150.0, 60.0, 270.0, 210.0)
BY_NAME = {damage.name: damage for damage in DAMAGES}


def spoilt(name, pixels, seed=1):
    return BY_NAME[name].spoil(pixels, BOX, np.random.default_rng(seed))


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_the_same_chance_spoils_alike_and_leaves_the_photograph_alone(name, astronaut):
    before = astronaut.copy()
    one, again = spoilt(name, astronaut), spoilt(name, astronaut)
    assert len(BY_NAME) == 6
    assert np.array_equal(one, again)
    assert np.array_equal(astronaut, before)
    assert (one.dtype, one.ndim, one.shape[2]) == (np.uint8, 3, 3)
    assert one.shape != astronaut.shape or not np.array_equal(one, astronaut)


def test_a_small_face_is_24_pixels_wide(astronaut):
    found = spoilt("small-24", astronaut)
    factor = found.shape[1] / astronaut.shape[1]
    assert factor * (BOX[2] - BOX[0]) == pytest.approx(SMALL_FACE_PX, abs=0.2)
    assert found.shape[0] == found.shape[1]


def test_a_face_that_is_small_already_stays(astronaut):
    tiny = (10.0, 10.0, 30.0, 30.0)
    assert np.array_equal(BY_NAME["small-24"].spoil(astronaut, tiny, np.random.default_rng(1)), astronaut)


def test_grey_has_no_colour_and_keeps_the_light(astronaut):
    found = spoilt("grey", astronaut)
    assert np.array_equal(found[:, :, 0], found[:, :, 2])
    luma = astronaut @ np.array([0.299, 0.587, 0.114])
    assert np.abs(found[:, :, 0] - luma).max() <= 1.0


def test_half_of_the_box_is_hidden_and_nothing_else():
    page = np.full((300, 300, 3), 120, dtype=np.uint8)
    shares = set()
    for seed in range(12):
        is_changed = np.abs(spoilt("half-hidden", page, seed).astype(int) - 120).max(axis=2) > 0
        rows, columns = np.nonzero(is_changed)
        assert rows.size > 5000
        assert rows.min() >= BOX[1]
        assert rows.max() <= BOX[3]
        assert columns.min() >= BOX[0]
        assert columns.max() <= BOX[2]
        shares.add((rows.min() > 100, rows.max() < 200, columns.min() > 200, columns.max() < 220))
    assert len(shares) == 4


def test_turning_goes_both_ways_and_loses_nothing():
    page = np.zeros((200, 200, 3), dtype=np.uint8)
    page[96:104, 150:190] = 255  # a bar right of the middle
    angles = []
    for seed in range(8):
        found = spoilt("turned-40", page, seed)
        rows, columns = np.nonzero(found[:, :, 0] > 128)
        assert rows.size == pytest.approx(320, rel=0.1)
        middle = np.array(found.shape[:2]) / 2
        angles.append(np.degrees(np.arctan2(middle[0] - rows.mean(), columns.mean() - middle[1])))
    assert np.abs(angles) == pytest.approx(np.full(8, TURN_DEGREES), abs=1.5)
    assert {round(angle / TURN_DEGREES) for angle in angles} == {1, -1}


def test_motion_smears_along_one_line():
    page = np.zeros((301, 301, 3), dtype=np.uint8)
    page[150, 150] = 255
    found = spoilt("motion", page).astype(float)[:, :, 0]
    rows, columns = np.nonzero(found)
    spread = np.linalg.eigvalsh(np.cov(np.stack([rows, columns]), aweights=found[rows, columns]))
    assert np.sqrt(12 * spread[1]) == pytest.approx((BOX[2] - BOX[0]) / 6, rel=0.15)
    assert spread[0] < 0.6


def test_compression_loses_detail_but_not_the_picture(astronaut):
    error = np.abs(spoilt("jpeg-10", astronaut).astype(int) - astronaut).mean()
    assert 2.0 < error < 12.0
