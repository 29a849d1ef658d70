"""The vector indexes and the revision of the database that each reflects.

The database is the truth and an index a cache of it: it is loaded from its snapshot, caught up from the history of changes, or
rebuilt, whichever is needed, whenever it is asked for. It decides nothing.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from facesearch.core.compact import quantised, restored
from facesearch.core.errors import (
    FileWriteError,
    GalleryFormatError,
    GalleryStaleError,
    IncompatibleTemplatesError,
    UnknownCollectionError,
)
from facesearch.core.identity import ChangeKind, Collection, GalleryChange
from facesearch.core.protocols import GalleryIndex, IdentityStore, IndexFactory, StoreReader
from facesearch.core.template import Template
from facesearch.service.free_memory import give_back_free_memory

SNAPSHOT_LAG_SHARE = 0.02
"""A snapshot is written anew once so large a share of its templates has changed: catching up costs less than that below."""

SNAPSHOT_LAG_MIN = 64
"""Changes below which no snapshot is written anew, however small the gallery."""

HISTORY_KEPT = 10_000
"""Changes kept behind the newest snapshot, for processes that run with an older index in memory."""

HISTORY_COMPARED = 16
"""Changes before a snapshot's revision whose templates are compared with the database's when it is loaded."""

SAME_VECTOR = 0.9999
"""Least score of a vector with itself, whatever rounds."""

SAVE_TRIES = 5
"""Times a snapshot is written while other processes keep erasing people."""

_log = logging.getLogger("facesearch")


@dataclass(slots=True)
class _Slot:
    """The index of one collection as this process knows it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    index: GalleryIndex | None = None
    saved_revision: int | None = None


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """How an index stands to the database.

    Attributes:
        collection: Name of the collection.
        kind: ``"exact"`` or ``"hnsw"``.
        n_indexed: Templates in the index.
        n_stored: Templates of the embedder in the database.
        index_revision: The revision the index reflects.
        store_revision: The collection's revision.
        snapshot_revision: The revision of the snapshot on disk, None without one.
    """

    collection: str
    kind: str
    n_indexed: int
    n_stored: int
    index_revision: int
    store_revision: int
    snapshot_revision: int | None

    @property
    def is_in_step(self) -> bool:
        """Whether index and database agree."""
        return self.index_revision == self.store_revision and self.n_indexed == self.n_stored


class GalleryIndexes:
    """One index a collection, kept in step with the store. Thread-safe.

    Args:
        store: The truth.
        factory: Makes and loads indexes of the embedder.
        embedder_id: The embedder whose templates are indexed.
        folder: Where snapshots lie, one folder a collection and embedder; None keeps indexes in memory only.
    """

    def __init__(self, store: IdentityStore, factory: IndexFactory, *, embedder_id: str, folder: Path | None) -> None:
        self._store = store
        self._factory = factory
        self._embedder_id = embedder_id
        self._folder = folder
        self._slots: dict[str, _Slot] = {}
        self._guard = threading.Lock()

    def synced(self, reader: StoreReader, name: str) -> tuple[Collection, GalleryIndex]:
        """Return a collection and its index, caught up to at least the revision that the transaction sees.

        Raises:
            UnknownCollectionError: There is no such collection.
            IncompatibleTemplatesError: Everything in it was enrolled with other embedders.
        """
        collection = reader.collection(name)
        slot = self._slot(collection)
        with slot.lock:
            index = slot.index
            if index is None:
                self._require_embedder(reader, collection)
                index = self._loaded(reader, slot, collection)
            if index is not None and index.revision < collection.revision:
                index = self._caught_up(reader, collection, index, slot)
            if index is None:
                slot.index = None  # what the new one replaces, if anything: the two need not be in memory together
                index = self._built(reader, collection)
                give_back_free_memory()  # building takes several times what is left of it
            slot.index = index
            return collection, index

    def status(self, reader: StoreReader, name: str) -> IndexStatus:
        """Return how the index of a collection stands to the database, after catching up."""
        collection, index = self.synced(reader, name)
        return IndexStatus(
            collection=name,
            kind=index.kind,
            n_indexed=len(index),
            n_stored=reader.counts(name, self._embedder_id)[1],
            index_revision=index.revision,
            store_revision=collection.revision,
            snapshot_revision=self._slot(collection).saved_revision,
        )

    def rebuild(self, reader: StoreReader, name: str) -> GalleryIndex:
        """Return the collection's index, built anew from the database whatever the snapshot says."""
        collection = reader.collection(name)
        slot = self._slot(collection)
        with slot.lock:
            slot.index, slot.saved_revision = self._built(reader, collection), None
            give_back_free_memory()
            return slot.index

    def purge(self, name: str) -> None:
        """Catch up, forget removed vectors for good, and write the snapshot without them.

        Snapshots of other embedders cannot be written anew here and are deleted: their indexes are built from the database again.

        Raises:
            FileWriteError: A snapshot cannot be written or deleted: it may still hold the vectors.
        """
        index: GalleryIndex | None = None
        with self._store.reading() as reader:
            collection = reader.collection(name)
            with suppress(IncompatibleTemplatesError):  # nothing of this embedder is enrolled
                _, index = self.synced(reader, name)
        if index is not None:
            index.purge()
        if self._folder is None:
            return
        self._delete_snapshots(collection, kept=None if index is None else self._place(collection))
        if index is not None:
            slot = self._slot(collection)
            with slot.lock:
                index.save(self._place(collection))
                slot.saved_revision = index.revision

    def forget(self, collection: Collection) -> None:
        """Drop the index and every snapshot of a collection that was deleted.

        Raises:
            FileWriteError: A snapshot could not be deleted.
        """
        with self._guard:
            self._slots.pop(collection.uid, None)
        self._delete_snapshots(collection)

    def _delete_snapshots(self, collection: Collection, *, kept: Path | None = None) -> None:
        if self._folder is None:
            return
        for snapshot in self._folder.glob(f"{collection.uid}-*"):
            if snapshot == kept:
                continue
            try:
                shutil.rmtree(snapshot)
            except OSError as exc:
                raise FileWriteError(
                    f"the index snapshot {snapshot} cannot be deleted: {exc.strerror}", path=str(snapshot)
                ) from exc

    def save(self) -> None:
        """Write the snapshots that lag behind far enough, and forget history that no snapshot needs.

        A snapshot that cannot be written costs the next start some time and nothing else: it is logged as a warning.
        """
        if self._folder is None or not self._slots:
            return
        with self._store.reading() as reader:
            collections = reader.collections()
        for collection in collections:
            slot = self._slots.get(collection.uid)
            index = slot.index if slot is not None else None  # read once: it is gone for a while where another one replaces it
            if slot is None or index is None or not self._lags(slot, index, collection.revision):
                continue
            try:
                revision = self._saved(collection)
                if revision > HISTORY_KEPT:
                    with self._store.writing() as writer:
                        writer.prune_changes(collection.name, revision - HISTORY_KEPT)
            except UnknownCollectionError:  # deleted by another process meanwhile, perhaps before its snapshot was written
                self.forget(collection)
            except FileWriteError as exc:
                _log.warning("the index snapshot was not written, the next start will take longer: %s", exc)

    def _saved(self, collection: Collection) -> int:
        """Catch up and write the snapshot, again where another process erased somebody meanwhile: it may not bring them back."""
        for _ in range(SAVE_TRIES):
            with self._store.reading() as reader:
                found, index = self.synced(reader, collection.name)
            if found.uid != collection.uid:
                raise UnknownCollectionError(f"collection {found.name!r} was deleted and made anew", collection=found.name)
            slot = self._slot(collection)
            with slot.lock:
                index.save(self._place(collection))
                slot.saved_revision = index.revision
            with self._store.reading() as reader:
                later = reader.changes_since(collection.name, index.revision)
            if later is not None and all(change.kind is not ChangeKind.ERASE for change in later):
                break
        return index.revision

    def _slot(self, collection: Collection) -> _Slot:
        with self._guard:
            return self._slots.setdefault(collection.uid, _Slot())

    def _place(self, collection: Collection) -> Path:
        if self._folder is None:
            raise FileWriteError("this gallery keeps no snapshots on disk")
        return self._folder / f"{collection.uid}-{self._embedder_id.replace('@', '-').replace('+', '-')}"

    def _require_embedder(self, reader: StoreReader, collection: Collection) -> None:
        counts = reader.embedder_counts(collection.name)
        if counts and self._embedder_id not in counts:
            others = ", ".join(sorted(counts))
            raise IncompatibleTemplatesError(
                f"collection {collection.name!r} was enrolled with embedder {others}, this process runs {self._embedder_id}: "
                f"set the embedder back, or move the collection to it (facesearch gallery migrate --to NAME)",
                embedder_id=self._embedder_id,
                enrolled_with=sorted(counts),
            )

    def _loaded(self, reader: StoreReader, slot: _Slot, collection: Collection) -> GalleryIndex | None:
        if self._folder is None:
            return None
        try:
            index = self._factory.load(self._place(collection))
        except (GalleryFormatError, IncompatibleTemplatesError) as exc:
            _log.warning("the index snapshot of %r is rebuilt from the database: %s", collection.name, exc)
            return None
        if index is None or index.revision > collection.revision:
            return None
        if not self._is_of_this_history(reader, collection, index):
            _log.warning("the index snapshot of %r is rebuilt: the database was restored from a backup since", collection.name)
            return None
        slot.saved_revision = index.revision
        return index

    def _is_of_this_history(self, reader: StoreReader, collection: Collection, index: GalleryIndex) -> bool:
        """Return whether the newest templates that a snapshot should hold are those in it.

        In a database restored from a backup the same revisions and numbers come to stand for other changes and templates.
        """
        changes = reader.changes_since(collection.name, max(0, index.revision - HISTORY_COMPARED)) or ()
        added = {one.template_id for one in changes if one.kind is ChangeKind.ADD and one.revision <= index.revision}
        stored = reader.template_batch(added, self._embedder_id)
        # An index that holds bytes is asked for the bytes: of a vector with few large numbers they are farther away than that.
        forms = (stored.vectors, restored(quantised(stored.vectors)))
        return all(
            any(
                index.scores_of(Template(form[row], self._embedder_id), [template_id]).get(template_id, 0.0) > SAME_VECTOR
                for form in forms
            )
            for row, template_id in enumerate(stored.template_ids.tolist())
        )

    def _caught_up(self, reader: StoreReader, collection: Collection, index: GalleryIndex, slot: _Slot) -> GalleryIndex | None:
        """Return the index with the changes since its revision; None where it must be built anew."""
        changes = reader.changes_since(collection.name, index.revision)
        if changes is None:
            slot.saved_revision = None  # somebody may have been erased in the history that is gone
            return None
        self._apply(reader, index, changes, collection.revision)
        if any(change.kind is ChangeKind.ERASE for change in changes):
            index.purge()
            slot.saved_revision = None  # the snapshot on disk may still hold the vectors: write it anew
        return index if self._factory.fits(index, len(index)) else None

    def _apply(self, reader: StoreReader, index: GalleryIndex, changes: Sequence[GalleryChange], revision: int) -> None:
        # The state of each template that changed is read once, as it is now: a template added, moved and removed since then is
        # simply gone. What is gone leaves the index, what is there (added, or moved to another identity) is put in anew.
        touched = {change.template_id for change in changes}
        present = reader.template_batch(touched, self._embedder_id)
        index.remove(touched.difference(present.template_ids.tolist()), revision=index.revision)
        if len(present):
            index.add(present, revision=revision)
        else:
            index.advance(revision)

    def _built(self, reader: StoreReader, collection: Collection) -> GalleryIndex:
        _, expected = reader.counts(collection.name, self._embedder_id)
        index = self._factory.empty(expected)
        for batch in reader.template_batches(collection.name, self._embedder_id):
            index.add(batch, revision=0)
        index.advance(collection.revision)
        if len(index) != expected:
            raise GalleryStaleError(f"{len(index)} of {expected} templates of collection {collection.name!r} could be indexed")
        return index

    def _lags(self, slot: _Slot, index: GalleryIndex, revision: int) -> bool:
        if slot.saved_revision is None:
            return len(index) > 0
        return revision - slot.saved_revision >= max(SNAPSHOT_LAG_MIN, SNAPSHOT_LAG_SHARE * len(index))


def collection_or_none(reader: StoreReader, name: str, *, default: str) -> Collection | None:
    """Return a collection; None where it is the default one and nobody was enrolled yet.

    Raises:
        UnknownCollectionError: Another name than the default, and there is none of it.
    """
    try:
        return reader.collection(name)
    except UnknownCollectionError:
        if name == default:
            return None
        raise
