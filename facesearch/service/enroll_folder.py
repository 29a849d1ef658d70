"""Enrolment of a folder: many labelled files, in groups that are written together.

Nothing wrong with one file stops the rest: every file gets an outcome. A fault of the database or the networks does stop it. What
an earlier run had done is not done again: see ``file_journal`` and ``known_files``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace

from facesearch.core.errors import (
    FaceSearchError,
    LabelError,
)
from facesearch.core.face import Detection
from facesearch.core.identity import Keep, KeptPicture, checked_label, checked_tags
from facesearch.core.image import Image
from facesearch.service.enroll import Enroll, Enrollment, EnrollmentChecks, FaceToEnroll
from facesearch.service.faces import FaceChoice
from facesearch.service.folder_report import ENROLLED, POSSIBLE_DUPLICATE, UNREADABLE_FOLDER, FileOutcome, FolderReport, OutcomeLog
from facesearch.service.free_memory import give_back_free_memory
from facesearch.service.known_files import KnownFiles, KnownRun
from facesearch.service.labelled_folder import PICTURE_SUFFIXES, LabelledFile, LabelledFolder, labelled_files
from facesearch.service.pipeline import NO_WORK, FacePipeline, ImageSource, PictureMaker, Streamed
from facesearch.service.template_cache import FileStamp

__all__ = [
    "ENROLLED",
    "PICTURE_SUFFIXES",
    "POSSIBLE_DUPLICATE",
    "EnrollFolder",
    "FileOutcome",
    "FolderReport",
    "LabelledFile",
    "LabelledFolder",
    "labelled_files",
]

GROUP_FACES = 64
"""Faces written in one transaction at most: a transaction waits for the disk once (some 9 ms), a face takes less than 1 ms."""

GROUP_FILES = 512
"""Files of a group at most, those without a face to write included: outcomes are told in order, so they wait with the group."""

GROUP_S = 0.5
"""Seconds after which a group is written however few faces it has, so that slow work is not lost with a cut of the power."""

TIDIED_GROUPS = 16
"""Groups after which free memory is given back, and after the first one, when the networks are there: some 10 ms in 6 s."""

LOOKED_UP = 256
"""Files looked up in the journal at once."""


@dataclass(slots=True)
class _FileInWork:
    """A file on its way through a run."""

    file: LabelledFile
    stamp: FileStamp | None = None
    done: FileOutcome | None = None


@dataclass(slots=True)
class _Group:
    """Files that are written, and told of, together."""

    files: list[Streamed[_FileInWork]] = field(default_factory=list)
    n_faces: int = 0
    began: float = 0.0

    def add(self, one: Streamed[_FileInWork]) -> None:
        if not self.files:
            self.began = time.monotonic()
        self.files.append(one)
        self.n_faces += one.face is not None

    @property
    def is_due(self) -> bool:
        is_full = self.n_faces >= GROUP_FACES or len(self.files) >= GROUP_FILES
        return is_full or (bool(self.files) and time.monotonic() - self.began >= GROUP_S)


class EnrollFolder:
    """Enrolls many labelled files.

    Args:
        pipeline: Makes templates.
        enroll: Stores them.
        make_picture: Makes what is kept of a photograph.
        known: Remembers what became of files; None looks at every file in every run.
    """

    def __init__(self, pipeline: FacePipeline, enroll: Enroll, make_picture: PictureMaker, known: KnownFiles | None = None) -> None:
        self._pipeline = pipeline
        self._enroll = enroll
        self._make_picture = make_picture
        self._known = known

    def __call__(
        self,
        files: Iterable[LabelledFile],
        *,
        collection: str,
        face: FaceChoice = "only",
        keep: Keep = Keep.NONE,
        checks: EnrollmentChecks = EnrollmentChecks(),  # noqa: B008 - frozen, without state
        retry_failures: bool = False,
        on_outcome: Callable[[FileOutcome], None] | None = None,
    ) -> FolderReport:
        """Enroll files with the outcomes of one after the other, many in a transaction.

        Interrupted by Ctrl-C or an error, it leaves the groups that were told of in the gallery and drops the open one.

        Args:
            files: What to enroll, in this order; read lazily.
            collection: Where to.
            face: Which face of each photograph.
            keep: Which picture is stored beside each template.
            checks: What is waved through; possible duplicates always are, and named.
            retry_failures: Look again at files that an earlier run could not enroll.
            on_outcome: Called once a file, in order, as soon as it stays so: what was enrolled is on the disk.

        Raises:
            UncalibratedEmbedderError: Nobody measured the embedder, and mismatches are not allowed; nothing was done.
            StoreError: The database failed; files told of before are enrolled.
            ModelError: A network failed; likewise.
        """
        lenient = replace(checks, new=False, allow_duplicate=True)
        self._enroll.require_checks(lenient)
        log = OutcomeLog()

        def picture(source: ImageSource, image: Image, detection: Detection) -> KeptPicture | None:
            return self._make_picture(keep, source, image, detection)

        def tell(outcomes: Iterable[FileOutcome]) -> None:
            for outcome in outcomes:
                log.append(outcome)
                if on_outcome is not None:
                    on_outcome(outcome)

        scope = f"{face}|{lenient.quality_gate}"
        with KnownRun.opened(self._known, collection, scope, retry_failures=retry_failures, checks=lenient) as known:
            streamed = self._pipeline.stream(_looked_up(files, known), face, keep_picture=None if keep is Keep.NONE else picture)
            with closing(streamed):
                group = _Group()
                n_groups = 0
                for one in streamed:
                    group.add(one)
                    if group.is_due:
                        tell(self._written(group, collection, lenient, known))
                        group = _Group()
                        if n_groups % TIDIED_GROUPS == 0:
                            give_back_free_memory()
                        n_groups += 1
                tell(self._written(group, collection, lenient, known))
        return FolderReport(log)

    def _written(self, group: _Group, collection: str, checks: EnrollmentChecks, known: KnownRun) -> list[FileOutcome]:
        """Write the faces of a group and return the outcome of every file of it."""
        faces = [
            FaceToEnroll(one.face, one.key.file.label, one.picture, one.key.file.tags)
            for one in group.files
            if one.face is not None
        ]
        found = self._enroll.group(faces, collection=collection, checks=checks) if faces else None
        enrolled = iter(found.outcomes if found is not None else ())
        outcomes, learned = [], []
        for one in group.files:
            result = next(enrolled) if one.face is not None else one.error
            outcome = one.key.done if one.key.done is not None else _outcome(one.key.file, result)
            outcomes.append(outcome)
            if one.key.stamp is not None and one.key.done is None:
                learned.append((one.key.stamp, outcome, result))
        known.learn(learned, found.collection if found is not None else None)
        return outcomes


def _looked_up(files: Iterable[LabelledFile], known: KnownRun) -> Iterator[tuple[_FileInWork, ImageSource]]:
    """Yield files with what is to be decoded of each: nothing where the outcome is clear without it."""
    for block in _blocks(files):
        stamps = [FileStamp.of(one.file.path) if one.done is None else None for one in block]
        looked_up = [(one, stamp) for one, stamp in zip(block, stamps, strict=True) if stamp is not None]
        answers = known.outcomes([(one.file, stamp) for one, stamp in looked_up])
        for (one, stamp), answer in zip(looked_up, answers, strict=True):
            one.stamp, one.done = stamp, answer
        for one in block:
            yield one, NO_WORK if one.done is not None else one.file.path


def _blocks(files: Iterable[LabelledFile]) -> Iterator[list[_FileInWork]]:
    block: list[_FileInWork] = []
    for file in files:
        block.append(_FileInWork(file, done=_hopeless(file)))
        if len(block) == LOOKED_UP:
            yield block
            block = []
    if block:
        yield block


def _hopeless(file: LabelledFile) -> FileOutcome | None:
    """Return the outcome of what can never be enrolled, before any work is done for it."""
    if file.problem:
        return FileOutcome(file.path, file.label, UNREADABLE_FOLDER, file.problem)
    try:
        checked_label(file.label)
        checked_tags(file.tags)
    except LabelError as exc:
        return FileOutcome(file.path, file.label, exc.code, exc.message)
    return None


def _outcome(file: LabelledFile, result: Enrollment | FaceSearchError | None) -> FileOutcome:
    if result is None:
        raise ValueError("a streamed photograph has a face or an error")
    if isinstance(result, FaceSearchError):
        return FileOutcome(file.path, file.label, result.code, result.message)
    if result.possible_duplicate is None:
        return FileOutcome(file.path, file.label, ENROLLED, template_id=result.template.template_id)
    return FileOutcome(
        file.path,
        file.label,
        POSSIBLE_DUPLICATE,
        f"enrolled as {result.identity.label!r}, but the face may be that of {result.possible_duplicate!r}",
        result.template.template_id,
        result.possible_duplicate,
    )
