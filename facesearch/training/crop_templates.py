"""Templates of the crops of a store, kept beside other caches so that a long run goes on where it stopped.

It neither aligns nor judges: crops are embedded as the store has them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from facesearch.core.arrays import Vectors
from facesearch.core.errors import CropStoreError
from facesearch.core.face import FaceCrop
from facesearch.core.protocols import Embedder
from facesearch.training.cleaning import LabelledTemplates
from facesearch.training.crop_store import CropStore

logger = logging.getLogger("facesearch")

AT_ONCE = 256
"""Crops embedded and kept at once."""

Progress = Callable[[int, int], None]
"""Called with the number of crops done and the number of all."""


def store_templates(
    store: CropStore, embedder: Embedder, *, cache: Path | None = None, on_progress: Progress | None = None
) -> LabelledTemplates:
    """Return the templates of all crops of a store.

    Args:
        store: The crops.
        embedder: Must want crops aligned as the store's are.
        cache: Folder where templates are kept, under the digests of store and embedder; None keeps none.
        on_progress: Called after each batch.

    Raises:
        CropStoreError: The store was aligned for another kind of embedder.
        ModelError: The network failed.
    """
    wanted = embedder.alignment
    if (wanted.name, wanted.crop_px) != (store.alignment.name, store.crop_px):
        raise CropStoreError(
            f"the crops of {store.folder} are aligned as {store.alignment.name}, {embedder.embedder_id} wants {wanted.name}: "
            "prepare them with the same --embedder, or clean with one of that alignment",
            path=str(store.folder),
        )
    kept = _Kept(cache, store.digest, embedder) if cache is not None else None
    vectors: Vectors = np.empty((len(store), embedder.dim), dtype=np.float32)
    for start in range(0, len(store), AT_ONCE):
        places = range(start, min(start + AT_ONCE, len(store)))
        rows = store.places[start : places.stop]
        known = kept.find(rows) if kept is not None else None
        if known is None:
            detections = [store.rows[place].detection for place in places]
            crops = [FaceCrop(store.crop(place), face) for place, face in zip(places, detections, strict=True) if face is not None]
            known = np.stack([one.vector for one in embedder.embed(crops)])
            if kept is not None:
                kept.add(rows, known)
        vectors[start : places.stop] = known
        if on_progress is not None:
            on_progress(places.stop, len(store))
    vectors.setflags(write=False)
    return LabelledTemplates(vectors, store.labels, store.people, store.places, store.paths, embedder.embedder_id)


class _Kept:
    """Templates of a store by row; what cannot be read is made anew, what cannot be written is logged."""

    def __init__(self, folder: Path, store_digest: str, embedder: Embedder) -> None:
        name = "".join(letter if letter.isalnum() or letter in "-@+." else "_" for letter in embedder.embedder_id)
        self._folder = folder / f"{store_digest[:16]}-{name}"
        self._dim = embedder.dim

    def find(self, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Vectors | None:
        try:
            # Opened here: NumPy leaves a file open that is no archive.
            with self._file(rows).open("rb") as stream, np.load(stream, allow_pickle=False) as found:
                known, vectors = found["rows"], found["vectors"]
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            return None
        is_same = np.array_equal(known, rows) and vectors.shape == (len(rows), self._dim)
        return vectors.astype(np.float32) if is_same else None

    def add(self, rows: np.ndarray[tuple[int], np.dtype[np.int64]], vectors: Vectors) -> None:
        file = self._file(rows)
        part = file.with_suffix(".part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as stream:
                np.savez(stream, rows=rows, vectors=vectors)
            part.replace(file)
        except OSError as exc:
            logger.warning("templates cannot be kept in %s (%s): an interrupted run starts anew", self._folder, exc.strerror or exc)

    def _file(self, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Path:
        return self._folder / f"{int(rows[0]):09d}.npz"
