"""Looking after who is enrolled: list, show, rename, tag, merge, remove, and collections.

It embeds nothing and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from facesearch.core.errors import InputError, UnknownTemplateError
from facesearch.core.identity import (
    Collection,
    EnrolledTemplate,
    FaceSummary,
    Identity,
    KeptPicture,
    checked_label,
    checked_tags,
)
from facesearch.core.protocols import IdentityStore, StoreReader
from facesearch.service.feedback import said_of
from facesearch.service.gallery import GalleryIndexes, collection_or_none
from facesearch.service.who import Who, person_of, require_version, version_of


@dataclass(frozen=True, slots=True)
class Person:
    """An identity with everything enrolled of it.

    Attributes:
        identity: Label, tags, time of enrolment.
        templates: By id.
    """

    identity: Identity
    templates: tuple[EnrolledTemplate, ...]

    @property
    def version(self) -> str:
        """What changes whenever the label, the tags or the templates do: 32 hex digits."""
        return version_of(self.identity, (one.template_id for one in self.templates))


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

    def show(self, who: Who, *, collection: str) -> Person:
        """Return a person with all templates.

        Raises:
            UnknownIdentityError: Nobody has this label or id.
        """
        with self._store.reading() as reader:
            return _with_templates(reader, person_of(reader, collection, who))

    def summaries(self, identity_ids: Iterable[int]) -> dict[int, FaceSummary]:
        """Return how many faces people have and whether a picture of one was kept; only people who have any."""
        with self._store.reading() as reader:
            return reader.face_summaries(identity_ids)

    def picture(self, template_id: int) -> KeptPicture | None:
        """Return the picture kept beside a template, or None where none was."""
        with self._store.reading() as reader:
            return reader.picture_of(template_id)

    def change(
        self,
        who: Who,
        *,
        collection: str,
        label: str | None = None,
        tags: Iterable[str] | None = None,
        if_version: str | None = None,
    ) -> Person:
        """Change a person's label, or tags, or both, in one transaction; ids and templates stay.

        Args:
            who: The person.
            collection: Where.
            label: The new label; None leaves it.
            tags: All tags from now on; None leaves them.
            if_version: Change nothing unless this is the person's version.

        Raises:
            UnknownIdentityError: Nobody has this label or id.
            LabelTakenError: Somebody else has the new label.
            PreconditionFailedError: The person was changed since ``if_version``.
        """
        wanted = None if label is None else checked_label(label)
        wanted_tags = None if tags is None else checked_tags(tags)
        with self._store.writing() as writer:
            person = person_of(writer, collection, who)
            require_version(writer, person, if_version)
            if wanted is not None and wanted != person.label:
                person = writer.rename_identity(person.identity_id, wanted)
            if wanted_tags is not None:
                person = writer.set_tags(person.identity_id, wanted_tags)
            return _with_templates(writer, person)

    def rename(self, who: Who, new_label: str, *, collection: str) -> Identity:
        """Change a label; ids, templates and tags stay.

        Raises:
            UnknownIdentityError: Nobody has this label or id.
            LabelTakenError: The new label is taken.
        """
        return self.change(who, collection=collection, label=new_label).identity

    def tag(self, who: Who, tags: Iterable[str], *, collection: str) -> Identity:
        """Replace a person's tags."""
        return self.change(who, collection=collection, tags=tags).identity

    def merge(self, who: Who, into: Who, *, collection: str, if_version: str | None = None) -> Identity:
        """Give everything enrolled of one person to another; the first is gone afterwards. Tags are united.

        Raises:
            UnknownIdentityError: Nobody has one of the labels or ids.
            InputError: Both are the same person.
            PreconditionFailedError: The first was changed since ``if_version``.
        """
        with self._store.writing() as writer:
            source = person_of(writer, collection, who)
            target = person_of(writer, collection, into)
            if source.identity_id == target.identity_id:
                raise InputError(f"{source.label!r} cannot be merged with itself")
            require_version(writer, source, if_version)
            writer.merge_identities(source.identity_id, target.identity_id)
            return writer.identities_by_id([target.identity_id])[target.identity_id]

    def remove(self, who: Who, *, collection: str, erase: bool = False, if_version: str | None = None) -> int:
        """Delete a person with all templates and pictures; return how many templates went.

        The rows are overwritten in the database's files. With ``erase`` every index and snapshot forgets the vectors too, which may
        take as long as building the index, and what was said of the person's photographs goes, whomever it was said of; without it
        the vectors lie unreachable in a snapshot until it is written anew.

        Raises:
            UnknownIdentityError: Nobody has this label or id.
            PreconditionFailedError: The person was changed since ``if_version``.
            StoreError: The person is deleted, but the database's files could not be overwritten; see ``IdentityStore.scrub``.
        """
        with self._store.writing() as writer:
            person = person_of(writer, collection, who)
            require_version(writer, person, if_version)
            identity_id = person.identity_id
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

    def require_version(self, who: Who, *, collection: str, if_version: str | None) -> None:
        """Raise where a person was changed since a version was read, as a change would: ``PreconditionFailedError``."""
        with self._store.reading() as reader:
            require_version(reader, person_of(reader, collection, who), if_version)

    def remove_face(self, who: Who, template_id: int, *, collection: str, if_version: str | None = None) -> Person:
        """Delete one of a person's templates with its picture, and return the person, who stays even without any.

        Raises:
            UnknownIdentityError: Nobody has this label or id.
            UnknownTemplateError: The person has no such template.
            PreconditionFailedError: The person was changed since ``if_version``.
            StoreError: The template is deleted, but the database's files could not be overwritten.
        """
        with self._store.writing() as writer:
            person = person_of(writer, collection, who)
            require_version(writer, person, if_version)
            require_template(writer, person, template_id)
            for one in writer.templates_of_face(template_id):  # of every embedder, or a switch would bring the face back
                writer.remove_template(one)
            left = _with_templates(writer, person)
        self._store.scrub()
        return left

    def picture_of(self, who: Who, template_id: int, *, collection: str) -> KeptPicture | None:
        """Return the picture kept beside a template of a person, or None where none was.

        Raises:
            UnknownIdentityError: Nobody has this label or id.
            UnknownTemplateError: The person has no such template.
        """
        with self._store.reading() as reader:
            require_template(reader, person_of(reader, collection, who), template_id)
            return reader.picture_of(template_id)

    def collection(self, name: str) -> CollectionSummary:
        """Return a collection with its sizes.

        Raises:
            UnknownCollectionError: There is none of this name.
        """
        with self._store.reading() as reader:
            return _summary(reader, reader.collection(name))

    def collection_id(self, name: str) -> int | None:
        """Return the id of a collection; None for the one of the settings while nobody is enrolled in it.

        Raises:
            UnknownCollectionError: There is none of this name.
        """
        with self._store.reading() as reader:
            found = collection_or_none(reader, name, default=self._default)
            return None if found is None else found.collection_id

    def collections(self) -> tuple[CollectionSummary, ...]:
        """Return all collections by name with their sizes."""
        with self._store.reading() as reader:
            return tuple(_summary(reader, one) for one in reader.collections())

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


def require_template(reader: StoreReader, person: Identity, template_id: int) -> None:
    """Raise unless a template is this person's.

    Raises:
        UnknownTemplateError: It is not.
    """
    if all(one.template_id != template_id for one in reader.templates_of(person.identity_id)):
        raise UnknownTemplateError(
            f"identity {person.identity_id} has no template {template_id}", identity_id=person.identity_id, template_id=template_id
        )


def _with_templates(reader: StoreReader, identity: Identity) -> Person:
    return Person(identity, reader.templates_of(identity.identity_id))


def _summary(reader: StoreReader, collection: Collection) -> CollectionSummary:
    return CollectionSummary(collection, *reader.counts(collection.name), reader.embedder_counts(collection.name))
