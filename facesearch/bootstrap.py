"""From settings to objects: the one place where concrete classes meet.

Nothing is opened or loaded before the first call that needs it.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facesearch.core.calibration import Calibration
from facesearch.core.decision import OperatingPoints, UnmeasuredPoints
from facesearch.core.embedder_use import NamedEmbedder
from facesearch.core.errors import OperatingPointError, SettingsError, UncalibratedEmbedderError
from facesearch.core.face import Detection
from facesearch.core.identity import Keep, KeptPicture
from facesearch.core.image import Image
from facesearch.core.paths import is_folder
from facesearch.core.protocols import Detector, Embedder, IdentityStore
from facesearch.detection.mtcnn import DetectorSettings, MtcnnDetector
from facesearch.detection.networks import network_specs
from facesearch.embedding.embedder import create_embedder
from facesearch.embedding.networks import network_spec
from facesearch.embedding.registry import EmbedderCard, card
from facesearch.gallery.factory import GalleryIndexFactory
from facesearch.gallery.options import IndexOptions
from facesearch.imaging.align import align_faces
from facesearch.imaging.crops import face_picture, photo_picture
from facesearch.imaging.decode import DecodeLimits, decode_image
from facesearch.imaging.quality import measure_quality
from facesearch.inference import Engine, Precision, create_engine
from facesearch.moving import MovingParts
from facesearch.service.embedder_choice import EmbedderChoice
from facesearch.service.enroll import Enroll
from facesearch.service.enroll_folder import EnrollFolder
from facesearch.service.exchange import Exchange
from facesearch.service.facade import FaceSearchService, Services
from facesearch.service.facade_enroll import Enrolment
from facesearch.service.facade_records import Records
from facesearch.service.feedback import FeedbackBook
from facesearch.service.file_journal import FileJournal
from facesearch.service.gallery import GalleryIndexes
from facesearch.service.identify import Identify
from facesearch.service.known_files import KnownFiles
from facesearch.service.lazy import LazyDetector, LazyEmbedder, LazyStore
from facesearch.service.people import People
from facesearch.service.pipeline import FacePipeline, ImageSource
from facesearch.service.saved_points import SavedPoints
from facesearch.service.search import GallerySearch
from facesearch.service.verify import Verify
from facesearch.settings import Settings
from facesearch.store.calibration_probe import may_hold_calibration

if TYPE_CHECKING:
    from facesearch.embedding.library import ModelLibrary
    from facesearch.service.calibrate import Calibrate
    from facesearch.service.facade_video import Videos
    from facesearch.service.gallery_doctor import GalleryDoctor


class Parts(MovingParts):
    """The objects of one set of settings, each made when it is first asked for.

    Args:
        settings: What to make them from.
    """

    @cached_property
    def limits(self) -> DecodeLimits:
        """Largest photograph taken."""
        return DecodeLimits(max_bytes=self.settings.max_image_bytes, max_pixels=self.settings.max_image_pixels)

    @cached_property
    def engine(self) -> Engine:
        """What runs the networks."""
        settings = self.settings
        return create_engine(
            settings.engine,
            precision=settings.precision,
            threads=settings.threads,
            streams=settings.streams,
            cache_dir=settings.cache_dir,
            device=settings.device,
        )

    @property
    def precisions(self) -> dict[str, Precision]:
        """What each network computes in, by its name, without loading it: the embedder under its own, then the detector's."""
        return {spec.name: self.engine.precision_of(spec) for spec in (network_spec(self.card), *network_specs())}

    @cached_property
    def detector(self) -> Detector:
        """The MTCNN cascade; its networks are loaded by the first photograph."""
        return LazyDetector(self._make_detector)

    def _make_detector(self, min_face_px: int | None = None) -> Detector:
        settings = self.settings
        return MtcnnDetector(
            self.engine,
            DetectorSettings(
                min_face_px=settings.min_face_px if min_face_px is None else min_face_px,
                scale_factor=settings.scale_factor,
                thresholds=settings.detection_thresholds,
                max_faces=settings.max_faces,
            ),
            threads=settings.threads,
        )

    @cached_property
    def card(self) -> EmbedderCard:
        """What is known of the embedder."""
        return card(self.settings.embedder, self.models_folder)

    @cached_property
    def points(self) -> OperatingPoints:
        """The embedder's operating points; where nobody measured any, what says so to whoever asks for one."""
        try:
            return self.card.operating_points(flip=self.settings.flip_average)
        except (UncalibratedEmbedderError, OperatingPointError) as exc:
            return UnmeasuredPoints(exc)

    @property
    def models_folder(self) -> Path | None:
        """The folder of added embedders; None where nobody added one yet."""
        folder = self.settings.models_dir
        return folder if is_folder(folder) else None

    @cached_property
    def models(self) -> ModelLibrary:
        """The embedders that are installed, and what adds others; a new one is tried out on the processor in f32."""
        from facesearch.embedding.library import ModelLibrary

        settings = self.settings
        return ModelLibrary(settings.models_dir, lambda: create_engine(threads=settings.threads, cache_dir=settings.cache_dir))

    @cached_property
    def embedder_id(self) -> str:
        """The embedder's id, without loading it."""
        return self.card.embedder_id(flip=self.settings.flip_average)

    def _make_embedder(self) -> Embedder:
        settings = self.settings
        return create_embedder(
            settings.embedder,
            self.engine,
            flip_average=settings.flip_average,
            batch_size=settings.batch_size,
            models_folder=self.models_folder,
        )

    @cached_property
    def pipeline(self) -> FacePipeline:
        """Decode, detect, align, embed; the networks are loaded by the first photograph."""
        return FacePipeline(
            self.decode, self.detector, align_faces, self.embedder, min_face_px=self.settings.min_face_px, meter=measure_quality
        )

    @cached_property
    def embedder(self) -> Embedder:
        """The embedder; its network is loaded by the first crop."""
        return LazyEmbedder(self._make_embedder, embedder_id=self.embedder_id, dim=self.card.dim, alignment=self.card.alignment)

    @cached_property
    def store(self) -> IdentityStore:
        """The database."""
        return LazyStore(self._make_store)

    def _make_store(self) -> IdentityStore:
        from facesearch.store.sql import SqlStore

        settings = self.settings
        held = settings.template_format
        return SqlStore(settings.resolved_database_url, busy_timeout_s=settings.busy_timeout_s, create=True, template_format=held)

    @cached_property
    def index_options(self) -> IndexOptions:
        """How galleries are indexed."""
        settings = self.settings
        chosen = {"m": settings.hnsw_m, "ef_construction": settings.hnsw_ef_construction, "ef": settings.hnsw_ef}
        return IndexOptions(
            kind=settings.index,
            exact_below=settings.exact_below,
            template_format=settings.template_format,
            **{name: value for name, value in chosen.items() if value is not None},
        )

    @cached_property
    def indexes(self) -> GalleryIndexes:
        """The vector indexes."""
        factory = GalleryIndexFactory(self.embedder_id, self.card.dim, self.index_options)
        folder = self.settings.index_dir
        return GalleryIndexes(self.store, factory, embedder_id=self.embedder_id, folder=folder)

    @cached_property
    def embedders(self) -> EmbedderChoice[Parts]:
        """The objects of every embedder that a collection was moved to, these among them."""
        return EmbedderChoice(self.store, self.embedder_id, lambda: self, self._of_embedder)

    def _of_embedder(self, embedder: NamedEmbedder) -> Parts:
        """Return the objects of another embedder, which share everything else with these.

        Raises:
            IncompatibleTemplatesError: Its weights are not those of the collection's templates.
            ModelError: It is not here.
        """
        made = self._with_settings(
            self.settings.model_copy(update={"embedder": embedder.name, "flip_average": embedder.is_flip_averaged})
        )
        made.require_embedder(embedder)
        shared = ("store", "engine", "detector", "embedders", "service_choice")
        vars(made).update({name: getattr(self, name) for name in shared})
        return made

    def _with_settings(self, settings: Settings) -> Parts:
        return Parts(settings)

    @cached_property
    def service_choice(self) -> EmbedderChoice[Services]:
        """What the façade passes on to, by embedder."""
        return EmbedderChoice(
            self.store, self.embedder_id, lambda: self.services, lambda embedder: self.embedders.named(embedder).services
        )

    @cached_property
    def services(self) -> Services:
        """Everything the façade passes on to."""
        settings, store, indexes, pipeline = self.settings, self.store, self.indexes, self.pipeline
        points = self.points
        enroll = Enroll(
            store,
            indexes,
            points,
            duplicate_fpir=settings.duplicate_fpir,
            mismatch_fmr=settings.mismatch_fmr,
            quality_gate=settings.quality_gate,
        )
        search = GallerySearch(store, indexes, default_collection=settings.collection, fusion=settings.fusion)
        return Services(
            pipeline=pipeline,
            store=store,
            indexes=indexes,
            points=points,
            enrolment=Enrolment(
                enroll, EnrollFolder(pipeline, enroll, self.make_picture, self._known_files), self.make_picture, settings.keep
            ),
            verify=Verify(
                store, points, default_fmr=settings.verify_fmr, fusion=settings.fusion, calibration=self._stored_calibration
            ),
            identify=Identify(search, points, default_fpir=settings.identify_fpir),
            people=People(store, indexes, default_collection=settings.collection),
            exchange=Exchange(store, embedder_id=self.embedder_id),
            records=Records(
                SavedPoints(store, embedder_id=self.embedder_id),
                self._calibrate,
                FeedbackBook(store, fusion=settings.fusion),
            ),
            videos=lambda: self.videos,
            collection=settings.collection,
            embedders=self.service_choice,
        )

    @cached_property
    def videos(self) -> Videos:
        """What indexes videos and searches them; imported late, since no other command needs it."""
        from facesearch.imaging.video import VideoFile, video_digest
        from facesearch.service.facade_video import Videos
        from facesearch.service.video_frames import FaceFinder
        from facesearch.service.video_index import IndexVideo
        from facesearch.service.video_search import VideoSearch

        settings, store, identify = self.settings, self.store, self.services.identify

        def finder_of(min_face_px: int) -> FaceFinder:
            same = min_face_px == settings.min_face_px
            detector = self.detector if same else LazyDetector(lambda: self._make_detector(min_face_px))
            return FaceFinder(detector, align_faces, self.embedder, meter=measure_quality)

        index = IndexVideo(
            store,
            identify,
            self.points,
            finder_of=finder_of,
            open_video=lambda path: VideoFile(path, limits=self.limits),
            make_picture=self.make_picture,
            embedder_id=self.embedder_id,
            default_collection=settings.collection,
        )
        search = VideoSearch(
            store,
            identify,
            fusion=settings.fusion,
            digest_of=video_digest,
            embedder_id=self.embedder_id,
            default_collection=settings.collection,
        )
        return Videos(index, search, settings.video_min_face_px, settings.quality_gate)

    @cached_property
    def _known_files(self) -> KnownFiles:
        settings = self.settings
        recipe = {
            "min_face_px": settings.min_face_px,
            "scale_factor": settings.scale_factor,
            "thresholds": list(settings.detection_thresholds),
            "max_faces": settings.max_faces,
            "max_image_bytes": settings.max_image_bytes,
            "max_image_pixels": settings.max_image_pixels,
            "mismatch_fmr": settings.mismatch_fmr,
            "quality_gate": settings.quality_gate,
            "embedder": self.embedder_id,
        }
        path = settings.data_dir / "enrolled-files.journal"
        return KnownFiles(self.store, self.embedder_id, lambda: FileJournal(path, recipe))

    @cached_property
    def gallery_doctor(self) -> GalleryDoctor:
        """What looks galleries through for faults; imported late, since no other command needs it."""
        from facesearch.service.gallery_doctor import GalleryDoctor, Instruments

        def instruments_of(collection: str) -> Instruments:
            having = self.embedders.current(collection)
            return Instruments(having.indexes, Exchange(self.store, embedder_id=having.embedder_id), having.points)

        return GalleryDoctor(self.store, instruments_of)

    def _stored_calibration(self) -> Calibration | None:
        # Where none was made, comparing two photographs neither makes a database nor loads its library.
        url = self.settings.resolved_database_url
        file = url.removeprefix("sqlite:///")
        if file not in (url, "", ":memory:") and not may_hold_calibration(Path(file), self.embedder_id):
            return None
        with self.store.reading() as reader:
            return reader.calibration(self.embedder_id)

    def _calibrate(self) -> Calibrate:
        from facesearch.service.calibrate import Calibrate

        return Calibrate(self.store, self.embed_photographs)

    def decode(self, source: ImageSource) -> Image:
        """Return a decoded photograph within the limits of the settings."""
        return decode_image(source, limits=self.limits)

    def make_picture(self, keep: Keep, source: ImageSource, image: Image, detection: Detection) -> KeptPicture | None:
        """Return what is kept of a photograph beside a template; None for ``Keep.NONE``."""
        if keep is Keep.NONE:
            return None
        if keep is Keep.CROP:
            return face_picture(image, detection)
        return photo_picture(source, image, detection, limits=self.limits)


class FaceSearch(FaceSearchService):
    """Enroll people, verify photographs (1:1) and identify faces (1:N).

    ``FaceSearch()`` uses the settings of the environment and ``facesearch.toml``; ``FaceSearch("people")`` keeps its database and
    indexes in that folder; every setting can be given by name, for example ``FaceSearch("people", min_face_px=40)``.

    Args:
        data_dir: Folder of the database and the indexes; None for the setting.
        settings: Ready-made settings instead of the environment's.
        **overrides: Settings by name.

    Raises:
        SettingsError: A setting is unknown or out of range, or ``settings`` is given together with others.
    """

    def __init__(
        self, data_dir: str | os.PathLike[str] | None = None, *, settings: Settings | None = None, **overrides: Any
    ) -> None:
        if data_dir is not None:
            overrides["data_dir"] = data_dir
        if settings is not None and overrides:
            raise SettingsError(f"give ready-made settings or single ones ({', '.join(overrides)}), not both")
        self.settings = settings if settings is not None else Settings(**overrides)
        self._parts = Parts(self.settings)
        super().__init__(self._parts.services)

    @property
    def models(self) -> ModelLibrary:
        """The embedders that are installed, and what adds, fetches, verifies and removes others."""
        return self._parts.models

    @property
    def gallery_doctor(self) -> GalleryDoctor:
        """What looks a collection through for wrong labels, people under two labels and other faults."""
        return self._parts.gallery_doctor
