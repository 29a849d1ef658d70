"""The ``--report`` of a folder: one row a file, written as the run goes on.

While it runs, rows go to ``<report>.part`` beside the report; that is put in the report's place when the run ends, also when it
ends with an error or Ctrl-C. After a kill the part is what there is: whole rows of a CSV, the beginning of a JSON document.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from facesearch.core.errors import FileWriteError, InputError
from facesearch.core.paths import is_folder
from facesearch.service.shapes import outcome_shape

if TYPE_CHECKING:
    from facesearch.service.enroll_folder import FileOutcome

COLUMNS = ("path", "label", "status", "message", "template_id", "other_label")


class FolderReportFile:
    """A report that is being written; ``None`` as its place writes nothing.

    Args:
        report: A .json or .csv file.
        collection: Where the files are enrolled, for JSON.

    Raises:
        InputError: Another kind of file, or its folder is not there.
    """

    def __init__(self, report: Path | None, collection: str) -> None:
        self._report = report
        self._collection = collection
        self._stream: TextIO | None = None
        self._counts: Counter[str] = Counter()
        self._n_enrolled = 0
        if report is None:
            return
        if report.suffix.lower() not in (".json", ".csv"):
            raise InputError(f"{report}: a report is a .json or .csv file")
        if not is_folder(report.absolute().parent):
            raise InputError(f"{report}: there is no folder {report.parent}")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Open the report, and put it in its place when the block ends, however it ends."""
        if self._report is None:
            yield
            return
        part = self._report.with_name(f"{self._report.name}.part")
        is_complete = False
        with self._errors():
            # What JSON and CSV cannot hold (undecodable file names) is escaped, never lost.
            self._stream = part.open("w", encoding="utf-8", errors="backslashreplace", newline="")
            self._begin(self._stream)
        try:
            yield
            is_complete = True
        finally:
            with self._errors():
                self._end(self._stream, is_complete=is_complete)
                self._stream.close()
                part.replace(self._report)

    def add(self, outcome: FileOutcome) -> None:
        """Write the row of a file."""
        if self._stream is None:
            return
        row = outcome_shape(outcome)
        with self._errors():
            if self._is_json:
                self._stream.write(("" if not self._counts else ",") + "\n" + json.dumps(row, ensure_ascii=False, allow_nan=False))
            else:
                csv.DictWriter(self._stream, COLUMNS).writerow(row)
            self._stream.flush()
        self._counts[outcome.status] += 1
        self._n_enrolled += outcome.is_enrolled

    @property
    def _is_json(self) -> bool:
        return self._report is not None and self._report.suffix.lower() == ".json"

    def _begin(self, stream: TextIO) -> None:
        if self._is_json:
            stream.write(json.dumps({"collection": self._collection}, ensure_ascii=False)[:-1] + ', "outcomes": [')
        else:
            csv.DictWriter(stream, COLUMNS).writeheader()

    def _end(self, stream: TextIO, *, is_complete: bool) -> None:
        if self._is_json:
            rest = {
                "n_files": self._counts.total(),
                "n_enrolled": self._n_enrolled,
                "counts": dict(self._counts.most_common()),
                "is_complete": is_complete,
            }
            stream.write("],\n" + json.dumps(rest)[1:] + "\n")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise FileWriteError(f"{self._report} cannot be written: {exc.strerror or exc}", path=str(self._report)) from exc
