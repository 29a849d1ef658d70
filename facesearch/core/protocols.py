"""What the rooms promise each other.

Adapters (OpenVINO, hnswlib, SQLAlchemy, …) implement these; services know nothing else of them. Every protocol has one contract
test body that runs over each implementation.
"""

from __future__ import annotations

from collections.abc import Collection as Ids
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from facesearch.core.decision import Neighbour
from facesearch.core.face import Alignment, Box, Detection, FaceCrop
from facesearch.core.image import Image
from facesearch.core.store_protocols import IdentityStore, StoreReader, StoreWriter
from facesearch.core.template import Template, TemplateBatch

__all__ = [
    "Aligner",
    "Detector",
    "Embedder",
    "GalleryIndex",
    "IdentityStore",
    "IndexFactory",
    "Network",
    "StoreReader",
    "StoreWriter",
]


class Network(Protocol):
    """A loaded network. Safe to call from several threads."""

    def run(self, batch: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Return the network's outputs for a batch, each with the batch on its first axis.

        Raises:
            EngineError: The engine refused the batch or failed.
        """
        ...


class Detector(Protocol):
    """Finds faces."""

    def detect(self, image: Image, *, roi: Box | None = None) -> tuple[Detection, ...]:
        """Return the faces of a photograph by falling score; empty when there is none.

        Args:
            image: The photograph.
            roi: Search only inside this box (pixels of the photograph); results stay in the photograph's pixels.
        """
        ...

    def detect_batch(self, images: Sequence[Image]) -> tuple[tuple[Detection, ...], ...]:
        """Return the faces of each photograph, as ``detect`` would."""
        ...


class Aligner(Protocol):
    """Cuts faces out."""

    def __call__(self, image: Image, detections: Sequence[Detection], alignment: Alignment) -> tuple[FaceCrop, ...]:
        """Return one aligned crop a detection.

        Raises:
            LowQualityFaceError: Landmarks of a detection cannot be aligned (they coincide).
        """
        ...


class Embedder(Protocol):
    """Turns aligned faces into templates."""

    @property
    def embedder_id(self) -> str:
        """``<name>@<12 hex digits of the weights' SHA-256>[+flip]``."""
        ...

    @property
    def dim(self) -> int:
        """Length of its vectors."""
        ...

    @property
    def alignment(self) -> Alignment:
        """The crop it wants."""
        ...

    def embed(self, crops: Sequence[FaceCrop]) -> tuple[Template, ...]:
        """Return one template a crop, in order.

        Raises:
            InputError: A crop has another size than ``alignment.crop_px``.
            ModelError: The network failed or returned no direction (zero or NaN).
        """
        ...


class GalleryIndex(Protocol):
    """Nearest-neighbour search over the templates of one collection and one embedder.

    Safe to use from several threads: searches run together, changes alone.
    """

    @property
    def embedder_id(self) -> str:
        """The embedder of every template in it."""
        ...

    @property
    def dim(self) -> int:
        """Length of its vectors."""
        ...

    @property
    def revision(self) -> int:
        """The collection's revision that it reflects."""
        ...

    @property
    def kind(self) -> str:
        """``"exact"`` or ``"hnsw"``."""
        ...

    def __len__(self) -> int:
        """Return the number of templates that can be found."""
        ...

    def add(self, batch: TemplateBatch, *, revision: int) -> None:
        """Add templates and move to a revision. An id that is present already is replaced (catch-up may repeat).

        Raises:
            IncompatibleTemplatesError: The batch is of another embedder or length of vector.
        """
        ...

    def remove(self, template_ids: Iterable[int], *, revision: int) -> None:
        """Remove templates and move to a revision; unknown ids are ignored (catch-up may repeat)."""
        ...

    def move(self, template_ids: Iterable[int], identity_id: int, *, revision: int) -> None:
        """Give templates to another identity and move to a revision."""
        ...

    def advance(self, revision: int) -> None:
        """Move to a revision that changed nothing of this index (templates of another embedder)."""
        ...

    def search(self, probe: Template, k: int, *, among: Ids[int] | None = None) -> tuple[Neighbour, ...]:
        """Return the ``k`` identities most similar to a probe, each by its best template.

        Args:
            probe: Template of this index's embedder.
            k: Number of identities wanted, at least 1.
            among: Only these identity ids; None for all.

        Returns:
            At most ``k`` neighbours of different identities by falling score; equal scores by ascending template id. Fewer only
            when fewer identities are there.

        Raises:
            IncompatibleTemplatesError: The probe comes from another embedder.
            ValueError: ``k`` is less than 1.
        """
        ...

    def search_many(
        self, probes: Sequence[Template], k: int, *, among: Ids[int] | None = None
    ) -> tuple[tuple[Neighbour, ...], ...]:
        """Return ``search`` of each probe, in one pass."""
        ...

    def scores_of(self, probe: Template, template_ids: Iterable[int]) -> dict[int, float]:
        """Return the exact scores of a probe against the named templates; unknown ids are left out."""
        ...

    def templates_of(self, identity_ids: Ids[int]) -> TemplateBatch:
        """Return the templates of some identities, in no particular order; unknown identities have none."""
        ...

    def count(self, among: Ids[int] | None = None, *, most_each: int | None = None) -> int:
        """Return the number of templates that a search of these identities looks at; of all for None.

        Args:
            among: Only these identity ids.
            most_each: Count at most so many of each identity; None counts all.
        """
        ...

    def purge(self) -> None:
        """Forget removed templates for good: no memory and no snapshot saved from now on holds their vectors."""
        ...

    def save(self, folder: Path) -> None:
        """Write a snapshot (manifest renamed last); a reader sees the old one or the new one, never half.

        Raises:
            FileWriteError: The folder cannot be written or is full.
        """
        ...


class IndexFactory(Protocol):
    """Makes indexes of one embedder."""

    def empty(self, expected: int) -> GalleryIndex:
        """Return an empty index at revision 0, of the kind that suits ``expected`` templates."""
        ...

    def load(self, folder: Path) -> GalleryIndex | None:
        """Return the index of a snapshot, or None where there is none.

        Raises:
            GalleryFormatError: The snapshot is damaged or of an unknown format version.
            IncompatibleTemplatesError: It is of another embedder.
        """
        ...

    def fits(self, index: GalleryIndex, expected: int) -> bool:
        """Return whether the index's kind still suits ``expected`` templates."""
        ...
