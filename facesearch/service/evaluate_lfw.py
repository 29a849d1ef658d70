"""The LFW protocols end to end, from the photographs through our own detector.

It fits and tunes nothing: figures are what the shipped settings give.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesearch.core.errors import InputError
from facesearch.core.paths import is_there
from facesearch.evaluation.lfw import LfwPair, read_pairs, read_people
from facesearch.evaluation.one_to_one import VerificationReport, verification_report
from facesearch.evaluation.trials import VerificationTrials
from facesearch.service.evaluate_people import EvaluationOptions, PeopleEvaluation, evaluate_people
from facesearch.service.evaluation_data import known_people
from facesearch.service.photographs import AcquisitionFailure, EmbeddedPhotographs, EmbedPhotographs, Progress

__all__ = ["AcquisitionFailure", "EvaluateLfw", "LfwEvaluation", "Progress", "pair_scores", "people_file_of", "require_photographs"]


@dataclass(frozen=True, slots=True)
class LfwEvaluation:
    """The outcome of the protocols.

    Attributes:
        embedder_id: What was measured.
        report: Accuracy by folds and TAR at FMR of the list of pairs, with counts.
        failures: Photographs without a usable face, by path.
        n_photographs: Photographs read.
        seconds: Time from the first photograph to the last template.
        embedded: The photographs' templates, or None where they are not kept.
        people: All pairs and the open-set search, or None where no list of people was given.
    """

    embedder_id: str
    report: VerificationReport
    failures: tuple[AcquisitionFailure, ...]
    n_photographs: int
    seconds: float
    embedded: EmbeddedPhotographs | None = None
    people: PeopleEvaluation | None = None

    @property
    def n_cached(self) -> int:
        """Photographs whose template was known before."""
        return self.embedded.n_cached if self.embedded is not None else 0

    @property
    def photographs_per_s(self) -> float | None:
        """Photographs decoded, detected and embedded a second; None where some came from the cache."""
        return self.n_photographs / self.seconds if self.seconds > 0 and self.n_cached == 0 else None

    def as_dict(self) -> dict[str, object]:
        """Return everything as plain values; rates in [0, 1]."""
        return {
            "embedder_id": self.embedder_id,
            **self.report.as_dict(),
            "failures_to_acquire": [one.as_dict() for one in self.failures],
            "n_photographs": self.n_photographs,
            "n_cached": self.n_cached,
            "seconds": self.seconds,
            "photographs_per_s": self.photographs_per_s,
            "data_digest": self.embedded.data_digest if self.embedded is not None else None,
            **(self.people.as_dict() if self.people is not None else {}),
        }


class EvaluateLfw:
    """Runs the protocols.

    Args:
        embed: Makes the templates.
    """

    def __init__(self, embed: EmbedPhotographs) -> None:
        self._embed = embed

    def __call__(
        self,
        images: str | os.PathLike[str],
        pairs_file: str | os.PathLike[str],
        *,
        people_file: str | os.PathLike[str] | None = None,
        options: EvaluationOptions = EvaluationOptions(),  # noqa: B008 - frozen, without state
        on_progress: Progress | None = None,
    ) -> LfwEvaluation:
        """Run the 1:1 protocol of a list of pairs, and all pairs and the open-set search of a list of people.

        Args:
            images: Folder with ``<name>/<name>_0001.jpg``.
            pairs_file: ``pairs.txt`` (ten folds) or a View 1 list (none).
            people_file: ``people.txt`` or a View 1 list; None measures the list of pairs only.
            options: What to report of the people; the face is the one nearest the photograph's centre, as the protocol wants it,
                unless chosen otherwise.
            on_progress: Called after each photograph.

        Raises:
            ProtocolFileError: A list is malformed.
            InputError: A photograph does not exist: a protocol with holes measures nothing.
        """
        root = Path(images)
        pairs = read_pairs(Path(pairs_file))
        labels = {} if people_file is None else {path: one.name for one in read_people(Path(people_file)) for path in one.paths}
        wanted = {path for pair in pairs for path in pair.paths} | set(labels)
        require_photographs(root, wanted)
        embedded = self._embed(root, wanted, face=options.face, cache=options.cache, on_progress=on_progress)
        trials = VerificationTrials(
            pair_scores(pairs, embedded),
            np.array([pair.is_mated for pair in pairs], dtype=np.bool_),
            np.array([pair.fold for pair in pairs], dtype=np.int64),
        )
        people = None
        if labels:
            known, warnings = known_people(embedded, labels)
            people = evaluate_people(known, options, warnings=warnings)
        return LfwEvaluation(
            embedder_id=embedded.embedder_id,
            report=verification_report(trials),
            failures=embedded.failures,
            n_photographs=len(embedded),
            seconds=embedded.seconds,
            embedded=embedded,
            people=people,
        )


def people_file_of(pairs_file: Path) -> Path | None:
    """Return LFW's list of people that belongs to a list of pairs (``people.txt`` to ``pairs.txt``), None where it is not there."""
    people = pairs_file.with_name(pairs_file.name.replace("pairs", "people", 1))
    return people if people != pairs_file and is_there(people) else None


def pair_scores(pairs: Sequence[LfwPair], embedded: EmbeddedPhotographs) -> NDArray[np.float64]:
    """Return one score a pair, NaN where a photograph has no template."""
    scores = np.full(len(pairs), np.nan)
    for row, pair in enumerate(pairs):
        a, b = (embedded.rows.get(path) for path in pair.paths)
        if a is not None and b is not None:
            scores[row] = float(np.clip(embedded.vectors[a] @ embedded.vectors[b], -1.0, 1.0))
    return scores


def require_photographs(root: Path, wanted: Iterable[Path]) -> None:
    """Raise unless all photographs of a protocol are there: one with holes measures nothing.

    Raises:
        InputError: Names how many are missing, and the first.
    """
    paths = sorted(wanted)
    missing = [path for path in paths if not is_there(root / path)]
    if missing:
        raise InputError(f"{len(missing)} of {len(paths)} photographs are not in {root}, the first is {missing[0]}")
