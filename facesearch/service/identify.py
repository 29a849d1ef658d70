"""1:N: who is in this photograph? Unknown is an answer.

The threshold follows from the false positive identification rate asked for and from how many templates were searched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from facesearch.core.decision import Candidate, Identification, OperatingPoint, OperatingPoints, checked_rate
from facesearch.core.errors import InputError
from facesearch.core.face import Detection
from facesearch.core.records import PointKind, SavedPoint
from facesearch.service.feedback import Objections
from facesearch.service.found_face import FoundFace
from facesearch.service.search import MAX_K, GallerySearch, SearchResult, checked_k


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
        faces: Sequence[FoundFace],
        k: int,
        *,
        collection: str,
        tags: Iterable[str] = (),
        fpir: float | None = None,
        fmr: float | None = None,
        saved: SavedPoint | None = None,
        people: frozenset[int] | None = None,
    ) -> tuple[Identification, ...]:
        """Return one answer a face, in order.

        Args:
            faces: Faces with their templates.
            k: Candidates shown a face, at least 1.
            collection: Where to search.
            tags: Only people who carry all of these.
            fpir: Share of probe faces of strangers that may come back as somebody, in (0, 1].
            fmr: Decide at a fixed false match rate a comparison instead, whatever the gallery's size.
            saved: Decide at a point that somebody measured instead; no rate may be given then.
            people: Only these identity ids; None for all.

        People whom a face was said not to be are left out of its candidates.
        """
        if saved is not None and (fpir is not None or fmr is not None):
            raise InputError(f"give the operating point {saved.name!r} or a rate, not both")
        asked, fixed = self.rate(fpir, fmr)
        said, rejected, result = self._found(faces, k, collection, tags, people)
        if saved is None:
            point = self.operating_point(asked, fixed, result.n_comparisons)
        else:
            point = saved.decision_point(result.n_comparisons, fusion=self._search.fusion)
            asked = saved.rate if saved.kind is PointKind.FPIR else None
        return tuple(
            Identification(face.detection, _without(candidates, gone, said, k), point, asked, result.n_templates, len(gone))
            for face, candidates, gone in zip(faces, result.candidates, rejected, strict=True)
        )

    def candidates(
        self, faces: Sequence[FoundFace], k: int, *, collection: str, tags: Iterable[str] = ()
    ) -> tuple[tuple[Detection, tuple[Candidate, ...], int], ...]:
        """Return whom each face resembles most, and how many templates were searched; as ``__call__`` without a decision."""
        said, rejected, result = self._found(faces, k, collection, tags)
        return tuple(
            (face.detection, _without(candidates, gone, said, k), result.n_templates)
            for face, candidates, gone in zip(faces, result.candidates, rejected, strict=True)
        )

    def _found(
        self,
        faces: Sequence[FoundFace],
        k: int,
        collection: str,
        tags: Iterable[str],
        people: frozenset[int] | None = None,
    ) -> tuple[Objections, list[frozenset[int]], SearchResult]:
        """Return what was said against answers, whom each face was said not to be, and the candidates with those among them."""
        said = self._search.objections(collection, faces[0].template.embedder_id) if faces else Objections()
        rejected = [said.rejected(face) for face in faces]
        wanted = min(checked_k(k) + max(map(len, rejected), default=0), MAX_K)
        probes = [face.template for face in faces]
        return said, rejected, self._search.search(probes, wanted, collection=collection, tags=tags, people=people)


def _without(candidates: Sequence[Candidate], rejected: frozenset[int], said: Objections, k: int) -> tuple[Candidate, ...]:
    """Return the best ``k`` candidates that nobody rejected, ranked anew, with the floors that feedback set."""
    kept = [one for one in candidates if one.identity_id not in rejected][:k]
    return tuple(replace(one, rank=rank, floor=said.floor(one.identity_id)) for rank, one in enumerate(kept, start=1))
