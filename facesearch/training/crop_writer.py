"""Writes a store of crops so that a run cut short at any moment goes on to the very same store.

Pixels reach the disk before the rows that tell of them, and the manifest says ``is_complete`` last. It looks for no faces: see
``prepare``.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from facesearch.core.arrays import Pixels
from facesearch.core.errors import CropStoreError, FileWriteError, InputError
from facesearch.core.face import Alignment
from facesearch.core.paths import is_there
from facesearch.training.crop_manifest import FORMAT, MANIFEST, PART, VERSION, alignment_shape, read_document, read_manifest
from facesearch.training.crop_store import ROWS, CropRow, read_rows

PART_BYTES = 256 * 2**20
"""Size of a part of the pixels: a lost or damaged file loses so much, and no file system refuses it."""

STAMPS = "stamps.bin"
"""File with what was seen of each photograph, to notice one that was replaced: outside of the store's digest, since the same
photographs copied to another machine make the same store."""

STAMP_BYTES = 48
"""Of a photograph; all zero where nothing is known of it."""

_LOCK = ".lock"


class CropWriter:
    """A store that is being written, by one process at a time.

    Args:
        folder: The store's; made where it is not there.
        alignment: Of every crop.
        recipe: What the crops depend on besides the photographs, as plain JSON values; a run goes on only with the same one.
        group: Rows that an earlier run left behind are kept in whole groups of so many.
        crops_per_part: None for about ``PART_BYTES``.
        restart: Remove a store that is there, finished or not, and begin anew; whatever else is in its folder stays.

    Raises:
        CropStoreError: The folder holds a store of another recipe, or a damaged one.
        InputError: It is no folder, holds something else, or another process writes it.
        FileWriteError: It cannot be made or written.
    """

    def __init__(
        self,
        folder: Path,
        alignment: Alignment,
        recipe: Mapping[str, object],
        *,
        group: int = 1,
        crops_per_part: int | None = None,
        restart: bool = False,
    ) -> None:
        self._folder = folder
        self._crop_bytes = 3 * alignment.crop_px**2
        self._group = group
        per_part = crops_per_part if crops_per_part is not None else max(1, PART_BYTES // self._crop_bytes)
        self._manifest: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "is_complete": False,
            "alignment": alignment_shape(alignment),
            "recipe": json.loads(json.dumps(recipe)),
            "crops_per_part": per_part,
        }
        self._n_crops = 0
        self._rows: BinaryIO | None = None
        self._lock: BinaryIO | None = None
        _make(folder)
        _require_store(folder)
        with writing(folder):
            self._take_lock()
        try:
            if restart:
                self._remove()
            self.done: list[CropRow] = self._found()
        except BaseException:
            self.close()
            raise

    @property
    def is_complete(self) -> bool:
        """Whether the store was finished already; then ``done`` is all of it and nothing can be added."""
        return bool(self._manifest["is_complete"])

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What the store says of itself."""
        return self._manifest

    def __enter__(self) -> CropWriter:
        """Return the writer."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the files; what was added stays."""
        self.close()

    def close(self) -> None:
        """Close the files. Idempotent."""
        for stream in (self._rows, self._lock):
            if stream is not None:
                stream.close()  # gives the lock back too
        self._rows = self._lock = None

    def stamps(self) -> list[bytes]:
        """Return what was seen of each photograph of ``done``; zeros for those of a store that says nothing of it.

        Raises:
            CropStoreError: The file cannot be read.
        """
        file = self._folder / STAMPS
        try:
            known = file.read_bytes() if is_there(file) else b""
        except OSError as exc:
            raise CropStoreError(f"{file} cannot be read: {exc.strerror or exc}", path=str(file)) from exc
        ends = range(STAMP_BYTES, STAMP_BYTES * (len(self.done) + 1), STAMP_BYTES)
        return [known[end - STAMP_BYTES : end].ljust(STAMP_BYTES, b"\0") for end in ends]

    def add(self, rows: Sequence[tuple[CropRow, Pixels | None]], stamps: Sequence[bytes] = ()) -> None:
        """Write photographs and wait until they are on the disk: first the pixels, then the rows.

        Args:
            rows: In order; pixels uint8 ``(S, S, 3)``, None for a failure.
            stamps: What was seen of each photograph, ``STAMP_BYTES`` long; none to keep nothing of these.

        Raises:
            FileWriteError: No space left, or the like; what was added before stays, and the next run goes on from there.
        """
        if self.is_complete or self._rows is None:
            raise ValueError("a finished or closed store takes no more rows")
        pixels = [crop for _, crop in rows if crop is not None]
        with writing(self._folder):
            self._append(pixels)
            with (self._folder / STAMPS).open("ab") as stream:  # not waited for: zeros, as a crash leaves them, say nothing
                stream.write(b"".join(stamps) or bytes(STAMP_BYTES * len(rows)))
            self._rows.write(b"".join(row.as_line() for row, _ in rows))
            self._rows.flush()
            os.fsync(self._rows.fileno())

    def finish(self, about: Mapping[str, object]) -> Mapping[str, Any]:
        """Say in the manifest that everything is there, and return it.

        Args:
            about: What else the manifest says: counts and the like.

        Raises:
            FileWriteError: It cannot be written.
        """
        with writing(self._folder):
            per_part = self._manifest["crops_per_part"]
            parts = [
                {
                    "file": file.name,
                    "n_crops": min(per_part, self._n_crops - number * per_part),
                    "sha256": _digest(file),
                }
                for number, file in enumerate(self._part(number) for number in range(-(-self._n_crops // per_part)))
            ]
            rows = {"file": ROWS, "sha256": _digest(self._folder / ROWS)}
            self._manifest |= {**about, "parts": parts, "rows": rows, "is_complete": True}
            self._write_manifest(self._manifest)
        return self._manifest

    def _take_lock(self) -> None:
        self._lock = (self._folder / _LOCK).open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            self._lock.close()
            raise InputError(f"another process is writing {self._folder}: wait for it, or choose another folder") from exc

    def _found(self) -> list[CropRow]:
        """Return what an earlier run left, after cutting off what it had not finished."""
        if not is_there(self._folder / MANIFEST):
            with writing(self._folder):
                self._write_manifest(self._manifest)
                return self._cut_back()
        known = read_manifest(self._folder)
        for name in ("alignment", "recipe"):
            if known.get(name) != self._manifest[name]:
                raise CropStoreError(
                    f"{self._folder} was begun with another {name} ({_difference(known.get(name), self._manifest[name])}): name "
                    "another folder, or begin anew with --restart",
                    path=str(self._folder),
                )
        self._manifest = known
        if self.is_complete:
            return list(read_rows(self._folder / ROWS))
        with writing(self._folder):
            return self._cut_back()

    def _cut_back(self) -> list[CropRow]:
        per_part = int(self._manifest["crops_per_part"])
        file = self._folder / ROWS
        lines = file.read_bytes().split(b"\n")[:-1] if is_there(file) else []  # behind the last line's end: a torn write
        n_whole = 0  # crops whose pixels are there
        for number in range(len(lines) // per_part + 2):
            part = self._part(number)
            n_there = min(per_part, part.stat().st_size // self._crop_bytes) if is_there(part) else 0
            n_whole += n_there
            if n_there < per_part:
                break
        rows: list[CropRow] = []
        ends: list[int] = []
        n_crops = end = 0
        for line in lines:
            try:
                row = CropRow.of_line(line)
            except CropStoreError:
                break
            n_crops += row.detection is not None
            if n_crops > n_whole:
                break
            rows.append(row)
            end += len(line) + 1
            ends.append(end)
        del rows[len(rows) // self._group * self._group :]
        self._n_crops = sum(row.detection is not None for row in rows)
        self._rows = file.open("ab")
        self._rows.truncate(ends[len(rows) - 1] if rows else 0)
        with (self._folder / STAMPS).open("ab") as stream:
            stream.truncate(STAMP_BYTES * len(rows))  # fills up with zeros what an earlier release did not write
        number, n_left = divmod(self._n_crops, per_part)
        if n_left:
            os.truncate(self._part(number), n_left * self._crop_bytes)
            number += 1
        while is_there(self._part(number)):
            self._part(number).unlink()
            number += 1
        return rows

    def _append(self, pixels: Sequence[Pixels]) -> None:
        """Append pixels to the last part, and to new ones as each is full."""
        per_part = int(self._manifest["crops_per_part"])
        left = list(pixels)
        while left:
            number, n_there = divmod(self._n_crops, per_part)
            taken, left = left[: per_part - n_there], left[per_part - n_there :]
            with self._part(number).open("r+b" if n_there else "wb") as stream:
                stream.seek(n_there * self._crop_bytes)
                for crop in taken:
                    stream.write(crop.tobytes())
                stream.flush()
                os.fsync(stream.fileno())
            self._n_crops += len(taken)

    def _part(self, number: int) -> Path:
        return self._folder / f"crops-{number:04d}.bin"

    def _remove(self) -> None:
        """Remove a store's own files; cut short anywhere it leaves an unfinished store, which can be gone on with or removed."""
        if not is_there(self._folder / MANIFEST):
            return
        known = read_document(self._folder)
        with writing(self._folder):
            self._write_manifest(known | {"is_complete": False})
            for file in (ROWS, STAMPS, *(one.name for one in self._folder.iterdir() if PART.fullmatch(one.name))):
                (self._folder / file).unlink(missing_ok=True)
            self._write_manifest(self._manifest)

    def _write_manifest(self, manifest: Mapping[str, Any]) -> None:
        part = self._folder / f"{MANIFEST}.part"
        with part.open("w", encoding="ascii") as stream:
            stream.write(json.dumps(manifest, indent=1, allow_nan=False) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(self._folder / MANIFEST)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _make(folder: Path) -> None:
    """Make the folder of a store where it is not there.

    Raises:
        InputError: There is a file of its name, or in its way.
        FileWriteError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as exc:
        raise InputError(f"{folder} cannot be a folder of crops: there is a file in its place", path=str(folder)) from exc
    except OSError as exc:
        raise FileWriteError(f"the folder {folder} cannot be made: {exc.strerror or exc}", path=str(folder)) from exc


def _require_store(folder: Path) -> None:
    """Refuse a folder of something else, before anything is put there.

    Raises:
        CropStoreError: It holds a manifest of something else, or of another release.
        InputError: It holds something, and no manifest.
    """
    if is_there(folder / MANIFEST):
        read_document(folder)
        return
    with writing(folder):
        others = sorted(one.name for one in folder.iterdir() if one.name not in (_LOCK, f"{MANIFEST}.part"))
    if others:
        raise InputError(f"{folder} holds {others[0]} and is no store of crops: name a folder of its own", path=str(folder))


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Map what writing raises.

    Raises:
        FileWriteError: Names the folder and the reason.
    """
    try:
        yield
    except OSError as exc:
        raise FileWriteError(
            f"the crops in {folder} cannot be written: {exc.strerror or exc}; what was done is kept, and the same command goes on "
            "from there",
            path=str(folder),
        ) from exc


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _difference(known: object, wanted: object) -> str:
    """Return the first value that differs, both ways."""
    if isinstance(known, dict) and isinstance(wanted, dict):
        for name in sorted({*known, *wanted}):
            if known.get(name) != wanted.get(name):
                return f"{name} {known.get(name)!r}, now {wanted.get(name)!r}"
    return f"{known!r}, now {wanted!r}"
