"""Two embedders over one store and photographs that are files, for moving a collection from one to the other.

The vectors of the second are those of the first, turned: people are as much alike as before, and no score of one means anything to
the other.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np

from facesearch.core.decision import OperatingPoint, OperatingPoints
from facesearch.core.embedder_use import NamedEmbedder
from facesearch.core.errors import ImageDecodeError, UnknownEmbedderError
from facesearch.core.face import FaceCrop
from facesearch.core.image import Image
from facesearch.service.embedder_choice import EmbedderChoice
from facesearch.service.facade import FaceSearchService
from facesearch.service.face_sources import FaceSources
from facesearch.service.migrate import MigrateGallery
from facesearch.service.migration_copy import Side
from tests.world import POINTS, FakeNetworks, World, face_at, person_vector

OLD = NamedEmbedder("old", "old@000000000000")
NEW = NamedEmbedder("new", "new@111111111111")
THIRD = NamedEmbedder("third", "third@222222222222")


def points_of(embedder: NamedEmbedder) -> OperatingPoints:
    return OperatingPoints(tuple(OperatingPoint(one.threshold, one.fmr, embedder.embedder_id, one.n_non_mated) for one in POINTS))


class FileNetworks(FakeNetworks):
    """Networks that know photographs by the content of their files, and faces by their boxes.

    Args:
        embedder: Whose vectors they make.
        turn: Places by which the vectors are turned.
        seconds_a_face: How long embedding a face takes.
    """

    def __init__(self, embedder: NamedEmbedder, turn: int, seconds_a_face: float = 0.0) -> None:
        super().__init__(embedder.embedder_id)
        self.turn = turn
        self.seconds_a_face = seconds_a_face
        self.blur = 0.0
        """Share of every vector that is chance: 1 makes a model that knows nobody."""

    def file(self, path: Path, *faces) -> str:
        """Write a file that stands for a photograph of faces, ``(detection, vector)`` each."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(str(path.name).encode() + bytes(path.parent.name, "utf-8"))
        self.faces[hashlib.sha256(path.read_bytes()).hexdigest()] = faces
        return str(path)

    def decode(self, source: object) -> Image:
        if isinstance(source, Image):
            return source
        data = source if isinstance(source, bytes) else Path(str(source)).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if digest not in self.faces:
            raise ImageDecodeError(f"{source!r} is no photograph of this world")
        return Image(np.zeros((400, 400, 3), dtype=np.uint8), digest, "" if isinstance(source, bytes) else str(source))

    def align(self, image, detections, alignment):
        return tuple(self._crop(image.digest, one) for one in detections)

    def cut_kept(self, picture, alignment) -> FaceCrop:
        """Cut a face out of a picture that ``make_picture`` kept."""
        known = next((one for one, _ in self.faces[picture.data.decode().partition(":")[2]] if one.box == picture.box), None)
        if known is None:
            raise ImageDecodeError("the kept picture is damaged")
        return self._crop(picture.data.decode().partition(":")[2], known)

    def _crop(self, digest, detection) -> FaceCrop:
        vector = next(vector for face, vector in self.faces[digest] if face.box == detection.box)
        pixels = np.zeros((8, 8, 3), dtype=np.uint8)
        pixels.flat[:32] = np.frombuffer(hashlib.sha256(f"{digest} {detection.box}".encode()).digest(), dtype=np.uint8)
        chance = np.random.default_rng(list(pixels.flat[:8])).normal(size=len(vector))
        mixed = (1 - self.blur) * np.roll(vector, self.turn) + self.blur * chance / np.linalg.norm(chance)
        self.crops[pixels.tobytes()] = mixed / np.linalg.norm(mixed)
        return FaceCrop(pixels, detection)

    def embed(self, crops):
        time.sleep(self.seconds_a_face * len(crops))
        return super().embed(crops)


class TwoModels:
    """One gallery, the objects of two embedders over it, and what moves it between them.

    Args:
        folder: Of the database and the indexes.
        photos: Where the photographs lie.
        seconds_a_face: How long the new embedder takes.
    """

    def __init__(self, folder: Path, photos: Path, *, seconds_a_face: float = 0.0) -> None:
        folder.mkdir(exist_ok=True)
        self.photos = photos
        self.gone: set[NamedEmbedder] = set()
        """Embedders whose models were taken away."""
        self.old = World(folder, networks=FileNetworks(OLD, 0), points=points_of(OLD))
        self.store = self.old.store
        networks = FileNetworks(NEW, 5, seconds_a_face)
        networks.faces = self.old.networks.faces
        self.new = World(folder, networks=networks, store=self.store, points=points_of(NEW))
        worlds = {OLD.embedder_id: self.old, NEW.embedder_id: self.new}
        self.choice = EmbedderChoice(
            self.store, OLD.embedder_id, lambda: self._services(self.old), lambda one: self._services(worlds[one.embedder_id])
        )
        self.faces = FaceSearchService(self._services(self.old))

        def side_of(one: NamedEmbedder) -> Side:
            if one in self.gone:
                raise UnknownEmbedderError(f"there is no embedder {one.name!r}")
            world = worlds[one.embedder_id]
            return Side(world.networks, world.indexes, world.points)

        self.migration = MigrateGallery(self.store, side_of, self._sources, own=OLD)

    def _services(self, world: World):
        return replace(world.services, embedders=self.choice)

    def _sources(self, by_digest):
        # Crops of one embedder mean nothing to the other's fake: both are told of each.
        old, new = self.old.networks, self.new.networks

        def align(*asked):
            old.align(*asked)
            return new.align(*asked)

        def cut_kept(*asked):
            old.cut_kept(*asked)
            return new.cut_kept(*asked)

        return FaceSources(new.decode, align, cut_kept, by_digest=by_digest)

    @property
    def current(self) -> NamedEmbedder:
        """The embedder that the default collection is searched with."""
        return self.migration.state("default").use.current

    def photo(self, person: int, number: int) -> Path:
        """Return the file of a person's photograph."""
        return self.photos / f"P{person:02d}" / f"{number}.jpg"

    def make(self, person: int, number: int, likeness: float = 0.9) -> str:
        """Make a photograph of a person; the file is written."""
        path = self.photo(person, number)
        seed = crc32(f"{person} {number}".encode())
        return self.old.networks.file(path, (face_at(100, 100, 120), person_vector(person, likeness, seed % 29)))

    def enroll(self, n_people: int, n_each: int = 3, *, keep: str = "none") -> None:
        """Enroll people ``P00``, ``P01``, … with photographs from files."""
        for person in range(n_people):
            for number in range(n_each):
                self.faces.enroll(self.make(person, number), f"P{person:02d}", keep=keep)

    def who(self, photo: str, **asked) -> str | None:
        """Return who is in a photograph."""
        return self.faces.identify(photo, **asked)[0].label

    def counts(self) -> dict[str, int]:
        """Return the number of templates an embedder id."""
        with self.store.reading() as reader:
            return reader.embedder_counts("default")

    def close(self) -> None:
        self.faces.close()
