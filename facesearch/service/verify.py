"""1:1: are these two the same person?

It compares exactly what it is handed; it searches no gallery.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from facesearch.core.calibration import Calibration
from facesearch.core.decision import OperatingPoint, OperatingPoints, Verification
from facesearch.core.errors import IncompatibleTemplatesError, InputError
from facesearch.core.fusion import DEFAULT_FUSION, Fusion, fused_score
from facesearch.core.protocols import IdentityStore
from facesearch.core.records import PointKind, SavedPoint
from facesearch.core.template import compare
from facesearch.service.feedback import objections
from facesearch.service.found_face import ProbeFace
from facesearch.service.who import Who, person_of


class Verify:
    """Decides whether faces are of the same person.

    Args:
        store: Where enrolled templates come from.
        points: The embedder's operating points.
        default_fmr: False match rate used where none is asked for.
        fusion: How several templates of a person become one score.
        calibration: Returns the embedder's calibration, or None where none was made.
    """

    def __init__(
        self,
        store: IdentityStore,
        points: OperatingPoints,
        *,
        default_fmr: float,
        fusion: Fusion = DEFAULT_FUSION,
        calibration: Callable[[], Calibration | None] = lambda: None,
    ) -> None:
        self._store = store
        self._points = points
        self._fusion = fusion
        self._default_fmr = default_fmr
        self._calibration = calibration

    def pair(self, a: ProbeFace, b: ProbeFace, *, fmr: float | None = None, saved: SavedPoint | None = None) -> Verification:
        """Return the answer for two faces.

        Raises:
            InputError: A rate and a saved point are given, or the saved point was set for searches.
        """
        point = self._point(fmr, saved, 1)
        score = compare(a.template, b.template)
        return Verification(score, point, (a.detection, b.detection), calibration=self._calibration())

    def _point(self, fmr: float | None, saved: SavedPoint | None, n_comparisons: int) -> OperatingPoint:
        """Return what a comparison is decided at; a saved point holds for one template only, with more it is not supported."""
        if saved is None:
            return self._points.at_fpir(self._default_fmr if fmr is None else fmr, n_comparisons)
        if fmr is not None:
            raise InputError(f"give the operating point {saved.name!r} or an FMR, not both")
        if saved.kind is not PointKind.FMR:
            raise InputError(
                f"the operating point {saved.name!r} was set for searches of {saved.n_templates} templates (FPIR {saved.rate:g}); "
                "two faces are compared at one that was set for an FMR"
            )
        point = saved.decision_point()
        return point if n_comparisons == 1 else replace(point, is_supported=False)

    def against(
        self, face: ProbeFace, label: Who, *, collection: str, fmr: float | None = None, saved: SavedPoint | None = None
    ) -> Verification:
        """Return the answer for a face and an enrolled person: the score is what the fusion rule makes of the person's templates.

        The best of ``n`` templates is ``n`` chances for a stranger, so the threshold is the one at ``FMR / n`` (union bound): the
        rate asked for holds for the whole comparison with the person. A fused template is at most ``FUSED_CHANCES``.

        A face that was said not to be this person's is no match, whatever it scores.

        Raises:
            InputError: As ``pair``.
            UnknownIdentityError: The label is not enrolled.
            IncompatibleTemplatesError: The person was enrolled with other embedders only.
        """
        with self._store.reading() as reader:
            person = person_of(reader, collection, label)
            enrolled = reader.templates_of(person.identity_id)
            said = objections(reader, collection, face.template.embedder_id)
        usable = [one for one in enrolled if one.template.embedder_id == face.template.embedder_id]
        if not usable:
            others = ", ".join(sorted({one.template.embedder_id for one in enrolled})) or "no embedder at all"
            raise IncompatibleTemplatesError(
                f"{person.label!r} was enrolled with {others}, the photograph was embedded with {face.template.embedder_id}: "
                "enroll a photograph of the person again (facesearch enroll)",
                embedder_id=face.template.embedder_id,
            )
        n_comparisons = self._fusion.n_comparisons([len(usable)])
        return Verification(
            score=fused_score(face.template, usable, self._fusion),
            operating_point=self._point(fmr, saved, n_comparisons),
            detections=(face.detection,),
            label=person.label,
            floor=said.floor(person.identity_id),
            is_rejected=person.identity_id in said.rejected(face),
            # The score of several templates together is no single comparison, which is all that was calibrated.
            calibration=self._calibration() if len(usable) == 1 else None,
        )
