"""1:N: who is in this photograph? Unknown is an answer.

The threshold follows from the false positive identification rate asked for and from how many templates were searched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from facesearch.core.decision import Identification, OperatingPoint, OperatingPoints, checked_rate
from facesearch.core.errors import InputError
from facesearch.service.pipeline import ProbeFace
from facesearch.service.search import GallerySearch


class Identify:
    """Decides who the faces of a photograph are.

    Args:
        search: Finds candidates.
        points: The embedder's operating points.
        default_fpir: Used where neither an FPIR nor an FMR is asked for.
    """

    def __init__(self, search: GallerySearch, points: OperatingPoints, *, default_fpir: float) -> None:
        self._search = search
        self._points = points
        self._default_fpir = checked_rate(default_fpir, what="FPIR")

    def rate(self, fpir: float | None, fmr: float | None) -> tuple[float | None, float | None]:
        """Return ``(fpir, fmr)``, exactly one of them None, with the default filled in.

        Raises:
            InputError: Both are given, or one is out of range.
        """
        if fpir is not None and fmr is not None:
            raise InputError("give an FPIR (rate a search) or an FMR (rate a comparison), not both")
        if fmr is not None:
            return None, checked_rate(fmr, what="FMR")
        return (self._default_fpir if fpir is None else checked_rate(fpir, what="FPIR")), None

    def operating_point(self, fpir: float | None, fmr: float | None, n_templates: int) -> OperatingPoint:
        """Return what a search of so many templates is decided at."""
        fpir, fmr = self.rate(fpir, fmr)
        if fpir is not None:
            return self._points.at_fpir(fpir, n_templates)
        return self._points.at_fmr(fmr if fmr is not None else 1.0)

    def __call__(
        self,
        faces: Sequence[ProbeFace],
        k: int,
        *,
        collection: str,
        tags: Iterable[str] = (),
        fpir: float | None = None,
        fmr: float | None = None,
    ) -> tuple[Identification, ...]:
        """Return one answer a face, in order.

        Args:
            faces: Faces with their templates.
            k: Candidates shown a face, at least 1.
            collection: Where to search.
            tags: Only people who carry all of these.
            fpir: Share of probe faces of strangers that may come back as somebody, in (0, 1].
            fmr: Decide at a fixed false match rate a comparison instead, whatever the gallery's size.
        """
        asked, fixed = self.rate(fpir, fmr)
        result = self._search.search([face.template for face in faces], k, collection=collection, tags=tags)
        point = self.operating_point(asked, fixed, result.n_comparisons)
        return tuple(
            Identification(face.detection, candidates, point, asked, result.n_templates)
            for face, candidates in zip(faces, result.candidates, strict=True)
        )
