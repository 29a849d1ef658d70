"""Photographs of labelled people made into a store of aligned faces: decode, detect, choose, align, write.

It embeds nothing and compares nobody: wrong labels go into the store as they are, see ``cleaning``.
"""

from __future__ import annotations

import hashlib
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from facesearch.core.arrays import Pixels
from facesearch.core.errors import CropStoreError, ImageDecodeError, ImageTooLargeError, InputError
from facesearch.core.face import Alignment, FaceCrop
from facesearch.core.image import Image
from facesearch.core.paths import is_there
from facesearch.core.protocols import Aligner, Detector
from facesearch.service.faces import FaceChoice, checked_face_choice, choose_face
from facesearch.service.folder_report import UNREADABLE_FOLDER
from facesearch.service.free_memory import give_back_free_memory
from facesearch.service.labelled_folder import LabelledFile, LabelledFolder
from facesearch.service.photographs import VANISHED
from facesearch.service.pipeline import STREAM_BATCH, STREAM_PX, ImageSource, QualityMeter
from facesearch.service.rounds import in_rounds
from facesearch.service.template_cache import file_digest
from facesearch.training.cleaned_list import remove_stale_list
from facesearch.training.crop_manifest import store_digest
from facesearch.training.crop_store import CropRow
from facesearch.training.crop_writer import CropWriter
from facesearch.training.prepare_source import check_place, empty_folders, look_through, name_in, seen_of, stamp_of, still_to_do

GROUP = 4 * STREAM_BATCH
"""Photographs written at once: whole rounds, so that a run that goes on puts the same photographs into the networks' batches and
gets the same crops to the last bit."""

TIDIED_GROUPS = 16
"""Groups after which free memory is given back to the system."""

MAX_UNLISTED = 20
"""Pictures without a label that are named; the rest are counted."""

Progress = Callable[[int, int], None]
"""Called with the number of photographs done and the number of all."""


@dataclass(frozen=True, slots=True)
class PrepareReport:
    """What became of a folder.

    Attributes:
        store: The folder of the store.
        n_photographs: Photographs with a label.
        n_crops: Of so many a face was kept.
        n_known: Photographs that an earlier run had done.
        failures: The others, in order, with code and message.
        n_people: Labels with a crop.
        n_single: Labels with one crop only.
        people_without_crops: Labels with none.
        n_unlisted: Pictures in the folder that the label file does not name.
        unlisted: The first of them.
        is_by_list: Whether a label file named the photographs.
        stale_list: A list of ``train clean`` that was of crops which are gone, and was removed; empty where there was none.
    """

    store: Path
    n_photographs: int
    n_crops: int
    n_known: int
    failures: tuple[CropRow, ...]
    n_people: int
    n_single: int
    people_without_crops: tuple[str, ...]
    n_unlisted: int
    unlisted: tuple[str, ...]
    is_by_list: bool = False
    stale_list: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """Failures of each code, most first."""
        return dict(Counter(one.code for one in self.failures).most_common())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What will trouble the training, in words."""
        said = []
        if self.n_people == 1:
            said.append("there is one person only: nothing can be learnt about telling people apart")
        if self.n_people and self.n_single == self.n_people:
            said.append("nobody has two photographs: nothing can be learnt about what one person's photographs share")
        if self.people_without_crops:
            first = ", ".join(self.people_without_crops[:3])
            said.append(f"{len(self.people_without_crops)} labels have no usable photograph ({first}, …) and are left out")
        if self.n_unlisted:
            said.append(f"{self.n_unlisted} pictures of the folder are not in the label file ({self.unlisted[0]}, …)")
        n_missing = self.counts.get(VANISHED, 0)
        if n_missing:
            how = (
                "that the list names are not there"
                if self.is_by_list
                else "are links that lead nowhere, or went while they were read"
            )
            said.append(f"{n_missing} photographs {how}")
        if self.stale_list:
            said.append(f"{self.stale_list} was made for other crops than these, and was removed: run train clean again")
        return tuple(said)

    def as_dict(self) -> dict[str, object]:
        """Return plain values."""
        return {
            "store": str(self.store),
            "n_photographs": self.n_photographs,
            "n_crops": self.n_crops,
            "n_known": self.n_known,
            "n_people": self.n_people,
            "n_single": self.n_single,
            "people_without_crops": list(self.people_without_crops),
            "n_unlisted": self.n_unlisted,
            "failures_by_code": self.counts,
            "failures": [
                {"path": one.path, "person": one.person, "code": one.code, "message": one.message} for one in self.failures
            ],
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    """A photograph that was read: its picture, or the row of a failure, and what is kept to know it again."""

    item: LabelledFile
    image: Image | CropRow
    stamp: bytes


_Outcome = tuple[CropRow, Pixels | None, bytes]
"""A row, its pixels, and the stamp of the photograph."""


class PrepareCrops:
    """Makes stores of crops.

    Args:
        decode: Any source → ``Image``.
        detector: Finds faces.
        align: Cuts them out.
        alignment: The crop that the network to be trained wants.
        recipe: What a crop depends on besides photograph, alignment and choice of face, as plain JSON values.
        min_face_px: The detector's smallest face, for messages.
        meter: Measures how usable each face is; None measures nothing.
    """

    def __init__(
        self,
        decode: Callable[[ImageSource], Image],
        detector: Detector,
        align: Aligner,
        *,
        alignment: Alignment,
        recipe: Mapping[str, object],
        min_face_px: int,
        meter: QualityMeter | None = None,
    ) -> None:
        self._decode = decode
        self._detector = detector
        self._align = align
        self._alignment = alignment
        self._recipe = recipe
        self._min_face_px = min_face_px
        self._meter = meter

    def __call__(
        self,
        folder: Path,
        store: Path,
        *,
        labels_csv: Path | None = None,
        face: FaceChoice = "largest",
        restart: bool = False,
        on_progress: Progress | None = None,
    ) -> PrepareReport:
        """Make a store of the faces of a folder of people, or go on with one.

        Memory does not grow with the folder beyond a row of text a photograph. A run cut short at any moment goes on from the last
        group that it wrote, and ends with the same store.

        Args:
            folder: ``<person>/<picture>``; with ``labels_csv`` the place its file names are relative to.
            store: Where the crops go.
            labels_csv: UTF-8 CSV with the columns ``file`` and ``label``.
            face: Which face of each photograph.
            restart: Remove the crops that are there, and nothing else of the folder, and begin anew.
            on_progress: Called after each photograph.

        Raises:
            InputError: The folder or the label file cannot be used, or ``store`` is a file, holds something else or lies among the
                photographs.
            CropStoreError: ``store`` was made otherwise, or photographs came, went or were replaced since it was begun.
            FileWriteError: The store cannot be written: no space left, for example. What was written stays.
            ModelError: A network failed; likewise.
        """
        checked_face_choice(face)
        check_place(folder, store)
        is_by_list = labels_csv is not None
        listed = LabelledFolder(folder, labels_csv=labels_csv, needs_labels=True)
        n_photographs, unlisted = look_through(folder, listed, is_by_list=is_by_list)
        recipe = {**self._recipe, "face": face, "labels": "list" if is_by_list else "folders"}
        stale_list = ""
        with CropWriter(store, self._alignment, recipe, group=GROUP, restart=restart) as writer:
            n_known = len(writer.done)
            files = still_to_do(folder, listed, writer.done, writer.stamps())
            if writer.is_complete:
                if next(files, None) is not None:
                    raise CropStoreError(
                        f"{folder} has photographs that {store} lacks: prepare anew with --restart", path=str(store)
                    )
            else:
                self._write(folder, files, writer, face, lambda done: on_progress and on_progress(n_known + done, n_photographs))
                about = _about(folder, writer.done, len(unlisted))
                stale_list = remove_stale_list(store, store_digest(writer.finish(about)))
            empty = [] if is_by_list else empty_folders(folder, writer.done)
            found = _report(store, writer.done, n_known, unlisted, empty)
        return replace(found, is_by_list=is_by_list, stale_list=stale_list)

    def _write(
        self, root: Path, files: Iterator[LabelledFile], writer: CropWriter, face: FaceChoice, tell: Callable[[int], object]
    ) -> None:
        """Write the outcomes of files, a group at a time."""

        def work(items: list[LabelledFile], stop: threading.Event) -> Iterator[_Outcome]:
            part: list[_Opened] = []
            n_px = 0
            for item in items:
                if stop.is_set():
                    return
                part.append(self._opened(root, item))
                opened = part[-1].image
                n_px += opened.width * opened.height if isinstance(opened, Image) else 0
                if n_px >= STREAM_PX:
                    yield from self._cut(root, part, face)
                    part, n_px = [], 0
            yield from self._cut(root, part, face)

        n_done = n_groups = 0
        with closing(in_rounds(files, work, size=STREAM_BATCH)) as outcomes:
            while group := list(islice(outcomes, GROUP)):
                writer.add([(row, crop) for row, crop, _ in group], [stamp for *_, stamp in group])
                writer.done += [row for row, *_ in group]
                n_done += len(group)
                n_groups += 1
                tell(n_done)
                if n_groups % TIDIED_GROUPS == 1:
                    give_back_free_memory()

    def _opened(self, root: Path, item: LabelledFile) -> _Opened:
        seen = seen_of(item)
        if item.problem:
            return _Opened(item, _failed(root, item, UNREADABLE_FOLDER, item.problem), stamp_of(seen, ""))
        try:
            image = self._decode(item.path)
        except InputError as exc:
            if exc.code == ImageDecodeError.code and not is_there(item.path):
                return _Opened(item, _failed(root, item, VANISHED, "there is no such file"), stamp_of(seen, ""))
            digest = "" if exc.code == ImageTooLargeError.code else file_digest(item.path)  # it would be read for hours
            return _Opened(item, _failed(root, item, exc.code, exc.message), stamp_of(seen, digest))
        return _Opened(item, image, stamp_of(seen, image.digest))

    def _cut(self, root: Path, part: Sequence[_Opened], choice: FaceChoice) -> Iterator[_Outcome]:
        """Yield row, pixels and stamp of each photograph of a part."""
        found = iter(self._detector.detect_batch([one.image for one in part if isinstance(one.image, Image)]))
        for one in part:
            if isinstance(one.image, CropRow):
                yield one.image, None, one.stamp
                continue
            try:
                chosen = choose_face(one.image, next(found), choice, min_face_px=self._min_face_px)
                crop = self._align(one.image, (chosen,), self._alignment)[0]
            except InputError as exc:
                yield _failed(root, one.item, exc.code, exc.message), None, one.stamp
                continue
            yield self._row(root, one.item, one.image, crop), crop.pixels, one.stamp

    def _row(self, root: Path, item: LabelledFile, image: Image, crop: FaceCrop) -> CropRow:
        quality = self._meter(crop, self._alignment).score if self._meter is not None else None
        checksum = zlib.crc32(crop.pixels.tobytes())
        return CropRow(name_in(root, item.path), item.label, crop.detection, image.digest, checksum, quality)


def _failed(root: Path, item: LabelledFile, code: str, message: str) -> CropRow:
    # The store says nothing of where the folder lay.
    name = name_in(root, item.path)
    return CropRow(name, item.label, code=code, message=message.replace(str(item.path), name).removeprefix(f"{name}: "))


def _about(folder: Path, rows: Sequence[CropRow], n_unlisted: int) -> dict[str, object]:
    sha = hashlib.sha256()
    for row in rows:
        sha.update(f"{row.path}\0{row.person}\0{row.digest}\n".encode("utf-8", "surrogateescape"))
    n_crops = sum(row.detection is not None for row in rows)
    return {
        "source": {"name": folder.absolute().name, "digest": sha.hexdigest()},
        "counts": {"photographs": len(rows), "crops": n_crops, "failures": len(rows) - n_crops, "unlisted": n_unlisted},
    }


def _report(store: Path, rows: Sequence[CropRow], n_known: int, unlisted: Sequence[str], empty: Sequence[str]) -> PrepareReport:
    counts = Counter(row.person for row in rows if row.detection is not None)
    without = sorted({row.person for row in rows}.difference(counts).union(empty))
    return PrepareReport(
        store,
        len(rows),
        counts.total(),
        n_known,
        tuple(row for row in rows if row.detection is None),
        len(counts),
        sum(count == 1 for count in counts.values()),
        tuple(without),
        len(unlisted),
        tuple(unlisted[:MAX_UNLISTED]),
    )
