"""From settings to what measures: error rates, robustness, and the thresholds of embedders that people bring.

A part of ``bootstrap`` in a file of its own: ``Parts`` supplies what these are made of. Nothing of it is imported before a command
measures.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from facesearch.core.decision import OperatingPoints
from facesearch.core.errors import InputError
from facesearch.core.face import Detection
from facesearch.core.image import Image
from facesearch.core.protocols import Detector, Embedder, IdentityStore
from facesearch.embedding.registry import EmbedderCard
from facesearch.imaging.align import align_face, align_faces
from facesearch.imaging.crops import crop_jpeg
from facesearch.inference import Engine, Precision
from facesearch.service.pipeline import FacePipeline, ImageSource
from facesearch.service.saved_points import SavedPoints
from facesearch.settings import Settings
from facesearch.version import __version__

if TYPE_CHECKING:
    from facesearch.embedding.kept_figures import KeptFigures
    from facesearch.embedding.library import ModelLibrary
    from facesearch.service.calibrate_model import CalibrateModel
    from facesearch.service.calibrate_pairs import CalibratePairs
    from facesearch.service.evaluate_robustness import EvaluateRobustness
    from facesearch.service.evaluation import Evaluation
    from facesearch.service.photographs import EmbedPhotographs
    from facesearch.training.clean_store import CleanStore
    from facesearch.training.prepare import PrepareCrops


class MeasuringParts(ABC):
    """The objects that measure, each made when it is first asked for.

    Args:
        settings: What to make them from.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    @abstractmethod
    def engine(self) -> Engine:
        """What runs the networks."""

    @property
    @abstractmethod
    def precisions(self) -> dict[str, Precision]:
        """What each network computes in, by its name."""

    @property
    @abstractmethod
    def detector(self) -> Detector:
        """Finds faces."""

    @property
    @abstractmethod
    def embedder(self) -> Embedder:
        """Makes templates."""

    @property
    @abstractmethod
    def embedder_id(self) -> str:
        """The embedder's id."""

    @property
    @abstractmethod
    def card(self) -> EmbedderCard:
        """What is known of the embedder."""

    @property
    @abstractmethod
    def points(self) -> OperatingPoints:
        """The embedder's operating points."""

    @property
    @abstractmethod
    def models(self) -> ModelLibrary:
        """The embedders that are installed."""

    @property
    @abstractmethod
    def pipeline(self) -> FacePipeline:
        """Decode, detect, align, embed."""

    @property
    @abstractmethod
    def store(self) -> IdentityStore:
        """The database."""

    @abstractmethod
    def decode(self, source: ImageSource) -> Image:
        """Return a decoded photograph."""

    @cached_property
    def evaluation(self) -> Evaluation:
        """What measures error rates; imported late, since no other command needs it."""
        from facesearch.service.evaluate_folder import EvaluateFolder
        from facesearch.service.evaluate_lfw import EvaluateLfw
        from facesearch.service.evaluate_pairs import EvaluatePairs
        from facesearch.service.evaluation import Evaluation

        embed = self.embed_photographs
        return Evaluation(
            EvaluateLfw(embed),
            EvaluateFolder(embed),
            EvaluatePairs(embed),
            self.face_jpeg,
            lambda: SavedPoints(self.store, embedder_id=self.embedder_id),
        )

    @cached_property
    def embed_photographs(self) -> EmbedPhotographs:
        """Templates of many photographs, cached in ``cache_dir``."""
        from facesearch.service.photographs import EmbedPhotographs

        return EmbedPhotographs(self.pipeline, self._template_recipe(), cache_dir=self.settings.cache_dir / "templates")

    def _template_recipe(self) -> dict[str, object]:
        """Return what a template depends on besides photograph and choice of face."""
        settings = self.settings
        return {
            "release": __version__,
            "embedder": self.embedder_id,
            "alignment": self.card.alignment.name,
            "engine": self.engine.name,
            "precision": self.precisions,
            "min_face_px": settings.min_face_px,
            "scale_factor": settings.scale_factor,
            "thresholds": list(settings.detection_thresholds),
            "max_faces": settings.max_faces,
        }

    @cached_property
    def prepare_crops(self) -> PrepareCrops:
        """What makes stores of crops for the embedder's alignment; imported late, since no other command needs it."""
        from facesearch.imaging.quality import measure_quality
        from facesearch.training.prepare import PrepareCrops

        settings = self.settings
        names = ("min_face_px", "scale_factor", "detection_thresholds", "max_faces", "max_image_bytes", "max_image_pixels")
        precisions = {name: one for name, one in self.precisions.items() if name != self.card.name}
        recipe = {
            "release": __version__,
            "engine": self.engine.name,
            "precision": precisions,
            **{name: getattr(settings, name) for name in names},
        }
        return PrepareCrops(
            self.decode,
            self.detector,
            align_faces,
            alignment=self.card.alignment,
            recipe=recipe,
            min_face_px=settings.min_face_px,
            meter=measure_quality,
        )

    @cached_property
    def clean_store(self) -> CleanStore:
        """What finds wrong labels among crops; imported late, since no other command needs it."""
        from facesearch.gallery.factory import GalleryIndexFactory
        from facesearch.gallery.options import IndexOptions
        from facesearch.training.clean_store import CleanStore

        indexes = GalleryIndexFactory(self.embedder_id, self.card.dim, IndexOptions())
        cache = self.settings.cache_dir
        return CleanStore(self.embedder, self.points, indexes, self.embed_photographs, cache_dir=cache)

    @cached_property
    def robustness(self) -> EvaluateRobustness:
        """What measures error rates under damage; imported late, since no other command needs it."""
        from facesearch.imaging.damage import DAMAGES
        from facesearch.service.evaluate_robustness import EvaluateRobustness
        from facesearch.service.photographs import EmbedPhotographs

        def embed_changed(about: Mapping[str, object], change: Callable[[Image], Image]) -> EmbedPhotographs:
            changed = FacePipeline(
                lambda source: change(self.decode(source)),
                self.detector,
                align_faces,
                self.embedder,
                min_face_px=self.settings.min_face_px,
            )
            recipe = {**self._template_recipe(), **about}
            return EmbedPhotographs(changed, recipe, cache_dir=self.settings.cache_dir / "templates")

        return EvaluateRobustness(self.embed_photographs, embed_changed, DAMAGES)

    @cached_property
    def calibrate_model(self) -> CalibrateModel:
        """What measures the embedder and keeps its thresholds beside it; imported late, since no other command needs it."""
        from facesearch.service.calibrate_model import CalibrateModel

        return CalibrateModel(self.embed_photographs, self.embedder, self._kept_figures(), processor=self._processor())

    @cached_property
    def calibrate_on_pairs(self) -> CalibratePairs:
        """The same with a list of pairs."""
        from facesearch.service.calibrate_pairs import CalibratePairs
        from facesearch.service.evaluate_pairs import EvaluatePairs

        evaluate = EvaluatePairs(self.embed_photographs)
        return CalibratePairs(evaluate, self.embedder, self._kept_figures(), processor=self._processor())

    def _kept_figures(self) -> KeptFigures:
        from facesearch.embedding.kept_figures import KeptFigures

        return KeptFigures(self.models, self.settings.embedder, is_flipped=self.settings.flip_average)

    def _processor(self) -> str:
        """Return what the networks are run on, in words."""
        from facesearch.inference.processor import processor_name

        settings = self.settings
        threads = "" if settings.threads is None else f", {settings.threads} threads"
        return f"{self.engine.name} {self.precisions[self.card.name]} on {processor_name()}{threads}"

    def face_jpeg(self, source: ImageSource, detection: Detection) -> bytes | None:
        """Return the aligned face of a photograph as a small JPEG, or None where the photograph cannot be read any more."""
        try:
            return crop_jpeg(align_face(self.decode(source), detection, self.card.alignment))
        except InputError:
            return None
