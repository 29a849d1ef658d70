"""Networks and databases that are loaded by the first call that needs them.

They obey the protocols of what they stand for and add nothing to it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

from facesearch.core.face import Alignment, Box, Detection, FaceCrop
from facesearch.core.image import Image
from facesearch.core.protocols import Detector, Embedder, IdentityStore, StoreReader, StoreWriter
from facesearch.core.template import Template

Loaded = TypeVar("Loaded")


class Lazy(Generic[Loaded]):
    """A thing made once, by whichever thread needs it first.

    Args:
        make: Makes it.
    """

    def __init__(self, make: Callable[[], Loaded]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._loaded: Loaded | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether the thing was made yet."""
        return self._loaded is not None

    def get(self) -> Loaded:
        """Return the thing, made by the first call."""
        if self._loaded is None:
            with self._lock:
                if self._loaded is None:
                    self._loaded = self._make()
        return self._loaded


class LazyDetector(Lazy[Detector]):
    """A detector whose networks are loaded by the first photograph."""

    def detect(self, image: Image, *, roi: Box | None = None) -> tuple[Detection, ...]:
        """Return the faces of a photograph; see ``Detector``."""
        return self.get().detect(image, roi=roi)

    def detect_batch(self, images: Sequence[Image]) -> tuple[tuple[Detection, ...], ...]:
        """Return the faces of each photograph; see ``Detector``."""
        return self.get().detect_batch(images) if images else ()


class LazyEmbedder(Lazy[Embedder]):
    """An embedder whose network is loaded by the first crop.

    Args:
        make: Loads it.
        embedder_id: Its id, known before.
        dim: Length of its vectors, known before.
        alignment: The crop it wants, known before.
    """

    def __init__(self, make: Callable[[], Embedder], *, embedder_id: str, dim: int, alignment: Alignment) -> None:
        super().__init__(make)
        self.embedder_id = embedder_id
        self.dim = dim
        self.alignment = alignment

    def embed(self, crops: Sequence[FaceCrop]) -> tuple[Template, ...]:
        """Return one template a crop; see ``Embedder``."""
        return self.get().embed(crops) if crops else ()


class LazyStore(Lazy[IdentityStore]):
    """A store whose library is loaded by the first transaction: two photographs are compared without a database."""

    def reading(self) -> AbstractContextManager[StoreReader]:
        """Open a reading transaction; see ``IdentityStore``."""
        return self.get().reading()

    def writing(self) -> AbstractContextManager[StoreWriter]:
        """Open a writing transaction; see ``IdentityStore``."""
        return self.get().writing()

    def scrub(self) -> None:
        """Overwrite what deletions left behind; see ``IdentityStore``."""
        self.get().scrub()

    def close(self) -> None:
        """Release connections, where there are any."""
        if self.is_loaded:
            self.get().close()
