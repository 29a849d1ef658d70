"""Thumbnails show the face and its surroundings; sheets hold every tile at its place."""

from __future__ import annotations

import numpy as np
import pytest

from facesearch.core.errors import InputError
from facesearch.core.image import Image
from facesearch.imaging.sheet import MAX_COLUMNS, MAX_TILES, TILE_PX, Tile, sheet_of, thumbnail


def picture(width: int = 300, height: int = 200) -> Image:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[80:120, 130:170] = (255, 0, 0)
    return Image(pixels, "0" * 64)


@pytest.mark.parametrize("scale", [1, 20])
def test_a_thumbnail_is_centred_on_the_face(scale):
    image = Image(picture().pixels.repeat(scale, 0).repeat(scale, 1), "0" * 64)
    cut = thumbnail(image, (130.0 * scale, 80.0 * scale, 170.0 * scale, 120.0 * scale))
    assert cut.shape == (TILE_PX, TILE_PX, 3)
    red = np.argwhere(cut[:, :, 0] > 128)
    share = 1 / 2.2  # the box, widened by 0.6 of itself on either side
    assert red.min(axis=0) == pytest.approx([TILE_PX * (1 - share) / 2] * 2, abs=2)
    assert red.max(axis=0) == pytest.approx([TILE_PX * (1 + share) / 2] * 2, abs=2)


@pytest.mark.parametrize("box", [(-500.0, -500.0, -400.0, -400.0), (280.0, 180.0, 400.0, 300.0), (0.0, 0.0, 0.2, 0.2)])
def test_boxes_that_reach_past_the_frame_are_black_there(box):
    cut = thumbnail(picture(), box)
    assert cut.shape == (TILE_PX, TILE_PX, 3)
    assert not cut[-1, -1].any()


def test_a_sheet_holds_all_tiles_in_rows():
    white = np.full((TILE_PX, TILE_PX, 3), 7, np.uint8)
    n_tiles = MAX_COLUMNS + 2
    sheet = sheet_of(
        [Tile(white if number % 2 else None, (f"0:0{number}.0", "score 1 \0 \u202e" + "w" * 300)) for number in range(n_tiles)]
    )
    assert sheet.shape[1] == MAX_COLUMNS * (TILE_PX + 10) + 10
    rows, columns = np.nonzero((sheet == 7).all(axis=2))
    assert len(rows) == (n_tiles // 2) * TILE_PX**2
    assert len(set((columns - 10) // (TILE_PX + 10))) == 3
    assert len(set(rows)) == 2 * TILE_PX


@pytest.mark.parametrize("n_tiles", [0, MAX_TILES + 1])
def test_a_sheet_of_nothing_or_of_too_much_is_refused(n_tiles):
    with pytest.raises(InputError, match=f"not {n_tiles}"):
        sheet_of([Tile(None, ("", ""))] * n_tiles)
