"""Measuring, as an entry point calls it: the protocols, and the report of what they found.

It writes no file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from facesearch.core.face import Detection
from facesearch.evaluation.report import render_report
from facesearch.service.evaluate_folder import EvaluateFolder, FolderEvaluation
from facesearch.service.evaluate_lfw import EvaluateLfw, LfwEvaluation
from facesearch.service.evaluate_pairs import EvaluatePairs, PairsEvaluation
from facesearch.service.evaluation_report import FaceJpeg, lfw_report, pairs_report, people_report

Measured = LfwEvaluation | FolderEvaluation | PairsEvaluation


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The protocols of one set of settings.

    Attributes:
        lfw: The LFW protocols.
        folder: A folder of labelled photographs.
        pairs: A list of pairs.
        face_jpeg: Cuts a face out of a photograph, for the report's pictures.
    """

    lfw: EvaluateLfw
    folder: EvaluateFolder
    pairs: EvaluatePairs
    face_jpeg: FaceJpeg

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
