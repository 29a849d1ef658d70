"""The HTML file of ``--report``: refused before the work where it could not be written, and written.

It makes no report: see ``facesearch.evaluation.report``.
"""

from __future__ import annotations

from pathlib import Path

from facesearch.cli.output import printable, write_note
from facesearch.core.errors import FileWriteError, InputError
from facesearch.core.paths import is_folder


def check_report(report: Path | None) -> None:
    """Refuse a report that could not be written before minutes of work, not after.

    Raises:
        InputError: It is no .html file, or its folder is not there.
    """
    if report is None:
        return
    if report.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{report}: a report is an .html file; figures for programs come with --json")
    if not is_folder(report.absolute().parent):
        raise InputError(f"{report}: there is no folder {report.parent}")


def write_report(text: str, report: Path) -> None:
    """Write a report and say where.

    Raises:
        FileWriteError: It cannot be written.
    """
    try:
        # Undecodable bytes of file names are escaped by the report, but a label may hold lone surrogates too.
        report.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as exc:
        raise FileWriteError(f"{report} cannot be written: {exc.strerror or exc}", path=str(report)) from exc
    write_note(f"report: {printable(report)}")
