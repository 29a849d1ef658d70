"""Enrolled faces cut out once more, from whatever is left of their photographs.

Kept pictures first, then the file a face was enrolled from, then folders that are searched by content. It embeds nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from facesearch.core.embedder_use import LackingFace
from facesearch.core.errors import InputError
from facesearch.core.face import Alignment, FaceCrop
from facesearch.core.identity import KeptPicture
from facesearch.core.image import Image
from facesearch.core.paths import is_file, is_folder
from facesearch.core.protocols import Aligner

CutKept = Callable[[KeptPicture, Alignment], FaceCrop]
"""Cuts the face out of a kept picture."""

_READ_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class LostFace:
    """An enrolled face that cannot be cut out again.

    Attributes:
        face: The face.
        reason: ``"gone"`` (no kept picture and no file with its content) or ``"unusable"`` (what is left of it is damaged).
        detail: What was wrong, in words.
    """

    face: LackingFace
    reason: str
    detail: str

    def as_dict(self) -> dict[str, object]:
        """Return it as a line of a list; no vector and no picture."""
        face = self.face
        where = {"source": face.source, "image_digest": face.image_digest, "template_id": face.template_id}
        return {"label": face.label, "identity_id": face.identity_id, **where, "reason": self.reason, "detail": self.detail}


class FaceSources:
    """Cuts enrolled faces out of kept pictures and photographs. Thread-safe.

    Args:
        decode: Any source → ``Image``, whose digest is that of its bytes.
        align: Cuts a face out of a photograph.
        cut_kept: Cuts the face out of a kept picture.
        by_digest: Files by the SHA-256 of their content, for photographs that are not where they were; see ``files_by_digest``.
    """

    def __init__(
        self,
        decode: Callable[[str], Image],
        align: Aligner,
        cut_kept: CutKept,
        *,
        by_digest: dict[str, str] | None = None,
    ) -> None:
        self._decode = decode
        self._align = align
        self._cut_kept = cut_kept
        self._by_digest = by_digest or {}

    def crop(self, face: LackingFace, picture: KeptPicture | None, alignment: Alignment) -> FaceCrop | LostFace:
        """Return an enrolled face's crop, or why there is none.

        Args:
            face: The face, where it was enrolled.
            picture: What was kept of its photograph.
            alignment: The crop that is wanted.
        """
        unusable = ""
        if picture is not None:
            try:
                return self._cut_kept(picture, alignment)
            except InputError as exc:
                unusable = f"the kept picture: {exc.message}"
        for place in dict.fromkeys((face.source, self._by_digest.get(face.image_digest, ""))):
            if not place or not is_file(place):
                continue
            try:
                image = self._decode(place)
                if image.digest == face.image_digest:
                    return self._align(image, (face.detection,), alignment)[0]
            except InputError as exc:
                unusable = f"{place}: {exc.message}"
        if unusable:
            return LostFace(face, "unusable", unusable)
        return LostFace(face, "gone", f"no picture was kept and no file with the photograph's content was found{_looked_in(face)}")


def _looked_in(face: LackingFace) -> str:
    """Return where a relative path was looked for, to be said behind what was not found."""
    is_elsewhere_perhaps = bool(face.source) and not Path(face.source).is_absolute()
    return f"; {face.source!r} was looked for in {Path.cwd()}" if is_elsewhere_perhaps else ""


def files_by_digest(folders: Iterable[str | os.PathLike[str]], wanted: Callable[[str], bool]) -> dict[str, str]:
    """Return the files below folders whose content has a wanted digest, by it; the first of equal ones, in order of their paths.

    Every file is read once. Files that cannot be read are passed over: whatever needed them is listed as lost.

    Args:
        folders: Where to look, to any depth; links to folders are not followed.
        wanted: Whether a SHA-256 in hex is one of those looked for.

    Raises:
        InputError: One of them is no folder.
    """
    found: dict[str, str] = {}
    for folder in folders:
        require_folder(folder)
        for path in _files(folder):
            digest = _digest(path)
            if digest is not None and wanted(digest):
                found.setdefault(digest, str(path))
    return found


def require_folder(folder: str | os.PathLike[str]) -> None:
    """Raise where there is no such folder.

    Raises:
        InputError: There is none.
    """
    if not is_folder(folder):
        raise InputError(f"{os.fspath(folder)} is no folder", path=os.fspath(folder))


def _files(folder: str | os.PathLike[str]) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if is_file(path):
                yield path


def _digest(path: Path) -> str | None:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while piece := stream.read(_READ_BYTES):
                digest.update(piece)
    except OSError:
        return None
    return digest.hexdigest()
