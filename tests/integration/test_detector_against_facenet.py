"""The cascade beside facenet-pytorch's on the same photographs."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest
from PIL import Image as PilImage

from facesearch.core.face import Detection, box_iou
from facesearch.core.image import Image
from facesearch.detection import DetectorSettings, MtcnnDetector
from facesearch.inference import create_engine

THRESHOLDS = (0.6, 0.7, 0.7)

SAME_FACE_IOU = 0.9
SHARE_MATCHED = 0.99
SHARE_OF_LANDMARKS = 0.99
LANDMARK_PX = 1.0
LANDMARK_SHARE_OF_WIDTH = 0.02

NEAR_A_THRESHOLD = 0.05
"""A face that only one side has must hang on a threshold: it goes when thresholds rise by this, or comes when they fall by it."""


@dataclass
class Agreement:
    """Counts over many photographs."""

    ours: int = 0
    theirs: int = 0
    matched: int = 0
    landmarks_alike: int = 0
    unexplained: list[str] = field(default_factory=list)

    def check(self, *, at_least: int) -> None:
        assert self.theirs >= at_least
        assert self.matched >= SHARE_MATCHED * self.theirs, self
        assert self.matched >= SHARE_MATCHED * self.ours, self
        assert self.landmarks_alike >= SHARE_OF_LANDMARKS * self.matched, self
        assert self.unexplained == [], self


class StableNumPy:
    """NumPy whose ``argsort`` leaves equals in order.

    The peer's last suppression sorts with NumPy's default, which leaves equals in an order that depends on the processor's vector
    instructions. Clear faces all score exactly 1 in float32, so there it decides between real boxes.
    """

    def __getattr__(self, name: str):
        return getattr(np, name)

    @staticmethod
    def argsort(values):
        return np.argsort(values, kind="stable")


class Peer:
    """facenet-pytorch's detector at given thresholds."""

    def __init__(self, thresholds) -> None:
        import facenet_pytorch

        self._mtcnn = facenet_pytorch.MTCNN(
            min_face_size=20, factor=0.709, thresholds=list(thresholds), post_process=False, keep_all=True
        )

    def detect(self, image: Image) -> tuple[Detection, ...]:
        boxes, scores, points = self._mtcnn.detect(image.pixels, landmarks=True)
        if boxes is None:
            return ()
        rows = zip(np.float64(boxes), np.float64(scores), np.float64(points), strict=True)
        return tuple(Detection(tuple(box), point, min(score, 1.0)) for box, score, point in rows)


@pytest.fixture(scope="module")
def detectors(tmp_path_factory):
    """Our detector and the peer, each by how far its thresholds are moved."""
    from facenet_pytorch.models.utils import detect_face

    engine = create_engine("openvino", threads=2, cache_dir=tmp_path_factory.mktemp("networks"))
    moved = {by: tuple(threshold + by for threshold in THRESHOLDS) for by in (-NEAR_A_THRESHOLD, 0.0, NEAR_A_THRESHOLD)}
    ours = {by: MtcnnDetector(engine, DetectorSettings(20, 0.709, thresholds)) for by, thresholds in moved.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detect_face, "np", StableNumPy())
        yield ours, {by: Peer(thresholds) for by, thresholds in moved.items()}


def pairs_of(ours, theirs):
    """Return (i, j) of faces matched one to one, best overlap first."""
    shares = sorted(((box_iou(a.box, b.box), i, j) for i, a in enumerate(ours) for j, b in enumerate(theirs)), reverse=True)
    pairs: list[tuple[int, int]] = []
    for iou, i, j in shares:
        if iou >= SAME_FACE_IOU and i not in {a for a, _ in pairs} and j not in {b for _, b in pairs}:
            pairs.append((i, j))
    return pairs


def has_face(faces, face):
    return any(box_iou(face.box, other.box) >= SAME_FACE_IOU for other in faces)


def hangs_on_a_threshold(face, image, own, other):
    """Return whether a face that only ``own`` found goes when its thresholds rise, or comes when the other's fall."""
    rising, falling = own[NEAR_A_THRESHOLD].detect(image), other[-NEAR_A_THRESHOLD].detect(image)
    return not has_face(rising, face) or has_face(falling, face)


def compare(image: Image, detectors, so_far: Agreement) -> None:
    """Add a photograph's faces to the counts."""
    mine, peers = detectors
    ours, theirs = mine[0.0].detect(image), peers[0.0].detect(image)
    pairs = pairs_of(ours, theirs)
    so_far.ours += len(ours)
    so_far.theirs += len(theirs)
    so_far.matched += len(pairs)
    for i, j in pairs:
        distance = np.linalg.norm(ours[i].landmarks - theirs[j].landmarks, axis=1).max()
        so_far.landmarks_alike += bool(distance <= max(LANDMARK_PX, LANDMARK_SHARE_OF_WIDTH * theirs[j].width))
    lonely = [(face, mine, peers) for i, face in enumerate(ours) if i not in {a for a, _ in pairs}]
    lonely += [(face, peers, mine) for j, face in enumerate(theirs) if j not in {b for _, b in pairs}]
    so_far.unexplained += [
        f"{image.name}: {face.box} {face.score:.3f}"
        for face, own, other in lonely
        if not hangs_on_a_threshold(face, image, own, other)
    ]


def turned(pixels, degrees, scale):
    """Return a picture scaled and turned about its middle, grey where nothing is."""
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    matrix = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), degrees, 1.0)
    return cv2.warpAffine(small, matrix, size, borderValue=(110, 110, 110))


def montage(rng, sources):
    """Return a seeded scene: both photographs at several scales and turns, some mirrored, on noise, with noise over all."""
    height, width = (int(side) for side in rng.integers(700, 1100, 2))
    scene = rng.integers(0, 256, (height, width, 3)).astype(np.float32)
    for _ in range(int(rng.integers(8, 12))):
        source = sources[int(rng.integers(len(sources)))]
        view = turned(source, float(rng.uniform(-30, 30)), float(rng.uniform(0.15, 0.8)))
        view = view[:, ::-1] if rng.random() < 0.5 else view
        rows, cols = (min(side, limit) for side, limit in zip(view.shape[:2], (height, width), strict=True))
        top, left = int(rng.integers(0, height - rows + 1)), int(rng.integers(0, width - cols + 1))
        scene[top : top + rows, left : left + cols] = view[:rows, :cols] * rng.uniform(0.6, 1.2)
    scene += rng.normal(0, rng.uniform(0, 16), scene.shape)
    return np.clip(scene, 0, 255).astype(np.uint8)


def test_packaged_photographs_at_several_sizes(detectors, astronaut, hopper):
    so_far = Agreement()
    for name, pixels in (("astronaut", astronaut), ("hopper", hopper)):
        for scale in (0.13, 0.29, 0.5, 0.77, 1.0, 1.31):
            view = turned(pixels, 0, scale)
            compare(Image(view, "", f"{name} × {scale}"), detectors, so_far)
    so_far.check(at_least=12)


def test_seeded_montages(detectors, astronaut, hopper):
    so_far = Agreement()
    rng = np.random.default_rng(20240817)
    for number in range(14):
        compare(Image(montage(rng, [astronaut, hopper]), "", f"montage {number}"), detectors, so_far)
    so_far.check(at_least=40)


def read(path) -> Image:
    with PilImage.open(path) as picture:
        return Image(np.ascontiguousarray(picture.convert("RGB")), "", path.name)


@pytest.mark.data
@pytest.mark.slow
def test_cmu_scenes(detectors, cmu_folder):
    so_far = Agreement()
    for path in sorted((cmu_folder / "images").glob("*.jpg")):
        compare(read(path), detectors, so_far)
    so_far.check(at_least=400)


@pytest.mark.data
def test_a_sample_of_cmu_scenes(detectors, cmu_folder):
    so_far = Agreement()
    paths = sorted((cmu_folder / "images").glob("*.jpg"), key=lambda path: (path.stat().st_size, path.name))
    for path in paths[:60:4]:
        compare(read(path), detectors, so_far)
    so_far.check(at_least=10)


@pytest.mark.data
@pytest.mark.parametrize("n_photos", [60, pytest.param(300, marks=pytest.mark.slow)])
def test_a_sample_of_lfw(detectors, lfw_folder, n_photos):
    so_far = Agreement()
    paths = sorted((lfw_folder / "images").glob("*/*.jpg"))
    chosen = np.random.default_rng(3).choice(len(paths), n_photos, replace=False)
    for place in sorted(chosen.tolist()):
        compare(read(paths[place]), detectors, so_far)
    so_far.check(at_least=n_photos)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_all_of_lfw(detectors, lfw_folder):
    so_far = Agreement()
    for path in sorted((lfw_folder / "images").glob("*/*.jpg")):
        compare(read(path), detectors, so_far)
    so_far.check(at_least=13_000)


@pytest.mark.data
@pytest.mark.parametrize("name", ["Angie_Martinez/Angie_Martinez_0001.jpg", "Rodrigo_Borja/Rodrigo_Borja_0002.jpg"])
def test_of_boxes_that_score_exactly_1_the_same_is_kept(detectors, lfw_folder, name):
    so_far = Agreement()
    compare(read(lfw_folder / "images" / name), detectors, so_far)
    assert (so_far.ours, so_far.theirs, so_far.matched, so_far.landmarks_alike) == (2, 2, 2, 2)
