"""Aligned faces of many people in a folder, read through memory maps: what networks are trained on.

``manifest.json`` says what the store holds, ``crops-<n>.bin`` are the pixels, ``rows.jsonl`` has a line a photograph, failures
included. It writes nothing: see ``crop_writer``. It finds no wrong labels: see ``cleaning``.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Pixels
from facesearch.core.errors import CropStoreError, InputError
from facesearch.core.face import Detection
from facesearch.training.cleaned_list import CleanedList
from facesearch.training.crop_manifest import alignment_of, read_manifest, store_digest

ROWS = "rows.jsonl"


@dataclass(frozen=True, slots=True, eq=False)
class CropRow:
    """One photograph of a store.

    Attributes:
        path: Relative to the folder it was prepared from, with ``/``.
        person: Its label.
        detection: The face, in the photograph's pixels; None where there is none.
        digest: SHA-256 (hex) of the photograph's bytes; empty for a failure.
        checksum: CRC-32 of the crop's bytes.
        quality: How usable the face is, in [0, 1]; None where it was not measured.
        code: The error's stable code where there is no face, else empty.
        message: A sentence for a person where there is no face.
    """

    path: str
    person: str
    detection: Detection | None = None
    digest: str = ""
    checksum: int = 0
    quality: float | None = None
    code: str = ""
    message: str = ""

    def as_line(self) -> bytes:
        """Return the row as one line of JSON; undecodable bytes of a name are escapes."""
        row: dict[str, object] = {"path": self.path, "person": self.person}
        if self.detection is not None:
            face = self.detection
            row |= {
                "box": list(face.box),
                "landmarks": face.landmarks.astype(np.float64).tolist(),
                "score": face.score,
                "quality": self.quality,
                "digest": self.digest,
                "crc32": self.checksum,
            }
        else:
            row |= {"code": self.code, "message": self.message}
        return json.dumps(row, ensure_ascii=True, allow_nan=False).encode() + b"\n"

    @classmethod
    def of_line(cls, line: bytes) -> CropRow:
        """Return the row of a line.

        Raises:
            CropStoreError: It is none.
        """
        try:
            row = json.loads(line)
            if "code" in row:
                return cls(str(row["path"]), str(row["person"]), code=str(row["code"]), message=str(row["message"]))
            face = Detection(tuple(row["box"]), np.array(row["landmarks"], dtype=np.float32), row["score"])
            quality = None if row["quality"] is None else float(row["quality"])
            return cls(str(row["path"]), str(row["person"]), face, str(row["digest"]), int(row["crc32"]), quality)
        except (ValueError, KeyError, TypeError, InputError) as exc:
            raise CropStoreError(f"a line of {ROWS} is damaged: {exc}") from exc


class CropStore:
    """Crops of people, read-only; those of the store in the order of its rows.

    Args:
        folder: Where it lies.
        manifest: What it says of itself.
        rows: Its crops, failures left out.
        people: The person of each, where a cleaned list gave some another.
        places: int64 ``(N,)``, where each crop lies in the parts.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Mapping[str, Any],
        rows: Sequence[CropRow],
        people: Sequence[str],
        places: NDArray[np.int64],
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.rows = tuple(rows)
        self.alignment = alignment_of(manifest["alignment"])
        self.people = tuple(sorted(set(people)))
        number = {person: place for place, person in enumerate(self.people)}
        labels = np.fromiter((number[one] for one in people), dtype=np.int64, count=len(people))
        for array in (labels, places):
            array.setflags(write=False)
        self.labels: NDArray[np.int64] = labels
        self.places = places

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, cleaned: str | os.PathLike[str] | None = None) -> CropStore:
        """Open a finished store; pixels stay on the disk until they are asked for.

        Args:
            path: Its folder.
            cleaned: A list that ``train clean`` wrote for this store: what it drops is left out, what it moves or merges has the
                new label.

        Raises:
            CropStoreError: No store, unfinished, damaged, of an unknown version or without a crop, or the list is of another one.
        """
        folder = Path(path)
        manifest = read_manifest(folder)
        if not manifest["is_complete"]:
            raise CropStoreError(
                f"{folder}: preparing these crops was interrupted; run the same `facesearch train prepare` again, it goes on "
                "where it stopped",
                path=str(folder),
            )
        store = cls(folder, manifest, *_all_crops(folder, manifest))
        if cleaned is not None:
            store = store.cleaned(CleanedList.read(cleaned))
        if not len(store):
            raise CropStoreError(
                f"{folder} holds no crop" + ("" if cleaned is None else f" that {cleaned} leaves"), path=str(folder)
            )
        return store

    def __len__(self) -> int:
        """Return the number of crops."""
        return len(self.rows)

    @property
    def crop_px(self) -> int:
        """Side of a crop in pixels."""
        return self.alignment.crop_px

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """The photograph of each crop, relative to the folder the store was prepared from."""
        return tuple(row.path for row in self.rows)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """int64: crops of each of ``people``, at least 1."""
        return np.bincount(self.labels, minlength=len(self.people)).astype(np.int64)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of everything the whole store holds: crops, labels, failures."""
        return store_digest(self.manifest)

    def crop(self, index: int) -> Pixels:
        """Return one crop: uint8 RGB ``(S, S, 3)``, read-only, of the file's own memory."""
        place = int(self.places[index])
        crop: Pixels = self._parts[place // self._part_size][place % self._part_size]
        return crop

    def crops(self, indices: Sequence[int] | NDArray[np.int64]) -> Pixels:
        """Return some crops as a new array, uint8 RGB ``(len(indices), S, S, 3)``.

        Raises:
            CropStoreError: One is not what was written, or the file cannot be read; names the photograph.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        taken = np.empty((len(chosen), self.crop_px, self.crop_px, 3), dtype=np.uint8)
        for row, (index, place) in enumerate(zip(chosen.tolist(), self.places[chosen].tolist(), strict=True)):
            taken[row] = self._parts[place // self._part_size][place % self._part_size]
            if zlib.crc32(taken[row].data) != self.rows[index].checksum:
                raise CropStoreError(
                    f"the crop of {self.paths[index]} in {self.folder} is not the one that was written: the file is damaged; "
                    "prepare the store again",
                    path=self.paths[index],
                )
        return taken

    def subset(self, which: NDArray[np.bool_] | NDArray[np.int64] | Sequence[int]) -> CropStore:
        """Return some of the crops as a store of their own over the same files; labels count its own people from 0.

        Args:
            which: bool ``(N,)``, or indices of crops.
        """
        chosen = np.asarray(which)
        taken = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen.astype(np.int64)
        people = [self.people[label] for label in self.labels[taken].tolist()]
        return CropStore(self.folder, self.manifest, [self.rows[one] for one in taken.tolist()], people, self.places[taken])

    def of_people(self, people: Sequence[str]) -> CropStore:
        """Return the crops of some people; unknown ones have none."""
        wanted = set(people)
        return self.subset(np.array([self.people[label] in wanted for label in self.labels.tolist()], dtype=np.bool_))

    def cleaned(self, found: CleanedList) -> CropStore:
        """Return the store without what a list drops, and with its new labels.

        Raises:
            CropStoreError: The list was made for another store.
        """
        if found.store_digest != self.digest:
            raise CropStoreError(
                f"the cleaned list is of store {found.store_digest[:12]}, {self.folder} is {self.digest[:12]}: run "
                "`facesearch train clean` on this store",
                path=str(self.folder),
            )
        people = found.people_of([self.people[label] for label in self.labels.tolist()], self.places.tolist())
        kept = np.array([one is not None for one in people], dtype=np.bool_)
        rows = [row for row, person in zip(self.rows, people, strict=True) if person is not None]
        return CropStore(self.folder, self.manifest, rows, [one for one in people if one is not None], self.places[kept])

    def damaged(self) -> list[int]:
        """Return the indices of crops whose bytes are not the ones that were written, by reading all of them."""
        return [index for index, row in enumerate(self.rows) if zlib.crc32(self.crop(index).tobytes()) != row.checksum]

    @property
    def _part_size(self) -> int:
        return int(self.manifest["crops_per_part"])

    @cached_property
    def _parts(self) -> list[NDArray[np.uint8]]:
        shape = (self.crop_px, self.crop_px, 3)
        parts: list[NDArray[np.uint8]] = []
        for part in self.manifest["parts"]:
            file = self.folder / part["file"]
            try:
                parts.append(np.memmap(file, dtype=np.uint8, mode="r", shape=(int(part["n_crops"]), *shape)))
            except (OSError, ValueError) as exc:
                raise CropStoreError(f"{file} cannot be read: {exc}", path=str(file)) from exc
        return parts


def read_rows(file: Path) -> Iterator[CropRow]:
    """Yield the rows of a store, failures included.

    Raises:
        CropStoreError: The file cannot be read, or a line is damaged.
    """
    try:
        with file.open("rb") as stream:
            for line in stream:
                yield CropRow.of_line(line)
    except OSError as exc:
        raise CropStoreError(f"{file} cannot be read: {exc.strerror or exc}", path=str(file)) from exc


def read_failures(folder: Path) -> tuple[CropRow, ...]:
    """Return the photographs of a store that gave no crop."""
    return tuple(row for row in read_rows(folder / ROWS) if row.detection is None)


def _all_crops(folder: Path, manifest: Mapping[str, Any]) -> tuple[list[CropRow], list[str], NDArray[np.int64]]:
    """Return the crops of a finished store after checking that its files are whole; pixels are checked by ``damaged``."""
    crop_bytes = 3 * int(manifest["alignment"]["crop_px"]) ** 2
    for part in manifest["parts"]:
        file, expected = folder / part["file"], int(part["n_crops"]) * crop_bytes
        try:
            n_bytes = file.stat().st_size
        except OSError as exc:
            raise CropStoreError(f"{file} cannot be read: {exc.strerror or exc}", path=str(file)) from exc
        if n_bytes != expected:
            raise CropStoreError(f"{file} has {n_bytes:,} bytes, its manifest says {expected:,}: prepare again", path=str(file))
    file = folder / ROWS
    try:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as exc:
        raise CropStoreError(f"{file} cannot be read: {exc.strerror or exc}", path=str(file)) from exc
    if digest != manifest["rows"]["sha256"]:
        raise CropStoreError(f"{file} is damaged: its digest is not the manifest's; prepare again", path=str(file))
    rows = [row for row in read_rows(file) if row.detection is not None]
    n_there = sum(int(part["n_crops"]) for part in manifest["parts"])
    if n_there != len(rows):
        raise CropStoreError(
            f"{folder} has {n_there} crops in its parts and {len(rows)} in its rows: prepare again", path=str(folder)
        )
    return rows, [row.person for row in rows], np.arange(len(rows), dtype=np.int64)
