"""How much of what an embedder knows survives damage: error rates with spoilt probes against a sound gallery.

Whole photographs are spoilt, before the detector looks for a face, so that a face that is not found any more counts. It spoils
nothing itself: see ``facesearch.imaging.damage``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Vectors
from facesearch.core.damage import Damage
from facesearch.core.errors import InputError
from facesearch.core.face import Detection
from facesearch.core.image import Image
from facesearch.evaluation.all_pairs import AllPairsPoint, all_pairs
from facesearch.evaluation.cross_pairs import CrossPairs, cross_pairs
from facesearch.evaluation.intervals import Rate, WeightedRate
from facesearch.evaluation.lfw import LfwPair, read_pairs, read_people
from facesearch.evaluation.one_to_one import FoldAccuracy, fold_accuracy
from facesearch.evaluation.trials import VerificationTrials
from facesearch.service.evaluate_lfw import require_photographs
from facesearch.service.evaluate_people import EvaluationOptions
from facesearch.service.evaluation_data import KnownPeople, known_people
from facesearch.service.photograph_lists import read_folder
from facesearch.service.photographs import EmbeddedPhotographs, EmbedPhotographs, Progress

ROBUSTNESS_FMRS = (1e-3, 1e-4)
"""FMRs reported where none are asked for."""

SEED = 13
"""Of the directions, halves and colours of the damage; each photograph draws its own, whatever is measured beside it."""

Change = Callable[[Image], Image]
"""Spoils a decoded photograph."""

EmbedChanged = Callable[[Mapping[str, object], Change], EmbedPhotographs]
"""Returns what embeds photographs as a change leaves them; the mapping names the change, for the cache."""


@dataclass(frozen=True, slots=True)
class DamagePoint:
    """Both error rates under one damage at the threshold that the undamaged photographs set.

    Attributes:
        fmr: The rate that the threshold was set for.
        threshold: Of all pairs of the undamaged photographs.
        tar: Share of mated pairs, spoilt probe against sound gallery, that match; every person weighing the same.
        false_matches: Share of non-mated pairs that match: what becomes of the rate when probes are spoilt.
        is_supported: Whether the comparisons are enough for ``fmr``.
    """

    fmr: float
    threshold: float
    tar: WeightedRate
    false_matches: WeightedRate
    is_supported: bool

    def as_dict(self) -> dict[str, object]:
        """Return the figures as plain values; rates in [0, 1]."""
        return {
            "fmr": self.fmr,
            "threshold": self.threshold,
            "tar": self.tar.as_dict(),
            "false_matches": self.false_matches.as_dict(),
            "is_supported": self.is_supported,
        }


@dataclass(frozen=True, slots=True)
class DamageRates:
    """What one damage costs.

    Attributes:
        name: The damage; ``"none"`` for the undamaged photographs.
        what: What is done, in a sentence.
        failures: Share of the photographs in which no face is found; those without one before the damage are among them.
        points: Both rates at each FMR, loosest first.
        accuracy: Over the folds of a list of pairs, the first photograph of each spoilt; None without such a list.
    """

    name: str
    what: str
    failures: Rate
    points: tuple[DamagePoint, ...]
    accuracy: FoldAccuracy | None = None

    def as_dict(self) -> dict[str, object]:
        """Return the figures as plain values; rates in [0, 1]."""
        accuracy = self.accuracy
        folds = None
        if accuracy is not None:
            folds = {"mean": accuracy.mean, "standard_error": accuracy.standard_error, **accuracy.total.as_dict()}
        return {
            "damage": self.name,
            "what": self.what,
            "failures_to_acquire": self.failures.as_dict(),
            "points": [point.as_dict() for point in self.points],
            "accuracy": folds,
        }


@dataclass(frozen=True, slots=True, eq=False)
class RobustnessEvaluation:
    """The outcome.

    Attributes:
        embedded: The undamaged photographs' templates and failures.
        n_people: People on them.
        n_mated_people: Those with two or more photographs.
        rows: The undamaged photographs, then each damage.
        warnings: What a reader must know.
    """

    embedded: EmbeddedPhotographs
    n_people: int
    n_mated_people: int
    rows: tuple[DamageRates, ...]
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """Return everything as plain values; rates in [0, 1]."""
        return {
            **self.embedded.as_dict(),
            "n_people": self.n_people,
            "n_mated_people": self.n_mated_people,
            "damages": [row.as_dict() for row in self.rows],
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """What every damage is measured on: the people, their sound templates, and the thresholds these set."""

    root: Path
    known: KnownPeople
    detections: Mapping[str, Detection]
    thresholds: tuple[AllPairsPoint, ...]
    pairs: tuple[LfwPair, ...]


class EvaluateRobustness:
    """Measures embedders under damage.

    Args:
        embed: Makes templates of undamaged photographs.
        embed_changed: Makes what embeds spoilt ones.
        damages: The damages there are.
    """

    def __init__(self, embed: EmbedPhotographs, embed_changed: EmbedChanged, damages: Sequence[Damage]) -> None:
        self._embed = embed
        self._embed_changed = embed_changed
        self._damages = {damage.name: damage for damage in damages}

    @property
    def damages(self) -> tuple[Damage, ...]:
        """The damages there are, in the order that they are reported in."""
        return tuple(self._damages.values())

    def __call__(
        self,
        images: str | os.PathLike[str],
        *,
        options: EvaluationOptions,
        pairs_file: str | os.PathLike[str] | None = None,
        people_file: str | os.PathLike[str] | None = None,
        names: Sequence[str] = (),
        on_progress: Progress | None = None,
    ) -> RobustnessEvaluation:
        """Measure ``<label>/<picture>`` of a folder, or the photographs of LFW's lists.

        The thresholds are those that all pairs of the undamaged photographs set, of the same people: what damage costs is asked,
        not what the threshold is worth elsewhere. A damage is drawn anew for each photograph, by its bytes and ``SEED``.

        Args:
            images: The photographs.
            options: FMRs, choice of the face (before and after the damage) and cache; the rest is not used.
            pairs_file: LFW's ``pairs.txt`` or a View 1 list; with folds also the accuracy is reported.
            people_file: LFW's ``people.txt`` or a View 1 list.
            names: The damages asked for; all where empty.
            on_progress: Called after each photograph; every damage begins a count of its own.

        Raises:
            InputError: A damage is unknown, a photograph of a list is missing, or the people and photographs are too few.
            ProtocolFileError: A list is malformed.
        """
        chosen = self._chosen(names)
        root, labels, pairs = _photographs(images, pairs_file, people_file)
        embedded = self._embed(root, labels, face=options.face, cache=options.cache, on_progress=on_progress)
        known, said = known_people(embedded, labels)
        sound = all_pairs(known.vectors, known.labels, n_worst=0)
        points = sound.at_fmrs(options.fmrs)
        detections = {embedded.digests[place]: embedded.detections[row] for row, place in enumerate(embedded.acquired.tolist())}
        measured = _Measured(root, known, detections, points, pairs)
        rows = [_rates(measured, known.vectors, "none", "the photographs as they are")]
        for damage in chosen:
            vectors = self._spoilt(measured, damage, options, on_progress)
            rows.append(_rates(measured, vectors, damage.name, damage.what))
        warnings = [*said, *(f"FMR {point.fmr:g}: {point.answer}" for point in points if not point.is_supported)]
        return RobustnessEvaluation(embedded, sound.n_people, sound.n_mated_people, tuple(rows), tuple(warnings))

    def _chosen(self, names: Sequence[str]) -> tuple[Damage, ...]:
        unknown = [name for name in names if name not in self._damages]
        if unknown:
            raise InputError(f"there is no damage {unknown[0]!r}; there are {', '.join(self._damages)}")
        return tuple(damage for damage in self.damages if not names or damage.name in names)

    def _spoilt(self, measured: _Measured, damage: Damage, options: EvaluationOptions, on_progress: Progress | None) -> Vectors:
        """Return the templates of the spoilt photographs in the order of the people's, NaN for failures."""
        known = measured.known
        # Where no face was found before, there is no box to spoil by, and none will be found after.
        wanted = [path for path, is_found in zip(known.paths, ~np.isnan(known.vectors[:, 0]), strict=True) if is_found]
        about = {"damage": damage.name, "what": damage.what, "seed": SEED}
        embed = self._embed_changed(about, lambda image: spoilt_image(image, damage, measured.detections))
        embedded = embed(measured.root, wanted, face=options.face, cache=options.cache, on_progress=on_progress)
        vectors = np.full(known.vectors.shape, np.nan, dtype=np.float32)
        for row, path in enumerate(known.paths):
            place = embedded.rows.get(path)
            if place is not None:
                vectors[row] = embedded.vectors[place]
        return vectors


def spoilt_image(image: Image, damage: Damage, detections: Mapping[str, Detection]) -> Image:
    """Return a photograph with a damage; the digest stays that of the file that it was read from.

    Args:
        image: The photograph.
        damage: What to do.
        detections: The face of each photograph, by digest.

    Raises:
        InputError: The photograph changed since its face was found.
    """
    face = detections.get(image.digest)
    if face is None:
        raise InputError(f"{image.name} is another photograph than the one whose face was found: it changed meanwhile")
    rng = np.random.default_rng((SEED, crc32(damage.name.encode()), int(image.digest[:16], 16)))
    return Image(damage.spoil(image.pixels, face.box, rng), image.digest, image.source)


def _photographs(
    images: str | os.PathLike[str], pairs_file: str | os.PathLike[str] | None, people_file: str | os.PathLike[str] | None
) -> tuple[Path, dict[Path, str], tuple[LfwPair, ...]]:
    """Return the folder, the person of each photograph, and the pairs."""
    if pairs_file is None and people_file is None:
        listed = read_folder(images)
        return listed.root, dict(listed.labels), ()
    root = Path(images)
    pairs = () if pairs_file is None else read_pairs(Path(pairs_file))
    labels = {} if people_file is None else {path: one.name for one in read_people(Path(people_file)) for path in one.paths}
    for pair in pairs:
        labels |= zip(pair.paths, (pair.name_a, pair.name_b), strict=True)
    require_photographs(root, labels)
    return root, labels, pairs


def _rates(measured: _Measured, probes: Vectors, name: str, what: str) -> DamageRates:
    known = measured.known
    compared = cross_pairs(probes, known.vectors, known.labels)
    points = tuple(_point(compared, sound) for sound in measured.thresholds)
    accuracy = None
    if len({pair.fold for pair in measured.pairs}) > 1:
        accuracy = fold_accuracy(_trials(measured, probes))
    return DamageRates(name, what, Rate(compared.n_probe_failures, compared.n_photographs), points, accuracy)


def _point(compared: CrossPairs, sound: AllPairsPoint) -> DamagePoint:
    if sound.fmr is None:
        raise ValueError("a threshold of a robustness card is set for an FMR")
    tar, false = compared.tar(sound.threshold), compared.false_matches(sound.threshold)
    return DamagePoint(sound.fmr, sound.threshold, tar, false, sound.is_supported)


def _trials(measured: _Measured, probes: Vectors) -> VerificationTrials:
    """Return the pairs with the first photograph spoilt; NaN where a photograph has no template."""
    rows = {path: row for row, path in enumerate(measured.known.paths)}
    scores: NDArray[np.float64] = np.full(len(measured.pairs), np.nan)
    for place, pair in enumerate(measured.pairs):
        a, b = (rows.get(path) for path in pair.paths)
        if a is not None and b is not None:
            scores[place] = np.clip(probes[a] @ measured.known.vectors[b], -1.0, 1.0)
    return VerificationTrials(
        scores, np.array([pair.is_mated for pair in measured.pairs]), np.array([pair.fold for pair in measured.pairs])
    )
