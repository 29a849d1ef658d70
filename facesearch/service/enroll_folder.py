"""Enrolment of a folder: ``<label>/*.jpg``, or flat with a CSV that names a label for each file.

Nothing wrong with one file stops the rest: every file gets an outcome. A fault of the database or the networks does stop it.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from facesearch.core.errors import EnrollmentError, FaceSearchError, InputError, ProtocolFileError
from facesearch.core.identity import Keep
from facesearch.core.paths import is_folder
from facesearch.service.enroll import Enroll, EnrollmentChecks, FaceToEnroll
from facesearch.service.faces import FaceChoice
from facesearch.service.pipeline import FacePipeline, PictureMaker, Streamed

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
"""Files of a label's folder that are taken for photographs, by suffix in lower case."""

ENROLLED = "enrolled"
POSSIBLE_DUPLICATE = "possible_duplicate"


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """A file and the label it is to be enrolled under."""

    path: Path
    label: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What became of one file.

    Attributes:
        path: The file.
        label: The label it was to be enrolled under.
        status: ``"enrolled"``, ``"possible_duplicate"`` (enrolled too) or the ``code`` of the error that kept it out.
        message: A sentence for a person; empty for plain enrolment.
        template_id: What was stored, None where nothing was.
        other_label: The other person of a possible duplicate, else None.
    """

    path: Path
    label: str
    status: str
    message: str = ""
    template_id: int | None = None
    other_label: str | None = None

    @property
    def is_enrolled(self) -> bool:
        """Whether a template was stored."""
        return self.template_id is not None


@dataclass(frozen=True, slots=True)
class FolderReport:
    """The outcome of every file, in order."""

    outcomes: tuple[FileOutcome, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Number of files a status, the most frequent first."""
        return dict(Counter(outcome.status for outcome in self.outcomes).most_common())

    @property
    def n_enrolled(self) -> int:
        """Number of files enrolled."""
        return sum(outcome.is_enrolled for outcome in self.outcomes)


def labelled_files(folder: str | os.PathLike[str], *, labels_csv: str | os.PathLike[str] | None = None) -> tuple[LabelledFile, ...]:
    """Return the photographs of a folder with their labels, sorted by path.

    Args:
        folder: ``<label>/<picture>`` one level deep; with ``labels_csv`` the place its file names are relative to.
        labels_csv: UTF-8 CSV with a header; columns ``file`` and ``label``, optionally ``tags`` (separated by ``;``).

    Raises:
        InputError: No folder, or nothing in it to enroll.
        ProtocolFileError: The CSV lacks a column, names a file outside the folder, or is no UTF-8 text.
    """
    root = Path(folder)
    if not is_folder(root):
        raise InputError(f"{root} is no folder that can be looked at", path=str(root))
    files = tuple(_from_csv(root, Path(labels_csv)) if labels_csv is not None else _from_folders(root))
    if not files:
        raise InputError(
            f"{root} holds nothing to enroll: expected <label>/<picture> ({', '.join(sorted(PICTURE_SUFFIXES))}), "
            "or pictures named in a CSV with the columns file and label",
            path=str(root),
        )
    return files


def _from_folders(root: Path) -> Iterator[LabelledFile]:
    try:
        for person in sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
            for path in sorted(person.iterdir()):
                if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and not path.is_dir():
                    yield LabelledFile(path, person.name)
    except OSError as exc:
        raise InputError(f"the folder {root} cannot be read: {exc.strerror}", path=str(root)) from exc


def _from_csv(root: Path, file: Path) -> Iterator[LabelledFile]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream)
            missing = {"file", "label"}.difference(rows.fieldnames or ())
            if missing:
                raise ProtocolFileError(f"{file} lacks the column {' and '.join(sorted(missing))}", path=str(file))
            for row in rows:
                yield _from_row(root, file, rows.line_num, row)
    except OSError as exc:
        raise ProtocolFileError(f"{file} cannot be read: {exc.strerror}", path=str(file)) from exc
    except (UnicodeDecodeError, csv.Error) as exc:
        raise ProtocolFileError(f"{file} is no UTF-8 CSV: {exc}", path=str(file)) from exc


def _from_row(root: Path, file: Path, line: int, row: dict[str, str | None]) -> LabelledFile:
    name, label = row["file"], row["label"]
    if not name or label is None:
        raise ProtocolFileError(f"{file}, line {line}: file or label is missing", path=str(file), line=line)
    if "\0" in name:
        raise ProtocolFileError(f"{file}, line {line}: {name!r} is no file name", path=str(file), line=line)
    path = root / name
    # realpath, because Path.resolve answers a link that leads to itself with RuntimeError.
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise ProtocolFileError(f"{file}, line {line}: {name} lies outside {root}", path=str(file), line=line)
    tags = tuple(tag for tag in (row.get("tags") or "").split(";") if tag.strip())
    return LabelledFile(path, label, tags)


class EnrollFolder:
    """Enrolls many labelled files.

    Args:
        pipeline: Makes templates.
        enroll: Stores them.
        make_picture: Makes what is kept of a photograph.
    """

    def __init__(self, pipeline: FacePipeline, enroll: Enroll, make_picture: PictureMaker) -> None:
        self._pipeline = pipeline
        self._enroll = enroll
        self._make_picture = make_picture

    def __call__(
        self,
        files: Iterable[LabelledFile],
        *,
        collection: str,
        face: FaceChoice = "only",
        keep: Keep = Keep.NONE,
        checks: EnrollmentChecks = EnrollmentChecks(),  # noqa: B008 - frozen, without state
        on_outcome: Callable[[FileOutcome], None] | None = None,
    ) -> FolderReport:
        """Enroll files one by one, each in its own transaction.

        Args:
            files: What to enroll, in this order.
            collection: Where to.
            face: Which face of each photograph.
            keep: Which picture is stored beside each template.
            checks: What is waved through; possible duplicates always are, and named.
            on_outcome: Called after each file, for progress.

        Raises:
            StoreError: The database failed; files before this one are enrolled.
        """
        lenient = replace(checks, new=False, allow_duplicate=True)
        outcomes = []
        for streamed in self._pipeline.stream(((file, file.path) for file in files), face):
            outcome = self._outcome(streamed, collection, keep, lenient)
            outcomes.append(outcome)
            if on_outcome is not None:
                on_outcome(outcome)
        return FolderReport(tuple(outcomes))

    def _outcome(self, streamed: Streamed[LabelledFile], collection: str, keep: Keep, checks: EnrollmentChecks) -> FileOutcome:
        file, face = streamed.key, streamed.face
        if face is None:
            return _kept_out(file, streamed.error)
        try:
            picture = self._make_picture(keep, file.path, face.image, face.detection)
            done = self._enroll((FaceToEnroll(face, file.label, picture),), collection=collection, tags=file.tags, checks=checks)[0]
        except (InputError, EnrollmentError) as exc:
            return _kept_out(file, exc)
        if done.possible_duplicate is None:
            return FileOutcome(file.path, file.label, ENROLLED, template_id=done.template.template_id)
        return FileOutcome(
            file.path,
            file.label,
            POSSIBLE_DUPLICATE,
            f"enrolled as {done.identity.label!r}, but the face may be that of {done.possible_duplicate!r}",
            done.template.template_id,
            done.possible_duplicate,
        )


def _kept_out(file: LabelledFile, error: FaceSearchError | None) -> FileOutcome:
    if error is None:
        raise ValueError("a streamed photograph has a face or an error")
    return FileOutcome(file.path, file.label, error.code, error.message)
