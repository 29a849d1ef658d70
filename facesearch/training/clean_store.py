"""``train clean``: a store of crops embedded, looked through for wrong labels, and the list of what to do written beside it.

What is wrong is decided in ``cleaning``; the pictures of it are made in ``cleaning_sheet``. The store itself is only read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from facesearch.core.decision import OperatingPoints
from facesearch.core.errors import CropStoreError, InputError
from facesearch.core.paths import is_there
from facesearch.core.protocols import Embedder, IndexFactory
from facesearch.service.labelled_folder import labelled_files
from facesearch.service.photographs import EmbedPhotographs
from facesearch.training.cleaned_list import CleanedList, RowDecision, RowFinding
from facesearch.training.cleaning import DEFAULT_RULE, CleaningRule, LabelledTemplates, clean
from facesearch.training.crop_manifest import MANIFEST
from facesearch.training.crop_store import CropStore
from facesearch.training.crop_templates import store_templates

Progress = Callable[[str, int, int], None]
"""Called with what is being embedded, how much of it is done, and how much there is."""


class CleanStore:
    """Finds wrong labels in stores of crops.

    Args:
        embedder: Makes the templates that are compared.
        points: Its operating points.
        indexes: Makes the index that is searched.
        embed_photographs: Embeds the photographs of folders to exclude people of.
        cache_dir: Folder where templates of crops are kept; None keeps none.
    """

    def __init__(
        self,
        embedder: Embedder,
        points: OperatingPoints,
        indexes: IndexFactory,
        embed_photographs: EmbedPhotographs,
        *,
        cache_dir: Path | None = None,
    ) -> None:
        self._embedder = embedder
        self._points = points
        self._indexes = indexes
        self._embed_photographs = embed_photographs
        self._cache = cache_dir / "crops" if cache_dir is not None else None

    def __call__(
        self,
        folder: Path,
        *,
        against: Sequence[Path] = (),
        rule: CleaningRule = DEFAULT_RULE,
        on_progress: Progress | None = None,
    ) -> tuple[CropStore, CleanedList]:
        """Return a store and what to do about its crops.

        Args:
            folder: The store.
            against: Stores, or folders of people, that will be measured on: their people are excluded.
            rule: When a label is wrong enough to be changed.
            on_progress: Called as crops and photographs are embedded.

        Raises:
            CropStoreError: No store, an unfinished or damaged one, or one aligned for another kind of embedder.
            InputError: Something of ``against`` is neither a store nor a folder of people.
            UncalibratedEmbedderError: Nobody measured the embedder, so no score means anything.
        """
        store = CropStore.open(folder)
        for fmr in (rule.own_fmr, rule.drop_fmr):
            self._points.at_fmr(fmr)  # refused before an hour of embedding, not after it
        sound, damaged = _without_damage(store)
        given = self._of_store(sound, on_progress)
        others = [(one.name or str(one), self._other(one, on_progress)) for one in against]
        found = clean(given, self._indexes, self._points, rule, against=others)
        about = {
            "n_crops": len(store),
            "n_people": len(store.people),
            "n_single": int((store.counts == 1).sum()),
            "against": [{"name": name, "n_photographs": len(one.labels), "n_people": len(one.people)} for name, one in others],
        }
        rows = tuple(sorted((*damaged, *found.rows), key=lambda one: one.row))
        return store, CleanedList(store.digest, self._embedder.embedder_id, asdict(rule), rows, found.people, about)

    def _of_store(self, store: CropStore, on_progress: Progress | None) -> LabelledTemplates:
        def advance(done: int, total: int) -> None:
            if on_progress is not None:
                on_progress(store.folder.name, done, total)

        return store_templates(store, self._embedder, cache=self._cache, on_progress=advance)

    def _other(self, path: Path, on_progress: Progress | None) -> LabelledTemplates:
        if is_there(path / MANIFEST):
            return self._of_store(_without_damage(CropStore.open(path))[0], on_progress)
        files = labelled_files(path)
        labels = {one.path.relative_to(path): one.label for one in files}

        def advance(done: int, total: int) -> None:
            if on_progress is not None:
                on_progress(path.name, done, total)

        embedded = self._embed_photographs(path, labels, face="largest", on_progress=advance)
        acquired = embedded.acquired_paths()
        if not acquired:
            raise InputError(f"{path} has no photograph with a face: nobody can be excluded", path=str(path))
        people = tuple(sorted({labels[one] for one in acquired}))
        number = {person: place for place, person in enumerate(people)}
        columns = np.array([number[labels[one]] for one in acquired], dtype=np.int64)
        names = [one.as_posix() for one in acquired]
        return LabelledTemplates(embedded.vectors, columns, people, embedded.acquired, names, embedded.embedder_id)


def _without_damage(store: CropStore) -> tuple[CropStore, list[RowFinding]]:
    """Return the crops that are as they were written, and the dropping of the others.

    Raises:
        CropStoreError: None is.
    """
    damaged = store.damaged()
    if len(damaged) == len(store):
        raise CropStoreError(f"every crop of {store.folder} is damaged: prepare anew with --restart", path=str(store.folder))
    is_sound = np.ones(len(store), dtype=np.bool_)
    is_sound[damaged] = False
    found = [
        RowFinding(
            int(store.places[one]),
            store.paths[one],
            store.people[int(store.labels[one])],
            RowDecision.DROPPED,
            "the crop's bytes are damaged",
        )
        for one in damaged
    ]
    return (store.subset(is_sound) if damaged else store), found
