"""The JSON or CSV file of ``--report``: refused before the work where it could not be written, and written.

It chooses no columns: the command does.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from facesearch.cli.output import write_json
from facesearch.core.errors import FileWriteError, InputError
from facesearch.core.paths import is_folder


def check_table_file(file: Path | None) -> None:
    """Refuse a report that could not be written before minutes of work, not after.

    Raises:
        InputError: It is neither a .json nor a .csv file, or its folder is not there.
    """
    if file is None:
        return
    if file.suffix.lower() not in (".json", ".csv"):
        raise InputError(f"{file}: a report is a .json or .csv file")
    if not is_folder(file.absolute().parent):
        raise InputError(f"{file}: there is no folder {file.parent}")


def write_table_file(file: Path, document: object, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a document as JSON, or its rows as CSV, as the file's ending says.

    Args:
        file: Checked by ``check_table_file``.
        document: All of it.
        columns: Names of the CSV's columns; whatever else a row holds is left out.
        rows: One mapping a line.

    Raises:
        FileWriteError: It cannot be written.
    """
    try:
        # What neither format can hold (undecodable file names) is escaped, never lost.
        with file.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
            if file.suffix.lower() == ".json":
                write_json(document, stream)
                return
            table = csv.DictWriter(stream, columns, extrasaction="ignore")
            table.writeheader()
            table.writerows(rows)
    except OSError as exc:
        raise FileWriteError(f"{file} cannot be written: {exc.strerror or exc}", path=str(file)) from exc
