"""What an identity store promises: reading and writing inside one transaction.

Part of ``facesearch.core.protocols``, which is where it is imported from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from facesearch.core.access_protocols import AccessReader, AccessWriter
from facesearch.core.embedder_use import EmbeddersReader, EmbeddersWriter
from facesearch.core.face import Box
from facesearch.core.identity import Collection, EnrolledTemplate, FaceSummary, GalleryChange, Identity, KeptPicture, NewFace
from facesearch.core.records import RecordsReader, RecordsWriter
from facesearch.core.template import TemplateBatch
from facesearch.core.video import VideosReader, VideosWriter


class StoreReader(RecordsReader, VideosReader, AccessReader, EmbeddersReader, Protocol):
    """What can be asked of the store inside one transaction: a consistent picture."""

    def collections(self) -> tuple[Collection, ...]:
        """Return all collections by name."""
        ...

    def collection(self, name: str) -> Collection:
        """Return a collection.

        Raises:
            UnknownCollectionError: There is none of this name.
        """
        ...

    def identity(self, collection: str, label: str) -> Identity:
        """Return an identity by label.

        Raises:
            UnknownCollectionError: There is no such collection.
            UnknownIdentityError: The label is not in the collection.
        """
        ...

    def identities(
        self, collection: str, *, tags: Iterable[str] = (), contains: str = "", after: str = "", limit: int | None = None
    ) -> tuple[Identity, ...]:
        """Return identities by label in code point order.

        Args:
            collection: Its name.
            tags: Only identities that carry every one of these.
            contains: Only labels that contain this text, whatever the case.
            after: Only labels after this one (paging).
            limit: At most so many; None for all.
        """
        ...

    def identities_by_id(self, identity_ids: Iterable[int]) -> dict[int, Identity]:
        """Return the identities that exist among these ids."""
        ...

    def identities_by_label(self, collection: str, labels: Iterable[str]) -> dict[str, Identity]:
        """Return the identities that exist among these labels, by label."""
        ...

    def counts(self, collection: str, embedder_id: str | None = None) -> tuple[int, int]:
        """Return the numbers of identities and of templates, of one embedder where it is named."""
        ...

    def embedder_counts(self, collection: str) -> dict[str, int]:
        """Return the number of templates a embedder id."""
        ...

    def templates_of(self, identity_id: int) -> tuple[EnrolledTemplate, ...]:
        """Return an identity's templates by id."""
        ...

    def face_summaries(self, identity_ids: Iterable[int]) -> dict[int, FaceSummary]:
        """Return how many faces people have, and the template of a kept picture; only people who have any face."""
        ...

    def faces_of_image(self, collection: str, image_digest: str, embedder_id: str) -> tuple[tuple[int, str, Box], ...]:
        """Return ``(template_id, label, box)`` of every template of a photograph in a collection."""
        ...

    def faces_of_images(
        self, collection: str, image_digests: Iterable[str], embedder_id: str
    ) -> dict[str, tuple[tuple[int, str, Box], ...]]:
        """Return what ``faces_of_image`` would, of those photographs that have any."""
        ...

    def picture_of(self, template_id: int) -> KeptPicture | None:
        """Return the picture kept beside a template, or None."""
        ...

    def template_batches(self, collection: str, embedder_id: str, *, size: int = 10_000) -> Iterable[TemplateBatch]:
        """Yield all templates of an embedder in batches, by id."""
        ...

    def template_batch(self, template_ids: Iterable[int], embedder_id: str) -> TemplateBatch:
        """Return those of the named templates that exist and are of this embedder, by id."""
        ...

    def template_batch_of(self, identity_ids: Iterable[int], embedder_id: str) -> TemplateBatch:
        """Return the templates of an embedder of some identities, by identity and id."""
        ...

    def changes_since(self, collection: str, revision: int) -> tuple[GalleryChange, ...] | None:
        """Return the changes after a revision, oldest first, or None where the history no longer reaches back so far."""
        ...


class StoreWriter(StoreReader, RecordsWriter, VideosWriter, AccessWriter, EmbeddersWriter, Protocol):
    """What can be changed inside one writing transaction; nothing is seen by others before it ends well."""

    def add_collection(self, name: str) -> Collection:
        """Make a collection.

        Raises:
            LabelTakenError: The name exists.
        """
        ...

    def ensure_collection(self, name: str) -> Collection:
        """Return the collection of this name, made first where there is none."""
        ...

    def remove_collection(self, name: str) -> None:
        """Delete a collection and everything in it."""
        ...

    def add_identity(
        self, collection: str, label: str, tags: Iterable[str] = (), *, enrolled_at: datetime | None = None
    ) -> Identity:
        """Make an identity; the collection must exist. ``enrolled_at`` (UTC) is now for None; an import passes the original.

        Raises:
            LabelTakenError: The label exists in the collection.
        """
        ...

    def add_identities(self, collection: str, people: Sequence[tuple[str, Iterable[str]]]) -> tuple[Identity, ...]:
        """Make identities, ``(label, tags)`` each, at once; the collection must exist.

        Raises:
            LabelTakenError: A label exists in the collection, or is given twice. Nobody was added.
        """
        ...

    def rename_identity(self, identity_id: int, label: str) -> Identity:
        """Change a label.

        Raises:
            LabelTakenError: The label exists in the collection.
            UnknownIdentityError: There is no such identity.
        """
        ...

    def set_tags(self, identity_id: int, tags: Iterable[str]) -> Identity:
        """Replace an identity's tags."""
        ...

    def add_face(self, identity_id: int, face: NewFace) -> EnrolledTemplate:
        """Store a face of an identity; the collection's revision rises by one."""
        ...

    def add_faces(self, faces: Sequence[tuple[int, NewFace]]) -> tuple[EnrolledTemplate, ...]:
        """Store faces, ``(identity_id, face)`` each, of one collection and one embedder, as ``add_face`` would one by one.

        Raises:
            UnknownIdentityError: There is no such identity.
            InputError: A value that cannot be stored. Nothing was stored yet.
        """
        ...

    def merge_identities(self, source_id: int, target_id: int) -> tuple[int, ...]:
        """Give all templates of one identity to another and delete the emptied one; return the moved template ids.

        Tags are united. The collection's revision rises by one for each template.
        """
        ...

    def move_template(self, template_id: int, identity_id: int) -> tuple[int, ...]:
        """Give the face of a template to another identity of its collection; return the moved template ids.

        A face belongs to one person, so its templates of other embedders move too. The identity left behind stays, even without
        templates. The collection's revision rises by one for each template; a face that is the identity's already changes nothing.

        Raises:
            UnknownIdentityError: There is no such template or identity.
            EnrollmentError: The identity is in another collection.
        """
        ...

    def remove_identity(self, identity_id: int, *, erase: bool = False) -> tuple[int, ...]:
        """Delete an identity, its templates, faces and pictures; return the removed template ids.

        Images that no face refers to any more go too. The collection's revision rises by one for each template. With ``erase`` the
        history says ``ChangeKind.ERASE``, so that every process's index forgets the vectors for good.
        """
        ...

    def remove_template(self, template_id: int) -> None:
        """Delete one template with its face and picture."""
        ...

    def prune_changes(self, collection: str, below: int) -> None:
        """Forget changes of revisions up to and including ``below``."""
        ...


class IdentityStore(Protocol):
    """The truth about who is enrolled."""

    def reading(self) -> AbstractContextManager[StoreReader]:
        """Open a reading transaction.

        Raises:
            StoreError: The database failed.
            SchemaVersionError: Its schema is not this release's.
        """
        ...

    def writing(self) -> AbstractContextManager[StoreWriter]:
        """Open a writing transaction: committed when the block ends, rolled back when it raises.

        Writers take turns: whatever is read inside stays true until the commit.

        Raises:
            StoreError: The database failed or stayed locked by others too long.
            SchemaVersionError: Its schema is not this release's.
        """
        ...

    def scrub(self) -> None:
        """Overwrite what deletions left behind in the database's files, as far as the database allows it."""
        ...

    def close(self) -> None:
        """Release connections. Idempotent."""
        ...
