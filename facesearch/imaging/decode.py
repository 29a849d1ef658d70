"""Encoded photographs, Pillow pictures and arrays as upright RGB images.

Only Pillow decodes: OpenCV returns damaged JPEGs without an error and writes its complaints to stderr, where nobody can catch them;
that costs about 15 ms on a 12-megapixel JPEG. Only formats that need no other program are read. No colour profile is applied, and
of an animation the first frame is taken.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from PIL import Image as PilImage

from facesearch.core.arrays import Pixels, array_digest
from facesearch.core.errors import ImageDecodeError, ImageTooLargeError
from facesearch.core.image import Image
from facesearch.imaging.colour import rgb_from_array, rgb_from_picture
from facesearch.imaging.headers import FORMATS, declared_size, format_of
from facesearch.imaging.sources import DecodeLimits, ImageSource, encoded_bytes, read_source

__all__ = ["DecodeLimits", "ImageSource", "decode_image", "encoded_bytes", "read_source"]

_READERS = {
    "JPEG": ("JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PngImagePlugin", "PngImageFile"),
    "WebP": ("WebPImagePlugin", "WebPImageFile"),
    "GIF": ("GifImagePlugin", "GifImageFile"),
    "BMP": ("BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("TiffImagePlugin", "TiffImageFile"),
    "AVIF": ("AvifImagePlugin", "AvifImageFile"),
    "JPEG 2000": ("Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    "PPM": ("PpmImagePlugin", "PpmImageFile"),
}
"""Pillow's module and class for each format. They are called directly because ``PIL.Image.open`` applies Pillow's process-wide
limit of pixels, which would warn about, or refuse, what our own settings allow."""

_TURN: dict[int, Callable[[Any], Any]] = {
    2: lambda pixels: cv2.flip(pixels, 1),
    3: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180),
    4: lambda pixels: cv2.flip(pixels, 0),
    5: cv2.transpose,
    6: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    7: lambda pixels: cv2.rotate(cv2.transpose(pixels), cv2.ROTATE_180),
    8: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
"""What makes a picture of each EXIF orientation upright (EXIF 2.32, tag 0x0112)."""

_EXIF_ORIENTATION = 0x0112
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_HEIC = re.compile(rb"....ftyp(?:hei[cxms]|hev[cxms])", re.DOTALL)
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    RuntimeError,
    struct.error,
    zlib.error,
)
"""What Pillow's readers raise on damaged files; each was seen when bytes of valid files were changed, or stands in their source."""

_header_lock = threading.Lock()


def decode_image(source: ImageSource, *, limits: DecodeLimits | None = None, name: str = "") -> Image:
    """Return a photograph as upright RGB pixels.

    EXIF orientation is applied; grey, palette, 16-bit, CMYK and other modes become RGB uint8 (see ``facesearch.imaging.colour``);
    transparency is laid over white; of an animation the first frame is taken. Sizes are checked before anything is decoded.

    Args:
        source: Encoded bytes, a path, a file object opened for reading bytes (read to its end, or one byte past the limit; where it
            stands afterwards is not defined), a Pillow picture, a uint8 array (RGB, RGBA or grey) or an ``Image``, which is
            returned as it is.
        limits: Limits of size; ``DecodeLimits()`` when left out.
        name: What to call the picture; the path or the file object's name when left out.

    Returns:
        The image. Its digest is the SHA-256 of the encoded bytes, or of the upright RGB array for Pillow pictures and arrays.

    Raises:
        ImageDecodeError: Missing, unreadable, empty, truncated or damaged, of an unknown format, or an array of a wrong kind.
        ImageTooLargeError: More bytes or pixels than the limits allow.
    """
    if isinstance(source, Image):
        return source
    limits = limits or DecodeLimits()
    if isinstance(source, np.ndarray):
        if source.ndim >= 2:
            limits.check_pixels((source.shape[1], source.shape[0]), name or "the array")
        return _image_of_pixels(rgb_from_array(source), name)
    if isinstance(source, PilImage.Image):
        name = name or str(getattr(source, "filename", "") or "")
        limits.check_pixels(source.size, name or "the picture")
        with _damaged(name or "the picture", source.format or "Pillow"):
            return _image_of_pixels(_upright(source), name)
    data, found_name = read_source(source, limits)
    name = name or found_name
    pixels = _decode_bytes(data, limits, name or "the picture")
    return Image(pixels, hashlib.sha256(data).hexdigest(), name)


def _image_of_pixels(pixels: Pixels, name: str) -> Image:
    return Image(pixels, array_digest(pixels), name)


def _decode_bytes(data: bytes, limits: DecodeLimits, name: str) -> Pixels:
    format_name = format_of(data)
    if format_name is None:
        raise ImageDecodeError(f"{name} is no picture: {_first_look(data)}; known are {', '.join(FORMATS)}", source=name)
    size = declared_size(data)
    if size is not None:
        limits.check_pixels(size, name)
    reader = _reader(format_name, name)
    with _damaged(name, format_name):
        with _quiet_pillow():
            picture: PilImage.Image = reader(BytesIO(data))
        with picture:
            limits.check_pixels(picture.size, name)
            if format_name == "TIFF":
                limits.check_pixels(_tile_size(picture), f"a tile of {name}")
            # Pillow reads a TIFF's metadata again, and applies its own limit of pixels, when it loads the pixels.
            with _quiet_pillow() if format_name == "TIFF" else nullcontext():
                picture.load()
            return _upright(picture)


def _reader(format_name: str, name: str) -> Any:
    """Return Pillow's class for a format; plugins are imported when first needed, since most pictures are JPEGs."""
    module, reader = _READERS[format_name]
    try:
        return getattr(importlib.import_module(f"PIL.{module}"), reader)
    except ImportError as exc:
        raise ImageDecodeError(f"{name}: the installed Pillow does not read {format_name}; update Pillow", source=name) from exc


def _first_look(data: bytes) -> str:
    """Say in plain words what bytes that are no picture look like."""
    if _HEIC.match(data):
        return "it is an HEIC photograph, which needs to be saved as JPEG first"
    head = data[:512]
    text = head.decode("utf-8", errors="ignore")
    # The head may end within a character of up to four bytes.
    if b"\0" not in head and len(text.encode()) >= len(head) - 3 and len(head) > 3:
        return f"it holds text ({text[:24]!r}…)"
    return f"it begins with the bytes {head[:8].hex(' ')}"


def _tile_size(picture: Any) -> tuple[int, int]:
    """Return the width and height of a TIFF's tiles, (0, 0) where it has none.

    A tile is decoded whole even where the picture covers a corner of it: a megabyte of zlib data can hold a gigabyte of it.
    """
    width, height = (picture.tag_v2.get(tag, 0) for tag in (_TILE_WIDTH, _TILE_LENGTH))
    return int(width), int(height)


def _upright(picture: PilImage.Image) -> Pixels:
    """Decode a picture and turn it as its EXIF orientation says."""
    picture.load()
    pixels = rgb_from_picture(picture)
    # Asked after loading: Pillow turns TIFF files itself and takes the tag away, and PNG files may carry EXIF behind the pixels.
    with _quiet_pillow():
        turn = _TURN.get(_orientation(picture))
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def _orientation(picture: PilImage.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where it is missing, or EXIF is damaged (the pixels are sound without it)."""
    try:
        value = picture.getexif().get(_EXIF_ORIENTATION, 1)
    except _BROKEN:
        return 1
    return value if isinstance(value, int) else 1


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Keep Pillow's warnings about odd metadata to itself: they are no business of a caller who gets a sound picture.

    Filters of warnings belong to the whole process in Python 3.11, hence the lock; but for TIFF only headers are read under it.
    """
    with _header_lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.|facesearch\.imaging\.")
        yield


@contextmanager
def _damaged(name: str, format_name: str) -> Iterator[None]:
    """Map what Pillow raises on damaged data to one error."""
    try:
        yield
    except ImageDecodeError as exc:
        raise ImageDecodeError(f"{name}: {exc.message}", source=name, **exc.context) from exc
    except PilImage.DecompressionBombError as exc:
        # Only TIFF and WebP still meet this: their readers ask Pillow's limit on their own, from 179 megapixels by default.
        raise ImageTooLargeError(f"{name}: Pillow refuses it (PIL.Image.MAX_IMAGE_PIXELS): {exc}", source=name) from exc
    except MemoryError as exc:
        raise ImageDecodeError(f"{name}: not enough memory to decode it", source=name) from exc
    except _BROKEN as exc:
        raise ImageDecodeError(f"{name}: the {format_name} data are truncated or damaged ({exc})", source=name) from exc
