"""1:N in a collection that was moved to another embedder while photographs of some of its people are gone.

The people left behind are searched with the former embedder, everybody else with the current one; each search is decided at an
operating point of its own embedder. Scores of the two are never compared with each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from facesearch.core.decision import Identification
from facesearch.core.errors import InputError
from facesearch.core.records import SavedPoint
from facesearch.service.found_face import ProbeFace
from facesearch.service.identify import Identify
from facesearch.service.pipeline import FacePipeline

N_SEARCHES = 2
"""Searches of a face where somebody was left behind: a stranger has a chance in each of them."""


@dataclass(frozen=True, slots=True)
class Searcher:
    """What one embedder searches with.

    Attributes:
        pipeline: Makes its templates.
        identify: Searches and decides.
        saved: Returns its saved operating point of a name, None for None.
    """

    pipeline: FacePipeline
    identify: Identify
    saved: Callable[[str | None], SavedPoint | None]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a search was asked for, beside its faces; see ``Identify``."""

    k: int
    collection: str
    tags: tuple[str, ...]
    fpir: float | None
    fmr: float | None
    operating_point: str | None

    def of(self, searcher: Searcher, faces: Sequence[ProbeFace], people: frozenset[int] | None) -> tuple[Identification, ...]:
        """Return one embedder's answers."""
        return searcher.identify(
            faces,
            self.k,
            collection=self.collection,
            tags=self.tags,
            fpir=self.fpir,
            fmr=self.fmr,
            saved=searcher.saved(self.operating_point),
            people=people,
        )


def identify_both(
    current: Searcher, former: Searcher, left_behind: frozenset[int], faces: Iterable[ProbeFace], asked: Asked
) -> tuple[Identification, ...]:
    """Return one answer a face, in order: the current embedder's, unless it knows nobody and the former one knows somebody.

    A false positive identification rate is halved between the two searches (Bonferroni: whatever links their scores, a stranger's
    face is taken for somebody in either at most at the sum of the rates). A false match rate a comparison is what it is in both. A
    saved operating point decides its own embedder's search, so one must be saved under the same name for each, and their rates add
    up.

    Args:
        current: The embedder of the collection.
        former: The one before.
        left_behind: The people searched with ``former``.
        faces: Probe faces, with their photographs.
        asked: What is asked for.

    Raises:
        OperatingPointError: No point of the name is saved for one of the embedders.
    """
    probes = tuple(faces)
    fpir = None
    if asked.operating_point is None:
        fpir, _ = current.identify.rate(asked.fpir, asked.fmr)
    elif asked.fpir is not None or asked.fmr is not None:
        raise InputError(f"give the operating point {asked.operating_point!r} or a rate, not both")
    halved = asked if fpir is None else replace(asked, fpir=fpir / N_SEARCHES)
    answers = halved.of(current, current.pipeline.own(probes), None)
    others = halved.of(former, former.pipeline.own(probes), left_behind)
    chosen = [other if other.is_match and not one.is_match else one for one, other in zip(answers, others, strict=True)]
    return tuple(one if fpir is None else replace(one, fpir=fpir) for one in chosen)
