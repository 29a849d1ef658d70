"""People, the collections they are enrolled in, and what is kept of each enrolled face.

It stores nothing: see ``facesearch.store``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from facesearch.core.errors import LabelError
from facesearch.core.face import Box, Detection
from facesearch.core.template import Template

MAX_LABEL_CHARS = 200
"""Longest label, tag or collection name in characters: room for any name, small enough for an index of every database."""

DEFAULT_COLLECTION = "default"
"""The collection used where none is named."""


class Keep(StrEnum):
    """Which picture is stored beside a template."""

    NONE = "none"
    CROP = "crop"
    PHOTO = "photo"

    def permits(self, asked: Keep) -> bool:
        """Whether ``asked`` stores no more of a photograph than this: nothing, then the aligned face, then the whole of it."""
        order = tuple(Keep)
        return order.index(asked) <= order.index(self)


def checked_label(label: object, *, what: str = "label") -> str:
    """Return a label in Unicode normal form C, without surrounding white space.

    Letters of any script, emoji and ``/`` are allowed; control characters (NUL and line breaks among them) are not.

    Raises:
        LabelError: Not a string, empty, longer than ``MAX_LABEL_CHARS``, or with a control character or lone surrogate.
    """
    if not isinstance(label, str):
        raise LabelError(f"{what} must be text, not {type(label).__name__}")
    clean = unicodedata.normalize("NFC", label).strip()
    if not clean:
        raise LabelError(f"{what} is empty")
    if len(clean) > MAX_LABEL_CHARS:
        raise LabelError(f"{what} has {len(clean)} characters, at most {MAX_LABEL_CHARS} are allowed", length=len(clean))
    bad = next((char for char in clean if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")), None)
    if bad is not None:
        raise LabelError(f"{what} has the forbidden character U+{ord(bad):04X}", character=f"U+{ord(bad):04X}")
    return clean


def checked_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return tags checked like labels, sorted and without repeats.

    Raises:
        LabelError: A single string instead of several, or a tag that breaks the rule of labels.
    """
    if isinstance(tags, str):
        raise LabelError("tags are a list of texts, not one text")
    return tuple(sorted({checked_label(tag, what="tag") for tag in tags}))


@dataclass(frozen=True, slots=True)
class Collection:
    """A named gallery.

    Attributes:
        collection_id: Never reused.
        name: Unique.
        revision: Number of changes made to its templates; an index says which one it reflects.
        uid: Random 32 hex digits, different for every collection ever made in any database: what a snapshot is filed under.
    """

    collection_id: int
    name: str
    revision: int
    uid: str


@dataclass(frozen=True, slots=True)
class Identity:
    """One enrolled person.

    Attributes:
        identity_id: Never reused.
        label: Unique in its collection.
        collection: Name of the collection.
        tags: Sorted texts to filter by.
        enrolled_at: When the identity was made, UTC.
    """

    identity_id: int
    label: str
    collection: str
    tags: tuple[str, ...]
    enrolled_at: datetime


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where an enrolled template came from.

    Attributes:
        image_digest: SHA-256 of the photograph.
        source: File name or other origin, empty when unknown.
        detection: The face in that photograph.
        enrolled_at: UTC.
        quality: Named figures, for example ``{"face_px": 93.0}``; plain floats.
    """

    image_digest: str
    source: str
    detection: Detection
    enrolled_at: datetime
    quality: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class KeptPicture:
    """A picture stored beside a template.

    Attributes:
        kind: ``Keep.CROP`` or ``Keep.PHOTO``.
        data: Encoded bytes (JPEG for a crop, the original file for a photograph).
        landmarks: The face's five points in the stored picture's pixels, x then y, as nested tuples.
        box: The face's box in the stored picture's pixels.
    """

    kind: Keep
    data: bytes
    landmarks: tuple[tuple[float, float], ...]
    box: Box


@dataclass(frozen=True, slots=True)
class EnrolledTemplate:
    """A template of an enrolled person.

    Attributes:
        template_id: Never reused; the label of the vector in an index.
        identity_id: Whom it belongs to.
        template: The vector and its embedder.
        provenance: Where it came from.
    """

    template_id: int
    identity_id: int
    template: Template
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class FaceSummary:
    """A person's faces in numbers, for lists.

    Attributes:
        n_faces: Enrolled faces, of whatever embedder.
        thumbnail_template_id: The oldest template beside which a picture was kept; None where none was.
    """

    n_faces: int
    thumbnail_template_id: int | None


@dataclass(frozen=True, slots=True)
class NewFace:
    """A face about to be stored: everything of ``EnrolledTemplate`` but the ids.

    Attributes:
        template: The vector and its embedder.
        provenance: Where it came from.
        picture: What to keep of the photograph, or None.
    """

    template: Template
    provenance: Provenance
    picture: KeptPicture | None = None


class ChangeKind(StrEnum):
    """What a revision did to one template."""

    ADD = "add"
    REMOVE = "remove"
    MOVE = "move"
    ERASE = "erase"


@dataclass(frozen=True, slots=True)
class GalleryChange:
    """One step of a collection's history, as an index needs it to catch up.

    Attributes:
        revision: Strictly rising within a collection.
        template_id: The template added, removed, or moved to another identity.
        kind: What happened; ``ERASE`` is a removal after which no index may keep the vector in memory or in a snapshot.
    """

    revision: int
    template_id: int
    kind: ChangeKind
