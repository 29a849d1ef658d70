"""The library's face: one object with everything a program wants of facesearch.

It only passes on; the use cases are in the modules beside it.
"""

from __future__ import annotations

import builtins
import logging
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Self

from facesearch.core.decision import Identification, OperatingPoints, Verification
from facesearch.core.face import Box, Detection
from facesearch.core.identity import Keep
from facesearch.core.protocols import IdentityStore
from facesearch.core.quality import Quality
from facesearch.core.records import SavedPoint
from facesearch.core.template import Template, compare
from facesearch.service.embedder_choice import Answering, EmbedderChoice
from facesearch.service.exchange import Exchange, ExchangeSummary
from facesearch.service.facade_enroll import EnrollFacade, Enrolment
from facesearch.service.facade_faces import FacesFacade
from facesearch.service.facade_people import PeopleFacade
from facesearch.service.facade_records import Records, RecordsFacade
from facesearch.service.facade_search import SearchFacade
from facesearch.service.facade_video import VideoFacade, Videos
from facesearch.service.faces import FaceChoice
from facesearch.service.found_face import FoundFace, ProbeFace
from facesearch.service.gallery import GalleryIndexes, IndexStatus
from facesearch.service.identify import Identify
from facesearch.service.identify_both import Asked, Searcher, identify_both
from facesearch.service.identify_many import PhotographAnswer, identify_many, one_by_one
from facesearch.service.people import People
from facesearch.service.pipeline import FacePipeline, ImageSource
from facesearch.service.search import checked_k
from facesearch.service.verify import Verify
from facesearch.service.who import Who, person_of

logger = logging.getLogger("facesearch")

DEFAULT_K = 5
"""Candidates shown a face where no number is asked for."""


@dataclass(frozen=True, slots=True)
class Services:
    """What the façade is made of; ``facesearch.bootstrap`` fills it in. ``videos`` is made when it is needed.

    Where ``embedders`` is None, every collection is searched with the one embedder there is.
    """

    pipeline: FacePipeline
    store: IdentityStore
    indexes: GalleryIndexes
    points: OperatingPoints
    enrolment: Enrolment
    verify: Verify
    identify: Identify
    people: People
    exchange: Exchange
    records: Records
    videos: Callable[[], Videos]
    collection: str
    embedders: EmbedderChoice[Services] | None = None

    def searcher(self) -> Searcher:
        """Return what searches with this embedder."""
        points = self.records.saved_points
        return Searcher(self.pipeline, self.identify, lambda name: None if name is None else points.get(name))


class FaceSearchService(EnrollFacade, FacesFacade, SearchFacade, PeopleFacade, RecordsFacade, VideoFacade):
    """Enroll people, verify photographs (1:1) and identify faces (1:N).

    Thread-safe; a context manager. A *photograph* is a path, bytes, a file object, a PIL image, an RGB uint8 array of shape
    ``(H, W, 3)`` or an ``Image``. ``face`` says which face of it is meant: ``"only"`` (several are an error), ``"largest"``,
    ``"central"`` or an index by falling detection score. ``roi`` limits the search to a box ``(x1, y1, x2, y2)`` in pixels.
    ``collection`` names the gallery; None means the one of the settings. A person is named by label, or by identity id where that
    is an int. A collection that was moved to another embedder (``gallery migrate``) is searched with it, whatever the settings say.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._is_closed = False

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Write index snapshots that lag behind and release the database. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._services.indexes.save()
            for other in self._services.embedders.made() if self._services.embedders is not None else ():
                other.indexes.save()
        finally:
            self._services.store.close()

    @property
    def embedder_id(self) -> str:
        """The embedder of the settings, and of every template made without a collection: ``<name>@<12 hex digits>[+flip]``."""
        return self._services.pipeline.embedder_id

    @property
    def default_collection(self) -> str:
        """Name of the collection that None stands for."""
        return self._services.collection

    @property
    def operating_points(self) -> OperatingPoints:
        """The embedder's thresholds with the error rates they were measured for."""
        return self._services.points

    def detect(self, photo: ImageSource, *, roi: Box | None = None) -> tuple[Detection, ...]:
        """Return the faces of a photograph by falling score; empty when there is none."""
        return self._services.pipeline.detect(photo, roi=roi)[1]

    def qualities(self, photo: ImageSource, faces: Sequence[Detection]) -> tuple[Quality | None, ...]:
        """Return how usable each face of a photograph is, in order; None for one that cannot even be aligned.

        Args:
            photo: The photograph.
            faces: What ``detect`` found in it.
        """
        pipeline = self._services.pipeline
        return pipeline.qualities(pipeline.decode(photo), faces)

    def template(self, photo: ImageSource, *, face: FaceChoice = "only", roi: Box | None = None) -> Template:
        """Return the template of one face of a photograph.

        Raises:
            NoFaceError: There is no face.
            SeveralFacesError: There are several and ``face`` is ``"only"``.
        """
        return self._services.pipeline.face(photo, face, roi=roi).template

    @staticmethod
    def compare(a: Template, b: Template) -> float:
        """Return the cosine similarity of two templates in [-1, 1]; it decides nothing.

        Raises:
            IncompatibleTemplatesError: They come from different embedders.
        """
        return compare(a, b)

    def verify(
        self,
        a: ImageSource | ProbeFace,
        b: ImageSource | ProbeFace,
        *,
        face: FaceChoice = "only",
        fmr: float | None = None,
        operating_point: str | None = None,
    ) -> Verification:
        """Say whether two photographs show the same person (1:1).

        Args:
            a: A photograph, or a face found by ``find_face``.
            b: Another.
            face: Which face of each photograph.
            fmr: False match rate to decide at, in (0, 1]; None for the setting (1e-4).
            operating_point: Name of a saved one to decide at instead.

        Raises:
            OperatingPointError: No operating point of this name is saved.
        """
        saved = self._saved(operating_point)
        pipeline = self._services.pipeline
        return self._services.verify.pair(*pipeline.face_each([(a, face), (b, face)]), fmr=fmr, saved=saved)

    def verify_identity(
        self,
        photo: ImageSource | ProbeFace,
        label: Who,
        *,
        collection: str | None = None,
        face: FaceChoice = "only",
        fmr: float | None = None,
        operating_point: str | None = None,
    ) -> Verification:
        """Say whether a photograph shows an enrolled person (1:1); see ``Fusion`` for the score against several photographs.

        Raises:
            UnknownIdentityError: The label is not enrolled.
        """
        where = self._collection(collection)
        services = self._services_for(label, where)
        saved = services.searcher().saved(operating_point)
        found = services.pipeline.face(photo, face)
        return services.verify.against(found, label, collection=where, fmr=fmr, saved=saved)

    def identify(
        self,
        photo: ImageSource | tuple[ProbeFace, ...],
        k: int = DEFAULT_K,
        *,
        collection: str | None = None,
        tags: Iterable[str] = (),
        roi: Box | None = None,
        fpir: float | None = None,
        fmr: float | None = None,
        operating_point: str | None = None,
    ) -> tuple[Identification, ...]:
        """Say who the faces of a photograph are (1:N), one answer a face by falling detection score; unknown is an answer.

        Args:
            photo: The photograph, or faces found by ``find_faces``.
            k: Candidates shown a face, whether or not they reach the threshold.
            collection: Where to search.
            tags: Only people who carry all of these.
            roi: Search for faces only inside this box.
            fpir: Share of probe faces of strangers that may come back as somebody; None for the setting (1e-2). The threshold
                follows from it and the number of templates searched.
            fmr: Decide at a fixed false match rate a comparison instead.
            operating_point: Name of a saved operating point to decide at instead.

        Raises:
            OperatingPointError: No operating point of this name is saved.
            NoFaceError: There is no face in the photograph.
        """
        checked_k(k)
        self._services.identify.rate(fpir, fmr)
        asked = Asked(k, self._collection(collection), tuple(tags), fpir, fmr, operating_point)
        return self._identified(self._answering(asked.collection), photo, asked, roi)

    def identify_many(
        self,
        photos: Iterable[ImageSource],
        k: int = DEFAULT_K,
        *,
        collection: str | None = None,
        tags: Iterable[str] = (),
        fpir: float | None = None,
        fmr: float | None = None,
        operating_point: str | None = None,
    ) -> Iterator[PhotographAnswer]:
        """Say who the faces of many photographs are (1:N), one answer a photograph, in order and as they come.

        The answers are those of ``identify``, several times faster, and memory stays bounded: photographs are read lazily, decoded,
        searched and embedded in batches on every processor. A photograph that cannot be used is an answer with an ``error``.

        Args:
            photos: The photographs.
            k: As in ``identify``, like the rest.
            collection: Where to search.
            tags: Only people who carry all of these.
            fpir: Share of strangers that may come back as somebody.
            fmr: Decide at a fixed false match rate a comparison instead.
            operating_point: Name of a saved operating point to decide at instead.

        Raises:
            InputError: ``k`` or a rate is out of range; here, before the first photograph is read.
            OperatingPointError: No operating point of this name is saved; likewise.
        """
        checked_k(k)
        self._services.identify.rate(fpir, fmr)
        asked = Asked(k, self._collection(collection), tuple(tags), fpir, fmr, operating_point)
        answering = self._answering(asked.collection)
        services = answering.current
        saved = services.searcher().saved(operating_point)
        if answering.former is not None:
            # Each face is embedded twice, which takes its pixels: one photograph after the other.
            return one_by_one(photos, lambda photo: self._identified(answering, photo, asked, None), services.pipeline)

        def decide(faces: Sequence[FoundFace]) -> tuple[Identification, ...]:
            return services.identify(faces, k, collection=asked.collection, tags=asked.tags, fpir=fpir, fmr=fmr, saved=saved)

        return identify_many(services.pipeline, photos, decide)

    def export_collection(self, file: str | os.PathLike[str], *, collection: str | None = None) -> ExchangeSummary:
        """Write a collection to one portable file."""
        return self._services.exchange.export(file, collection=self._collection(collection))

    def stream_collection(self, *, collection: str | None = None) -> Generator[bytes, None, ExchangeSummary]:
        """Yield an exported collection piece by piece, without a file; see ``Exchange.stream``."""
        return self._services.exchange.stream(collection=self._collection(collection))

    def import_collection(
        self, file: str | os.PathLike[str] | BinaryIO, *, collection: str | None = None, keep: Keep = Keep.PHOTO
    ) -> ExchangeSummary:
        """Read an exported collection, a file or an open one, everything or nothing.

        Args:
            file: What was exported.
            collection: What it is called here; None keeps the name it was exported under.
            keep: Pictures of more than this are left out.
        """
        return self._services.exchange.restore(file, collection=collection, keep=keep)

    def index_status(self) -> builtins.list[IndexStatus]:
        """Return how the index of each collection stands to the database, after catching up."""
        with self._services.store.reading() as reader:
            return [self._at(one.name).indexes.status(reader, one.name) for one in reader.collections()]

    def rebuild_index(self, *, collection: str | None = None) -> None:
        """Build a collection's index anew from the database."""
        where = self._collection(collection)
        with self._services.store.reading() as reader:
            self._at(where).indexes.rebuild(reader, where)

    def _identified(
        self, answering: Answering[Services], photo: ImageSource | tuple[ProbeFace, ...], asked: Asked, roi: Box | None
    ) -> tuple[Identification, ...]:
        searcher = answering.current.searcher()
        searcher.saved(asked.operating_point)  # an unknown name is said before the photograph is looked at
        faces = searcher.pipeline.own(photo) if _are_faces(photo) else searcher.pipeline.faces(photo, roi=roi)
        if answering.former is not None:
            return identify_both(searcher, answering.former.searcher(), answering.left_behind, faces, asked)
        return asked.of(searcher, faces, None)

    def _answering(self, collection: str) -> Answering[Services]:
        """Return what a collection is searched with."""
        services = self._services
        return Answering(services) if services.embedders is None else services.embedders.answering(collection)

    def _at(self, collection: str | None) -> Services:
        """Return what is done with the embedder of a collection; of the settings for None."""
        services = self._services
        return services if collection is None or services.embedders is None else services.embedders.current(collection)

    def _services_for(self, label: Who, collection: str) -> Services:
        """Return what a person is compared with."""
        answering = self._answering(collection)
        if answering.former is None:
            return answering.current
        with self._services.store.reading() as reader:
            is_left = person_of(reader, collection, label).identity_id in answering.left_behind
        return answering.former if is_left else answering.current

    def _enrolment(self, collection: str | None) -> tuple[Enrolment, FacePipeline]:
        services = self._at(collection)
        return services.enrolment, services.pipeline

    def _searching(self, collection: str | None = None) -> tuple[Identify, FacePipeline]:
        services = self._at(collection)
        return services.identify, services.pipeline

    def _people(self, collection: str | None = None) -> People:
        return self._at(collection).people

    def _records(self, collection: str | None = None) -> tuple[Records, FacePipeline]:
        services = self._at(collection)
        return services.records, services.pipeline

    def _videos(self, collection: str) -> Videos:
        return self._at(collection).videos()

    def _saved(self, name: str | None, collection: str | None = None) -> SavedPoint | None:
        return self._at(collection).searcher().saved(name)

    def _collection(self, name: str | None) -> str:
        return self._services.collection if name is None else name


def _are_faces(photo: object) -> bool:
    return isinstance(photo, tuple) and all(isinstance(one, ProbeFace) for one in photo)
