"""A sheet of photographs with their faces marked and a verdict under each, for people to look at.

It decides nothing: cards come with their verdicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from facesearch import Detection
from facesearch import Image as FaceImage
from facesearch.imaging.draw import KNOWN_COLOUR, UNKNOWN_COLOUR, draw_faces

COLUMNS = 4
CARD_PX = 380
GAP_PX = 28
MARGIN_PX = 56
CAPTION_PX = 84
HEADER_PX = 120
FOOTER_PX = 64

PAPER = (246, 246, 243)
INK = (28, 30, 33)
SOFT_INK = (104, 108, 114)
CARD = (255, 255, 255)
EDGE = (225, 225, 220)


@dataclass
class Card:
    """A photograph, the faces marked in it (detection, caption, whether known), what came out, and the figures behind it."""

    title: str
    photo: Image.Image
    faces: Sequence[tuple[Detection, str, bool]]
    verdict: str
    detail: str
    is_known: bool = True

    @property
    def columns(self) -> int:
        """Columns the card takes: two for a picture much wider than high."""
        return 2 if self.photo.width > 1.6 * self.photo.height else 1


def scaled(detection: Detection, factor: float, shift: tuple[float, float]) -> Detection:
    """Return a detection in the pixels of an enlarged and cropped photograph."""
    offset = np.array(shift, dtype=np.float32)
    x1, y1, x2, y2 = (value * factor - offset[place % 2] for place, value in enumerate(detection.box))
    return Detection((x1, y1, x2, y2), detection.landmarks * np.float32(factor) - offset, detection.score)


def filled(card: Card, width: int, height: int) -> Image.Image:
    """Return a card's photograph in this size with its faces drawn in; what stands out at the sides and below is cut off."""
    factor = max(width / card.photo.width, height / card.photo.height)
    size = (max(width, round(card.photo.width * factor)), max(height, round(card.photo.height * factor)))
    left, top = (size[0] - width) // 2, (size[1] - height) // 8
    photo = card.photo.resize(size, Image.Resampling.LANCZOS).crop((left, top, left + width, top + height))
    faces = [(scaled(detection, factor, (left, top)), caption, is_known) for detection, caption, is_known in card.faces]
    return Image.fromarray(draw_faces(FaceImage(np.array(photo), digest="0" * 64), faces, font_px=20))


def rounded(size: tuple[int, int], radius: int) -> Image.Image:
    """Return a mask of a rectangle with round corners."""
    mask = Image.new("L", (size[0] * 4, size[1] * 4), 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, size[0] * 4 - 1, size[1] * 4 - 1), radius * 4, fill=255)
    return mask.resize(size, Image.Resampling.LANCZOS)


def draw_card(sheet: Image.Image, card: Card, place: tuple[int, int]) -> None:
    """Draw a card onto the sheet, its top left corner at ``place``."""
    width = card.columns * CARD_PX + (card.columns - 1) * GAP_PX
    paper = Image.new("RGB", (width, CARD_PX + CAPTION_PX), CARD)
    paper.paste(filled(card, width, CARD_PX), (0, 0))
    pen = ImageDraw.Draw(paper)
    colour = KNOWN_COLOUR if card.is_known else UNKNOWN_COLOUR
    pen.text((20, CARD_PX + 16), card.title, font=ImageFont.load_default(19), fill=SOFT_INK)
    dot = CARD_PX + 58
    pen.ellipse((20, dot - 6, 32, dot + 6), fill=colour)
    pen.text((42, dot), card.verdict, font=ImageFont.load_default(21), fill=colour, anchor="lm")
    pen.text((width - 20, dot), card.detail, font=ImageFont.load_default(17), fill=SOFT_INK, anchor="rm")
    edge = Image.new("RGB", (paper.width + 2, paper.height + 2), EDGE)
    sheet.paste(edge, (place[0] - 1, place[1] - 1), rounded(edge.size, 15))
    sheet.paste(paper, place, rounded(paper.size, 14))


def laid_out(cards: Sequence[Card]) -> list[tuple[Card, int, int]]:
    """Return cards with column and row, filled row by row."""
    places, column, row = [], 0, 0
    for card in cards:
        if column + card.columns > COLUMNS:
            column, row = 0, row + 1
        places.append((card, column, row))
        column += card.columns
    return places


def contact_sheet(cards: Sequence[Card], *, title: str, subtitle: str) -> NDArray[np.uint8]:
    """Return a sheet of cards, uint8 RGB ``(H, W, 3)``."""
    places = laid_out(cards)
    rows = places[-1][2] + 1
    width = 2 * MARGIN_PX + COLUMNS * CARD_PX + (COLUMNS - 1) * GAP_PX
    height = MARGIN_PX + HEADER_PX + rows * (CARD_PX + CAPTION_PX + GAP_PX) + FOOTER_PX
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN_PX, MARGIN_PX), title, font=ImageFont.load_default(46), fill=INK)
    pen.text((MARGIN_PX, MARGIN_PX + 64), subtitle, font=ImageFont.load_default(21), fill=SOFT_INK)
    for card, column, row in places:
        x = MARGIN_PX + column * (CARD_PX + GAP_PX)
        draw_card(sheet, card, (x, MARGIN_PX + HEADER_PX + row * (CARD_PX + CAPTION_PX + GAP_PX)))
    footer = (
        "Figures: the score (cosine similarity), and the one needed for a match at this gallery's size.   Green: recognised.   "
        "Orange: nobody we know.   Photographs: NASA, U.S. Navy, Stefan van der Walt."
    )
    pen.text((MARGIN_PX, height - FOOTER_PX), footer, font=ImageFont.load_default(18), fill=SOFT_INK)
    return np.array(sheet)
