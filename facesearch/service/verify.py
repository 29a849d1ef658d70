"""1:1: are these two the same person?

It compares exactly what it is handed; it searches no gallery.
"""

from __future__ import annotations

from facesearch.core.decision import OperatingPoints, Verification
from facesearch.core.errors import IncompatibleTemplatesError
from facesearch.core.fusion import DEFAULT_FUSION, Fusion, fused_score
from facesearch.core.identity import Identity
from facesearch.core.protocols import IdentityStore
from facesearch.core.template import compare
from facesearch.service.pipeline import ProbeFace


class Verify:
    """Decides whether faces are of the same person.

    Args:
        store: Where enrolled templates come from.
        points: The embedder's operating points.
        default_fmr: False match rate used where none is asked for.
        fusion: How several templates of a person become one score.
    """

    def __init__(
        self, store: IdentityStore, points: OperatingPoints, *, default_fmr: float, fusion: Fusion = DEFAULT_FUSION
    ) -> None:
        self._store = store
        self._points = points
        self._fusion = fusion
        self._default_fmr = default_fmr

    def pair(self, a: ProbeFace, b: ProbeFace, *, fmr: float | None = None) -> Verification:
        """Return the answer for two faces."""
        point = self._points.at_fmr(self._default_fmr if fmr is None else fmr)
        return Verification(compare(a.template, b.template), point, (a.detection, b.detection))

    def against(self, face: ProbeFace, label: str, *, collection: str, fmr: float | None = None) -> Verification:
        """Return the answer for a face and an enrolled person: the score is what the fusion rule makes of the person's templates.

        The best of ``n`` templates is ``n`` chances for a stranger, so the threshold is the one at ``FMR / n`` (union bound): the
        rate asked for holds for the whole comparison with the person. A fused template is at most ``FUSED_CHANCES``.

        Raises:
            UnknownIdentityError: The label is not enrolled.
            IncompatibleTemplatesError: The person was enrolled with other embedders only.
        """
        with self._store.reading() as reader:
            person: Identity = reader.identity(collection, label)
            enrolled = reader.templates_of(person.identity_id)
        usable = [one for one in enrolled if one.template.embedder_id == face.template.embedder_id]
        if not usable:
            others = ", ".join(sorted({one.template.embedder_id for one in enrolled})) or "no embedder at all"
            raise IncompatibleTemplatesError(
                f"{person.label!r} was enrolled with {others}, the photograph was embedded with {face.template.embedder_id}: "
                "enroll a photograph of the person again (facesearch enroll)",
                embedder_id=face.template.embedder_id,
            )
        n_comparisons = self._fusion.n_comparisons(len(usable), 1)
        point = self._points.at_fpir(self._default_fmr if fmr is None else fmr, n_comparisons)
        score = fused_score(face.template, usable, self._fusion)
        return Verification(score, point, (face.detection,), person.label)
