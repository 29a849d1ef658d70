"""Converted and compiled networks on disk, one file each, checked when read.

A converted one is OpenVINO's intermediate representation (graph as XML, weights as bytes), the same for every processor; a
compiled one is what OpenVINO made of it for one precision on one processor, read in a fraction of the time. Both lie behind a
checksum, so one rename replaces a file whole and a damaged one is noticed. A cache is never needed: what cannot be read is made
anew, what cannot be written is logged.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import struct
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger("facesearch")

_CONVERTED = b"facesearch-ir-1\n"
_COMPILED = b"facesearch-cc-1\n"
_HEADER = struct.Struct("<32sQ")  # SHA-256 of what follows the header, length of its first part

_MAKING = ".making-"
ABANDONED_S = 3600.0
"""Age of a folder that a process wrote into: no network takes an hour to write, so whoever made it was killed."""

_warned: set[Path] = set()
_warned_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class ConvertedNetwork:
    """A network as OpenVINO reads it.

    Attributes:
        xml: The graph.
        weights: Its constants.
    """

    xml: bytes
    weights: bytes

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        return _sealed(_CONVERTED, self.xml, self.weights)

    @classmethod
    def from_bytes(cls, content: bytes) -> ConvertedNetwork | None:
        """Return what a file holds, or None when it is damaged, cut short or no such file."""
        parts = _opened(_CONVERTED, content)
        return None if parts is None else cls(*parts)


def _sealed(magic: bytes, first: bytes, second: bytes) -> bytes:
    """Return a file's content behind its checksum."""
    body = first + second
    return magic + _HEADER.pack(hashlib.sha256(body).digest(), len(first)) + body


def _opened(magic: bytes, content: bytes) -> tuple[bytes, bytes] | None:
    """Return both parts of a file, or None when it is not what was written."""
    start = len(magic) + _HEADER.size
    if len(content) < start or not content.startswith(magic):
        return None
    digest, first_length = _HEADER.unpack_from(content, len(magic))
    body = memoryview(content)[start:]
    if hashlib.sha256(body).digest() != digest or first_length > len(body):
        return None
    return bytes(body[:first_length]), bytes(body[first_length:])


def read_converted(path: Path) -> ConvertedNetwork | None:
    """Return a converted network, or None when there is none or it is damaged (logged)."""
    parts = _read(path, _CONVERTED)
    return None if parts is None else ConvertedNetwork(*parts)


def read_compiled(path: Path) -> bytes | None:
    """Return a compiled network, or None when there is none or it is damaged (logged)."""
    parts = _read(path, _COMPILED)
    return None if parts is None else parts[1]


def _read(path: Path, magic: bytes) -> tuple[bytes, bytes] | None:
    """Return both parts of a file, or None when there is none or it is damaged (logged)."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        logger.warning("the converted network %s cannot be read (%s) and is made anew", path, exc.strerror)
        return None
    parts = _opened(magic, content)
    if parts is None:
        logger.warning("the converted network %s is damaged and is made anew", path)
    return parts


def write_converted(path: Path, serialise: Callable[[Path], ConvertedNetwork]) -> bool:
    """Write a converted network so that other processes see all of it or nothing; return whether that succeeded.

    A folder that cannot be written (read-only, no space left) is logged once a process: the network works from memory.

    Args:
        path: The file; its folder is made when needed.
        serialise: Returns what to write, given an empty folder to work in; raises ``OSError`` where it cannot write there.
    """
    return _write(path, lambda folder: serialise(folder).to_bytes())


def write_compiled(path: Path, compiled: bytes) -> bool:
    """Write a compiled network; as ``write_converted``."""
    return _write(path, lambda _folder: _sealed(_COMPILED, b"", compiled))


def _write(path: Path, content: Callable[[Path], bytes]) -> bool:
    """Write a file by one rename; return whether that succeeded."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        with tempfile.TemporaryDirectory(prefix=_MAKING, dir=path.parent) as folder:
            temporary = Path(folder, path.name)
            temporary.write_bytes(content(Path(folder)))
            temporary.replace(path)
    except OSError as exc:
        _warn_once(path.parent, exc.strerror or str(exc))
        return False
    return True


def _remove_abandoned(folder: Path) -> None:
    """Delete what processes left behind that were killed while they wrote."""
    for left in folder.glob(f"{_MAKING}*"):
        try:
            if left.stat().st_mtime < time.time() - ABANDONED_S:
                shutil.rmtree(left)
        except OSError as exc:
            # Another process may have been faster, or it is somebody else's: neither keeps a network from being written.
            logger.debug("the abandoned folder %s stays (%s)", left, exc.strerror)


def _warn_once(folder: Path, reason: str) -> None:
    with _warned_lock:
        if folder in _warned:
            return
        _warned.add(folder)
    logger.warning(
        "converted networks cannot be kept in %s (%s): they are converted in memory at every start, which takes seconds; "
        "make the folder writable or choose another cache_dir",
        folder,
        reason,
    )
