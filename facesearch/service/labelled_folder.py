"""The photographs of a folder with their labels: ``<label>/*.jpg``, or flat with a CSV that names a label for each file.

Found as they are asked for, so that a folder of a million files is no list of a million paths. It opens no photograph.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from facesearch.core.errors import InputError, ProtocolFileError
from facesearch.core.paths import is_folder

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
"""Files of a label's folder that are taken for photographs, by suffix in lower case."""


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """A file and the label it is to be enrolled under.

    Attributes:
        path: The file; a label's folder where there is a ``problem``.
        label: The label.
        tags: Tags of the person.
        problem: Why a label's folder could not be read, else empty.
    """

    path: Path
    label: str
    tags: tuple[str, ...] = ()
    problem: str = ""


class LabelledFolder:
    """The photographs of a folder with their labels, sorted by label and name, or in the order of a CSV.

    Each iteration looks again. A label's folder that cannot be read is one entry with a ``problem``. Folders within a label's
    folder are not looked into, so that a link which leads back to where it lies leads nowhere; names that begin with a dot are
    left out.

    Args:
        folder: ``<label>/<picture>`` one level deep; with ``labels_csv`` the place its file names are relative to.
        labels_csv: UTF-8 CSV with a header; columns ``file`` and ``label``, optionally ``tags`` (separated by ``;``).
        needs_labels: Refuse a CSV with an empty label; otherwise its file comes like the others, and whoever enrolls it refuses it.

    Raises:
        InputError: No folder, or nothing in it to enroll.
        ProtocolFileError: The CSV lacks a column or a label, names a file outside the folder, or is no UTF-8 text.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, labels_csv: str | os.PathLike[str] | None = None, needs_labels: bool = False
    ) -> None:
        self._root = Path(folder)
        self._needs_labels = needs_labels
        self._labels_csv = None if labels_csv is None else Path(labels_csv)
        if not is_folder(self._root):
            raise InputError(f"{self._root} is no folder that can be looked at", path=str(self._root))
        # A CSV is read once to its end before anything is enrolled: a mistake on its last line is no surprise of the third hour.
        n_looked_at = 0
        for _ in self:
            n_looked_at += 1
            if self._labels_csv is None:
                break
        if not n_looked_at:
            raise InputError(
                f"{self._root} holds nothing to enroll: expected <label>/<picture> ({', '.join(sorted(PICTURE_SUFFIXES))}), "
                "or pictures named in a CSV with the columns file and label",
                path=str(self._root),
            )

    def __iter__(self) -> Iterator[LabelledFile]:
        """Yield the files, found as they are asked for."""
        if self._labels_csv is None:
            return _from_folders(self._root)
        return _from_csv(self._root, self._labels_csv, needs_labels=self._needs_labels)

    def count(self) -> int:
        """Return the number of entries, by looking at all of them."""
        return sum(1 for _ in self)


def labelled_files(folder: str | os.PathLike[str], *, labels_csv: str | os.PathLike[str] | None = None) -> tuple[LabelledFile, ...]:
    """Return all photographs of a folder at once; see ``LabelledFolder``.

    Raises:
        InputError: No folder, nothing in it, or a label's folder that cannot be read.
        ProtocolFileError: The CSV lacks a column, names a file outside the folder, or is no UTF-8 text.
    """
    files = tuple(LabelledFolder(folder, labels_csv=labels_csv))
    for one in files:
        if one.problem:
            raise InputError(one.problem, path=str(one.path))
    return files


def _from_folders(root: Path) -> Iterator[LabelledFile]:
    try:
        labels = _names(root, folders=True)
    except OSError as exc:
        raise InputError(f"the folder {root} cannot be read: {exc.strerror}", path=str(root)) from exc
    for label in labels:
        folder = root / label
        try:
            names = _names(folder, folders=False)
        except OSError as exc:
            yield LabelledFile(folder, label, problem=f"the folder {folder} cannot be read: {exc.strerror}")
            continue
        for name in names:
            yield LabelledFile(folder / name, label)


def picture_names(folder: Path) -> list[str]:
    """Return the names of a folder's photographs, sorted; raises ``OSError`` where it cannot be read."""
    return _names(folder, folders=False)


def _names(folder: Path, *, folders: bool) -> list[str]:
    """Return the names of a folder's folders, or of its pictures, sorted."""
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if not entry.name.startswith(".")
            and (folders or os.path.splitext(entry.name)[1].lower() in PICTURE_SUFFIXES)  # noqa: PTH122 - no Path for each name
            and _is_folder(entry) == folders
        )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _from_csv(root: Path, file: Path, *, needs_labels: bool) -> Iterator[LabelledFile]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream)
            missing = {"file", "label"}.difference(rows.fieldnames or ())
            if missing:
                raise ProtocolFileError(f"{file} lacks the column {' and '.join(sorted(missing))}", path=str(file))
            for row in rows:
                line = rows.line_num
                found = _from_row(root, file, line, row)
                if needs_labels and not found.label.strip():
                    raise ProtocolFileError(f"{file}, line {line}: the label of {row['file']} is empty", path=str(file), line=line)
                yield found
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
