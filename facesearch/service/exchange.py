"""A collection as one portable file: export and import.

The file is a ZIP archive of ``manifest.json`` (format, version, SHA-256 of every part), ``people.jsonl`` (a person a line),
``vectors/<n>.f32`` (little-endian float32 rows, one part an embedder) and ``pictures/…`` (where any were kept). Ids are not part of
it: they are given anew on import. The same collection always gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from facesearch.core.arrays import Vectors
from facesearch.core.errors import (
    FaceSearchError,
    FileWriteError,
    GalleryFormatError,
    IncompatibleTemplatesError,
    InputError,
)
from facesearch.core.face import Detection, checked_box
from facesearch.core.identity import (
    EnrolledTemplate,
    Identity,
    Keep,
    KeptPicture,
    NewFace,
    Provenance,
    checked_label,
)
from facesearch.core.protocols import IdentityStore, StoreReader, StoreWriter
from facesearch.core.template import Template

FORMAT = "facesearch-collection"
VERSION = 1

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time a ZIP entry can have; a fixed one keeps equal collections equal bytes."""

_PIECE_BYTES = 2**18
"""Bytes of a streamed export that are handed on at once, at least."""


@dataclass(frozen=True, slots=True)
class ExchangeSummary:
    """What an export wrote or an import read.

    Attributes:
        collection: Name of the collection.
        n_identities: People.
        n_templates: Templates.
        n_pictures: Kept pictures.
    """

    collection: str
    n_identities: int
    n_templates: int
    n_pictures: int


class Exchange:
    """Exports and imports collections.

    Args:
        store: Where they are.
        embedder_id: The embedder of this process, with which collections are searched that do not say another: an import without
            any template of the collection's is refused.
    """

    def __init__(self, store: IdentityStore, *, embedder_id: str) -> None:
        self._store = store
        self._embedder_id = embedder_id

    def export(self, file: str | os.PathLike[str], *, collection: str) -> ExchangeSummary:
        """Write a collection to a file; an existing file is replaced once the new one is complete.

        Raises:
            UnknownCollectionError: There is no such collection.
            FileWriteError: The file cannot be written.
        """
        target = Path(file)
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            partial.touch(mode=0o600)  # as biometric as the database: its owner's to share
            with self._store.reading() as reader, zipfile.ZipFile(partial, "w") as archive:
                writer = _Writer(reader, collection)
                for part, data in writer.parts():
                    archive.writestr(zipfile.ZipInfo(part, _EPOCH), data)
                summary = writer.summary
            with partial.open("rb+") as written:
                os.fsync(written.fileno())
            partial.replace(target)
        except OSError as exc:
            raise FileWriteError(f"{target} cannot be written: {exc.strerror}", path=str(target)) from exc
        finally:
            with suppress(OSError):  # where it could not be made, it cannot be removed either
                partial.unlink(missing_ok=True)
        return summary

    def stream(self, *, collection: str) -> Generator[bytes, None, ExchangeSummary]:
        """Yield an exported collection piece by piece; what ``export`` writes, but for flags of the archive's parts.

        Nothing touches the disk. It reads in one transaction, open from the first piece to the last or to ``close()``; one thread
        takes them all.

        Raises:
            UnknownCollectionError: There is no such collection; before the first piece.
        """
        written = _Pieces()
        with self._store.reading() as reader:
            writer = _Writer(reader, collection)
            with zipfile.ZipFile(written, "w") as archive:
                for part, data in writer.parts():
                    archive.writestr(zipfile.ZipInfo(part, _EPOCH), data)
                    if len(written) >= _PIECE_BYTES:
                        yield written.take()
            yield written.take()
        return writer.summary

    def restore(
        self, file: str | os.PathLike[str] | BinaryIO, *, collection: str | None = None, keep: Keep = Keep.PHOTO
    ) -> ExchangeSummary:
        """Read a file into a collection, everything or nothing.

        Args:
            file: What ``export`` wrote, or an open stream of it that can seek.
            collection: Name of the collection, made where there is none; None for the name it was exported under.
            keep: Pictures of more than this are left out.

        Raises:
            InputError: There is no such file.
            GalleryFormatError: The file is damaged, no export, or of a newer format version.
            IncompatibleTemplatesError: None of its templates is of the embedder that the collection is searched with.
            LabelTakenError: A label exists in the collection already.
        """
        source = Path(file) if isinstance(file, str | os.PathLike) else file
        what = str(source) if isinstance(source, Path) else "what was sent"
        with _reading_archive(source, what) as archive:
            content = _Reader(archive, what)
            manifest = content.manifest
            name = checked_label(collection if collection is not None else manifest["collection"], what="collection name")
            with self._store.writing() as writer:
                self._require_searchable(writer, name, manifest["embedders"], what)
                writer.ensure_collection(name)
                return _put(writer, name, content, keep)

    def _require_searchable(self, reader: StoreReader, collection: str, embedder_ids: Sequence[str], what: str) -> None:
        """Raise where nobody of a file could be found in a collection."""
        use = reader.embedder_use(collection)
        wanted = self._embedder_id if use is None else use.current.embedder_id
        if embedder_ids and wanted not in embedder_ids:
            raise IncompatibleTemplatesError(
                f"{what} holds templates of {', '.join(embedder_ids)}, collection {collection!r} is searched with {wanted}: import "
                "it into a collection of its own with --embedder set to the one it was made with, or enroll the photographs again",
                embedder_id=wanted,
            )


class _Pieces(io.RawIOBase):
    """A file that cannot seek and forgets what was taken from it."""

    def __init__(self) -> None:
        super().__init__()
        self._data = bytearray()

    def __len__(self) -> int:
        return len(self._data)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._data += data
        return len(data)

    def take(self) -> bytes:
        """Return what was written since the last call."""
        taken, self._data = bytes(self._data), bytearray()
        return taken


class _Writer:
    """Makes the parts of one archive and remembers their digests."""

    def __init__(self, reader: StoreReader, name: str) -> None:
        self._reader = reader
        self._collection = reader.collection(name)
        self._digests: dict[str, str] = {}
        self._n_people = self._n_templates = self._n_pictures = 0

    @property
    def summary(self) -> ExchangeSummary:
        """What was written so far."""
        return ExchangeSummary(self._collection.name, self._n_people, self._n_templates, self._n_pictures)

    def parts(self) -> Iterator[tuple[str, bytes]]:
        """Yield the name and the content of every part, the manifest last."""
        name = self._collection.name
        embedders = sorted(self._reader.embedder_counts(name))
        rows: dict[str, list[Vectors]] = {embedder: [] for embedder in embedders}
        people: list[str] = []
        for identity in self._reader.identities(name):
            faces = []
            for enrolled in self._reader.templates_of(identity.identity_id):
                vectors = rows[enrolled.template.embedder_id]
                entry = _face_entry(enrolled, embedders.index(enrolled.template.embedder_id), len(vectors))
                vectors.append(enrolled.template.vector)
                picture = self._reader.picture_of(enrolled.template_id)
                if picture is not None:
                    part = f"pictures/{self._n_pictures:08d}"
                    yield self._part(part, picture.data)
                    where = {"landmarks": picture.landmarks, "box": picture.box}
                    entry["picture"] = {"part": part, "kind": str(picture.kind), **where}
                    self._n_pictures += 1
                faces.append(entry)
            people.append(_json(_person_entry(identity, faces)))
            self._n_people, self._n_templates = self._n_people + 1, self._n_templates + len(faces)
        for number, embedder in enumerate(embedders):
            yield self._part(f"vectors/{number}.f32", np.stack(rows[embedder]).astype("<f4").tobytes())
        yield self._part("people.jsonl", "".join(line + "\n" for line in people).encode())
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "collection": name,
            "embedders": embedders,
            "dims": [len(rows[embedder][0]) for embedder in embedders],
            "n_identities": self._n_people,
            "n_templates": self._n_templates,
            "sha256": self._digests,
        }
        yield "manifest.json", _json(manifest).encode()

    def _part(self, part: str, data: bytes) -> tuple[str, bytes]:
        self._digests[part] = hashlib.sha256(data).hexdigest()
        return part, data


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _person_entry(identity: Identity, faces: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "label": identity.label,
        "tags": identity.tags,
        "enrolled_at": identity.enrolled_at.isoformat(),
        "faces": faces,
    }


def _face_entry(enrolled: EnrolledTemplate, embedder: int, row: int) -> dict[str, Any]:
    origin = enrolled.provenance
    return {
        "embedder": embedder,
        "row": row,
        "image_digest": origin.image_digest,
        "source": origin.source,
        "enrolled_at": origin.enrolled_at.isoformat(),
        "box": origin.detection.box,
        "landmarks": origin.detection.landmarks.tolist(),
        "score": origin.detection.score,
        "quality": dict(origin.quality),
    }


@contextmanager
def _reading_archive(file: Path | BinaryIO, what: str) -> Iterator[zipfile.ZipFile]:
    """Open an export; everything that its content can do wrong becomes ``GalleryFormatError``."""
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except FaceSearchError:
        raise
    except FileNotFoundError as exc:
        raise InputError(f"there is no file {what}", path=what) from exc
    except OSError as exc:
        raise InputError(f"{what} cannot be read: {exc.strerror}", path=what) from exc
    except (zipfile.BadZipFile, KeyError, IndexError, TypeError, ValueError, NotImplementedError, RuntimeError, EOFError) as exc:
        raise GalleryFormatError(f"{what} is damaged or no exported collection: {exc}", path=what) from exc


class _Reader:
    """Reads one archive, every part checked against its digest."""

    def __init__(self, archive: zipfile.ZipFile, what: str) -> None:
        self._archive = archive
        self._what = what
        # Exports are never compressed, so that no part is larger than the file, whatever its headers say.
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise GalleryFormatError(f"{what} is damaged or no exported collection: parts of it are compressed", path=what)
        if sum(info.file_size for info in archive.infolist()) > archive.start_dir:
            raise GalleryFormatError(f"{what} is damaged or no exported collection: parts of it overlap", path=what)
        self._pictures_read: set[str] = set()
        self.manifest: dict[str, Any] = json.loads(archive.read("manifest.json"))
        if self.manifest["format"] != FORMAT:
            raise GalleryFormatError(f"{what} is no exported collection", path=what)
        if self.manifest["version"] != VERSION:
            raise GalleryFormatError(
                f"{what} has format version {self.manifest['version']}, this release reads {VERSION}", path=what
            )
        self._vectors = [self._matrix(number, int(dim)) for number, dim in enumerate(self.manifest["dims"])]

    def part(self, name: str) -> bytes:
        data = self._archive.read(name)
        if hashlib.sha256(data).hexdigest() != self.manifest["sha256"][name]:
            raise GalleryFormatError(f"{self._what} is damaged: {name} does not have the digest in its manifest")
        return data

    def people(self) -> Iterator[dict[str, Any]]:
        for line in self.part("people.jsonl").splitlines():
            yield json.loads(line)

    def new_face(self, entry: Mapping[str, Any]) -> NewFace:
        embedder_id = self.manifest["embedders"][entry["embedder"]]
        detection = Detection(checked_box(entry["box"]), np.array(entry["landmarks"], dtype=np.float32), float(entry["score"]))
        provenance = Provenance(
            str(entry["image_digest"]),
            str(entry["source"]),
            detection,
            datetime.fromisoformat(entry["enrolled_at"]),
            {str(key): float(value) for key, value in entry["quality"].items()},
        )
        vector = self._vectors[entry["embedder"]][entry["row"]]
        return NewFace(Template(vector, embedder_id), provenance, self._picture(entry.get("picture")))

    def _picture(self, entry: Mapping[str, Any] | None) -> KeptPicture | None:
        if entry is None:
            return None
        part = str(entry["part"])
        if part in self._pictures_read:  # one picture for all faces would make a small file fill the database
            raise GalleryFormatError(f"{self._what} is damaged: {part} is the picture of two faces", path=self._what)
        self._pictures_read.add(part)
        points = tuple((float(x), float(y)) for x, y in entry["landmarks"])
        return KeptPicture(Keep(entry["kind"]), self.part(part), points, checked_box(entry["box"]))

    def _matrix(self, number: int, dim: int) -> Vectors:
        return np.frombuffer(self.part(f"vectors/{number}.f32"), dtype="<f4").reshape(-1, dim).astype(np.float32)


def _put(writer: StoreWriter, name: str, content: _Reader, keep: Keep) -> ExchangeSummary:
    n_identities = n_templates = n_pictures = 0
    for person in content.people():
        identity = writer.add_identity(
            name, checked_label(person["label"]), person["tags"], enrolled_at=datetime.fromisoformat(person["enrolled_at"])
        )
        n_identities += 1
        for entry in person["faces"]:
            face = content.new_face(entry)
            if face.picture is not None and not keep.permits(face.picture.kind):
                face = replace(face, picture=None)
            writer.add_face(identity.identity_id, face)
            n_templates += 1
            n_pictures += face.picture is not None
    if (n_identities, n_templates) != (content.manifest["n_identities"], content.manifest["n_templates"]):
        raise GalleryFormatError(
            f"the file names {content.manifest['n_templates']} templates of {content.manifest['n_identities']} people, "
            f"{n_templates} of {n_identities} were found"
        )
    return ExchangeSummary(name, n_identities, n_templates, n_pictures)
