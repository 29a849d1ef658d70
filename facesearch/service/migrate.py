"""A collection moved from one embedder to another while it is searched: re-embedded, verified, switched, and taken back.

The templates of the new embedder are hung on the faces that are enrolled, in groups of one transaction each, so a run that was
killed goes on where it stopped and doubles nothing. Until the switch, one row changed in one transaction, the former templates
answer; they stay, and with them the way back, until they are forgotten. Which embedder answers is read by ``embedder_choice``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from facesearch.core.embedder_use import FLIP_SUFFIX, EmbedderUse, LackingFace, NamedEmbedder
from facesearch.core.errors import IncompatibleTemplatesError, MigrationError, ModelError
from facesearch.core.protocols import IdentityStore, StoreReader
from facesearch.service.face_sources import FaceSources, LostFace, files_by_digest, require_folder
from facesearch.service.migration_checks import Verified, verified
from facesearch.service.migration_copy import CopyTemplates, Progress, Side

FORGET_GROUP = 5_000
"""Templates deleted in one transaction."""

SWITCH_TRIES = 20
"""Rounds after which a collection that is enrolled into all the time counts as not to be caught up with."""

_ANY_FMR = 1e-2
"""Asked for to see whether an embedder has operating points at all."""


@dataclass(frozen=True, slots=True)
class MigrationState:
    """How a collection stands between two embedders.

    Attributes:
        collection: Its name.
        use: Its embedders; ``current`` is that of the settings where nothing was noted.
        counts: Templates by embedder id.
        n_lacking: Faces with a template of ``current`` and none of ``other`` while it is being made, and the other way round after
            the switch; 0 without another embedder.
        n_left_behind: People searchable with the former embedder only; 0 before the switch.
    """

    collection: str
    use: EmbedderUse
    counts: dict[str, int]
    n_lacking: int
    n_left_behind: int


@dataclass(frozen=True, slots=True)
class Migrated:
    """What a finished migration did.

    Attributes:
        state: How the collection stands now.
        n_embedded: Templates this run made; an interrupted run's are not among them.
        lost: Faces that could not be cut out again.
        left_behind: Labels of people who have no other face: searchable with the former embedder only, until they are removed.
        verified: What was checked before the switch.
    """

    state: MigrationState
    n_embedded: int
    lost: tuple[LostFace, ...]
    left_behind: tuple[str, ...]
    verified: Verified


class MigrateGallery:
    """Moves collections from embedder to embedder.

    Args:
        store: Where they are.
        side_of: Returns what is needed of an embedder.
        sources_of: Returns what cuts enrolled faces out again, given files by the digest of their content.
        own: The embedder of the settings: that of a collection which does not say.
    """

    def __init__(
        self,
        store: IdentityStore,
        side_of: Callable[[NamedEmbedder], Side],
        sources_of: Callable[[dict[str, str]], FaceSources],
        *,
        own: NamedEmbedder,
    ) -> None:
        self._store = store
        self._side_of = side_of
        self._sources_of = sources_of
        self._own = own

    def state(self, collection: str) -> MigrationState:
        """Return how a collection stands.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        with self._store.reading() as reader:
            return self._state(reader, collection)

    def to(
        self,
        target: NamedEmbedder,
        *,
        collection: str,
        photos: Sequence[str | os.PathLike[str]] = (),
        accept_worse: bool = False,
        on_progress: Progress = lambda done, total: None,
    ) -> Migrated:
        """Re-embed a collection, verify what was made, and switch to it. Run again after an interruption, it goes on.

        A collection that was switched to it already is not moved: faces that have a template of the former embedder only are tried
        again.

        Args:
            target: The embedder to move to.
            collection: The collection.
            photos: Folders to look for photographs in, by content, that are not where they were enrolled from.
            accept_worse: Switch although too many sampled people are found no longer, or the embedder in use is gone from here.
            on_progress: Told how far it is.

        Raises:
            UnknownCollectionError: There is no such collection.
            IncompatibleTemplatesError: The collection's embedder cannot be told, or has other weights here.
            MigrationError: It is moved elsewhere already, no photograph is left, or what was made does not hold up.
            InputError: One of ``photos`` is no folder.
        """
        for folder in photos:  # before anything is noted
            require_folder(folder)
        use = self._begun(target, collection)
        is_there = use.current.embedder_id == target.embedder_id
        having = use.other if is_there and use.other is not None else use.current
        side, before = self._side_of(target), self._side_in_use(having, is_needed=not (accept_worse or is_there))
        sources = self._sources_of(self._found_files(having, target, collection, photos))
        n_embedded, after = 0, 0
        lost: list[LostFace] = []
        for _ in range(SWITCH_TRIES):
            copied = CopyTemplates(self._store, side, sources, collection, having)
            after = copied.run(after, on_progress)
            n_embedded += copied.n_embedded
            lost += copied.lost
            checked = self._verified(collection, before, side)
            checked.require_itself()
            if not accept_worse and not is_there:
                checked.require_no_loss()
            if before is not None:
                before.indexes.save()  # saving cuts the history short: the index in use must not be left behind it
            side.indexes.save()  # so that others load the new index instead of building it when they are asked next
            if is_there or self._switched(collection, use.current, target, after):
                return self._migrated(collection, n_embedded, lost, checked)
        raise MigrationError(
            f"faces were enrolled into {collection!r} faster than they could be re-embedded: nothing was switched; run it again"
        )

    def back(
        self,
        *,
        collection: str,
        photos: Sequence[str | os.PathLike[str]] = (),
        accept_worse: bool = False,
        on_progress: Progress = lambda done, total: None,
    ) -> Migrated:
        """Switch a collection back to the embedder before; faces enrolled since are re-embedded, like those of ``to``.

        Raises:
            MigrationError: It was not switched, or its former templates were forgotten.
        """
        former = self._former(collection)
        return self.to(former, collection=collection, photos=photos, accept_worse=accept_worse, on_progress=on_progress)

    def forget_former(self, *, collection: str) -> int:
        """Delete the former embedder's templates of everybody who has new ones; return how many. There is no way back then.

        People who were left behind keep theirs.

        Raises:
            MigrationError: The collection was not switched, or they are forgotten already.
        """
        former = self._former(collection)
        with self._store.reading() as reader:
            current = self._state(reader, collection).use.current
        indexes = self._side_of(current).indexes  # before anything is deleted: snapshots that hold it could not be, without
        n_removed = self._removed(collection, former, of_people_with=current.embedder_id)
        with self._store.writing() as writer:
            use = writer.embedder_use(collection)
            if use is not None and use.other == former and former.embedder_id not in writer.embedder_counts(collection):
                writer.set_embedder_use(collection, replace(use, other=None))
        indexes.purge(collection)
        self._store.scrub()
        return n_removed

    def abandon(self, *, collection: str) -> int:
        """Delete the templates made for an embedder that was not switched to; return how many.

        Raises:
            MigrationError: Nothing is being made ready.
        """
        use = self._noted(collection)
        if use is None or use.other is None or not use.is_copying:
            raise MigrationError(f"collection {collection!r} is not on its way to another embedder: there is nothing to abandon")
        indexes = self._side_of(use.current).indexes
        n_removed = self._removed(collection, use.other, of_people_with=None)
        with self._store.writing() as writer:
            if writer.embedder_use(collection) == use:
                writer.set_embedder_use(collection, EmbedderUse(use.current))
        indexes.purge(collection)
        self._store.scrub()
        return n_removed

    def lacking_faces(self, collection: str) -> Iterator[LackingFace]:
        """Yield the faces that have a template of one embedder only, the one that does not answer or is not ready to.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        state = self.state(collection)
        use, other = state.use, state.use.other
        if other is None:
            return
        having, lacking = (use.current, other) if use.is_copying else (other, use.current)
        after = 0
        while True:
            with self._store.reading() as reader:
                page = reader.faces_lacking(collection, lacking.embedder_id, having=having.embedder_id, after=after)
            yield from page
            if not page:
                return
            after = page[-1].template_id

    def _begun(self, target: NamedEmbedder, collection: str) -> EmbedderUse:
        """Note that a collection is on its way, unless it is already or has arrived, and return its embedders."""
        with self._store.writing() as writer:
            use = self._state(writer, collection).use
            current, other = use.current, use.other
            if current.embedder_id == target.embedder_id and (current != target or other is not None) and not use.is_copying:
                arrived = replace(use, current=target)  # the same weights, perhaps under another name or in another place by now
                writer.set_embedder_use(collection, arrived)
                return arrived
            if current.embedder_id == target.embedder_id:
                raise MigrationError(f"collection {collection!r} is searched with {target.embedder_id} already")
            if other is not None and other.embedder_id != target.embedder_id:
                if use.is_copying:
                    raise MigrationError(
                        f"collection {collection!r} is on its way from {current.embedder_id} to {other.embedder_id}, not to "
                        f"{target.embedder_id}: finish that, or forget it with `facesearch gallery migrate --abandon`"
                    )
                if other.embedder_id in writer.embedder_counts(collection):
                    raise MigrationError(
                        f"collection {collection!r} still has templates of {other.embedder_id}, from which it was moved to "
                        f"{current.embedder_id}: forget them first with `facesearch gallery migrate --forget-old` (people whose "
                        "photographs are gone keep theirs until they are removed)"
                    )
                other = None
            self._require_points(current, target)
            # Back to the former one, its people who were left behind must stay searchable meanwhile: nothing to be noted then.
            begun = replace(use, other=target) if other is not None else EmbedderUse(current, target, is_copying=True)
            writer.set_embedder_use(collection, begun)
            return begun

    def _require_points(self, current: NamedEmbedder, target: NamedEmbedder) -> None:
        """Refuse an embedder that can decide nothing in place of one that can.

        Raises:
            UncalibratedEmbedderError: Nobody measured it.
        """
        try:
            self._side_of(current).points.at_fmr(_ANY_FMR)
        except (ModelError, IncompatibleTemplatesError):  # nobody measured it, or it is gone from here
            return
        self._side_of(target).points.at_fmr(_ANY_FMR)

    def _found_files(
        self, current: NamedEmbedder, target: NamedEmbedder, collection: str, photos: Sequence[str | os.PathLike[str]]
    ) -> dict[str, str]:
        if not photos:
            return {}
        digests: set[str] = set()
        after = 0
        while True:
            with self._store.reading() as reader:
                page = reader.faces_lacking(collection, target.embedder_id, having=current.embedder_id, after=after)
            if not page:
                return files_by_digest(photos, digests.__contains__)
            digests.update(one.image_digest for one in page)
            after = page[-1].template_id

    def _side_in_use(self, current: NamedEmbedder, *, is_needed: bool) -> Side | None:
        """Return the side that new templates are compared with; None where its model is gone and nothing has to be compared."""
        try:
            return self._side_of(current)
        except (ModelError, IncompatibleTemplatesError) as exc:
            if not is_needed:
                return None
            raise MigrationError(
                f"the new templates cannot be compared with those of {current.embedder_id}, which is gone from here: add it, or "
                f"switch uncompared with --accept-worse"
            ) from exc

    def _verified(self, collection: str, before: Side | None, after: Side) -> Verified:
        with self._store.reading() as reader:
            old = None if before is None else (before.indexes.synced(reader, collection)[1], before.embedder.embedder_id)
            _, new = after.indexes.synced(reader, collection)
            return verified(reader, collection, old, (new, after.embedder.embedder_id))

    def _switched(self, collection: str, current: NamedEmbedder, target: NamedEmbedder, after: int) -> bool:
        """Switch, in one transaction; return False where faces were enrolled since the last look."""
        with self._store.writing() as writer:
            use = writer.embedder_use(collection)
            if use is None or use.current != current or use.other != target:
                raise MigrationError(f"collection {collection!r} was moved by somebody else meanwhile: nothing was switched")
            if writer.faces_lacking(collection, target.embedder_id, having=current.embedder_id, after=after, limit=1):
                return False
            writer.set_embedder_use(collection, EmbedderUse(target, current))
        return True

    def _migrated(self, collection: str, n_embedded: int, lost: Sequence[LostFace], checked: Verified) -> Migrated:
        with self._store.reading() as reader:
            state = self._state(reader, collection)
            left: frozenset[int] = frozenset()
            if state.use.other is not None:
                left = reader.people_without(collection, state.use.current.embedder_id, having=state.use.other.embedder_id)
            labels = sorted(person.label for person in reader.identities_by_id(left).values())
        return Migrated(state, n_embedded, tuple(lost), tuple(labels), checked)

    def _state(self, reader: StoreReader, collection: str) -> MigrationState:
        counts = reader.embedder_counts(collection)
        use = reader.embedder_use(collection) or EmbedderUse(self._undeclared(collection, counts))
        n_lacking = n_left = 0
        if use.other is not None:
            having, lacking = (use.current, use.other) if use.is_copying else (use.other, use.current)
            n_lacking = reader.count_lacking(collection, lacking.embedder_id, having=having.embedder_id)
            if not use.is_copying:
                n_left = len(reader.people_without(collection, lacking.embedder_id, having=having.embedder_id))
        return MigrationState(collection, use, counts, n_lacking, n_left)

    def _undeclared(self, collection: str, counts: dict[str, int]) -> NamedEmbedder:
        """Return the embedder of a collection that does not say: that of the settings, or the only one it has templates of."""
        if not counts or self._own.embedder_id in counts:
            return self._own
        if len(counts) > 1:
            raise IncompatibleTemplatesError(
                f"collection {collection!r} has templates of {', '.join(sorted(counts))} and none of {self._own.embedder_id}: set "
                "the embedder that it is to be moved from (--embedder)",
                enrolled_with=sorted(counts),
            )
        (only,) = counts
        return NamedEmbedder(only.removesuffix(FLIP_SUFFIX), only)

    def _noted(self, collection: str) -> EmbedderUse | None:
        with self._store.reading() as reader:
            reader.collection(collection)
            return reader.embedder_use(collection)

    def _former(self, collection: str) -> NamedEmbedder:
        use = self._noted(collection)
        if use is None or use.other is None or use.is_copying:
            raise MigrationError(
                f"collection {collection!r} has no former embedder: it was not switched, or the former templates were forgotten"
            )
        return use.other

    def _removed(self, collection: str, embedder: NamedEmbedder, *, of_people_with: str | None) -> int:
        n_removed = 0
        while True:
            with self._store.writing() as writer:
                n = writer.remove_templates_of(collection, embedder.embedder_id, of_people_with=of_people_with, limit=FORGET_GROUP)
            n_removed += n
            if n < FORGET_GROUP:
                return n_removed
