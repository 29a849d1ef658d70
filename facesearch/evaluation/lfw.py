"""The protocol files of Labeled Faces in the Wild (Huang, Ramesh, Berg & Learned-Miller 2007).

It reads lists of pairs and people and names their photographs; it opens no photograph.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from facesearch.core.errors import ProtocolFileError

MAX_FILE_BYTES = 64 * 2**20
"""Largest protocol file read: LFW's are under 1 MB, and a photograph or archive named by mistake is refused unread."""


@dataclass(frozen=True, slots=True)
class LfwPair:
    """Two photographs to compare.

    Attributes:
        name_a: Person on the first photograph.
        number_a: Which of that person's photographs, from 1.
        name_b: Person on the second; ``name_a`` for a mated pair.
        number_b: Which of that person's photographs, from 1.
        fold: From 0; always 0 in View 1.
    """

    name_a: str
    number_a: int
    name_b: str
    number_b: int
    fold: int

    @property
    def is_mated(self) -> bool:
        """Whether both photographs show the same person."""
        return self.name_a == self.name_b

    @property
    def paths(self) -> tuple[Path, Path]:
        """Both photographs, relative to the folder of images."""
        return image_path(self.name_a, self.number_a), image_path(self.name_b, self.number_b)


@dataclass(frozen=True, slots=True)
class LfwPerson:
    """One person of a list.

    Attributes:
        name: As in the name of the folder.
        n_images: How many photographs there are, at least 1.
        fold: From 0; always 0 in View 1.
    """

    name: str
    n_images: int
    fold: int

    @property
    def paths(self) -> tuple[Path, ...]:
        """All photographs, relative to the folder of images."""
        return tuple(image_path(self.name, number) for number in range(1, self.n_images + 1))


def image_path(name: str, number: int) -> Path:
    """Return where a photograph lies in the folder of images: ``<name>/<name>_<number, 4 digits>.jpg``."""
    return Path(name) / f"{name}_{number:04d}.jpg"


def read_pairs(path: str | Path) -> tuple[LfwPair, ...]:
    """Read a list of pairs in the order of the file.

    View 2 (``pairs.txt``) begins with the numbers of folds and of pairs of each kind in a fold, View 1 (``pairsDevTrain.txt``,
    ``pairsDevTest.txt``) with the latter alone. Each fold lists its mated pairs (``name number number``), then its non-mated ones
    (``name number name number``).

    Raises:
        ProtocolFileError: The file cannot be read or breaks this form; names file and line.
    """
    lines = _Lines(Path(path))
    header = lines.fields("the numbers of folds and of pairs")
    if len(header) not in (1, 2):
        raise lines.error("begins with one or two numbers (folds and) pairs of each kind")
    counts = [lines.number(field) for field in header]
    n_folds, n_each = (1, counts[0]) if len(counts) == 1 else (counts[0], counts[1])
    pairs = [
        _read_pair(lines, fold, is_mated=is_mated) for fold in range(n_folds) for is_mated in (True, False) for _ in range(n_each)
    ]
    lines.expect_end(f"{n_folds} × 2 × {n_each} pairs")
    return tuple(pairs)


def _read_pair(lines: _Lines, fold: int, *, is_mated: bool) -> LfwPair:
    """Read one line of a list of pairs."""
    if is_mated:
        fields = lines.fields("a mated pair")
        if len(fields) != 3:
            raise lines.error(f"a mated pair is `name number number`, three fields, not {len(fields)}")
        name = lines.name(fields[0])
        pair = LfwPair(name, lines.number(fields[1]), name, lines.number(fields[2]), fold)
        if pair.number_a == pair.number_b:
            raise lines.error(f"pairs photograph {pair.number_a} of {name} with itself")
        return pair
    fields = lines.fields("a non-mated pair")
    if len(fields) != 4:
        raise lines.error(f"a non-mated pair is `name number name number`, four fields, not {len(fields)}")
    pair = LfwPair(lines.name(fields[0]), lines.number(fields[1]), lines.name(fields[2]), lines.number(fields[3]), fold)
    if pair.is_mated:
        raise lines.error(f"pairs {pair.name_a} with the same person where two people are expected")
    return pair


def read_people(path: str | Path) -> tuple[LfwPerson, ...]:
    """Read a list of people in the order of the file.

    View 2 (``people.txt``) begins with the number of folds and gives the number of people before each; View 1
    (``peopleDevTrain.txt``, ``peopleDevTest.txt``) begins with the number of people.

    Raises:
        ProtocolFileError: The file cannot be read or breaks this form; names file and line.
    """
    lines = _Lines(Path(path))
    header = lines.fields("the number of folds or people")
    if len(header) != 1:
        raise lines.error("begins with one number, of folds or of people")
    count = lines.number(header[0])
    has_folds = len(lines.peek()) == 1
    people: list[LfwPerson] = []
    for fold in range(count if has_folds else 1):
        n_people = count
        if has_folds:
            size = lines.fields("the number of people of a fold")
            if len(size) != 1:
                raise lines.error(f"fold {fold + 1} begins with its number of people, one field, not {len(size)}")
            n_people = lines.number(size[0])
        for _ in range(n_people):
            fields = lines.fields("a person")
            if len(fields) != 2:
                raise lines.error(f"a person is `name number`, two fields, not {len(fields)}")
            people.append(LfwPerson(lines.name(fields[0]), lines.number(fields[1]), fold))
    lines.expect_end(f"{len(people)} people")
    return tuple(people)


class _Lines:
    """The lines of a protocol file, and errors that name the one last read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._rows = list(self._read())

    def _read(self) -> Iterator[list[str]]:
        try:
            if self._path.is_file() and self._path.stat().st_size > MAX_FILE_BYTES:
                raise ProtocolFileError(
                    f"{self._path} is larger than {MAX_FILE_BYTES} bytes and no protocol file", path=str(self._path)
                )
            text = self._path.read_text(encoding="utf-8-sig")
        except OSError as exc:
            raise ProtocolFileError(f"{self._path} cannot be read: {exc.strerror or exc}", path=str(self._path)) from exc
        except UnicodeDecodeError as exc:
            raise ProtocolFileError(f"{self._path} is not UTF-8 text: {exc.reason}", path=str(self._path)) from exc
        # Tabs separate the fields in LFW's own files, blanks in some copies of them; names hold neither.
        for line in text.rstrip().split("\n"):
            yield line.split()

    def error(self, problem: str) -> ProtocolFileError:
        """Return the error that names file and line."""
        return ProtocolFileError(f"{self._path}, line {self._at}: {problem}", path=str(self._path), line=self._at)

    def peek(self) -> list[str]:
        """Return the next line's fields without moving on; empty at the end."""
        return self._rows[self._at] if self._at < len(self._rows) else []

    def fields(self, wanted: str) -> list[str]:
        """Return the next line's fields."""
        fields = self.peek()
        self._at += 1
        if self._at > len(self._rows):
            raise self.error(f"the file ends where {wanted} should follow")
        return fields

    def number(self, field: str) -> int:
        """Return a field as a whole number of at least 1."""
        if not (field.isascii() and field.isdigit() and len(field) < 10 and int(field) >= 1):
            raise self.error(f"{field!r} is not a whole number of at least 1")
        return int(field)

    def name(self, field: str) -> str:
        """Return a field as a name that is safe to make a path of."""
        if field in (".", "..") or any(char in field for char in "/\\\0"):
            raise self.error(f"{field!r} is not the name of a folder")
        return field

    def expect_end(self, read: str) -> None:
        """Raise where the file goes on."""
        if self._at < len(self._rows):
            self._at += 1
            raise self.error(f"the file goes on after the {read} that it announced")
