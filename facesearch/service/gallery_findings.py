"""What the gallery doctor says: findings, what it proposes to do about them, and the file that proposals travel in.

It neither looks for anything nor changes anything.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from facesearch.core.errors import FileWriteError, IncompatibleTemplatesError, InputError, ProtocolFileError

FORMAT = "facesearch-proposals"
VERSION = 1
MAX_FILE_BYTES = 256 * 2**20
"""Largest file of proposals read: half a kilobyte a finding, for half a million findings."""


class FindingKind(StrEnum):
    """What is wrong; a stable code."""

    WRONG_LABEL = "wrong_label"
    STRANGER = "stranger"
    DUPLICATE_PERSON = "duplicate_person"
    NEAR_IDENTICAL = "near_identical"
    SAME_PICTURE_TWO_LABELS = "same_picture_two_labels"
    WEAK_TEMPLATE = "weak_template"
    MISSING_FROM_INDEX = "missing_from_index"
    WRONG_PERSON_IN_INDEX = "wrong_person_in_index"


class Action(StrEnum):
    """What can be done about it: give a photograph to another label, or to a label of its own, unite two labels, remove a copy."""

    MOVE = "move"
    SPLIT = "split"
    MERGE = "merge"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: What.
        is_probable: Whether it is more than possible; only such findings are accepted from the start.
        action: What is proposed, or None.
        identity_id: The person it is about.
        label: The person's label.
        template_id: The photograph's template it is about, or None for a whole person.
        source: Where that photograph came from, empty when unknown.
        other_identity_id: The other person, or None.
        other_label: The other person's label, or None.
        other_template_id: The template that ``template_id`` is a copy of, or None.
        score: The score that speaks for the finding, or None.
        own_score: For a photograph its score against the others of its label, or None.
        detail: What more there is to say.
        is_accepted: Whether ``apply`` carries it out.
    """

    kind: FindingKind
    is_probable: bool
    action: Action | None
    identity_id: int
    label: str
    template_id: int | None = None
    source: str = ""
    other_identity_id: int | None = None
    other_label: str | None = None
    other_template_id: int | None = None
    score: float | None = None
    own_score: float | None = None
    detail: str = ""
    is_accepted: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return plain values by their names in the file of proposals."""
        return {
            "kind": str(self.kind),
            "confidence": "probable" if self.is_probable else "possible",
            "action": None if self.action is None else str(self.action),
            "accepted": self.is_accepted,
            **{name: getattr(self, name) for name in (*_WHOLE_NUMBERS, *_TEXTS, *_NUMBERS)},
        }


_WHOLE_NUMBERS = ("identity_id", "template_id", "other_identity_id", "other_template_id")
_TEXTS = ("label", "source", "other_label", "detail")
_NUMBERS = ("score", "own_score")

_NEEDED = {
    Action.MOVE: ("template_id", "other_identity_id"),
    Action.SPLIT: ("template_id",),
    Action.MERGE: ("other_identity_id",),
    Action.REMOVE: ("template_id", "other_template_id"),
}
"""What an action cannot do without, besides the identity."""


def accepted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings with those accepted that are probable and have something to be done."""
    return tuple(replace(one, is_accepted=one.is_probable and one.action is not None) for one in findings)


def write_proposals(
    file: str | os.PathLike[str], findings: Iterable[Finding], *, collection: str, collection_uid: str, embedder_id: str
) -> int:
    """Write the findings that something can be done about, for a person to look through; return how many.

    Set ``"accepted"`` to true or false to say what ``apply`` does.

    Raises:
        FileWriteError: The file cannot be written.
    """
    listed = [one.as_dict() for one in findings if one.action is not None]
    document: dict[str, Any] = {"format": FORMAT, "version": VERSION, "collection": collection, "collection_uid": collection_uid}
    document |= {"embedder_id": embedder_id, "proposals": listed}
    try:
        Path(file).write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    except OSError as exc:
        raise FileWriteError(f"{file} cannot be written: {exc.strerror or exc}", path=str(file)) from exc
    return len(listed)


def read_proposals(file: str | os.PathLike[str], *, collection: str, collection_uid: str, embedder_id: str) -> tuple[Finding, ...]:
    """Read what ``write_proposals`` wrote and a person may have changed.

    Raises:
        InputError: The file cannot be read or is of another collection.
        ProtocolFileError: It is no file of proposals; names the first wrong one.
        IncompatibleTemplatesError: It was made with another embedder.
    """
    path = Path(file)
    try:
        if path.is_file() and path.stat().st_size > MAX_FILE_BYTES:
            raise ProtocolFileError(f"{path} is larger than {MAX_FILE_BYTES} bytes and no file of proposals", path=str(path))
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise InputError(f"{path} cannot be read: {exc.strerror or exc}", path=str(path)) from exc
    except ValueError as exc:
        raise ProtocolFileError(f"{path} is no file of proposals: {exc}", path=str(path)) from exc
    if not isinstance(document, dict) or document.get("format") != FORMAT or not isinstance(document.get("proposals"), list):
        raise ProtocolFileError(f"{path} is no file of proposals (gallery doctor --proposals writes one)", path=str(path))
    if document.get("version") != VERSION:
        raise ProtocolFileError(f"{path} has version {document.get('version')}, this release reads {VERSION}", path=str(path))
    if document.get("collection") != collection:
        raise InputError(f"{path} is of collection {document.get('collection')!r}, not {collection!r}: name it with --collection")
    if document.get("collection_uid") != collection_uid:  # its numbers would be other people's here
        raise InputError(f"{path} is of another collection called {collection!r}, or of one since deleted: run the doctor again")
    if document.get("embedder_id") != embedder_id:
        raise IncompatibleTemplatesError(
            f"{path} was made with embedder {document.get('embedder_id')}, this process runs {embedder_id}: run the doctor again",
            embedder_id=embedder_id,
        )
    return tuple(_finding(entry, number, path) for number, entry in enumerate(document["proposals"], start=1))


def _finding(entry: object, number: int, path: Path) -> Finding:
    try:
        if not isinstance(entry, dict):
            raise ValueError("not an object")
        whole = {name: _checked(entry.get(name), int, name) for name in _WHOLE_NUMBERS}
        action = Action(entry["action"])
        lacking = [name for name in ("identity_id", *_NEEDED[action]) if whole[name] is None]
        if lacking:
            raise ValueError(f"{action} needs {', '.join(lacking)}")
        if not isinstance(entry["accepted"], bool):
            raise ValueError(f"accepted must be true or false, not {entry['accepted']!r}")
        texts = {name: _checked(entry.get(name), str, name) for name in _TEXTS}
        numbers = {name: _checked(entry.get(name), (int, float), name) for name in _NUMBERS}
        kind, is_probable = FindingKind(entry["kind"]), entry["confidence"] == "probable"
    except KeyError as exc:
        raise ProtocolFileError(f"{path}, proposal {number}: {exc} is missing", path=str(path), proposal=number) from exc
    except ValueError as exc:
        raise ProtocolFileError(f"{path}, proposal {number}: {exc}", path=str(path), proposal=number) from exc
    texts = {name: text if text is not None or name == "other_label" else "" for name, text in texts.items()}
    return Finding(kind, is_probable, action, is_accepted=entry["accepted"], **whole, **texts, **numbers)


def _checked(value: object, kind: type | tuple[type, ...], name: str) -> Any:
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        raise ValueError(f"{name} is {value!r}")
    return value
