"""Photographs with the faces found in them drawn in, for people to look at.

It decides nothing: the caller says what stands beside a face and whether the face is known.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from facesearch.core.arrays import Pixels
from facesearch.core.errors import FileWriteError, InputError
from facesearch.core.face import Box, Detection
from facesearch.core.image import Image

KNOWN_COLOUR = (0, 122, 94)
UNKNOWN_COLOUR = (196, 66, 0)
"""Green and orange that people with red-green blindness tell apart by their lightness; white text on either has a contrast ratio
above 4.5 (WCAG 2.2)."""

_WHITE = (255, 255, 255)
_SMOOTHING = 3
"""Captions are drawn this many times larger and averaged down, which smooths the tab's round corners."""

_MAX_CAPTION_CHARS = 200
_MAX_JPEG_PX = 65_500
"""Longest side of a JPEG that libjpeg writes."""

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


def draw_faces(image: Image, faces: Sequence[tuple[Detection, str, bool]], *, font_px: int | None = None) -> Pixels:
    """Return a copy of a photograph with boxes, points and captions.

    Lines and captions grow with the photograph, and captions stay inside it: over the box where there is room, else inside its top.
    Characters that the font lacks show as a frame; those that cannot be printed are replaced.

    Args:
        image: The photograph.
        faces: For each face the detection, a caption (may be empty) and whether it is somebody known. Later ones lie on top.
        font_px: Height of the captions' letters in pixels; chosen from the photograph's size when left out.

    Returns:
        uint8 RGB ``(H, W, 3)``, a new array.
    """
    canvas: Pixels = image.pixels.copy()
    side = min(image.height, image.width)
    line = max(1, round(side / 250))
    letters = font_px or max(11, round(side / 32))
    for detection, _, is_known in faces:
        colour = KNOWN_COLOUR if is_known else UNKNOWN_COLOUR
        _draw_box(canvas, detection.box, colour, line)
        _draw_points(canvas, detection, line)
    for detection, caption, is_known in faces:
        if caption:
            _draw_caption(canvas, detection.box, _tab(caption, is_known, letters, image.width), gap=2 * line + 1)
    return canvas


def _draw_box(canvas: Pixels, box: Box, colour: tuple[int, int, int], line: int) -> None:
    """Draw a thin frame with strong corners, edged in white so that it shows on any ground."""
    height, width = canvas.shape[:2]
    # Boxes may reach far past the photograph, farther than OpenCV counts.
    x1, x2 = (int(np.clip(round(x), -width, 2 * width)) for x in (box[0], box[2]))
    y1, y2 = (int(np.clip(round(y), -height, 2 * height)) for y in (box[1], box[3]))
    reach_x, reach_y = (x2 - x1) // 5, (y2 - y1) // 5
    corners = [
        np.array([[x + dx * reach_x, y], [x, y], [x, y + dy * reach_y]], dtype=np.int32)
        for x, dx in ((x1, 1), (x2, -1))
        for y, dy in ((y1, 1), (y2, -1))
    ]
    cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, line, cv2.LINE_AA)
    cv2.polylines(canvas, corners, False, _WHITE, 3 * line + 2, cv2.LINE_AA)
    cv2.polylines(canvas, corners, False, colour, 3 * line, cv2.LINE_AA)


def _draw_points(canvas: Pixels, detection: Detection, line: int) -> None:
    height, width = canvas.shape[:2]
    radius = max(line, round(detection.width / 60))
    for x, y in detection.landmarks:
        if 0 <= x < width and 0 <= y < height:
            centre = (round(float(x)), round(float(y)))
            cv2.circle(canvas, centre, radius + 1, (0, 0, 0), cv2.FILLED, cv2.LINE_AA)
            cv2.circle(canvas, centre, radius, _WHITE, cv2.FILLED, cv2.LINE_AA)


def _tab(caption: str, is_known: bool, letters: int, max_width: int) -> NDArray[np.uint8]:
    """Return a filled tab with round corners and the caption in it, RGBA, at most ``max_width`` wide."""
    font = ImageFont.load_default(letters * _SMOOTHING)
    padding = round(0.4 * letters) * _SMOOTHING
    text = _fitting(caption, font, max_width * _SMOOTHING - 2 * padding)
    width = min(max_width * _SMOOTHING, round(font.getlength(text)) + 2 * padding)
    height = round(1.25 * letters) * _SMOOTHING + padding
    tab = PilImage.new("RGBA", (max(width, _SMOOTHING), height), (0, 0, 0, 0))
    colour = KNOWN_COLOUR if is_known else UNKNOWN_COLOUR
    pen = ImageDraw.Draw(tab)
    pen.rounded_rectangle((0, 0, tab.width - 1, height - 1), radius=height // 4, fill=(*colour, 255))
    pen.text((padding, height / 2), text, font=font, fill=(*_WHITE, 255), anchor="lm")
    return np.asarray(tab.reduce(_SMOOTHING))


def _fitting(caption: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """Return the caption as one printable line, its end replaced by an ellipsis where it is wider than ``width``."""
    text = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in caption[:_MAX_CAPTION_CHARS])
    cut = len(caption) > _MAX_CAPTION_CHARS
    while text and font.getlength(text + "…" * cut) > width:
        text, cut = text[:-1], True
    return text.rstrip() + "…" * cut


def _draw_caption(canvas: Pixels, box: Box, tab: NDArray[np.uint8], gap: int) -> None:
    """Lay a tab ``gap`` pixels over a box, or inside its top where there is no room above."""
    height, width = canvas.shape[:2]
    tab = tab[:height, :width]
    tab_height, tab_width = tab.shape[:2]
    top = box[1] - tab_height - gap
    left = int(np.clip(round(box[0]), 0, width - tab_width))
    top = int(np.clip(round(top if top >= 0 else box[1] + gap), 0, height - tab_height))
    ground = canvas[top : top + tab_height, left : left + tab_width]
    alpha = tab[:, :, 3:].astype(np.uint16)
    ground[:] = ((tab[:, :, :3] * alpha + ground * (255 - alpha) + 127) // 255).astype(np.uint8)


def save_picture(pixels: Pixels, path: str | Path) -> None:
    """Write pixels to a PNG or JPEG file, whole or not at all.

    The file is written under another name beside its place and renamed, so a full disk leaves an older picture as it was.

    Args:
        pixels: uint8 RGB ``(H, W, 3)``.
        path: Where to; its ending, ``.png``, ``.jpg`` or ``.jpeg`` in any case, chooses the format.

    Raises:
        InputError: Another ending, or a side longer than a JPEG can have.
        FileWriteError: The file could not be written (no such directory, no permission, no space left).
    """
    path = Path(path)
    picture_format = _FORMATS.get(path.suffix.lower())
    if picture_format is None:
        raise InputError(f"{path}: pictures are written as {', '.join(_FORMATS)}, not {path.suffix or 'a file without ending'!r}")
    if picture_format == "JPEG" and max(pixels.shape[:2]) > _MAX_JPEG_PX:
        raise InputError(
            f"{path}: a JPEG has at most {_MAX_JPEG_PX:,} pixels a side, this picture {max(pixels.shape[:2]):,}: use .png"
        )
    stream = BytesIO()
    # "quality" is JPEG's; PNG ignores it.
    PilImage.fromarray(pixels).save(stream, picture_format, quality=92)
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        try:
            part.write_bytes(stream.getvalue())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as exc:
        raise FileWriteError(f"{path} cannot be written: {exc.strerror or exc}", path=str(path)) from exc
    except ValueError as exc:
        raise FileWriteError(f"{str(path)!r} cannot be written: {exc}", path=str(path)) from exc
