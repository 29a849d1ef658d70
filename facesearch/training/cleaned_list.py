"""What ``train clean`` decided about the crops of a store, and the file it travels in.

It decides nothing: see ``cleaning``. A store never changes: opened with such a list it leaves out, and names anew.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from facesearch.core.errors import CropStoreError, FileWriteError, InputError
from facesearch.core.paths import is_folder, is_there

CLEANED = "cleaned.json"
"""Name of the list, in the store's folder, where none is given."""
FORMAT = "facesearch-cleaned"
VERSION = 1
MAX_FILE_BYTES = 2**30
"""Largest list read: some 300 bytes a decision, for three million."""


def require_list_file(file: Path) -> None:
    """Refuse a file that a list is not to be written to, before hours of work and before anything else is lost.

    Args:
        file: Where the list shall go; an older list there may be replaced.

    Raises:
        InputError: It is no .json file, its folder is not there, or it holds something else than a list.
    """
    if file.suffix.lower() != ".json":
        raise InputError(f"a cleaned list is a .json file, not {file}", path=str(file))
    if not is_folder(file.absolute().parent):
        raise InputError(f"{file}: there is no folder {file.parent}", path=str(file))
    if is_there(file):
        try:
            CleanedList.read(file)
        except CropStoreError as exc:
            raise InputError(f"{file} is there and is no cleaned list: name another file", path=str(file)) from exc


class RowDecision(StrEnum):
    """What happens to one crop; a stable code."""

    DROPPED = "dropped"
    MOVED = "moved"
    FLAGGED = "flagged"


class PersonDecision(StrEnum):
    """What happens to a label; a stable code."""

    MERGED = "merged"
    FLAGGED = "flagged"
    EXCLUDED = "excluded"


@dataclass(frozen=True, slots=True)
class RowFinding:
    """A crop and what became of it.

    Attributes:
        row: Its place in the whole store, from 0.
        path: Its photograph.
        person: Its label.
        decision: What happens to it; a flagged one stays.
        reason: Why, in words.
        to: Its new label, where it is moved.
        own_score: Score against the mean of its label's main cluster; None where nothing was compared.
        other_score: Score against the mean of the other label's main cluster.
    """

    row: int
    path: str
    person: str
    decision: RowDecision
    reason: str
    to: str | None = None
    own_score: float | None = None
    other_score: float | None = None


@dataclass(frozen=True, slots=True)
class PersonFinding:
    """A label and what became of it.

    Attributes:
        person: The label.
        decision: Merged into another one, flagged (stays), or excluded since the person is in the data it will be measured on.
        other: The other label; for an exclusion, that of the other data.
        reason: Why, in words.
        score: Mean of the scores of the photographs of both.
        n_comparisons: Of so many pairs.
    """

    person: str
    decision: PersonDecision
    other: str
    reason: str
    score: float
    n_comparisons: int


@dataclass(frozen=True)
class CleanedList:
    """All decisions about one store.

    Attributes:
        store_digest: The store's; a list fits no other.
        embedder_id: Whose templates were compared.
        rule: What was decided by, as plain values.
        rows: Decisions about single crops, by row.
        people: Decisions about labels, by label.
        about: Whatever else was counted, as plain values.
    """

    store_digest: str
    embedder_id: str
    rule: Mapping[str, object]
    rows: tuple[RowFinding, ...]
    people: tuple[PersonFinding, ...]
    about: Mapping[str, object] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Decisions of each kind: ``crops_dropped``, ``people_merged`` and so on, zeros included."""
        rows, people = (Counter(one.decision for one in found) for found in (self.rows, self.people))
        return {
            **{f"crops_{kind}": rows[kind] for kind in RowDecision},
            **{f"people_{kind}": people[kind] for kind in PersonDecision},
        }

    def people_of(self, people: Sequence[str], rows: Sequence[int]) -> list[str | None]:
        """Return the person of each crop under this list; None for those that are left out.

        Args:
            people: The labels of the crops as the store has them.
            rows: Their places in the whole store.
        """
        dropped = {one.row for one in self.rows if one.decision is RowDecision.DROPPED}
        moved = {one.row: one.to for one in self.rows if one.decision is RowDecision.MOVED}
        merged = {one.person: one.other for one in self.people if one.decision is PersonDecision.MERGED}
        excluded = {one.person for one in self.people if one.decision is PersonDecision.EXCLUDED}
        result: list[str | None] = []
        for row, own in zip(rows, people, strict=True):
            person = moved.get(row) or own
            seen = {person}
            while merged.get(person, person) not in seen:  # a list written by hand may lead in a circle
                person = merged[person]
                seen.add(person)
            result.append(None if row in dropped or seen & excluded else person)
        return result

    def write(self, file: str | os.PathLike[str]) -> None:
        """Write the list; the old file stays until the new one is whole.

        Raises:
            FileWriteError: It cannot be written.
        """
        path = Path(file)
        document = {
            "format": FORMAT,
            "version": VERSION,
            "store_digest": self.store_digest,
            "embedder_id": self.embedder_id,
            "rule": dict(self.rule),
            "counts": self.counts,
            "about": dict(self.about),
            "rows": [asdict(one) for one in self.rows],
            "people": [asdict(one) for one in self.people],
        }
        part = path.with_name(f"{path.name}.part")
        try:
            part.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="ascii")
            part.replace(path)
        except OSError as exc:
            raise FileWriteError(f"{path} cannot be written: {exc.strerror or exc}", path=str(path)) from exc

    @classmethod
    def read(cls, file: str | os.PathLike[str]) -> CleanedList:
        """Read a list.

        Raises:
            CropStoreError: It cannot be read, or is none.
        """
        path = Path(file)
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise CropStoreError(f"{path} is larger than {MAX_FILE_BYTES} bytes and no cleaned list", path=str(path))
            document = json.loads(path.read_bytes())
        except OSError as exc:
            raise CropStoreError(f"{path} cannot be read: {exc.strerror or exc}", path=str(path)) from exc
        except ValueError as exc:
            raise CropStoreError(f"{path} is no cleaned list: {exc}", path=str(path)) from exc
        return cls._of(document, path)

    @classmethod
    def _of(cls, document: Any, path: Path) -> CleanedList:
        if not isinstance(document, dict) or (document.get("format"), document.get("version")) != (FORMAT, VERSION):
            raise CropStoreError(f"{path} is no cleaned list of version {VERSION}", path=str(path))
        try:
            return cls(
                str(document["store_digest"]),
                str(document["embedder_id"]),
                dict(document["rule"]),
                tuple(RowFinding(**{**one, "decision": RowDecision(one["decision"])}) for one in document["rows"]),
                tuple(PersonFinding(**{**one, "decision": PersonDecision(one["decision"])}) for one in document["people"]),
                dict(document["about"]),
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise CropStoreError(f"{path} is damaged: {exc!r}", path=str(path)) from exc


def remove_stale_list(folder: Path, digest: str) -> str:
    """Remove the list that a store's folder still holds of crops that were there before, and return its name; empty for none.

    A list counts crops by their places: it fits no other store. One of this very store stays, and so does a file that is no list.

    Args:
        folder: The store's.
        digest: Of the store as it is now.

    Raises:
        FileWriteError: It cannot be removed.
    """
    file = folder / CLEANED
    try:
        if CleanedList.read(file).store_digest == digest:
            return ""
    except CropStoreError:
        return ""
    try:
        file.unlink()
    except OSError as exc:
        raise FileWriteError(f"{file} cannot be removed: {exc.strerror or exc}", path=str(file)) from exc
    return CLEANED
