"""Looking after who is enrolled: list, show, rename, tag, merge, remove, and collections.

It embeds nothing and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from facesearch.core.errors import InputError
from facesearch.core.identity import Collection, EnrolledTemplate, Identity, KeptPicture, checked_label, checked_tags
from facesearch.core.protocols import IdentityStore
from facesearch.service.feedback import said_of
from facesearch.service.gallery import GalleryIndexes, collection_or_none


@dataclass(frozen=True, slots=True)
class Person:
    """An identity with everything enrolled of it.

    Attributes:
        identity: Label, tags, time of enrolment.
        templates: By id.
    """

    identity: Identity
    templates: tuple[EnrolledTemplate, ...]


@dataclass(frozen=True, slots=True)
class CollectionSummary:
    """A collection in numbers.

    Attributes:
        collection: Name and revision.
        n_identities: People.
        n_templates: Templates of all embedders.
        embedders: Templates an embedder id.
    """

    collection: Collection
    n_identities: int
    n_templates: int
    embedders: dict[str, int]


class People:
    """Lists and changes identities and collections, each change one transaction.

    Args:
        store: Where they are.
        indexes: Brought in step after an erasure.
        default_collection: May be missing: then it is empty.
    """

    def __init__(self, store: IdentityStore, indexes: GalleryIndexes, *, default_collection: str) -> None:
        self._store = store
        self._indexes = indexes
        self._default = default_collection

    def list(
        self, *, collection: str, tags: Iterable[str] = (), contains: str = "", after: str = "", limit: int | None = None
    ) -> tuple[Identity, ...]:
        """Return identities by label in code point order.

        Args:
            collection: Where.
            tags: Only people who carry all of these.
            contains: Only labels with this text, whatever the case.
            after: Only labels after this one (paging).
            limit: At most so many, at least 1; None for all.
        """
        if limit is not None and limit < 1:
            raise InputError(f"limit must be at least 1, not {limit}")
        with self._store.reading() as reader:
            if collection_or_none(reader, collection, default=self._default) is None:
                return ()
            return reader.identities(collection, tags=checked_tags(tags), contains=contains, after=after, limit=limit)

    def show(self, label: str, *, collection: str) -> Person:
        """Return a person with all templates.

        Raises:
            UnknownIdentityError: The label is not enrolled.
        """
        with self._store.reading() as reader:
            identity = reader.identity(collection, checked_label(label))
            return Person(identity, reader.templates_of(identity.identity_id))

    def picture(self, template_id: int) -> KeptPicture | None:
        """Return the picture kept beside a template, or None where none was."""
        with self._store.reading() as reader:
            return reader.picture_of(template_id)

    def rename(self, label: str, new_label: str, *, collection: str) -> Identity:
        """Change a label; ids, templates and tags stay.

        Raises:
            UnknownIdentityError: The label is not enrolled.
            LabelTakenError: The new label is.
        """
        wanted = checked_label(new_label)
        with self._store.writing() as writer:
            return writer.rename_identity(writer.identity(collection, checked_label(label)).identity_id, wanted)

    def tag(self, label: str, tags: Iterable[str], *, collection: str) -> Identity:
        """Replace a person's tags."""
        wanted = checked_tags(tags)
        with self._store.writing() as writer:
            return writer.set_tags(writer.identity(collection, checked_label(label)).identity_id, wanted)

    def merge(self, label: str, into: str, *, collection: str) -> Identity:
        """Give everything enrolled under one label to another; the first label is gone afterwards. Tags are united.

        Raises:
            UnknownIdentityError: A label is not enrolled.
            InputError: Both labels are the same.
        """
        with self._store.writing() as writer:
            source = writer.identity(collection, checked_label(label))
            target = writer.identity(collection, checked_label(into))
            if source.identity_id == target.identity_id:
                raise InputError(f"{source.label!r} cannot be merged with itself")
            writer.merge_identities(source.identity_id, target.identity_id)
            return writer.identities_by_id([target.identity_id])[target.identity_id]

    def remove(self, label: str, *, collection: str, erase: bool = False) -> int:
        """Delete a person with all templates and pictures; return how many templates went.

        The rows are overwritten in the database's files. With ``erase`` every index and snapshot forgets the vectors too, which may
        take as long as building the index, and what was said of the person's photographs goes, whomever it was said of; without it
        the vectors lie unreachable in a snapshot until it is written anew.

        Raises:
            UnknownIdentityError: The label is not enrolled.
            StoreError: The person is deleted, but the database's files could not be overwritten; see ``IdentityStore.scrub``.
        """
        with self._store.writing() as writer:
            identity_id = writer.identity(collection, checked_label(label)).identity_id
            if erase:
                for one in said_of(writer.templates_of(identity_id), writer.feedback(collection)):
                    writer.remove_feedback(one.feedback_id)
            removed = writer.remove_identity(identity_id, erase=erase)
        try:
            self._store.scrub()
        finally:  # the person is gone: no second call could do what is left undone here
            if erase:
                self._indexes.purge(collection)
        return len(removed)

    def collections(self) -> tuple[CollectionSummary, ...]:
        """Return all collections by name with their sizes."""
        with self._store.reading() as reader:
            return tuple(
                CollectionSummary(one, *reader.counts(one.name), reader.embedder_counts(one.name)) for one in reader.collections()
            )

    def add_collection(self, name: str) -> Collection:
        """Make an empty collection.

        Raises:
            LabelTakenError: The name exists.
        """
        with self._store.writing() as writer:
            return writer.add_collection(checked_label(name, what="collection name"))

    def remove_collection(self, name: str) -> None:
        """Delete a collection, everybody in it, and its index.

        Raises:
            UnknownCollectionError: There is none of this name.
        """
        with self._store.writing() as writer:
            collection = writer.collection(name)
            writer.remove_collection(name)
        try:
            self._store.scrub()
        finally:  # nobody could name the snapshots later
            self._indexes.forget(collection)
