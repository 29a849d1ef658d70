"""``facesearch enroll``, ``enroll-all`` and ``index-folder``: people into the gallery, from one photograph or from a folder.

It does not look after those who are enrolled: see ``identities``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facesearch.cli import options
from facesearch.cli.folder_report import FolderReportFile
from facesearch.cli.output import LINES_EVERY_S, printable, progress, write_json, write_line, write_note, write_table
from facesearch.cli.session import Session, session_of
from facesearch.core.errors import DuplicateTemplateError, EnrollmentError, InputError
from facesearch.core.paths import is_folder
from facesearch.service.shapes import enrollment_shape, outcome_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facesearch.service.enroll import Enrollment
    from facesearch.service.enroll_folder import FileOutcome, FolderReport

NO_LABEL = "-"
"""Stands for a face that ``enroll-all`` leaves out."""

NOTHING_ENROLLED = EnrollmentError.exit_code
"""Exit code of a folder of which not one file is in the gallery afterwards."""


def enroll(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="PHOTO|FOLDER", help="A picture file, - for standard input, or a folder.")],
    label: Annotated[str | None, typer.Argument(metavar="LABEL", help="The person; not for a folder.", show_default=False)] = None,
    labels_csv: Annotated[
        Path | None, typer.Option("--labels-csv", metavar="FILE", help="CSV with file,label[,tags] of a folder's pictures.")
    ] = None,
    tags: options.Tags = None,
    face: options.Face = "only",
    roi: options.Roi = None,
    new: Annotated[bool, typer.Option("--new", help="Refuse a label that exists.")] = False,
    allow_mismatch: options.AllowMismatch = False,
    allow_duplicate: options.AllowDuplicate = False,
    quality_gate: options.QualityGate = None,
    allow_low_quality: options.AllowLowQuality = False,
    keep: options.Keep = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write a folder's outcomes to a .json or .csv file.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Enroll a person from a photograph, or everybody in a folder of FOLDER/LABEL/picture files.

    A folder's files that cannot be enrolled do not stop the others, and a second run enrolls nothing twice. Exit code of a folder:
    0 when at least one of its files is in the gallery afterwards, else 3.
    """
    session = session_of(context)
    choice = options.parsed_face(face)
    gate = options.parsed_gate(quality_gate, allow_low_quality=allow_low_quality)
    if label is None:
        if tags or new or roi:
            raise InputError("--tag, --new and --roi are for one photograph; a folder's tags stand in its CSV")
        if not is_folder(source):
            raise InputError(f"{source} is no folder; one photograph needs a label: facesearch enroll PHOTO LABEL")
        run = _FolderRun(session, source, labels_csv, report)
        run(face=choice, allow_mismatch=allow_mismatch, quality_gate=gate, keep=keep, as_json=as_json)
        return
    if labels_csv is not None or report is not None:
        raise InputError("--labels-csv and --report are for a folder: leave LABEL out")
    if is_folder(source):
        raise InputError(f"{source} is a folder: its subfolders are the labels, so leave LABEL out")
    with session.service() as service:
        done = service.enroll(
            session.photo(source),
            label,
            tags=tags or (),
            face=choice,
            roi=options.parsed_box(roi),
            new=new,
            allow_mismatch=allow_mismatch,
            allow_duplicate=allow_duplicate,
            quality_gate=gate,
            keep=keep,
        )
    _write_enrollments(session, (done,), as_json=as_json)


def index_folder(
    context: typer.Context,
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Holds LABEL/picture files, or what --labels-csv names.")],
    labels_csv: Annotated[
        Path | None, typer.Option("--labels-csv", metavar="FILE", help="CSV with file,label[,tags] of the folder's pictures.")
    ] = None,
    face: options.Face = "only",
    allow_mismatch: options.AllowMismatch = False,
    quality_gate: options.QualityGate = None,
    allow_low_quality: options.AllowLowQuality = False,
    keep: options.Keep = None,
    retry_failures: Annotated[
        bool, typer.Option("--retry-failures", help="Look again at files that an earlier run could not enroll.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write every file's outcome to a .json or .csv file.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Enroll everybody in a folder; interrupted, the same command goes on where it stopped.

    A file that cannot be enrolled does not stop the others. Files that an earlier run had done with and that have not changed are
    not looked at again. Exit code 0 when at least one file is in the gallery afterwards, else 3.
    """
    run = _FolderRun(session_of(context), folder, labels_csv, report)
    run(
        face=options.parsed_face(face),
        allow_mismatch=allow_mismatch,
        quality_gate=options.parsed_gate(quality_gate, allow_low_quality=allow_low_quality),
        keep=keep,
        retry_failures=retry_failures,
        as_json=as_json,
    )


def enroll_all(
    context: typer.Context,
    photo: options.Photo,
    labels: Annotated[
        list[str], typer.Option("--label", metavar="LABEL", help="One a face, in the order of detect; - leaves a face out.")
    ],
    roi: options.Roi = None,
    allow_mismatch: options.AllowMismatch = False,
    allow_duplicate: options.AllowDuplicate = False,
    quality_gate: options.QualityGate = None,
    allow_low_quality: options.AllowLowQuality = False,
    keep: options.Keep = None,
    as_json: options.AsJson = False,
) -> None:
    """Enroll several faces of one photograph, all or none of them."""
    session = session_of(context)
    box = options.parsed_box(roi)
    gate = options.parsed_gate(quality_gate, allow_low_quality=allow_low_quality)
    with session.service() as service:
        done = service.enroll_all(
            session.photo(photo),
            [None if label == NO_LABEL else label for label in labels],
            roi=box,
            allow_mismatch=allow_mismatch,
            allow_duplicate=allow_duplicate,
            quality_gate=gate,
            keep=keep,
        )
    _write_enrollments(session, done, as_json=as_json)


def _write_enrollments(session: Session, done: Sequence[Enrollment], *, as_json: bool) -> None:
    for one in done:
        if one.possible_duplicate is not None:
            write_note(f"warning: {printable(one.identity.label)} may be the same person as {printable(one.possible_duplicate)}")
    if as_json:
        write_json({"collection": session.collection, "enrollments": [enrollment_shape(one) for one in done]})
        return
    for one in done:
        what = "new person" if one.is_new_identity else "further photograph"
        where = printable(session.collection)
        write_line(f"enrolled {printable(one.identity.label)} in {where}: template {one.template.template_id}, {what}")


class _FolderRun:
    """One run over a folder: progress, report and summary around the library's call."""

    def __init__(self, session: Session, folder: str, labels_csv: Path | None, report: Path | None) -> None:
        self._session = session
        self._folder = folder
        self._labels_csv = labels_csv
        self._report = FolderReportFile(report, session.collection)
        self._n_done = self._n_enrolled = 0

    def __call__(self, *, as_json: bool, **choices: Any) -> None:
        from facesearch.service.free_memory import keep_heap_small

        keep_heap_small()  # the process is this command's own
        total = self._count()
        try:
            with (
                self._report.writing(),
                self._session.service() as service,
                progress("enrolling", lines_every_s=LINES_EVERY_S) as advance,
            ):

                def on_outcome(outcome: FileOutcome) -> None:
                    self._report.add(outcome)
                    self._n_done += 1
                    self._n_enrolled += outcome.is_enrolled
                    advance(self._n_done, total)

                advance(0, total)
                result = service.enroll_folder(self._folder, labels_csv=self._labels_csv, on_outcome=on_outcome, **choices)
        except KeyboardInterrupt:
            of_all = "" if total is None else f" of {total:,}"
            write_note(
                f"interrupted: {self._n_done:,}{of_all} files done, {self._n_enrolled:,} of them enrolled now; "
                "the same command goes on from there"
            )
            raise
        _write_folder(self._session, result, as_json=as_json)

    def _count(self) -> int | None:
        """Return the number of files, by looking through the folder once more; None where the library will refuse it."""
        from facesearch.service.enroll_folder import LabelledFolder

        try:
            return LabelledFolder(self._folder, labels_csv=self._labels_csv).count()
        except InputError:
            return None


def _write_folder(session: Session, result: FolderReport, *, as_json: bool) -> None:
    counts, n_enrolled = result.counts, result.n_enrolled
    if as_json:
        outcomes = [outcome_shape(one) for one in result.outcomes]
        document = {"collection": session.collection, "n_files": len(outcomes), "n_enrolled": n_enrolled, "counts": counts}
        write_json({**document, "is_complete": True, "outcomes": outcomes})
    else:
        write_table(("status", "files"), list(counts.items()))
        # Thousands of files that an earlier run enrolled are a number, not thousands of lines.
        told = (one for one in result.outcomes if not (one.is_known and one.status == DuplicateTemplateError.code))
        troubled = [(one.status, one.path, one.message.removeprefix(f"{one.path}: ")) for one in told if one.message]
        if troubled:
            write_line()
            write_table(("status", "file", "message"), troubled)
        write_line()
        n_there = counts.get(DuplicateTemplateError.code, 0)
        there = f", {n_there} were there already" if n_there else ""
        known = f"; {result.n_known} had been done with before and were not looked at again" if result.n_known else ""
        write_line(f"{n_enrolled} of {len(result.outcomes)} files enrolled in {printable(session.collection)}{there}{known}")
    if not n_enrolled and DuplicateTemplateError.code not in counts:
        raise typer.Exit(NOTHING_ENROLLED)
