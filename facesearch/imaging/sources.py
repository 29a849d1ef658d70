"""Where photographs come from: bytes, paths, file objects, Pillow pictures and arrays, read under a limit of size.

It does not decode: bytes leave it as they came.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from facesearch.core.errors import ImageDecodeError, ImageTooLargeError
from facesearch.core.image import Image

ImageSource: TypeAlias = bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO | PilImage.Image | NDArray[Any] | Image
"""What ``decode_image`` takes: encoded bytes, a path, a file opened in binary mode, a Pillow picture, an array or an ``Image``."""

_READ_BYTES = 1 << 20

_OPEN_ALREADY = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")
"""Names of what this process holds open, as a shell hands over ``<(command)``: read like standard input, whatever it is."""

_NO_FILES = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
"""What opening or reading may wait for without an end, by the type that ``stat`` tells."""


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """How large a photograph may be; both are checked before anything is decoded.

    Attributes:
        max_bytes: Largest encoded size in bytes (setting ``max_image_bytes``).
        max_pixels: Largest width × height (setting ``max_image_pixels``); 100 megapixels take 300 MB as RGB.
    """

    max_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 100_000_000

    def check_bytes(self, n_bytes: int, name: str) -> None:
        """Refuse encoded data above the limit.

        Raises:
            ImageTooLargeError: Names both sizes and the setting.
        """
        if n_bytes > self.max_bytes:
            raise ImageTooLargeError(
                f"{name} has at least {n_bytes:,} bytes, the limit is {self.max_bytes:,}; "
                "raise the setting max_image_bytes to allow it",
                source=name,
                n_bytes=n_bytes,
                max_bytes=self.max_bytes,
            )

    def check_pixels(self, size: tuple[int, int], name: str) -> None:
        """Refuse a picture of more pixels than the limit.

        Args:
            size: Width and height in pixels.
            name: What the message calls the picture.

        Raises:
            ImageTooLargeError: Names both numbers of pixels and the setting.
        """
        width, height = size
        if width * height > self.max_pixels:
            raise ImageTooLargeError(
                f"{name} is {width}×{height} = {width * height:,} pixels, the limit is {self.max_pixels:,}; "
                "raise the setting max_image_pixels to allow it",
                source=name,
                n_pixels=width * height,
                max_pixels=self.max_pixels,
            )


def read_source(source: ImageSource, limits: DecodeLimits | None = None) -> tuple[bytes, str]:
    """Read a photograph's encoded bytes, so that they can be decoded and also kept.

    A file object is read from where it stands, at most ``max_bytes + 1`` bytes of it; where it stands afterwards is not defined, so
    read once and hand the bytes on.

    Args:
        source: Bytes, a path or a file object opened for reading bytes.
        limits: Limits of size; ``DecodeLimits()`` when left out.

    Returns:
        The bytes, and the path or the file object's name (empty where there is none).

    Raises:
        ImageDecodeError: Missing, no file (a folder, a named pipe, a device: nothing of it is opened), no permission, empty, or a
            source that has no encoded bytes (array, Pillow picture).
        ImageTooLargeError: More than ``limits.max_bytes``.
    """
    limits = limits or DecodeLimits()
    if isinstance(source, bytes | bytearray | memoryview):
        n_bytes = source.nbytes if isinstance(source, memoryview) else len(source)
        limits.check_bytes(n_bytes, "the picture")
        data, name = bytes(source), ""
    elif isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        data = _read_path(name, limits)
    elif callable(getattr(source, "read", None)):
        given: object = getattr(source, "name", "")
        name = given if isinstance(given, str) else ""
        with _reading(name or "the file object"):
            data = _read_stream(source, limits, name or "the file object")  # type: ignore[arg-type]
    else:
        raise ImageDecodeError(
            f"a photograph is bytes, a path, a file opened for reading bytes, a Pillow picture or an RGB array, not {_kind(source)}"
        )
    if not data:
        raise ImageDecodeError(f"{name or 'the picture'} is empty (0 bytes)", source=name)
    return data, name


def encoded_bytes(source: ImageSource, limits: DecodeLimits | None = None) -> bytes | None:
    """Return a photograph's encoded bytes, or None where it has none (arrays, Pillow pictures, ``Image``).

    Reads a file object up, as ``read_source`` does; raises what that raises.
    """
    if isinstance(source, PilImage.Image | np.ndarray | Image):
        return None
    return read_source(source, limits)[0]


def _kind(source: object) -> str:
    return "None" if source is None else type(source).__name__


def _read_path(name: str, limits: DecodeLimits) -> bytes:
    with _reading(name):
        path = Path(name)
        found = path.stat()
        kind = _NO_FILES.get(stat.S_IFMT(found.st_mode))
        if kind is not None and not os.path.abspath(name).startswith(_OPEN_ALREADY):  # noqa: PTH100 - links stay as they are
            raise ImageDecodeError(f"{name} is {kind}, not a picture file", source=name)
        limits.check_bytes(found.st_size, name)
        with path.open("rb") as stream:
            return _read_stream(stream, limits, name)


def _read_stream(stream: BinaryIO, limits: DecodeLimits, name: str) -> bytes:
    """Read to the end or one byte past the limit; raw streams may hand out less at a time than asked for."""
    parts: list[bytes] = []
    left = limits.max_bytes + 1
    while left > 0:
        # Not all at once: a buffered reader makes room for what it is asked for, whatever the file holds.
        part: object = stream.read(min(left, _READ_BYTES))
        if not isinstance(part, bytes | bytearray | memoryview):
            raise ImageDecodeError(
                f"{name} gives {_kind(part)}, not bytes: open the file in binary mode ('rb'), blocking", source=name
            )
        if not part:
            break
        parts.append(bytes(part))
        left -= len(parts[-1])
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    limits.check_bytes(len(data), name)
    return data


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Map what reading a file can raise to one error in plain words."""
    try:
        yield
    except FileNotFoundError as exc:
        raise ImageDecodeError(f"{name}: there is no such file", source=name) from exc
    except IsADirectoryError as exc:
        raise ImageDecodeError(f"{name} is a directory, not a picture", source=name) from exc
    except PermissionError as exc:
        raise ImageDecodeError(f"{name}: no permission to read it", source=name) from exc
    except OSError as exc:
        raise ImageDecodeError(f"{name} cannot be read: {exc.strerror or exc}", source=name) from exc
    except ValueError as exc:
        # A NUL in a path, or a file object that is closed.
        raise ImageDecodeError(f"{name!r} cannot be read: {exc}", source=name) from exc
