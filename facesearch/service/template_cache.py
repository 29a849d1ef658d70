"""Templates of many photographs kept in a file, so that a measurement interrupted after an hour goes on where it stopped.

A cache is never needed: what cannot be read is made anew, what cannot be written is logged. It does not embed: see ``photographs``.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from facesearch.core.arrays import Vectors
from facesearch.core.errors import InputError, TemplateFormatError
from facesearch.core.face import Detection
from facesearch.core.paths import is_file
from facesearch.core.quality import Quality
from facesearch.core.template import Template

logger = logging.getLogger("facesearch")

MAGIC = b"facesearch-templates-2\n"
"""Form of the records; the first one had no quality."""
MAX_RECORD_BYTES = 2**20
"""Largest record believed: a longer one is a damaged length."""

_FRAME = struct.Struct("<II")  # length of the body, CRC-32 of the body
_BODY = struct.Struct("<I")  # length of the JSON at the body's start; face (float64) and vector (float32) follow
_FACE_FLOATS = 15  # box 4, landmarks 10, score 1


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What a file looked like when it was read.

    Attributes:
        path: Absolute.
        n_bytes: Its size.
        mtime_ns: When it was last changed, in nanoseconds.
    """

    path: str
    n_bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> FileStamp | None:
        """Return the stamp of a file, or None where there is none."""
        try:
            found = path.stat()
        except OSError:
            return None
        return cls(str(path.absolute()), found.st_size, found.st_mtime_ns)


@dataclass(frozen=True, slots=True, eq=False)
class CachedOutcome:
    """What became of one photograph.

    Attributes:
        digest: SHA-256 (hex) of the file's bytes.
        detection: The chosen face, or None where there is none.
        vector: float32 ``(D,)``, its template, or None.
        code: The stable code of the error where there is no face, else empty.
        message: A sentence for a person; empty where there is a face.
        quality: How usable the face is, or None where it was not measured.
    """

    digest: str
    detection: Detection | None = None
    vector: Vectors | None = None
    code: str = ""
    message: str = ""
    quality: Quality | None = None


class TemplateCache:
    """Outcomes of photographs under one recipe, in one append-only file.

    The file's name comes from the recipe (embedder, detector, choice of face) and from the form of the records, so other settings,
    and releases with another form, never see these templates. A photograph is found again by path, size and time of change, or
    under another name by its bytes. One process writes at a time: while another one does, this one reads only. Vectors stay on disk
    until asked for.

    Args:
        folder: Made when needed.
        recipe: Whatever the outcome depends on besides the photograph, as plain JSON values.
    """

    def __init__(self, folder: Path, recipe: Mapping[str, object]) -> None:
        description = json.dumps(recipe, sort_keys=True, allow_nan=False).encode()
        self.path = folder / f"templates-{hashlib.sha256(MAGIC + description).hexdigest()[:16]}.bin"
        self._header = MAGIC + struct.pack("<I", len(description)) + description
        self._file: int | None = None
        self._is_writer = False
        self._end = 0
        self._by_path: dict[str, tuple[int, int, int]] = {}
        self._by_digest: dict[str, int] = {}
        self._sizes: set[int] = set()

    def __enter__(self) -> TemplateCache:
        """Open the file and read what it holds."""
        self._open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the file; whatever was added stays."""
        if self._file is not None:
            os.close(self._file)  # gives the lock back too
        self._file, self._is_writer = None, False

    def __len__(self) -> int:
        """Return the number of photographs known by path."""
        return len(self._by_path)

    def find(self, stamp: FileStamp) -> CachedOutcome | None:
        """Return what became of a photograph, or None where it has to be read.

        A file that is new, or touched, is looked up by its bytes where a photograph of its size is known.
        """
        known = self._by_path.get(stamp.path)
        if known is not None and known[:2] == (stamp.n_bytes, stamp.mtime_ns):
            return self._read(known[2])
        if stamp.n_bytes not in self._sizes:
            return None
        digest = file_digest(Path(stamp.path))
        place = self._by_digest.get(digest) if digest else None
        outcome = self._read(place) if place is not None else None
        if outcome is not None:
            self.add(stamp, outcome)
        return outcome

    def add(self, stamp: FileStamp, outcome: CachedOutcome) -> None:
        """Append an outcome with one write: another process, or a crash, sees all of it or a tail that is ignored."""
        if self._file is None or not self._is_writer:
            return
        record = _encoded(stamp, outcome)
        try:
            written = os.pwrite(self._file, record, self._end)
        except OSError as exc:
            self._stop_writing(exc.strerror or str(exc))
            return
        if written != len(record):
            self._stop_writing(f"{written} of {len(record)} bytes written")
            return
        self._note(stamp, outcome.digest, self._end)
        self._end += len(record)

    def _stop_writing(self, reason: str) -> None:
        self._is_writer = False
        logger.warning("templates cannot be kept in %s (%s): an interrupted run starts anew", self.path, reason)

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            self._stop_writing(exc.strerror or str(exc))
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._is_writer = True
        except OSError:
            logger.warning("another process is writing %s: templates made by this one are not kept", self.path)
        try:
            self._scan()
        except OSError as exc:
            self._stop_writing(exc.strerror or str(exc))

    def _scan(self) -> None:
        """Note where the records lie, and cut off what an interrupted write left behind the last sound one."""
        if self._file is None:
            return
        size = os.fstat(self._file).st_size
        if os.pread(self._file, len(self._header), 0) != self._header:
            if size and self._is_writer:
                logger.warning("%s is damaged and is made anew", self.path)
            if self._is_writer:
                os.ftruncate(self._file, 0)
                os.pwrite(self._file, self._header, 0)
            self._end = len(self._header)
            return
        self._end = len(self._header)
        while True:
            body = self._body_at(self._end)
            if body is None:
                break
            try:
                known, _ = _decoded_head(body)
                self._note(FileStamp(str(known["path"]), int(known["n_bytes"]), int(known["mtime_ns"])), known["digest"], self._end)
            except (ValueError, KeyError, TypeError):
                break
            self._end += _FRAME.size + len(body)
        if self._end < size and self._is_writer:
            logger.info("%s: %d bytes of an interrupted write are cut off", self.path, size - self._end)
            os.ftruncate(self._file, self._end)

    def _note(self, stamp: FileStamp, digest: str, place: int) -> None:
        self._by_path[stamp.path] = (stamp.n_bytes, stamp.mtime_ns, place)
        self._by_digest.setdefault(digest, place)
        self._sizes.add(stamp.n_bytes)

    def _body_at(self, place: int) -> bytes | None:
        """Return a record's body, or None where there is no sound record."""
        if self._file is None:
            return None
        frame = os.pread(self._file, _FRAME.size, place)
        if len(frame) < _FRAME.size:
            return None
        length, checksum = _FRAME.unpack(frame)
        if not _BODY.size <= length <= MAX_RECORD_BYTES:
            return None
        body = os.pread(self._file, length, place + _FRAME.size)
        return body if len(body) == length and zlib.crc32(body) == checksum else None

    def _read(self, place: int) -> CachedOutcome | None:
        try:
            body = self._body_at(place)
            return None if body is None else _decoded(body)
        except (OSError, ValueError, KeyError, TypeError, InputError, TemplateFormatError) as exc:
            logger.warning("a template in %s is damaged and is made anew (%s)", self.path, exc)
            return None


def file_digest(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes, or nothing where it cannot be read or is no file: a pipe would be waited for."""
    if not is_file(path):
        return ""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""


def _encoded(stamp: FileStamp, outcome: CachedOutcome) -> bytes:
    head: dict[str, object] = {"path": stamp.path, "n_bytes": stamp.n_bytes, "mtime_ns": stamp.mtime_ns, "digest": outcome.digest}
    numbers = b""
    if outcome.detection is not None and outcome.vector is not None:
        face = outcome.detection
        row = np.concatenate([face.box, face.landmarks.ravel(), [face.score]]).astype("<f8")
        numbers = row.tobytes() + outcome.vector.astype("<f4").tobytes()
        # By name, so that a record of a release that measures other figures is told from one of this release.
        head |= {"quality": None if outcome.quality is None else asdict(outcome.quality)}
    else:
        head |= {"code": outcome.code, "message": outcome.message}
    # Undecodable bytes of a file's name are lone surrogates, which only JSON's escapes can carry.
    text = json.dumps(head, ensure_ascii=True).encode()
    body = _BODY.pack(len(text)) + text + numbers
    return _FRAME.pack(len(body), zlib.crc32(body)) + body


def _decoded_head(body: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = _BODY.unpack_from(body)
    head = json.loads(body[_BODY.size : _BODY.size + length])
    return head, body[_BODY.size + length :]


def _decoded(body: bytes) -> CachedOutcome:
    head, numbers = _decoded_head(body)
    if not numbers:
        return CachedOutcome(head["digest"], code=head["code"], message=head["message"])
    face = np.frombuffer(numbers, "<f8", count=_FACE_FLOATS)
    vector = np.frombuffer(numbers, "<f4", offset=face.nbytes).astype(np.float32)
    box = (float(face[0]), float(face[1]), float(face[2]), float(face[3]))
    detection = Detection(box, face[4:14].reshape(5, 2).astype(np.float32), float(face[14]))
    quality = None if head["quality"] is None else Quality(**head["quality"])
    return CachedOutcome(head["digest"], detection, Template(vector, "cached").vector, quality=quality)
