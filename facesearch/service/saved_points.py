"""Operating points that somebody measured: kept in the database, chosen by name.

It measures nothing: ``evaluate … --save`` hands it what it measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from facesearch.core.errors import IncompatibleTemplatesError, InputError, OperatingPointError
from facesearch.core.identity import checked_label
from facesearch.core.protocols import IdentityStore
from facesearch.core.records import ONE_TEMPLATE, PointKind, SavedPoint

if TYPE_CHECKING:
    from facesearch.evaluation.all_pairs import AllPairsPoint
    from facesearch.evaluation.evidence import Evidence
    from facesearch.evaluation.one_to_many import OpenSetPoint

HOW_TO_MEASURE = "measure one with `facesearch evaluate folder DIR --save NAME`"


def point_name(name: str, kind: PointKind, rate: float, n_templates: int | None = None) -> str:
    """Return what one of several points measured under a name is called, for example ``office-fmr-0.0001``.

    Args:
        name: Given by the user.
        kind: Of the rate.
        rate: In (0, 1].
        n_templates: For an FPIR the templates searched, which become part of the name: ``office-fpir-0.01-500``.
    """
    size = "" if n_templates is None else f"-{n_templates}"
    return checked_label(f"{name}-{kind}-{rate:g}{size}", what="name of an operating point")


class SavedPoints:
    """Saves, lists and finds operating points.

    Args:
        store: Where they are kept.
        embedder_id: The embedder in use.
    """

    def __init__(self, store: IdentityStore, *, embedder_id: str) -> None:
        self._store = store
        self._embedder_id = embedder_id

    def save(self, points: Iterable[SavedPoint]) -> tuple[SavedPoint, ...]:
        """Keep points, all or none; those of the same name and embedder are replaced.

        Raises:
            IncompatibleTemplatesError: A point is of another embedder than the one in use.
            InputError: Two points have one name.
        """
        chosen = tuple(points)
        names = [point.name for point in chosen]
        if len(set(names)) != len(names):
            raise InputError(f"points saved together need names of their own: {', '.join(sorted(names))}")
        for point in chosen:
            self._require_own(point)
        with self._store.writing() as writer:
            for point in chosen:
                writer.save_point(point)
        return chosen

    def all(self) -> tuple[SavedPoint, ...]:
        """Return all saved points of all embedders, by name."""
        with self._store.reading() as reader:
            return reader.saved_points()

    def get(self, name: str) -> SavedPoint:
        """Return a point of the embedder in use.

        Raises:
            OperatingPointError: There is none of this name; lists those there are and says what to run.
            IncompatibleTemplatesError: There is one, of another embedder; names both.
        """
        with self._store.reading() as reader:
            found = reader.saved_points(name=name)
            own = [point for point in found if point.embedder_id == self._embedder_id]
            if own:
                return own[0]
            others = sorted(point.name for point in reader.saved_points() if point.embedder_id == self._embedder_id)
        if found:
            self._require_own(found[0])
        known = f"saved are {', '.join(map(repr, others))}" if others else "none is saved"
        raise OperatingPointError(
            f"there is no operating point {name!r} for {self._embedder_id} ({known}): {HOW_TO_MEASURE}, "
            "or ask for a rate with --fmr or --fpir",
            name=name,
        )

    def remove(self, name: str) -> SavedPoint:
        """Delete a point of the embedder in use and return it.

        Raises:
            OperatingPointError: There is none of this name.
            IncompatibleTemplatesError: There is one, of another embedder.
        """
        found = self.get(name)
        with self._store.writing() as writer:
            writer.remove_point(found.name, found.embedder_id)
        return found

    def _require_own(self, point: SavedPoint) -> None:
        if point.embedder_id != self._embedder_id:
            raise IncompatibleTemplatesError(
                f"operating point {point.name!r} was measured with {point.embedder_id}, faces are embedded with "
                f"{self._embedder_id}: a threshold means nothing to another embedder; {HOW_TO_MEASURE}, or choose that embedder",
                embedder_id=self._embedder_id,
                other_id=point.embedder_id,
            )


@dataclass(frozen=True, slots=True)
class Measured:
    """Where operating points come from.

    Attributes:
        embedder_id: What was measured.
        data_digest: SHA-256 of the photographs.
        source: The photographs in words.
        is_in_sample: Whether the rates reported beside the points are of the photographs that set them.
    """

    embedder_id: str
    data_digest: str
    source: str
    is_in_sample: bool = True


def fmr_points(name: str, points: Iterable[AllPairsPoint], measured: Measured) -> tuple[SavedPoint, ...]:
    """Return the points of all pairs that their evidence supports, named by ``point_name``.

    Raises:
        InputError: None is supported; says how far the evidence reaches.
    """
    chosen = tuple(points)
    saved = tuple(
        _saved(name, PointKind.FMR, point.fmr, point.threshold, point.evidence, measured)
        for point in chosen
        if point.fmr is not None and point.is_supported and point.threshold <= 1.0
    )
    return _some(saved, name, (point.answer for point in chosen))


def fpir_points(
    name: str, points: Iterable[OpenSetPoint], measured: Measured, *, n_templates: int, fusion: str = ONE_TEMPLATE
) -> tuple[SavedPoint, ...]:
    """Return the points of an open-set search that their evidence supports, named by ``point_name``.

    Args:
        name: Given by the user.
        points: Of one gallery.
        measured: Where they come from.
        n_templates: Templates of that gallery.
        fusion: How the templates of a person made one score, where somebody had several.

    Raises:
        InputError: None is supported; says how far the evidence reaches.
    """
    chosen = tuple(points)
    saved = tuple(
        replace(
            _saved(name, PointKind.FPIR, point.fpir, point.threshold, point.evidence, measured, n_templates=n_templates),
            fusion=fusion,
        )
        for point in chosen
        if point.fpir is not None and point.is_supported and point.threshold <= 1.0
    )
    return _some(saved, name, (point.evidence.answer(point.fpir) for point in chosen if point.fpir is not None))


def _saved(
    name: str,
    kind: PointKind,
    rate: float,
    threshold: float,
    evidence: Evidence,
    measured: Measured,
    *,
    n_templates: int | None = None,
) -> SavedPoint:
    return SavedPoint(
        name=point_name(name, kind, rate, n_templates),
        embedder_id=measured.embedder_id,
        kind=kind,
        rate=rate,
        threshold=threshold,
        n_non_mated=evidence.n_comparisons,
        n_person_pairs=evidence.n_person_pairs or 0,
        n_templates=n_templates,
        fusion=ONE_TEMPLATE,
        data_digest=measured.data_digest,
        source=measured.source,
        is_in_sample=measured.is_in_sample,
        created_at=datetime.now(UTC),
    )


def _some(saved: tuple[SavedPoint, ...], name: str, answers: Iterable[object]) -> tuple[SavedPoint, ...]:
    if not saved:
        reasons = "; ".join(str(answer) for answer in answers) or "no rate was asked for"
        raise InputError(f"nothing to save as {name!r}: {reasons}", name=name)
    return saved
