"""Measuring, as an entry point calls it: the protocols, and the report of what they found.

It writes no file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from facesearch.core.errors import InputError
from facesearch.core.face import Detection
from facesearch.core.records import SavedPoint
from facesearch.evaluation.report import render_report
from facesearch.service.evaluate_folder import EvaluateFolder, FolderEvaluation
from facesearch.service.evaluate_lfw import EvaluateLfw, LfwEvaluation
from facesearch.service.evaluate_pairs import EvaluatePairs, PairsEvaluation
from facesearch.service.evaluation_report import FaceJpeg, lfw_report, pairs_report, people_report
from facesearch.service.saved_points import Measured as MeasuredOn
from facesearch.service.saved_points import SavedPoints, fmr_points, fpir_points

Measured = LfwEvaluation | FolderEvaluation | PairsEvaluation


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The protocols of one set of settings.

    Attributes:
        lfw: The LFW protocols.
        folder: A folder of labelled photographs.
        pairs: A list of pairs.
        face_jpeg: Cuts a face out of a photograph, for the report's pictures.
        saved_points: Opens the database's operating points.
    """

    lfw: EvaluateLfw
    folder: EvaluateFolder
    pairs: EvaluatePairs
    face_jpeg: FaceJpeg
    saved_points: Callable[[], SavedPoints]

    def save(self, name: str, measured: LfwEvaluation | FolderEvaluation, source: Path) -> tuple[SavedPoint, ...]:
        """Keep the operating points that were measured, as far as the evidence supports them, and return them.

        The FMRs of all pairs, every person weighing the same, and the FPIRs of the open-set search at its gallery's size. They are
        marked as in-sample: the rates reported beside them are of the photographs that set them.

        Args:
            name: Beginning of their names.
            measured: With people, not a bare list of pairs.
            source: The folder of the photographs.

        Raises:
            InputError: There are no people, or no FMR is supported; says how far the evidence reaches.
        """
        people, embedded = measured.people, measured.embedded
        if people is None or embedded is None:
            raise InputError(f"nothing to save as {name!r}: points are of all pairs, which need the list of people")
        origin = MeasuredOn(embedded.embedder_id, embedded.data_digest, source.absolute().name)
        points = fmr_points(name, people.points, origin)
        searched = people.open_set
        if searched is not None and any(point.is_supported for point in searched.points):
            points += fpir_points(name, searched.points, origin, n_templates=searched.search.n_searched)
        return self.saved_points().save(points)

    def report(self, measured: Measured, source: Path, *, when: datetime) -> str:
        """Return what was measured as an HTML document that needs nothing else.

        Args:
            measured: An outcome of one of the protocols.
            source: The folder of the photographs, or the list of pairs.
            when: Date of the report.
        """
        make: Callable[[Path, Detection], bytes | None] = self.face_jpeg
        if isinstance(measured, LfwEvaluation):
            report = lfw_report(measured, source, make, when=when)
        elif isinstance(measured, FolderEvaluation):
            report = people_report(measured, source, make, when=when)
        else:
            report = pairs_report(measured, source, make, when=when)
        return render_report(report)
