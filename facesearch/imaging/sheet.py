"""Sheets of thumbnails: faces cut out of frames, each with two lines of text under it.

It reads no video and chooses no faces.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from facesearch.core.arrays import Pixels
from facesearch.core.errors import InputError
from facesearch.core.face import Box
from facesearch.core.image import Image

TILE_PX = 192
"""Side of a thumbnail: a face can be recognised, and a sheet of 100 fits a screen's width."""

MAX_COLUMNS = 6
MAX_TILES = 600
"""Thumbnails of one sheet at most: some 35 megapixels."""

_WIDENING = 0.6
_MARGIN_PX = 10
_LETTERS_PX = 15
_GROUND = (255, 255, 255)
_INK = (32, 32, 32)
_NO_PICTURE = (216, 216, 216)


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """One thumbnail.

    Attributes:
        pixels: uint8 RGB ``(TILE_PX, TILE_PX, 3)``, or None where there is no picture.
        lines: Text under it; what is wider than the tile is cut.
    """

    pixels: Pixels | None
    lines: tuple[str, str]


def thumbnail(image: Image, box: Box) -> Pixels:
    """Return a face with its surroundings as a square of ``TILE_PX``; black where the frame ends.

    Args:
        image: The frame.
        box: The face's box in the frame's pixels.
    """
    x1, y1, x2, y2 = box
    side = max(1, round(max(x2 - x1, y2 - y1) * (1.0 + 2.0 * _WIDENING)))
    left, top = round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2)
    square = np.zeros((side, side, 3), dtype=np.uint8)
    # Boxes may reach past the frame, or lie wholly outside it.
    x_from, x_to = (min(max(one, 0), image.width) for one in (left, left + side))
    y_from, y_to = (min(max(one, 0), image.height) for one in (top, top + side))
    square[y_from - top : y_to - top, x_from - left : x_to - left] = image.pixels[y_from:y_to, x_from:x_to]
    method = cv2.INTER_AREA if side > TILE_PX else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (TILE_PX, TILE_PX), interpolation=method), dtype=np.uint8)


def sheet_of(tiles: Sequence[Tile]) -> Pixels:
    """Return a sheet of thumbnails in rows, uint8 RGB.

    Raises:
        InputError: There are none, or more than ``MAX_TILES``.
    """
    if not 1 <= len(tiles) <= MAX_TILES:
        raise InputError(f"a sheet holds 1 to {MAX_TILES} thumbnails, not {len(tiles)}: ask for fewer videos or a larger gap")
    columns = min(MAX_COLUMNS, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    step_x, step_y = TILE_PX + _MARGIN_PX, TILE_PX + _MARGIN_PX + round(2.7 * _LETTERS_PX)
    sheet = PilImage.new("RGB", (columns * step_x + _MARGIN_PX, rows * step_y + _MARGIN_PX), _GROUND)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_LETTERS_PX)
    for number, tile in enumerate(tiles):
        x, y = _MARGIN_PX + number % columns * step_x, _MARGIN_PX + number // columns * step_y
        if tile.pixels is not None:
            sheet.paste(PilImage.fromarray(tile.pixels), (x, y))
        else:
            pen.rectangle((x, y, x + TILE_PX - 1, y + TILE_PX - 1), fill=_NO_PICTURE)
            pen.text((x + TILE_PX / 2, y + TILE_PX / 2), "no picture", font=font, fill=_INK, anchor="mm")
        for line, text in enumerate(tile.lines):
            pen.text((x, y + TILE_PX + 3 + 1.25 * line * _LETTERS_PX), _fitting(text, font), font=font, fill=_INK)
    return np.asarray(sheet)


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Return one printable line at most as wide as a tile."""
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text[:100])
    while shown and font.getlength(shown) > TILE_PX:
        shown = shown[:-1]
    return shown
