"""What is kept beside a template gives, aligned again, the crop that the photograph gave."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as PilImage

from facesearch.core.errors import ImageDecodeError, LowQualityFaceError
from facesearch.core.face import Alignment, Detection
from facesearch.core.identity import Keep
from facesearch.imaging.align import align_face
from facesearch.imaging.crops import MAX_SIDE_PX, align_kept, face_picture, photo_picture
from facesearch.imaging.decode import decode_image

ALIGNMENT = Alignment(
    "arcface-112",
    112,
    np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]),
)
LANDMARKS = np.array([[205.01, 101.73], [246.76, 103.71], [224.67, 128.96], [201.72, 139.25], [245.27, 141.86]])
BOX = (178.0, 60.0, 272.0, 186.0)

KEPT_MEAN = 2.0
"""Largest mean difference in grey levels between a crop from the photograph and one from the kept JPEG of quality 95."""

MOVED_PX = 0.05
"""Largest shift between the two crops; forgetting that pixels' centres are whole numbers moves them by 0.1."""


def detection_in(scale: float = 1.0) -> Detection:
    return Detection(
        tuple((value + 0.5) * scale - 0.5 for value in BOX), ((LANDMARKS + 0.5) * scale - 0.5).astype(np.float32), 0.99
    )


def opened(data: bytes) -> PilImage.Image:
    return PilImage.open(io.BytesIO(data))


def test_a_kept_crop_is_a_jpeg_of_twice_the_box(astronaut):
    kept = face_picture(decode_image(astronaut), detection_in())
    picture = opened(kept.data)
    assert kept.kind is Keep.CROP
    assert picture.format == "JPEG"
    assert picture.size == (2 * 94, 63 + 126 + 63 - 3)  # three rows lie above the photograph
    assert kept.box == pytest.approx((47, 60, 141, 186))
    np.testing.assert_allclose(kept.landmarks, LANDMARKS - (131, 0), atol=1e-4)


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7, 3.0, 5.0])
def test_aligned_again_it_gives_the_same_crop(astronaut, scale):
    side = round(512 * scale)
    photograph = decode_image(cv2.resize(astronaut, (side, side), interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA))
    detection = detection_in(side / 512)
    direct = align_face(photograph, detection, ALIGNMENT)
    kept = face_picture(photograph, detection)
    again = align_kept(kept, ALIGNMENT)
    assert max(opened(kept.data).size) <= MAX_SIDE_PX
    assert direct.pixels.std() > 30
    assert np.abs(direct.pixels.astype(int) - again.pixels).mean() < KEPT_MEAN
    assert again.detection.box == kept.box


def test_reducing_does_not_move_the_face(astronaut):
    photograph = decode_image(cv2.resize(astronaut, (3072, 3072), interpolation=cv2.INTER_CUBIC))
    direct = align_face(photograph, detection_in(6.0), ALIGNMENT).pixels.mean(axis=2)
    again = align_kept(face_picture(photograph, detection_in(6.0)), ALIGNMENT).pixels.mean(axis=2)
    moved, _ = cv2.phaseCorrelate(direct, again, cv2.createHanningWindow((112, 112), cv2.CV_64F))
    assert np.hypot(*moved) < MOVED_PX


def test_a_large_face_is_reduced_to_the_longest_side(astronaut):
    photograph = decode_image(cv2.resize(astronaut, (3072, 3072), interpolation=cv2.INTER_CUBIC))
    kept = face_picture(photograph, detection_in(6.0))
    assert max(opened(kept.data).size) == MAX_SIDE_PX
    assert len(kept.data) < 200_000
    eyes = np.diff(np.array(kept.landmarks)[:2], axis=0)
    assert np.hypot(*eyes[0]) == pytest.approx(41.8 * 512 / (252 - 3), rel=0.01)


def test_a_face_at_the_border_is_clipped(astronaut):
    detection = Detection((-20, -30, 40, 50), LANDMARKS - 190, 0.9)
    kept = face_picture(decode_image(astronaut), detection)
    assert opened(kept.data).size == (70, 90)
    assert kept.box == pytest.approx((-20, -30, 40, 50))


def test_a_face_outside_the_photograph_is_refused(astronaut):
    with pytest.raises(LowQualityFaceError, match="outside the photograph of 512×512"):
        face_picture(decode_image(astronaut), Detection((2000, 10, 2100, 90), LANDMARKS + 1900, 0.9))


def test_a_kept_crop_carries_nothing_of_the_files_metadata(astronaut):
    stream = io.BytesIO()
    exif = PilImage.Exif()
    exif[0x010F] = "secret camera"
    PilImage.fromarray(astronaut).save(stream, "JPEG", exif=exif, comment=b"secret place")
    kept = face_picture(decode_image(stream.getvalue()), detection_in())
    assert b"secret" not in kept.data
    assert not opened(kept.data).getexif()


def turned_file(astronaut, path: Path) -> Path:
    """The astronaut lying on its side, with the EXIF tag that sets it upright."""
    exif = PilImage.Exif()
    exif[0x0112] = 6
    PilImage.fromarray(np.rot90(astronaut)).save(path, exif=exif, quality=95)
    return path


def test_a_kept_photograph_is_the_file_itself(astronaut, tmp_path):
    path = turned_file(astronaut, tmp_path / "lying.jpg")
    image = decode_image(path)
    kept = photo_picture(path, image, detection_in())
    assert kept.kind is Keep.PHOTO
    assert kept.data == path.read_bytes()
    again = align_kept(kept, ALIGNMENT)
    np.testing.assert_array_equal(again.pixels, align_face(image, detection_in(), ALIGNMENT).pixels)
    assert photo_picture(path.read_bytes(), image, detection_in()).data == kept.data


def test_what_has_no_file_is_kept_without_loss(astronaut, tmp_path):
    path = turned_file(astronaut, tmp_path / "lying.jpg")
    with path.open("rb") as stream:
        sources = [astronaut, PilImage.fromarray(astronaut), stream]
        for source in sources:
            image = decode_image(source)
            kept = photo_picture(source, image, detection_in())
            np.testing.assert_array_equal(decode_image(kept.data).pixels, image.pixels)


def test_a_file_that_changed_meanwhile_is_not_kept(astronaut, tmp_path):
    path = turned_file(astronaut, tmp_path / "lying.jpg")
    image = decode_image(path)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ImageDecodeError, match="changed since it was decoded"):
        photo_picture(path, image, detection_in())
    path.unlink()
    with pytest.raises(ImageDecodeError, match="no such file"):
        photo_picture(path, image, detection_in())
