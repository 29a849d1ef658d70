"""``facesearch enroll`` and ``enroll-all``: people into the gallery, from one photograph or from a folder.

It does not look after those who are enrolled: see ``identities``.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facesearch.cli import options
from facesearch.cli.output import printable, progress, write_json, write_line, write_note, write_table
from facesearch.cli.session import Session, session_of
from facesearch.cli.shapes import enrollment_shape, outcome_shape
from facesearch.core.errors import DuplicateTemplateError, EnrollmentError, FileWriteError, InputError
from facesearch.core.paths import is_folder

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
        _check_report(report)
        outcomes = _enroll_folder(
            session, source, labels_csv, face=choice, allow_mismatch=allow_mismatch, quality_gate=gate, keep=keep
        )
        _write_folder(session, outcomes, report, as_json=as_json)
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


def _enroll_folder(session: Session, folder: str, labels_csv: Path | None, **choices: Any) -> FolderReport:
    from facesearch.service.enroll_folder import labelled_files

    # Listed once more than needed, so that the bar knows its end.
    total = len(labelled_files(folder, labels_csv=labels_csv)) if sys.stderr.isatty() else None
    n_done = 0
    with session.service() as service, progress("enrolling") as advance:

        def on_outcome(_outcome: FileOutcome) -> None:
            nonlocal n_done
            n_done += 1
            advance(n_done, total)

        advance(0, total)
        return service.enroll_folder(folder, labels_csv=labels_csv, on_outcome=on_outcome, **choices)


def _write_folder(session: Session, result: FolderReport, report: Path | None, *, as_json: bool) -> None:
    document = {
        "collection": session.collection,
        "n_files": len(result.outcomes),
        "n_enrolled": result.n_enrolled,
        "counts": result.counts,
        "outcomes": [outcome_shape(one) for one in result.outcomes],
    }
    if as_json:
        write_json(document)
    else:
        write_table(("status", "files"), list(result.counts.items()))
        troubled = [(one.status, one.path, one.message.removeprefix(f"{one.path}: ")) for one in result.outcomes if one.message]
        if troubled:
            write_line()
            write_table(("status", "file", "message"), troubled)
        write_line()
        n_there = result.counts.get(DuplicateTemplateError.code, 0)
        there = f", {n_there} were there already" if n_there else ""
        write_line(f"{result.n_enrolled} of {len(result.outcomes)} files enrolled in {printable(session.collection)}{there}")
    if report is not None:
        _write_report(report, document)
    if not any(one.is_enrolled or one.status == DuplicateTemplateError.code for one in result.outcomes):
        raise typer.Exit(NOTHING_ENROLLED)


def _check_report(report: Path | None) -> None:
    """Refuse a report that could not be written before hours of work, not after."""
    if report is None:
        return
    if report.suffix.lower() not in (".json", ".csv"):
        raise InputError(f"{report}: a report is a .json or .csv file")
    if not is_folder(report.absolute().parent):
        raise InputError(f"{report}: there is no folder {report.parent}")


def _write_report(report: Path, document: dict[str, Any]) -> None:
    try:
        # What JSON and CSV cannot hold (undecodable file names) is escaped, never lost.
        with report.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
            if report.suffix.lower() == ".json":
                write_json(document, stream)
                return
            columns = ("path", "label", "status", "message", "template_id", "other_label")
            rows = csv.DictWriter(stream, columns)
            rows.writeheader()
            rows.writerows(document["outcomes"])
    except OSError as exc:
        raise FileWriteError(f"{report} cannot be written: {exc.strerror or exc}", path=str(report)) from exc
