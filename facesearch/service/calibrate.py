"""Calibration of the embedder in use on labelled photographs: fitted on all of them, checked on people left out.

What a calibration says of a score is ``facesearch.core.calibration``'s work, the fit is ``facesearch.evaluation.calibration``'s.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Vectors, array_digest
from facesearch.core.calibration import DEFAULT_PRIOR, Calibration, CalibrationMethod, checked_prior
from facesearch.core.errors import InputError
from facesearch.core.protocols import IdentityStore
from facesearch.evaluation.all_pairs import AllPairs, all_pairs
from facesearch.evaluation.calibration import (
    CalibrationCheck,
    ReliabilityBin,
    check_calibration,
    fit_calibration,
)
from facesearch.evaluation.reliability import reliability_intervals
from facesearch.service.evaluation_data import known_people
from facesearch.service.faces import FaceChoice
from facesearch.service.photograph_lists import read_folder
from facesearch.service.photographs import EmbedPhotographs, Progress

SPLIT_SEED = 10
"""Seed of the draw of the half of the people that the other half's fit is checked on."""


@dataclass(frozen=True, slots=True)
class HeldOutCheck:
    """What a fit on one half of the people costs on the other.

    Attributes:
        check: Its cost in bits.
        bins: Stated against observed probabilities, with intervals where people are enough.
    """

    check: CalibrationCheck
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True)
class CalibrationOutcome:
    """A calibration as it was stored, and how much of it held on people left out.

    Attributes:
        calibration: Fitted on everybody.
        held_out: One check each way between two halves of the people; empty where half of them are too few to fit on.
        warnings: What a reader must know.
    """

    calibration: Calibration
    held_out: tuple[HeldOutCheck, ...]
    warnings: tuple[str, ...]


class Calibrate:
    """Fits, stores, shows and removes calibrations.

    Args:
        store: Where they are kept.
        embed: Makes templates of photographs.
    """

    def __init__(self, store: IdentityStore, embed: EmbedPhotographs) -> None:
        self._store = store
        self._embed = embed

    def folder(
        self,
        folder: str | os.PathLike[str],
        *,
        method: CalibrationMethod = CalibrationMethod.LOGISTIC,
        prior: float = DEFAULT_PRIOR,
        face: FaceChoice = "central",
        on_progress: Progress | None = None,
    ) -> CalibrationOutcome:
        """Calibrate on ``<label>/<picture>`` of a folder and store the result.

        Args:
            folder: The photographs.
            method: How the ratio follows from the score.
            prior: Probability of "same person" in the use at hand, in (0, 1).
            face: Which face of each photograph is meant.
            on_progress: Called after each photograph.

        Raises:
            InputError: No folder, or too few people or photographs to support any statement.
        """
        checked_prior(prior)
        listed = read_folder(folder)
        embedded = self._embed(listed.root, listed.labels, face=face, on_progress=on_progress)
        known, warnings = known_people(embedded, listed.labels)
        source = f"{len(known)} photographs of {np.unique(known.labels).size} people in {listed.root.name or listed.root}"
        return self._fit(known.vectors, known.labels, _Data(embedded.data_digest, source, warnings), method=method, prior=prior)

    def enrolled(
        self, collection: str, *, method: CalibrationMethod = CalibrationMethod.LOGISTIC, prior: float = DEFAULT_PRIOR
    ) -> CalibrationOutcome:
        """Calibrate on the templates enrolled in a collection and store the result.

        Raises:
            UnknownCollectionError: There is no such collection.
            InputError: Too few people or templates to support any statement.
        """
        checked_prior(prior)
        with self._store.reading() as reader:
            batches = list(reader.template_batches(collection, self._embed.embedder_id))
        if not batches:
            raise InputError(
                f"nobody is enrolled in {collection!r} with {self._embed.embedder_id}: there is nothing to calibrate on"
            )
        vectors: Vectors = np.concatenate([batch.vectors for batch in batches])
        owners = np.concatenate([batch.identity_ids for batch in batches])
        source = f"{len(owners)} templates of {np.unique(owners).size} people enrolled in {collection}"
        return self._fit(vectors, owners, _Data(array_digest(vectors), source, ()), method=method, prior=prior)

    def all(self) -> tuple[Calibration, ...]:
        """Return the stored calibrations of all embedders."""
        with self._store.reading() as reader:
            return reader.calibrations()

    def remove(self) -> bool:
        """Delete the calibration of the embedder in use; return whether there was one."""
        with self._store.writing() as writer:
            found = writer.calibration(self._embed.embedder_id)
            writer.remove_calibration(self._embed.embedder_id)
        return found is not None

    def _fit(
        self, vectors: Vectors, owners: NDArray[np.generic], data: _Data, *, method: CalibrationMethod, prior: float
    ) -> CalibrationOutcome:
        def fitted(pairs: AllPairs) -> Calibration:
            return fit_calibration(
                pairs,
                method=method,
                prior=prior,
                embedder_id=self._embed.embedder_id,
                data_digest=data.digest,
                source=data.source,
            )

        calibration = fitted(all_pairs(vectors, owners))
        people = np.unique(owners)
        half = np.random.default_rng(SPLIT_SEED).permutation(people.size) < people.size // 2
        is_first = half[np.searchsorted(people, owners)]
        held_out, warnings = [], list(data.warnings)
        try:
            halves = [(all_pairs(vectors[chosen], owners[chosen]), chosen) for chosen in (is_first, ~is_first)]
            for (fit_on, _), (check_on, chosen) in (halves, halves[::-1]):
                trial = fitted(fit_on)
                bins = reliability_intervals(trial, check_on, vectors[chosen], owners[chosen])
                held_out.append(HeldOutCheck(check_calibration(trial, check_on), bins))
        except InputError as exc:
            held_out = []
            warnings.append(f"not checked on people left out, half of them are too few: {exc.message}")
        with self._store.writing() as writer:
            writer.save_calibration(calibration)
        return CalibrationOutcome(calibration, tuple(held_out), tuple(warnings))


@dataclass(frozen=True, slots=True)
class _Data:
    """What a fit is made on, for the record."""

    digest: str
    source: str
    warnings: tuple[str, ...]
