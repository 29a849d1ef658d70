"""A small world for the use cases' tests: photographs whose faces and vectors are known, with the real store and index.

Only the networks are fakes: they obey the protocols of ``facesearch.core.protocols`` and look faces up instead of finding them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from zlib import crc32

import numpy as np

from facesearch.core.arrays import array_digest, normalised
from facesearch.core.decision import OperatingPoint, OperatingPoints
from facesearch.core.errors import ImageDecodeError, LowQualityFaceError, VideoDecodeError
from facesearch.core.face import Alignment, Box, Detection, FaceCrop
from facesearch.core.fusion import DEFAULT_FUSION, Fusion
from facesearch.core.identity import Keep, KeptPicture
from facesearch.core.image import Image
from facesearch.core.quality import QualityGate
from facesearch.core.template import Template
from facesearch.core.video import VideoFrame, VideoInfo, VideoReading
from facesearch.gallery.factory import GalleryIndexFactory
from facesearch.gallery.options import IndexOptions
from facesearch.service.calibrate import Calibrate
from facesearch.service.enroll import Enroll
from facesearch.service.enroll_folder import EnrollFolder
from facesearch.service.exchange import Exchange
from facesearch.service.facade import FaceSearchService, Services
from facesearch.service.facade_enroll import Enrolment
from facesearch.service.facade_records import Records
from facesearch.service.facade_video import Videos
from facesearch.service.feedback import FeedbackBook
from facesearch.service.file_journal import FileJournal
from facesearch.service.gallery import GalleryIndexes
from facesearch.service.identify import Identify
from facesearch.service.known_files import KnownFiles
from facesearch.service.people import People
from facesearch.service.photographs import EmbedPhotographs
from facesearch.service.pipeline import FacePipeline
from facesearch.service.saved_points import SavedPoints
from facesearch.service.search import GallerySearch
from facesearch.service.verify import Verify
from facesearch.service.video_frames import FaceFinder
from facesearch.service.video_index import IndexVideo
from facesearch.service.video_search import VideoSearch
from facesearch.store.sql import SqlStore

DIM = 64
EMBEDDER = "fake@000000000000"
POINTS = OperatingPoints(
    tuple(
        OperatingPoint(threshold, fmr, EMBEDDER, 45_140_155)
        for fmr, threshold in ((1e-2, 0.30), (1e-3, 0.37), (1e-4, 0.43), (1e-5, 0.48), (1e-6, 0.55))
    )
)
"""Close to those of the shipped embedder."""

LANDMARKS = np.array([[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]], dtype=np.float32)


def face_at(x: float, y: float, size: float, score: float = 0.99) -> Detection:
    """Return a detection with its landmarks inside a square box."""
    points = LANDMARKS / 100 * size + np.array([x, y], dtype=np.float32)
    return Detection((x, y, x + size, y + size), points, score)


def person_vector(person: int, likeness: float = 1.0, photo: int = 0) -> np.ndarray:
    """Return a unit vector whose cosine to the person's own direction is ``likeness``; different people are orthogonal."""
    if person >= DIM // 2 - 1:
        raise ValueError("at most DIM/2 - 1 orthogonal people")
    own = np.zeros(DIM)
    own[person] = 1.0
    noise = np.zeros(DIM)
    noise[DIM // 2 + photo % (DIM // 2)] = 1.0
    return normalised(likeness * own + np.sqrt(1.0 - likeness**2) * noise)


class FakeNetworks:
    """Decoder, detector, aligner and embedder that look everything up."""

    dim = DIM
    alignment = Alignment("fake-8", 8, LANDMARKS / 100 * 8)

    def __init__(self, embedder_id: str = EMBEDDER) -> None:
        self.embedder_id = embedder_id
        self.photos: dict[str, Image] = {}
        self.faces: dict[str, tuple[tuple[Detection, np.ndarray], ...]] = {}
        self.crops: dict[bytes, np.ndarray] = {}
        self.n_embedded = 0

    def photo(self, name: str, *faces: tuple[Detection, np.ndarray], size: int = 400) -> str:
        """Make a photograph and return its name, which stands for the picture wherever a source is wanted."""
        pixels = np.random.default_rng(crc32(name.encode("utf-8", "surrogateescape"))).integers(
            0, 256, (size, size, 3), dtype=np.uint8
        )
        image = Image(pixels, array_digest(pixels), name)
        ordered = tuple(sorted(faces, key=lambda face: -face[0].score))
        self.photos[name] = image
        self.faces[image.digest] = ordered
        return name

    def portrait(self, name: str, person: int, likeness: float = 1.0, photo: int = 0) -> str:
        """Make a photograph of one person."""
        return self.photo(name, (face_at(100, 100, 120), person_vector(person, likeness, photo)))

    def decode(self, source: object) -> Image:
        if isinstance(source, Image):
            return source
        name = source.decode("utf-8", "replace") if isinstance(source, bytes) else str(source)
        image = self.photos.get(name)
        if image is None:
            raise ImageDecodeError(f"{source} is no photograph of this world")
        return image

    def detect(self, image: Image, *, roi: Box | None = None) -> tuple[Detection, ...]:
        found = [face for face, _ in self.faces[image.digest]]
        if roi is not None:
            found = [f for f in found if roi[0] <= f.centre[0] <= roi[2] and roi[1] <= f.centre[1] <= roi[3]]
        return tuple(found)

    def detect_batch(self, images: Sequence[Image]) -> tuple[tuple[Detection, ...], ...]:
        return tuple(self.detect(image) for image in images)

    def align(self, image: Image, detections: Sequence[Detection], alignment: Alignment) -> tuple[FaceCrop, ...]:
        crops = []
        for detection in detections:
            if detection.width < 1:
                raise LowQualityFaceError("the face is a point")
            vector = next(vector for face, vector in self.faces[image.digest] if face is detection)
            number = len(self.crops)
            pixels = np.zeros((alignment.crop_px, alignment.crop_px, 3), dtype=np.uint8)
            pixels[0, 0] = (number % 256, number // 256 % 256, number // 65536)
            self.crops[pixels.tobytes()] = vector
            crops.append(FaceCrop(pixels, detection))
        return tuple(crops)

    def embed(self, crops: Sequence[FaceCrop]) -> tuple[Template, ...]:
        self.n_embedded += len(crops)
        return tuple(Template(self.crops[crop.pixels.tobytes()].astype(np.float32), self.embedder_id) for crop in crops)


class FakeFilm:
    """A video whose every frame is looked at, whatever the sample rate; obeys ``core.video.VideoReader``."""

    def __init__(self, info: VideoInfo, images: tuple[Image, ...]) -> None:
        self.info = info
        self.images = images
        self._n_read = 0
        self.is_closed = False

    def __enter__(self) -> FakeFilm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def frames(self, sample_rate: float) -> Iterator[VideoFrame]:
        for number, image in enumerate(self.images):
            self._n_read = number + 1
            yield VideoFrame(number / self.info.fps, image)

    @property
    def reading(self) -> VideoReading:
        end_s = max(0, self._n_read - 1) / self.info.fps
        return VideoReading(self._n_read, self._n_read, end_s, self._n_read < self.info.n_frames)

    def close(self) -> None:
        self.is_closed = True


def make_picture(keep: Keep, source: object, image: Image, detection: Detection) -> KeptPicture | None:
    """Keep a few bytes that can be recognised."""
    if keep is Keep.NONE:
        return None
    data = f"{keep}:{image.digest}".encode()
    points = tuple((float(x), float(y)) for x, y in detection.landmarks)
    return KeptPicture(keep, data, points, detection.box)


class World:
    """A façade over fakes for the networks and the real store and index in a folder."""

    def __init__(
        self,
        folder: Path,
        *,
        networks: FakeNetworks | None = None,
        fusion: Fusion = DEFAULT_FUSION,
        store: SqlStore | None = None,
        points: OperatingPoints = POINTS,
        **index: object,
    ) -> None:
        self.folder = folder
        self.points = points
        self.networks = networks or FakeNetworks()
        embedder_id = self.networks.embedder_id
        self.store = store or SqlStore(f"sqlite:///{folder / 'gallery.db'}", create=True)
        factory = GalleryIndexFactory(embedder_id, DIM, IndexOptions(**index))
        self.indexes = GalleryIndexes(self.store, factory, embedder_id=embedder_id, folder=folder / "index")
        nets = self.networks
        self.pipeline = FacePipeline(nets.decode, nets, nets.align, nets, min_face_px=20)
        enroll = Enroll(self.store, self.indexes, points, duplicate_fpir=1e-3, mismatch_fmr=1e-2)
        known = KnownFiles(self.store, embedder_id, lambda: FileJournal(folder / "enrolled-files.journal", {}))
        search = GallerySearch(self.store, self.indexes, default_collection="default", fusion=fusion)
        identify = Identify(search, points, default_fpir=1e-2)
        self.films: dict[str, FakeFilm] = {}
        self.videos = self._make_videos(identify, fusion)
        self.services = Services(
            pipeline=self.pipeline,
            store=self.store,
            indexes=self.indexes,
            points=points,
            enrolment=Enrolment(enroll, EnrollFolder(self.pipeline, enroll, make_picture, known), make_picture, Keep.NONE),
            verify=Verify(*(self.store, points), default_fmr=1e-4, fusion=fusion, calibration=self._calibration),
            identify=identify,
            people=People(self.store, self.indexes, default_collection="default"),
            exchange=Exchange(self.store, embedder_id=embedder_id),
            records=Records(
                SavedPoints(self.store, embedder_id=embedder_id),
                lambda: Calibrate(self.store, EmbedPhotographs(self.pipeline, {})),
                FeedbackBook(self.store, fusion=fusion),
            ),
            videos=lambda: self.videos,
            collection="default",
        )
        self.faces = FaceSearchService(self.services)

    def _make_videos(self, identify: Identify, fusion: Fusion) -> Videos:
        nets, where = self.networks, {"embedder_id": self.networks.embedder_id, "default_collection": "default"}
        index = IndexVideo(
            *(self.store, identify, self.points),
            finder_of=lambda min_face_px: FaceFinder(nets, nets.align, nets),
            open_video=self._film,
            make_picture=make_picture,
            **where,
        )
        search = VideoSearch(*(self.store, identify), fusion=fusion, digest_of=lambda path: self._film(path).info.digest, **where)
        return Videos(index, search, 40, QualityGate.OFF)

    def film(self, name: str, *frames: Sequence[tuple[Detection, np.ndarray]], fps: float = 5.0, n_lost: int = 0) -> str:
        """Make a video of frames with known faces and return its name; the last ``n_lost`` frames it promises are missing."""
        made = [self.networks.photo(f"{name}#{number}", *faces, size=16) for number, faces in enumerate(frames)]
        digest = f"{crc32(name.encode()):064x}"
        info = VideoInfo(f"/films/{name}", digest, 16, 16, fps, len(made) + n_lost)
        self.films[name] = FakeFilm(info, tuple(self.networks.photos[one] for one in made))
        return name

    def _film(self, path: object) -> FakeFilm:
        film = self.films.get(str(path))
        if film is None:
            raise VideoDecodeError(f"{path} is no video of this world")
        return FakeFilm(film.info, film.images)

    def _calibration(self):
        with self.store.reading() as reader:
            return reader.calibration(self.networks.embedder_id)

    def close(self) -> None:
        self.faces.close()
