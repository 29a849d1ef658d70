"""What an earlier run found out about the files of a folder, as far as it still holds.

The journal says what became of a file, the database whether that is still so: a template that was removed since, or a person, makes
the file new again. It enrolls nothing: see ``enroll_folder``.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from facesearch.core.arrays import Vectors
from facesearch.core.errors import (
    DuplicateTemplateError,
    FaceSearchError,
    IdentityMismatchError,
    LowQualityFaceError,
    NoFaceError,
    SeveralFacesError,
)
from facesearch.core.identity import Collection, checked_label
from facesearch.core.protocols import IdentityStore, StoreReader
from facesearch.core.template import TemplateBatch
from facesearch.service.enroll import Enrollment, EnrollmentChecks
from facesearch.service.enroll_decisions import same_face_message
from facesearch.service.file_journal import FileJournal, JournalEntry
from facesearch.service.folder_report import ENROLLED, FileOutcome
from facesearch.service.labelled_folder import LabelledFile
from facesearch.service.template_cache import FileStamp

OF_THE_FILE_ALONE = frozenset({NoFaceError.code, SeveralFacesError.code, LowQualityFaceError.code})
"""Failures that the file will show again as long as it stays as it is. One that could not be read is looked at again: permission
may have been given since, and it fails fast."""

Learned = tuple[FileStamp, FileOutcome, Enrollment | FaceSearchError | None]
"""A file as it was before it was read, what became of it, and the result itself."""


@dataclass(frozen=True, slots=True)
class KnownFiles:
    """Where runs remember what they found out.

    Attributes:
        store: Whether it still holds.
        embedder_id: The embedder of the templates.
        open_journal: Opens the journal, once a run.
    """

    store: IdentityStore
    embedder_id: str
    open_journal: Callable[[], FileJournal]


class KnownRun:
    """What one run of a folder knows, and learns.

    Args:
        known: Where it is remembered; None remembers nothing.
        journal: The open journal.
        collection: Where faces go.
        scope: What outcomes depend on besides the collection: choice of face and quality gate.
        is_usable: Says which failures count; enrolled files always do.
    """

    def __init__(
        self, known: KnownFiles | None, journal: FileJournal | None, collection: str, scope: str, is_usable: Callable[[str], bool]
    ) -> None:
        self._known = known
        self._journal = journal
        self._collection = collection
        self._scope = scope
        self._is_usable = is_usable

    @classmethod
    @contextmanager
    def opened(
        cls, known: KnownFiles | None, collection: str, scope: str, *, retry_failures: bool, checks: EnrollmentChecks
    ) -> Iterator[KnownRun]:
        """Open the journal for one run.

        Args:
            known: Where it is remembered; None remembers nothing.
            collection: Where faces go.
            scope: What outcomes depend on besides the collection.
            retry_failures: Failures count for nothing.
            checks: What is waved through: a mismatch that would be is none.
        """

        def is_usable(code: str) -> bool:
            return not retry_failures and not (code == IdentityMismatchError.code and checks.allow_mismatch)

        journal = known.open_journal() if known is not None else None
        try:
            yield cls(known, journal, collection, scope, is_usable)
        finally:
            if journal is not None:
                journal.close()

    def outcomes(self, files: Sequence[tuple[LabelledFile, FileStamp]]) -> list[FileOutcome | None]:
        """Return for each file the outcome that is known and still holds, or None."""
        nothing: list[FileOutcome | None] = [None] * len(files)
        if self._known is None or self._journal is None or not files:
            return nothing
        with self._known.store.reading() as reader:
            found = next((one for one in reader.collections() if one.name == self._collection), None)
            if found is None:
                return nothing
            entries = self._journal.find(f"{found.uid}|{self._scope}", [stamp for _, stamp in files])
            known = [(file, entry) for (file, _), entry in zip(files, entries, strict=True)]
            return self._still_true(reader, self._known.embedder_id, known) if any(entries) else nothing

    def learn(self, learned: Sequence[Learned], collection: Collection | None) -> None:
        """Remember what became of files; called once it is in the database.

        Args:
            learned: The files.
            collection: Where they went; None where none of them was enrolled, and it is looked up then.
        """
        if self._known is None or self._journal is None or not learned:
            return
        done = [result.identity for _, _, result in learned if isinstance(result, Enrollment)]
        people = {person.label: person.identity_id for person in done}
        mismatched = (one.label for _, one, _ in learned if one.status == IdentityMismatchError.code)
        unlike = {checked_label(label) for label in mismatched}.difference(people)
        marks = {
            result.template.template_id: _mark(result.template.template.vector)
            for _, _, result in learned
            if isinstance(result, Enrollment)
        }
        copies = {key for _, _, result in learned if (key := _copied(result)) is not None}.difference(marks)
        if collection is None or unlike or copies:
            with self._known.store.reading() as reader:
                collection = next((one for one in reader.collections() if one.name == self._collection), None)
                if collection is None:
                    return
                found = reader.identities_by_label(collection.name, unlike)
                people.update((label, person.identity_id) for label, person in found.items())
                marks.update(_marks(reader.template_batch(copies, self._known.embedder_id)))
        entries = [(stamp, _entry(outcome, result, people, marks)) for stamp, outcome, result in learned]
        self._journal.add(f"{collection.uid}|{self._scope}", [(stamp, entry) for stamp, entry in entries if entry is not None])

    def _still_true(
        self, reader: StoreReader, embedder_id: str, known: Sequence[tuple[LabelledFile, JournalEntry | None]]
    ) -> list[FileOutcome | None]:
        stored = [entry.reference for _, entry in known if entry is not None and entry.code == ENROLLED]
        templates = reader.template_batch((key for key in stored if key is not None), embedder_id)
        owners = dict(zip(templates.template_ids.tolist(), templates.identity_ids.tolist(), strict=True))
        marks = _marks(templates)
        names = reader.identities_by_id(owners.values())
        unlike = {file.label for file, entry in known if entry is not None and entry.code == IdentityMismatchError.code}
        people = {label: one.identity_id for label, one in reader.identities_by_label(self._collection, unlike).items()}
        outcomes: list[FileOutcome | None] = []
        for file, entry in known:
            outcome = None
            if entry is not None and entry.code == ENROLLED:
                owner = names.get(owners.get(entry.reference, 0)) if entry.reference is not None else None
                if owner is not None and entry.mark == marks.get(entry.reference or 0):
                    message = same_face_message(str(file.path), owner.label, entry.reference)
                    outcome = FileOutcome(file.path, file.label, DuplicateTemplateError.code, message, is_known=True)
            elif entry is not None and self._is_usable(entry.code):
                is_same_person = entry.reference is not None and people.get(checked_label(file.label)) == entry.reference
                if entry.code in OF_THE_FILE_ALONE or is_same_person:
                    message = f"{file.path}: {entry.detail}"
                    outcome = FileOutcome(file.path, file.label, entry.code, message, is_known=True)
            outcomes.append(outcome)
        return outcomes


def _mark(vector: Vectors) -> int:
    """Return what a template is known again by: two bytes, enough to tell two apart, and nothing to recognise anybody by."""
    return zlib.crc32(vector.astype("<f4").tobytes()) & 0xFFFF


def _marks(templates: TemplateBatch) -> dict[int, int]:
    return {key: _mark(vector) for key, vector in zip(templates.template_ids.tolist(), templates.vectors, strict=True)}


def _copied(result: Enrollment | FaceSearchError | None) -> int | None:
    """Return the template that a file's face is a copy of, None where it is none."""
    template_id = result.context.get("template_id") if isinstance(result, DuplicateTemplateError) else None
    return template_id if isinstance(template_id, int) else None


def _entry(
    outcome: FileOutcome, result: Enrollment | FaceSearchError | None, identity_ids: dict[str, int], marks: dict[int, int]
) -> JournalEntry | None:
    """Return what is remembered of a file, or None where it is to be looked at again."""
    if isinstance(result, Enrollment):
        template_id = result.template.template_id
        return JournalEntry(ENROLLED, reference=template_id, mark=marks[template_id])
    copied = _copied(result)
    if copied is not None:
        return JournalEntry(ENROLLED, reference=copied, mark=marks[copied]) if copied in marks else None
    if outcome.status == IdentityMismatchError.code:
        # The message names the person: what is kept names nobody.
        identity_id = identity_ids.get(checked_label(outcome.label))
        return JournalEntry(outcome.status, "refused before as unlike this label's photographs", reference=identity_id)
    if outcome.status in OF_THE_FILE_ALONE:
        return JournalEntry(outcome.status, outcome.message.removeprefix(f"{outcome.path}: "))
    return None
