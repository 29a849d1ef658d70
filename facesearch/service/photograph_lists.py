"""Which photographs are measured and what is known of them: lists of pairs and of attributes as CSV, and folders of labels.

It opens no photograph. LFW's own lists are read by ``facesearch.evaluation.lfw``.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from facesearch.core.errors import InputError, ProtocolFileError
from facesearch.service.enroll_folder import labelled_files

SAME = {"1": True, "true": True, "same": True, "yes": True, "0": False, "false": False, "different": False, "no": False}
"""What the column ``same`` may hold, in small letters."""


@dataclass(frozen=True, slots=True)
class LabelledPhotographs:
    """Photographs whose people are known.

    Attributes:
        root: Folder that the paths are relative to.
        labels: The person of each path, by path.
    """

    root: Path
    labels: Mapping[Path, str]

    @property
    def n_people(self) -> int:
        """Number of different people."""
        return len(set(self.labels.values()))


@dataclass(frozen=True, slots=True)
class PhotographPair:
    """Two photographs to compare.

    Attributes:
        a: One of them, relative to the list's folder.
        b: The other.
        is_mated: Whether both show the same person.
    """

    a: Path
    b: Path
    is_mated: bool


@dataclass(frozen=True, slots=True)
class PairList:
    """A list of pairs.

    Attributes:
        root: Folder that the paths are relative to.
        pairs: In the order of the file, each pair of photographs once.
        n_repeated: Lines that named a pair again; they count once.
        people: A number for the person of each photograph: photographs that mated pairs join are one person.
        n_contradictions: Non-mated pairs of photographs that mated pairs say are one person.
    """

    root: Path
    pairs: tuple[PhotographPair, ...]
    n_repeated: int
    people: Mapping[Path, int]
    n_contradictions: int


@dataclass(frozen=True, slots=True)
class Attributes:
    """One attribute of photographs or of people.

    Attributes:
        column: Its name.
        by_file: The attribute of a photograph, by path relative to the folder.
        by_label: The attribute of everybody's photographs, by label.
    """

    column: str
    by_file: Mapping[Path, str] = field(default_factory=dict)
    by_label: Mapping[str, str] = field(default_factory=dict)

    def of(self, path: Path, label: str | None = None) -> str | None:
        """Return the attribute of a photograph, its own before its person's; None where nothing is said."""
        own = self.by_file.get(path)
        if own is None and label is not None:
            own = self.by_label.get(label)
        return own or None


def read_any_folder(folder: str | os.PathLike[str]) -> LabelledPhotographs:
    """Return the photographs of ``<label>/<picture>``, of however many people.

    Raises:
        InputError: No folder, or nothing in it.
    """
    root = Path(folder)
    return LabelledPhotographs(root, {file.path.relative_to(root): file.label for file in labelled_files(root)})


def read_folder(folder: str | os.PathLike[str]) -> LabelledPhotographs:
    """Return the photographs of ``<label>/<picture>`` that are to be compared.

    Raises:
        InputError: No folder, nothing in it, or too few people or photographs for a comparison of either kind.
    """
    listed = read_any_folder(folder)
    checked_people(list(listed.labels.values()), str(listed.root))
    return listed


def checked_people(labels: Sequence[str], where: str) -> None:
    """Raise unless photographs give comparisons of both kinds.

    Raises:
        InputError: One person only, or nobody with two photographs; says what is missing.
    """
    people = set(labels)
    if len(people) < 2:
        raise InputError(
            f"{where} holds {len(labels)} photographs of one person: a false match needs photographs of at least two people",
            n_people=len(people),
        )
    if len(people) == len(labels):
        raise InputError(
            f"{where} holds {len(labels)} photographs of {len(people)} people, one each: a false non-match needs somebody with at "
            "least two photographs",
            n_people=len(people),
        )


def read_pairs_csv(file: str | os.PathLike[str]) -> PairList:
    """Read a UTF-8 CSV with the columns ``a``, ``b`` and ``same``; paths are relative to the file's folder.

    Raises:
        ProtocolFileError: A column or value is missing or malformed, a photograph is paired with itself, or a pair is called the
            same person and two people; names file and line.
        InputError: Pairs of one kind are missing.
    """
    path = Path(file)
    seen: dict[frozenset[Path], bool] = {}
    pairs: list[PhotographPair] = []
    n_repeated = 0
    for line, row in _rows(path, ("a", "b", "same")):
        same = SAME.get(row["same"].strip().lower())
        if same is None:
            raise _wrong(path, line, f"same is {row['same']!r}, expected 1, true or same, or 0, false or different")
        if not row["a"].strip() or not row["b"].strip():
            raise _wrong(path, line, "a or b is empty")
        pair = PhotographPair(_relative(row["a"]), _relative(row["b"]), same)
        if pair.a == pair.b:
            raise _wrong(path, line, f"pairs {pair.a} with itself")
        key = frozenset((pair.a, pair.b))
        known = seen.setdefault(key, same)
        if known != same:
            raise _wrong(path, line, f"{pair.a} and {pair.b} are called the same person in one line and two people in another")
        if len(seen) == len(pairs):
            n_repeated += 1
        else:
            pairs.append(pair)
    n_mated = sum(pair.is_mated for pair in pairs)
    if n_mated in (0, len(pairs)):
        raise InputError(
            f"{path} holds {n_mated} pairs of the same person and {len(pairs) - n_mated} of two people: error rates need both",
            path=str(path),
        )
    people = _joined(pairs)
    n_contradictions = sum(not pair.is_mated and people[pair.a] == people[pair.b] for pair in pairs)
    return PairList(path.parent, tuple(pairs), n_repeated, people, n_contradictions)


def _relative(name: str) -> Path:
    return Path(os.path.normpath(name.strip()))


def _joined(pairs: Sequence[PhotographPair]) -> dict[Path, int]:
    """Return a number a person: mated pairs join their photographs."""
    parent: dict[Path, Path] = {path: path for pair in pairs for path in (pair.a, pair.b)}

    def root_of(path: Path) -> Path:
        while parent[path] != path:
            parent[path] = parent[parent[path]]
            path = parent[path]
        return path

    for pair in pairs:
        if pair.is_mated:
            parent[root_of(pair.a)] = root_of(pair.b)
    numbers: dict[Path, int] = {}
    return {path: numbers.setdefault(root_of(path), len(numbers)) for path in parent}


def read_attributes(file: str | os.PathLike[str], column: str) -> Attributes:
    """Read one column of a UTF-8 CSV that has a column ``file`` (path relative to the photographs' folder) or ``label``, or both.

    With both, a row's attribute belongs to its file. Empty cells say nothing.

    Raises:
        ProtocolFileError: A column is missing, the file is unreadable, or one file or label has two different values.
    """
    path = Path(file)
    by_file: dict[Path, str] = {}
    by_label: dict[str, str] = {}
    for line, row in _rows(path, (column,)):
        value = row[column].strip()
        if "file" not in row and "label" not in row:
            raise _wrong(path, 1, "lacks a column file or label that says whose attributes these are")
        name = row.get("file", "").strip()
        if name:
            known: str = by_file.setdefault(_relative(name), value)
        elif row.get("label", "").strip():
            known = by_label.setdefault(row["label"].strip(), value)
        else:
            raise _wrong(path, line, "file or label is empty")
        if known != value:
            raise _wrong(path, line, f"{name or row['label']} is called {known!r} in one line and {value!r} in another")
    return Attributes(column, by_file, by_label)


def read_names(file: str | os.PathLike[str]) -> frozenset[str]:
    """Return the people of a list, one a line; what follows a tab (LFW's numbers of photographs) and empty lines are left out.

    Raises:
        ProtocolFileError: The file cannot be read.
    """
    path = Path(file)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as exc:
        raise ProtocolFileError(f"{path} cannot be read: {exc.strerror or exc}", path=str(path)) from exc
    except UnicodeDecodeError as exc:
        raise ProtocolFileError(f"{path} is not UTF-8 text: {exc.reason}", path=str(path)) from exc
    names = (line.split("\t")[0].strip() for line in lines)
    # LFW's lists begin with the number of people, or of folds and then of the people of each; elsewhere a label may be a number.
    has_numbers_of_photographs = any("\t" in line for line in lines)
    return frozenset(name for name in names if name and not (has_numbers_of_photographs and name.isdigit()))


def overlap_warning(tested: frozenset[str], trained: frozenset[str]) -> str | None:
    """Return a warning where people tested were also trained or tuned on, else None."""
    both = sorted(tested & trained)
    if not both:
        return None
    return (
        f"{len(both)} of {len(tested)} people measured here were also trained or tuned on ({', '.join(both[:3])}"
        f"{', …' if len(both) > 3 else ''}): the rates are too good, measure on other people"
    )


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line and cells of each row of a CSV that has these columns."""
    n_rows = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream, restval="")
            there = rows.fieldnames or ()
            missing = [column for column in columns if column not in there]
            if missing:
                raise ProtocolFileError(
                    f"{path} lacks the column {' and '.join(missing)}; it has {', '.join(there) or 'none'}", path=str(path)
                )
            for row in rows:
                n_rows += 1
                if None in row:
                    raise _wrong(path, rows.line_num, "has more cells than columns")
                if any("\0" in cell for cell in row.values()):
                    raise _wrong(path, rows.line_num, "has a NUL character")
                yield rows.line_num, row
    except OSError as exc:
        raise ProtocolFileError(f"{path} cannot be read: {exc.strerror or exc}", path=str(path)) from exc
    except (UnicodeDecodeError, csv.Error) as exc:
        raise ProtocolFileError(f"{path} is no UTF-8 CSV: {exc}", path=str(path)) from exc
    if n_rows == 0:
        raise ProtocolFileError(f"{path} has a header and no rows", path=str(path))


def _wrong(path: Path, line: int, problem: str) -> ProtocolFileError:
    return ProtocolFileError(f"{path}, line {line}: {problem}", path=str(path), line=line)


def read_left_out(file: str | os.PathLike[str]) -> tuple[tuple[str, str], ...]:
    """Read pairs of labels that are one person, or one mislabelled picture: two labels a line, a tab between them.

    Raises:
        InputError: The file cannot be read, or a line has another form; names it.
    """
    path = Path(file)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"{path} cannot be read: {getattr(exc, 'strerror', None) or exc}", path=str(path)) from exc
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        labels = [label.strip() for label in line.split("\t")]
        if len(labels) != 2 or not all(labels) or labels[0] == labels[1]:
            raise InputError(f"{path}, line {number}: two different labels with a tab between them are expected, not {line!r}")
        found.append((labels[0], labels[1]))
    return tuple(found)
