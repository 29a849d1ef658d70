"""What the client sends as a photograph: bytes, a path or an open file.

The path is read here, on the caller's machine: the service takes no path and no address.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, TypeAlias

Photograph: TypeAlias = bytes | str | os.PathLike[str] | BinaryIO
"""Encoded bytes, a path, or a file opened in binary mode, read from where it stands."""

Box: TypeAlias = Sequence[float]
"""``(x1, y1, x2, y2)`` in pixels of the upright photograph."""

Upload: TypeAlias = tuple[str, bytes, str]
"""File name, content and media type of one part of a multipart body."""

MEDIA_TYPE = "application/octet-stream"
"""Sent with every photograph: the service looks at the bytes, not at what they are called."""


def upload_of(photograph: Photograph, *, name: str = "photo") -> Upload:
    """Return a photograph as a part of a multipart body.

    Args:
        photograph: See ``Photograph``.
        name: File name of bytes, and of a file without one.

    Raises:
        OSError: The path cannot be read.
        TypeError: It is none of these.
    """
    if isinstance(photograph, bytes | bytearray | memoryview):
        return name, bytes(photograph), MEDIA_TYPE
    if isinstance(photograph, str | os.PathLike):
        path = Path(photograph)
        return path.name, path.read_bytes(), MEDIA_TYPE
    if isinstance(photograph, io.IOBase) or hasattr(photograph, "read"):
        data = photograph.read()
        if not isinstance(data, bytes):
            raise TypeError(f"a photograph's file must be opened in binary mode, it gave {type(data).__name__}")
        called = getattr(photograph, "name", None)
        return Path(called).name if isinstance(called, str) else name, data, MEDIA_TYPE
    raise TypeError(f"a photograph is bytes, a path or an open file, not {type(photograph).__name__}")


def box_text(box: Box | None) -> str | None:
    """Return a box as a form has it, or None for none.

    Raises:
        ValueError: It has not four numbers.
    """
    if box is None:
        return None
    if len(box) != 4:
        raise ValueError(f"a box has four numbers, x1, y1, x2 and y2, not {len(box)}")
    return ",".join(f"{float(value):g}" for value in box)
