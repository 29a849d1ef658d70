"""The part of the library's face about who is enrolled, and the collections they are enrolled in.

It only passes on, like ``facade``.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable

from facesearch.core.identity import Collection, FaceSummary, Identity, KeptPicture
from facesearch.service.facade_video import Videos
from facesearch.service.people import CollectionSummary, People, Person
from facesearch.service.who import Who

logger = logging.getLogger("facesearch")


class PeopleFacade:
    """People and collections of a ``FaceSearch``."""

    @abstractmethod
    def _people(self, collection: str | None = None) -> People:
        """Return the use cases, with the indexes of a collection's embedder."""

    @abstractmethod
    def _videos(self, collection: str) -> Videos:
        """Return the use cases of a collection's videos."""

    @abstractmethod
    def _collection(self, name: str | None) -> str:
        """Return the name of a collection, that of the settings for None."""

    def list(
        self,
        *,
        collection: str | None = None,
        tags: Iterable[str] = (),
        contains: str = "",
        after: str = "",
        limit: int | None = None,
    ) -> tuple[Identity, ...]:
        """Return enrolled people by label; see ``People.list``."""
        return self._people().list(collection=self._collection(collection), tags=tags, contains=contains, after=after, limit=limit)

    def show(self, label: Who, *, collection: str | None = None) -> Person:
        """Return a person with all templates; see ``People.show``."""
        return self._people().show(label, collection=self._collection(collection))

    def face_summaries(self, identity_ids: Iterable[int]) -> dict[int, FaceSummary]:
        """Return how many faces people have and whether a picture of one was kept; only people who have any."""
        return self._people().summaries(identity_ids)

    def picture(self, template_id: int) -> KeptPicture | None:
        """Return the picture kept beside a template, or None where none was."""
        return self._people().picture(template_id)

    def picture_of(self, label: Who, template_id: int, *, collection: str | None = None) -> KeptPicture | None:
        """Return the picture kept beside a template of a person; see ``People.picture_of``."""
        return self._people().picture_of(label, template_id, collection=self._collection(collection))

    def change(
        self,
        label: Who,
        *,
        collection: str | None = None,
        new_label: str | None = None,
        tags: Iterable[str] | None = None,
        if_version: str | None = None,
    ) -> Person:
        """Change a person's label, tags or both at once; see ``People.change``."""
        return self._people().change(
            label, collection=self._collection(collection), label=new_label, tags=tags, if_version=if_version
        )

    def rename(self, label: Who, new_label: str, *, collection: str | None = None) -> Identity:
        """Change a label; see ``People.rename``."""
        return self._people().rename(label, new_label, collection=self._collection(collection))

    def tag(self, label: Who, tags: Iterable[str], *, collection: str | None = None) -> Identity:
        """Replace a person's tags."""
        return self._people().tag(label, tags, collection=self._collection(collection))

    def merge(self, label: Who, into: Who, *, collection: str | None = None, if_version: str | None = None) -> Identity:
        """Give everything enrolled of one person to another; see ``People.merge``."""
        return self._people().merge(label, into, collection=self._collection(collection), if_version=if_version)

    def remove(self, label: Who, *, collection: str | None = None, erase: bool = False, if_version: str | None = None) -> int:
        """Delete a person; with ``erase`` index snapshots and videos forget the vectors too; see ``People.remove``.

        A video keeps its tracks of the person, as of somebody unknown; with ``erase`` those decided to be the person, and those
        that ``find_in_video`` would find, are deleted first.
        """
        name = self._collection(collection)
        if erase:
            self._people().require_version(label, collection=name, if_version=if_version)
            self._videos(name).search.forget(label, collection=name)
            return self._people(name).remove(label, collection=name, erase=True, if_version=if_version)
        n_tracks = self._videos(name).search.n_tracks_of(label, collection=name)
        n_templates = self._people().remove(label, collection=name, if_version=if_version)
        if n_tracks:
            logger.warning(
                "%d tracks of indexed videos that were taken for the person just removed stay, without the name; erasing a person, "
                "or removing the videos, deletes them",
                n_tracks,
            )
        return n_templates

    def remove_face(self, label: Who, template_id: int, *, collection: str | None = None, if_version: str | None = None) -> Person:
        """Delete one of a person's templates; see ``People.remove_face``."""
        return self._people().remove_face(label, template_id, collection=self._collection(collection), if_version=if_version)

    def collections(self) -> tuple[CollectionSummary, ...]:
        """Return all collections with their sizes."""
        return self._people().collections()

    def collection(self, name: str) -> CollectionSummary:
        """Return one collection with its sizes; see ``People.collection``."""
        return self._people().collection(name)

    def collection_id(self, name: str | None = None) -> int | None:
        """Return the id of a collection; see ``People.collection_id``."""
        return self._people().collection_id(self._collection(name))

    def add_collection(self, name: str) -> Collection:
        """Make an empty collection."""
        return self._people().add_collection(name)

    def remove_collection(self, name: str) -> None:
        """Delete a collection and everybody in it."""
        self._people().remove_collection(name)
