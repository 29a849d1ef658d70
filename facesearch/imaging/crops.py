"""Pictures of single faces that are kept beside templates, so that a later alignment can be made without the photograph.

It does not store them.
"""

from __future__ import annotations

import hashlib
import math
import os
from io import BytesIO

import cv2
import numpy as np
from PIL import Image as PilImage

from facesearch.core.arrays import Pixels
from facesearch.core.errors import ImageDecodeError, LowQualityFaceError
from facesearch.core.face import Alignment, Detection, FaceCrop
from facesearch.core.identity import Keep, KeptPicture
from facesearch.core.image import Image
from facesearch.imaging.align import align_face
from facesearch.imaging.decode import DecodeLimits, ImageSource, decode_image, read_source

WIDENING = 0.5
"""Share of the box's width and height added on each side: alignment templates reach beyond the detector's box."""

MAX_SIDE_PX = 512
"""Longest side of a kept picture in pixels."""

JPEG_QUALITY = 95


def face_picture(image: Image, detection: Detection) -> KeptPicture:
    """Return the surroundings of a face as a JPEG, with its landmarks and box.

    The box is widened by half on each side, clipped to the photograph and, where its longest side is above ``MAX_SIDE_PX``, reduced
    by area averaging. The file holds nothing else of the photograph: no EXIF, no place, no time.

    Args:
        image: The photograph.
        detection: The face in it.

    Returns:
        A picture of kind ``Keep.CROP``; landmarks and box in its own pixels, whole numbers being the centres of pixels.

    Raises:
        LowQualityFaceError: The widened box lies outside the photograph.
    """
    x1, y1, x2, y2 = detection.box
    beside, above = WIDENING * detection.width, WIDENING * detection.height
    left, top = max(0, math.floor(x1 - beside)), max(0, math.floor(y1 - above))
    right, bottom = min(image.width, math.ceil(x2 + beside)), min(image.height, math.ceil(y2 + above))
    if right <= left or bottom <= top:
        raise LowQualityFaceError(f"the face's box lies outside the photograph of {image.width}×{image.height} pixels")
    pixels = image.pixels[top:bottom, left:right]
    height, width = pixels.shape[:2]
    shrink = min(1.0, MAX_SIDE_PX / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    if size != (width, height):
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    scales = np.array([size[0] / width, size[1] / height])
    # Centres of pixels are whole numbers, so a picture's edge lies at −½ before and after the reduction.
    points = np.vstack([detection.landmarks.astype(np.float64), [[x1, y1], [x2, y2]]])
    moved = (points - (left, top) + 0.5) * scales - 0.5
    return KeptPicture(
        kind=Keep.CROP,
        data=jpeg(pixels),
        landmarks=tuple((float(x), float(y)) for x, y in moved[:5]),
        box=(float(moved[5, 0]), float(moved[5, 1]), float(moved[6, 0]), float(moved[6, 1])),
    )


def photo_picture(source: ImageSource, image: Image, detection: Detection, *, limits: DecodeLimits | None = None) -> KeptPicture:
    """Return the whole photograph as it came, with a face's landmarks and box.

    Bytes are kept and paths read again; whatever has no encoded bytes, or has been read up (file objects), is kept as a PNG of its
    pixels. To keep a file object's own bytes, read it with ``read_source`` first and decode those.

    Args:
        source: What the photograph was decoded from.
        image: The photograph.
        detection: The face in it.
        limits: Limits of size for reading a path again.

    Returns:
        A picture of kind ``Keep.PHOTO``; landmarks and box as detected, since decoding turns the kept file upright again.

    Raises:
        ImageDecodeError: The file changed, or went, since it was decoded.
    """
    if isinstance(source, bytes | bytearray | memoryview | str | os.PathLike):
        data, name = read_source(source, limits)
        if hashlib.sha256(data).hexdigest() != image.digest:
            raise ImageDecodeError(f"{name or 'the picture'} changed since it was decoded; enroll it again", source=name)
    else:
        stream = BytesIO()
        PilImage.fromarray(image.pixels).save(stream, "PNG", compress_level=3)
        data = stream.getvalue()
    points = tuple((float(x), float(y)) for x, y in detection.landmarks)
    return KeptPicture(kind=Keep.PHOTO, data=data, landmarks=points, box=detection.box)


def align_kept(picture: KeptPicture, alignment: Alignment, *, limits: DecodeLimits | None = None) -> FaceCrop:
    """Cut the face out of a kept picture, crop or whole photograph.

    Args:
        picture: What was kept.
        alignment: The crop that is wanted.
        limits: Limits of size for decoding.

    Returns:
        The crop. Its detection is in the kept picture's pixels, with score 1: a kept picture does not carry the score.

    Raises:
        ImageDecodeError: The kept bytes are damaged.
        LowQualityFaceError: The landmarks cannot be aligned.
    """
    image = decode_image(picture.data, limits=limits, name="the kept picture")
    detection = Detection(picture.box, np.asarray(picture.landmarks, dtype=np.float32), 1.0)
    return align_face(image, detection, alignment)


def crop_jpeg(crop: FaceCrop, *, quality: int = 85) -> bytes:
    """Return an aligned face as a small JPEG for showing, not for embedding.

    Args:
        crop: The face.
        quality: JPEG quality, 1 to 95.
    """
    return jpeg(crop.pixels, quality=quality)


def jpeg(pixels: Pixels, *, quality: int = JPEG_QUALITY) -> bytes:
    """Return uint8 RGB pixels as a JPEG of full colour resolution."""
    stream = BytesIO()
    # Full colour resolution: a kept crop is small, and halved colour would blur what is embedded from it.
    PilImage.fromarray(pixels).save(stream, "JPEG", quality=quality, subsampling=0)
    return stream.getvalue()
