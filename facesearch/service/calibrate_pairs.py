"""An embedder measured on a list of pairs, for who has pairs and no people in folders: fewer comparisons, so fewer thresholds.

Photographs in folders give every comparison there is: see ``calibrate_model``, whose figures these are kept beside.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facesearch.core.errors import InputError
from facesearch.core.protocols import Embedder
from facesearch.service.calibrate_model import FiguresKeeper
from facesearch.service.embedder_speed import Speed, measured_speed
from facesearch.service.evaluate_pairs import EvaluatePairs, PairsEvaluation, PairsPoint
from facesearch.service.evaluate_people import EvaluationOptions
from facesearch.service.photographs import Progress


@dataclass(frozen=True, slots=True, eq=False)
class PairsCalibration:
    """What was measured of an embedder.

    Attributes:
        measured: The list, its scores and both rates at every FMR asked for.
        points: Those that decisions are made at from now on, loosest first.
        unsupported: The others.
        speed: Of this machine.
        source: The list in words.
    """

    measured: PairsEvaluation
    points: tuple[PairsPoint, ...]
    unsupported: tuple[PairsPoint, ...]
    speed: Speed
    source: str

    def figures(self) -> dict[str, object]:
        """Return what is kept beside the model; rates in [0, 1]."""
        trials, embedded = self.measured.trials, self.measured.embedded
        return {
            "operating_points": [
                {
                    "fmr": point.at.fmr,
                    "threshold": point.at.threshold,
                    "n_non_mated": point.evidence.n_comparisons,
                    "n_people": point.evidence.n_people,
                    "tar": round(point.at.tar.value, 6),
                    "n_mated": trials.n_mated,
                }
                for point in self.points
            ],
            "unsupported": [{"fmr": point.at.fmr, "why": str(point.evidence.answer(point.at.fmr))} for point in self.unsupported],
            "measured_on": self.source,
            "data_digest": embedded.data_digest,
            "failures_to_acquire": [len(embedded.failures), len(embedded)],
            "is_in_sample": True,
            "speed": self.speed.as_dict(),
        }

    def as_dict(self) -> dict[str, object]:
        """Return everything as plain values; rates in [0, 1]."""
        kept = [point.at.fmr for point in self.points]
        return {**self.measured.as_dict(), "kept_fmrs": kept, "speed": self.speed.as_dict()}


class CalibratePairs:
    """Measures one embedder on lists of pairs and keeps its operating points.

    Args:
        evaluate: Measures lists of pairs.
        embedder: For the speed.
        keeper: Keeps the figures.
        processor: What it is run on, in words.
    """

    def __init__(self, evaluate: EvaluatePairs, embedder: Embedder, keeper: FiguresKeeper, *, processor: str) -> None:
        self._evaluate = evaluate
        self._embedder = embedder
        self._keeper = keeper
        self._processor = processor

    def __call__(
        self,
        pairs_csv: str | os.PathLike[str],
        *,
        options: EvaluationOptions,
        must_all: bool = False,
        on_progress: Progress | None = None,
    ) -> PairsCalibration:
        """Measure the pairs of a CSV, and keep a point for each FMR that they support.

        Args:
            pairs_csv: Columns ``a``, ``b`` and ``same``; paths relative to the file.
            options: FMRs, choice of the face and cache.
            must_all: Whether an FMR that the comparisons do not support is an error; else it is left out and said.
            on_progress: Called after each photograph.

        Raises:
            ProtocolFileError: The CSV is malformed.
            InputError: Pairs of one kind are missing, or FMRs are not supported; says which are. Nothing is kept then.
            FileWriteError: The figures cannot be written.
        """
        self._keeper.check()
        measured = self._evaluate(pairs_csv, options=options, on_progress=on_progress)
        kept, others = _told_apart(measured.points)
        if not kept or (others and must_all):
            first = others[0]
            reach = f"are FMR {', '.join(f'{point.at.fmr:g}' for point in kept)}" if kept else "is none"
            raise InputError(
                f"FMR {first.at.fmr:g} cannot be supported: {first.evidence.answer(first.at.fmr)}; "
                f"{measured.trials.n_non_mated:,} pairs of two people are there, supported {reach}",
                n_non_mated=measured.trials.n_non_mated,
            )
        speed = measured_speed(self._embedder, measured.embedded, self._processor)
        source = f"{len(measured.trials)} pairs in {Path(pairs_csv).name}"
        outcome = PairsCalibration(measured, kept, others, speed, source)
        self._keeper.keep(outcome.figures())
        return outcome


def _told_apart(points: Sequence[PairsPoint]) -> tuple[tuple[PairsPoint, ...], tuple[PairsPoint, ...]]:
    kept = tuple(point for point in points if point.evidence.supports(point.at.fmr) and point.at.threshold <= 1.0)
    return kept, tuple(point for point in points if point not in kept)
