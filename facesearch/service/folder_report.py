"""What became of the files of a folder: one outcome a file, kept in a few dozen bytes each.

It writes no file: see ``facesearch.cli.folder_report``.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, overload

ENROLLED = "enrolled"
POSSIBLE_DUPLICATE = "possible_duplicate"

UNREADABLE_FOLDER = "unreadable_folder"
"""Status of a label's folder that cannot be looked into; its ``path`` is the folder."""

BLOCK = 512
"""Outcomes packed together."""

_Row: TypeAlias = tuple[str, str, str, str, int | None, str | None, bool]


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What became of one file.

    Attributes:
        path: The file.
        label: The label it was to be enrolled under.
        status: ``"enrolled"``, ``"possible_duplicate"`` (enrolled too), ``"unreadable_folder"`` or the ``code`` of the error that
            kept it out.
        message: A sentence for a person; empty for plain enrolment.
        template_id: What was stored, None where nothing was.
        other_label: The other person of a possible duplicate, else None.
        is_known: Whether this is what an earlier run found out, and the file was not looked at again.
    """

    path: Path
    label: str
    status: str
    message: str = ""
    template_id: int | None = None
    other_label: str | None = None
    is_known: bool = False

    @property
    def is_enrolled(self) -> bool:
        """Whether a template was stored."""
        return self.template_id is not None


class OutcomeLog(Sequence[FileOutcome]):
    """Outcomes in order, packed in blocks without the objects that each of them would be: 100,000 files take a few MB."""

    def __init__(self) -> None:
        self._packed: list[bytes] = []
        self._last: list[_Row] = []

    def append(self, one: FileOutcome) -> None:
        """Add an outcome."""
        self._last.append((str(one.path), one.label, one.status, one.message, one.template_id, one.other_label, one.is_known))
        if len(self._last) == BLOCK:
            self._packed.append(zlib.compress(json.dumps(self._last).encode(), level=1))
            self._last = []

    def __len__(self) -> int:
        """Return the number of outcomes."""
        return len(self._packed) * BLOCK + len(self._last)

    def __iter__(self) -> Iterator[FileOutcome]:
        """Yield the outcomes in order."""
        for number in range(len(self._packed) + 1):
            yield from map(_outcome, self._block(number))

    @overload
    def __getitem__(self, place: int) -> FileOutcome: ...
    @overload
    def __getitem__(self, place: slice) -> list[FileOutcome]: ...
    def __getitem__(self, place: int | slice) -> FileOutcome | list[FileOutcome]:
        """Return an outcome, or some of them."""
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        number, row = divmod(range(len(self))[place], BLOCK)
        return _outcome(self._block(number)[row])

    def _block(self, number: int) -> list[_Row]:
        if number == len(self._packed):
            return self._last
        rows: list[_Row] = json.loads(zlib.decompress(self._packed[number]))
        return rows


def _outcome(row: _Row) -> FileOutcome:
    return FileOutcome(Path(row[0]), *row[1:])


@dataclass(frozen=True, slots=True)
class FolderReport:
    """The outcome of every file, in order."""

    outcomes: Sequence[FileOutcome]

    @property
    def counts(self) -> dict[str, int]:
        """Number of files a status, the most frequent first."""
        return dict(Counter(outcome.status for outcome in self.outcomes).most_common())

    @property
    def n_enrolled(self) -> int:
        """Number of files enrolled."""
        return sum(outcome.is_enrolled for outcome in self.outcomes)

    @property
    def n_known(self) -> int:
        """Number of files that an earlier run had done with and that were not looked at again."""
        return sum(outcome.is_known for outcome in self.outcomes)
