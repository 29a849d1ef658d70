"""Converted networks on disk, one file each, checked when read.

A file holds OpenVINO's intermediate representation (graph as XML, weights as bytes) behind a checksum, so one rename replaces it
whole and a damaged one is noticed. A cache is never needed: what cannot be read is made anew, what cannot be written is logged.
"""

from __future__ import annotations

import hashlib
import logging
import struct
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger("facesearch")

_MAGIC = b"facesearch-ir-1\n"
_HEADER = struct.Struct("<32sQ")  # SHA-256 of what follows the header, length of the XML

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
        body = self.xml + self.weights
        return _MAGIC + _HEADER.pack(hashlib.sha256(body).digest(), len(self.xml)) + body

    @classmethod
    def from_bytes(cls, content: bytes) -> ConvertedNetwork | None:
        """Return what a file holds, or None when it is damaged, cut short or no such file."""
        start = len(_MAGIC) + _HEADER.size
        if len(content) < start or not content.startswith(_MAGIC):
            return None
        digest, xml_length = _HEADER.unpack_from(content, len(_MAGIC))
        body = content[start:]
        if hashlib.sha256(body).digest() != digest or xml_length > len(body):
            return None
        return cls(body[:xml_length], body[xml_length:])


def read_converted(path: Path) -> ConvertedNetwork | None:
    """Return a converted network, or None when there is none or it is damaged (logged)."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        logger.warning("the converted network %s cannot be read (%s) and is made anew", path, exc.strerror)
        return None
    network = ConvertedNetwork.from_bytes(content)
    if network is None:
        logger.warning("the converted network %s is damaged and is made anew", path)
    return network


def write_converted(path: Path, serialise: Callable[[Path], ConvertedNetwork]) -> bool:
    """Write a converted network so that other processes see all of it or nothing; return whether that succeeded.

    A folder that cannot be written (read-only, no space left) is logged once a process: the network works from memory.

    Args:
        path: The file; its folder is made when needed.
        serialise: Returns what to write, given an empty folder to work in; raises ``OSError`` where it cannot write there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=path.parent) as folder:
            temporary = Path(folder, path.name)
            temporary.write_bytes(serialise(Path(folder)).to_bytes())
            temporary.replace(path)
    except OSError as exc:
        _warn_once(path.parent, exc.strerror or str(exc))
        return False
    return True


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
