"""An embedder measured on labelled photographs: the thresholds that decisions are made at, kept beside the model.

It sets no probability (see ``calibrate``) and saves nothing in the database (see ``saved_points``): whatever uses the embedder,
with whatever database, decides by what is measured here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from facesearch.core.errors import InputError
from facesearch.core.protocols import Embedder
from facesearch.evaluation.all_pairs import AllPairs, AllPairsPoint, all_pairs
from facesearch.evaluation.lfw import read_pairs, read_people
from facesearch.evaluation.one_to_one import VerificationReport, verification_report
from facesearch.evaluation.trials import VerificationTrials
from facesearch.service.embedder_speed import Speed, measured_speed
from facesearch.service.evaluate_lfw import pair_scores, require_photographs
from facesearch.service.evaluate_people import EvaluationOptions, PeopleEvaluation
from facesearch.service.evaluation_data import KnownPeople, known_people
from facesearch.service.evaluation_intervals import all_pairs_intervals
from facesearch.service.photograph_lists import checked_people, read_folder
from facesearch.service.photographs import EmbeddedPhotographs, EmbedPhotographs, Progress

CALIBRATED_FMRS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""FMRs that points are set for where none are asked for, as far as the comparisons reach."""

Figures = Mapping[str, Any]
"""What is kept beside a model, as plain values."""


class FiguresKeeper(Protocol):
    """Keeps what was measured of one model."""

    def check(self) -> None:
        """Raise unless figures could be kept: before minutes of work, not after.

        Raises:
            InputError: The model comes with the package.
            UnknownEmbedderError: It is no added model.
        """
        ...

    def keep(self, figures: Figures) -> None:
        """Keep them in one step; what was measured of the same way of embedding before is replaced.

        Raises:
            FileWriteError: The models folder cannot be written; what was there stays.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ModelCalibration:
    """What was measured of an embedder.

    Attributes:
        embedded: The photographs' templates and failures.
        people: All pairs, with the points kept in ``points``, loosest first.
        unsupported: The FMRs that the comparisons do not reach, with why.
        accuracy: Of a list of pairs with folds, or None without one.
        speed: Of this machine.
        source: The photographs in words.
    """

    embedded: EmbeddedPhotographs
    people: PeopleEvaluation
    unsupported: tuple[AllPairsPoint, ...]
    accuracy: VerificationReport | None
    speed: Speed
    source: str

    @property
    def points(self) -> tuple[AllPairsPoint, ...]:
        """The points that decisions are made at from now on, loosest first."""
        return self.people.points

    def figures(self) -> dict[str, object]:
        """Return what is kept beside the model; rates in [0, 1], but the list of pairs in per cent as on a model card."""
        pairs = self.people.pairs
        found: dict[str, object] = {
            "operating_points": [
                {
                    "fmr": point.fmr,
                    "threshold": point.threshold,
                    "n_non_mated": point.evidence.n_comparisons,
                    "n_people": pairs.n_people,
                    "n_people_pairs": pairs.n_person_pairs,
                    "tar": round(point.tar.value, 6),
                    "n_mated": pairs.mated.total,
                    "n_mated_people": pairs.n_mated_people,
                }
                for point in self.points
            ],
            "unsupported": [{"fmr": point.fmr, "why": str(point.answer)} for point in self.unsupported],
            "measured_on": self.source,
            "data_digest": self.embedded.data_digest,
            "failures_to_acquire": [len(self.embedded.failures), len(self.embedded)],
            "is_in_sample": True,
            "speed": self.speed.as_dict(),
        }
        report = self.accuracy
        if report is not None and report.accuracy is not None:
            found["view2"] = {
                "accuracy": round(100 * report.accuracy.mean, 4),
                "se": round(100 * report.accuracy.standard_error, 4),
                **{f"tar@{point.fmr:g}": [round(100 * point.tar.value, 4), point.tar.count] for point in report.tar},
            }
        return found

    def as_dict(self) -> dict[str, object]:
        """Return everything as plain values; rates in [0, 1]."""
        return {
            **self.embedded.as_dict(),
            **self.people.as_dict(),
            "unsupported": [point.as_dict() for point in self.unsupported],
            "pairs": None if self.accuracy is None else self.accuracy.as_dict(),
            "speed": self.speed.as_dict(),
        }


@dataclass(frozen=True, slots=True)
class CalibrationData:
    """What an embedder is measured on.

    Attributes:
        images: ``<label>/<picture>`` files.
        people_file: LFW's list of people among them; None for everybody.
        pairs_file: LFW's list of pairs, which adds an accuracy; None for none.
        left_out: Pairs of labels not compared: one person under two names.
    """

    images: Path
    people_file: Path | None = None
    pairs_file: Path | None = None
    left_out: tuple[tuple[str, str], ...] = ()

    def labels(self) -> tuple[Path, dict[Path, str]]:
        """Return the folder and the person of each photograph.

        Raises:
            InputError: No folder, or too few people or photographs for a comparison of either kind.
            ProtocolFileError: The list is malformed.
        """
        if self.people_file is None:
            listed = read_folder(self.images)
            return listed.root, dict(listed.labels)
        labels = {path: one.name for one in read_people(self.people_file) for path in one.paths}
        checked_people(list(labels.values()), str(self.people_file))
        return self.images, labels


class CalibrateModel:
    """Measures one embedder and keeps its operating points.

    Args:
        embed: Makes its templates.
        embedder: Makes them of crops, for the speed.
        keeper: Keeps the figures.
        processor: What it is run on, in words.
    """

    def __init__(self, embed: EmbedPhotographs, embedder: Embedder, keeper: FiguresKeeper, *, processor: str) -> None:
        self._embed = embed
        self._embedder = embedder
        self._keeper = keeper
        self._processor = processor

    def __call__(
        self,
        data: CalibrationData,
        *,
        options: EvaluationOptions,
        must_all: bool = False,
        on_progress: Progress | None = None,
    ) -> ModelCalibration:
        """Measure the photographs, and keep a point for each FMR that their comparisons support.

        Every person weighs the same (see ``AllPairs``). The points are set and reported on the same photographs: on others their
        rates differ, the more so the fewer people there are.

        Args:
            data: The photographs.
            options: FMRs, choice of the face and cache; the rest is not used.
            must_all: Whether an FMR that the comparisons do not support is an error; else it is left out and said.
            on_progress: Called after each photograph.

        Raises:
            InputError: A photograph of a list is missing, too few people or photographs, or FMRs that the comparisons do not
                support; says which they do, with how many comparisons. Nothing is kept then.
            UnknownEmbedderError: The embedder is no added model.
            FileWriteError: The figures cannot be written.
        """
        self._keeper.check()
        root, labels = data.labels()
        pairs = () if data.pairs_file is None else read_pairs(data.pairs_file)
        wanted = {*labels, *(path for pair in pairs for path in pair.paths)}
        if data.people_file is not None or pairs:
            require_photographs(root, wanted)
        embedded = self._embed(root, wanted, face=options.face, cache=options.cache, on_progress=on_progress)
        known, warnings = known_people(_only(embedded, labels), labels)
        compared = all_pairs(known.vectors, known.labels, left_out=data.left_out)
        kept, unsupported = supported_points(compared, options.fmrs, must_all=must_all)
        accuracy = None
        if pairs:
            trials = VerificationTrials(
                pair_scores(pairs, embedded),
                np.array([pair.is_mated for pair in pairs], dtype=np.bool_),
                np.array([pair.fold for pair in pairs], dtype=np.int64),
            )
            accuracy = verification_report(trials)
        people = _evaluation(known, compared, kept, warnings, data.left_out)
        source = f"{len(known)} photographs of {compared.n_people} people in {(data.people_file or root.absolute()).name}"
        outcome = ModelCalibration(
            embedded, people, unsupported, accuracy, measured_speed(self._embedder, embedded, self._processor), source
        )
        self._keeper.keep(outcome.figures())
        return outcome


def supported_points(
    pairs: AllPairs, fmrs: Iterable[float], *, must_all: bool
) -> tuple[tuple[AllPairsPoint, ...], tuple[AllPairsPoint, ...]]:
    """Return the points whose evidence reaches their FMR, and the others.

    Args:
        pairs: All pairs of the photographs.
        fmrs: Rates wanted.
        must_all: Whether one that is not supported is an error.

    Raises:
        InputError: None is supported, or not all of them although they must be; names those that are.
    """
    points = pairs.at_fmrs(tuple(fmrs))
    kept = tuple(point for point in points if point.is_supported and point.threshold <= 1.0)
    others = tuple(point for point in points if point not in kept)
    if kept and not (others and must_all):
        return kept, others
    n = pairs.non_mated.total
    reach = ", ".join(f"{point.fmr:g}" for point in kept)
    said = f"supported are FMR {reach}" if kept else f"the smallest FMR that they support is {_smallest(pairs, points)}"
    first = others[0]
    there = f"{n:,} comparisons of two people ({pairs.n_people:,} people) are there"
    raise InputError(
        f"FMR {first.fmr:g} cannot be supported: {first.answer}; {there}, {said}. Ask for those with --fmr, "
        "or bring photographs of more people",
        n_non_mated=n,
        n_people=pairs.n_people,
    )


def _smallest(pairs: AllPairs, points: Iterable[AllPairsPoint]) -> str:
    """Return the smallest FMR that the comparisons can speak for, in words."""
    bound = min((point.evidence.bound for point in points), default=1.0)
    return f"{bound:.2g}" if bound < 1.0 else "none at all"


def _only(embedded: EmbeddedPhotographs, labels: Mapping[Path, str]) -> EmbeddedPhotographs:
    """Return the embedded photographs of some people; the rest were embedded for a list of pairs."""
    if len(labels) == len(embedded):
        return embedded
    places = [place for place, path in enumerate(embedded.paths) if path in labels]
    new_place = {place: new for new, place in enumerate(places)}
    rows = [row for row, place in enumerate(embedded.acquired.tolist()) if place in new_place]
    named = {path.as_posix() for path in labels}
    return EmbeddedPhotographs(
        embedder_id=embedded.embedder_id,
        paths=tuple(embedded.paths[place] for place in places),
        vectors=embedded.vectors[rows],
        acquired=np.array([new_place[embedded.acquired[row]] for row in rows], dtype=np.int64),
        detections=tuple(embedded.detections[row] for row in rows),
        digests=tuple(embedded.digests[place] for place in places),
        failures=tuple(one for one in embedded.failures if one.path in named),
        seconds=embedded.seconds,
        n_cached=embedded.n_cached,
    )


def _evaluation(
    known: KnownPeople,
    pairs: AllPairs,
    points: tuple[AllPairsPoint, ...],
    warnings: tuple[str, ...],
    left_out: tuple[tuple[str, str], ...],
) -> PeopleEvaluation:
    intervals = all_pairs_intervals(known, pairs, [point.threshold for point in points], left_out=left_out)
    pooled = pairs.at_fmrs([point.fmr for point in points if point.fmr is not None], weighted=False)
    return PeopleEvaluation(known, pairs, points, intervals, pooled, None, (), warnings)
