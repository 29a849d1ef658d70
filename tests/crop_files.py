"""Folders of files that stand for photographs, and networks that cut the same crop out of a file every time.

Run as a program it prepares a folder slowly, for others to kill: python -m tests.crop_files FOLDER STORE SECONDS_A_PHOTOGRAPH.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from zlib import crc32

import numpy as np

from facesearch.core.errors import ImageDecodeError, LowQualityFaceError
from facesearch.core.face import Alignment, Box, Detection, FaceCrop
from facesearch.core.image import Image
from facesearch.core.template import Template
from facesearch.training.crop_store import CropRow
from facesearch.training.crop_writer import CropWriter
from facesearch.training.prepare import PrepareCrops
from tests.world import DIM, EMBEDDER, LANDMARKS, face_at, person_vector

ALIGNMENT = Alignment("fake-8", 8, LANDMARKS / 100 * 8)
CROP_BYTES = 8 * 8 * 3


class FileNetworks:
    """Decoder, detector, aligner and embedder of files that say who is on them: ``person photo``, ``nobody`` or ``point``."""

    dim = DIM
    alignment = ALIGNMENT
    embedder_id = EMBEDDER

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.n_decoded = 0

    def decode(self, source: object) -> Image:
        time.sleep(self.seconds)
        self.n_decoded += 1
        path = Path(str(source))
        try:
            data = path.read_bytes()
        except OSError as exc:
            raise ImageDecodeError(f"{path}: there is no such file") from exc
        words = data.split()
        if not words or words[0] == b"broken":
            raise ImageDecodeError(f"{path} is no picture")
        pixels = np.full((4, 4, 3), crc32(b" ".join(words)) % 251, dtype=np.uint8)
        pixels[0, 0] = np.frombuffer(f"{crc32(b' '.join(words)):08x}"[:3].encode(), dtype=np.uint8)
        return Image(pixels, sha256(data).hexdigest(), str(path))

    def detect(self, image: Image, *, roi: Box | None = None) -> tuple[Detection, ...]:
        words = Path(str(image.source)).read_bytes().split()
        if words[0] == b"nobody":
            return ()
        return (face_at(0, 0, 50), face_at(60, 60, 30)) if words[0] == b"two" else (face_at(0, 0, 50),)

    def detect_batch(self, images: Sequence[Image]) -> tuple[tuple[Detection, ...], ...]:
        return tuple(self.detect(image) for image in images)

    def align(self, image: Image, detections: Sequence[Detection], alignment: Alignment) -> tuple[FaceCrop, ...]:
        text = Path(str(image.source)).read_bytes()
        if text.startswith(b"point"):
            raise LowQualityFaceError(f"{image.source}: landmarks coincide")
        person, photo = (int(word) % 256 for word in text.split()[-2:])
        pixels = np.full((8, 8, 3), person, dtype=np.uint8)
        pixels[:, :, 1] = photo
        pixels[0, 0, 2] = round(detections[0].width)
        return tuple(FaceCrop(pixels, detection) for detection in detections)

    def embed(self, crops: Sequence[FaceCrop]) -> tuple[Template, ...]:
        """Return a vector of the person and photo that the crop's colours say; likeness 0.9."""
        return tuple(
            Template(person_vector(int(one.pixels[1, 1, 0]), 0.9, photo=int(one.pixels[1, 1, 1])), EMBEDDER) for one in crops
        )


def prepare_of(networks: FileNetworks, **recipe: object) -> PrepareCrops:
    """Return what prepares files."""
    return PrepareCrops(
        networks.decode, networks, networks.align, alignment=ALIGNMENT, recipe=recipe or {"release": "test"}, min_face_px=20
    )


def put(path: Path, text: str) -> Path:
    """Write a file that stands for a photograph."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")
    return path


def make_people(root: Path, n_people: int = 20, n_each: int = 15) -> Path:
    """Write a folder of people; every eleventh file shows nobody or is none."""
    for person in range(n_people):
        for photo in range(n_each):
            place = person * n_each + photo
            text = f"{person} {photo}" if place % 11 else ("nobody", "broken", "point 1 1")[place % 3]
            put(root / f"P{person:02d}" / f"{photo:02d}.jpg", text)
    return root


def write_store(folder: Path, people: Sequence[tuple[str, np.ndarray]], *, crops_per_part: int | None = None) -> Path:
    """Write a finished store of given crops, uint8 (8, 8, 3), of named people."""
    with CropWriter(folder, ALIGNMENT, {"release": "test"}, crops_per_part=crops_per_part) as writer:
        for number, (person, pixels) in enumerate(people):
            row = CropRow(f"{person}/{number}.jpg", person, face_at(0, 0, 50), f"{number:064x}", crc32(pixels.tobytes()), 0.5)
            writer.add([(row, pixels)])
        writer.finish({"source": {"name": "made", "digest": ""}, "counts": {}})
    return folder


def store_of_vectors(folder: Path, people: Sequence[tuple[str, int]]) -> Path:
    """Write a store whose crops `FileNetworks.embed` takes for the numbered people, each under the given name."""
    crops = []
    for photo, (name, person) in enumerate(people):
        pixels = np.full((8, 8, 3), person, dtype=np.uint8)
        pixels[:, :, 1] = photo % 32
        crops.append((name, pixels))
    return write_store(folder, crops)


def main() -> None:
    """Prepare a folder slowly."""
    networks = FileNetworks(float(sys.argv[3]))
    report = prepare_of(networks)(Path(sys.argv[1]), Path(sys.argv[2]), on_progress=lambda done, _: print(done, flush=True))
    print(f"done {report.n_known}", flush=True)


if __name__ == "__main__":
    main()
