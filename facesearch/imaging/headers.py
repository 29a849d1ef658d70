"""What an encoded picture's first bytes say: its format, and for some formats its width and height.

Pillow allocates memory while it opens PNG, GIF and WebP (an animation's canvas), so their size must be known before it is asked.
Nothing is decoded here, and no size is read of other formats: opening those allocates no picture.
"""

from __future__ import annotations

import re
import struct

_SIGNATURES = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WebP": re.compile(rb"RIFF....WEBPVP8[ LX]", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM"),
    "TIFF": re.compile(rb"II\*\x00|MM\x00\*|II\+\x00|MM\x00\+"),
    "AVIF": re.compile(rb"....ftyp(?:avif|avis|mif1|msf1)", re.DOTALL),
    "JPEG 2000": re.compile(rb"\xff\x4f\xff\x51|\x00\x00\x00\x0cjP  \r\n\x87\n"),
    "PPM": re.compile(rb"P[1-6]\s"),
}
"""First bytes of the formats that are decoded, by their name for people."""

FORMATS = tuple(_SIGNATURES)

_GIF_IMAGE, _GIF_EXTENSION = 0x2C, 0x21


def format_of(data: bytes) -> str | None:
    """Return the name of an encoded picture's format, one of ``FORMATS``, or None where the first bytes are of none."""
    return next((name for name, signature in _SIGNATURES.items() if signature.match(data)), None)


def declared_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height in pixels from the header.

    Args:
        data: The encoded file.

    Returns:
        The larger of canvas and first frame in each direction; None for another format or a header that is cut off.
    """
    kind = format_of(data)
    try:
        if kind == "PNG":
            width, height = struct.unpack_from(">II", data, 16)
            return width, height
        if kind == "GIF":
            return _gif_size(data)
        if kind == "WebP":
            return _webp_size(data)
    except (struct.error, IndexError):
        return None
    return None


def _gif_size(data: bytes) -> tuple[int, int]:
    """Return the logical screen, widened to hold the first frame (GIF89a specification, sections 18–20)."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + _colour_table_bytes(flags)
    while data[at] == _GIF_EXTENSION:
        at += 2
        while data[at]:
            at += 1 + data[at]
        at += 1
    if data[at] == _GIF_IMAGE:
        left, top, frame_width, frame_height = struct.unpack_from("<HHHH", data, at + 1)
        width, height = max(width, left + frame_width), max(height, top + frame_height)
    return width, height


def _colour_table_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Return the canvas of an extended file, or the size of a plain lossy (RFC 6386) or lossless (RFC 9649) one."""
    chunk = data[12:16]
    if chunk == b"VP8X":
        if len(data) < 30:
            return None
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF
