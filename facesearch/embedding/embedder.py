"""Aligned faces in, templates out, through any inference engine.

It neither finds nor aligns faces and decides nothing. torch is imported only where an engine has no converted copy of the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from facesearch.core.arrays import Pixels, Vectors, normalised
from facesearch.core.errors import EngineError, InputError, ModelError, SettingsError, TemplateFormatError
from facesearch.core.face import Alignment, FaceCrop
from facesearch.core.template import Template
from facesearch.embedding.networks import network_spec
from facesearch.embedding.registry import EmbedderCard, card
from facesearch.inference import Engine

DEFAULT_BATCH_SIZE = 16
"""Crops run at once: larger batches gain nothing on a processor and take memory."""


class NetworkEmbedder:
    """An embedder that runs a network. Safe to use from several threads.

    Args:
        card: The embedder.
        engine: What runs it.
        flip_average: Whether a vector is the normalised mean of the crop's and its mirror image's: twice the work, slightly more
            exact, and another embedder id.
        batch_size: Crops (mirror images included) run at once, at least 1; bounds the memory.

    Raises:
        SettingsError: ``batch_size`` is less than 1.
        CheckpointNotFoundError: The weights are absent.
        CheckpointDigestError: They are not the published ones.
        EngineError: The engine cannot load the network, or was asked for int8 and the embedder has no scales for it.
    """

    def __init__(
        self, card: EmbedderCard, engine: Engine, *, flip_average: bool = False, batch_size: int = DEFAULT_BATCH_SIZE
    ) -> None:
        if batch_size < 1:
            raise SettingsError(f"the batch size must be at least 1, not {batch_size}")
        # An engine's converted copy is found by digest, so a damaged file would otherwise go unnoticed until the copy is gone.
        card.verify_file()
        self.card = card
        self.flip_average = flip_average
        self.batch_size = batch_size if card.is_batched else 1
        spec = network_spec(card)
        if engine.precision == "int8" and spec.int8 is None:
            raise EngineError(
                f"{card.name} was never measured in int8 and has no scales for it: use precision auto, bf16 or f32",
                embedder=card.name,
            )
        self._network = engine.load(spec)

    @property
    def embedder_id(self) -> str:
        """``<name>@<12 hex digits of the weights' SHA-256>``, with ``+flip`` when vectors are flip-averaged."""
        return self.card.embedder_id(flip=self.flip_average)

    @property
    def dim(self) -> int:
        """Length of its vectors."""
        return self.card.dim

    @property
    def alignment(self) -> Alignment:
        """The crop it wants."""
        return self.card.alignment

    def embed(self, crops: Sequence[FaceCrop]) -> tuple[Template, ...]:
        """Return one template a crop, in order; none for no crops.

        A vector depends on its crop alone: whatever travels in the same batch moves it by less than 1e-5 in f32.

        Args:
            crops: Aligned as ``alignment`` says.

        Raises:
            InputError: A crop has another size than ``alignment.crop_px``.
            ModelError: The network failed or returned no direction (zero or NaN).
        """
        crop_px = self.alignment.crop_px
        for place, crop in enumerate(crops):
            if crop.pixels.shape[0] != crop_px:
                raise InputError(
                    f"crop {place} is {crop.pixels.shape[0]} pixels wide, {self.card.name} wants {crop_px}",
                    found_px=crop.pixels.shape[0],
                    wanted_px=crop_px,
                )
        if not crops:
            return ()
        vectors = np.concatenate([self._run(batch) for batch in self._batches(crops)])
        if self.flip_average:
            vectors = self._directions(vectors[0::2] + vectors[1::2])
        embedder_id = self.embedder_id
        return tuple(Template(vector, embedder_id) for vector in vectors)

    def warm_up(self, sizes: Iterable[int] | None = None) -> None:
        """Run batches of black crops, so that the first faces are embedded as fast as all others.

        An engine prepares each number of crops when it first sees it, which takes some 20 ms; a server calls this for those that
        requests will bring.

        Args:
            sizes: Numbers of crops; None for one and a full batch. Those above the batch size are left out.

        Raises:
            ModelError: The network failed.
        """
        crop_px = self.alignment.crop_px
        wanted = {1, self.batch_size} if sizes is None else set(sizes)
        for n_crops in sorted(n for n in wanted if n <= self.batch_size):
            self._network.run(np.zeros((n_crops, crop_px, crop_px, 3), np.uint8))

    def _batches(self, crops: Sequence[FaceCrop]) -> Iterator[Pixels]:
        """Yield the pictures to run, each crop followed by its mirror image where vectors are flip-averaged."""
        views = 2 if self.flip_average else 1
        n_pictures = len(crops) * views
        for start in range(0, n_pictures, self.batch_size):
            places = range(start, min(start + self.batch_size, n_pictures))
            yield np.stack([crops[place // views].pixels[:, :: -1 if place % views else 1] for place in places])

    def _run(self, batch: Pixels) -> Vectors:
        """Return the unit vectors of one batch."""
        (vectors,) = self._network.run(batch)
        if vectors.shape != (len(batch), self.dim):
            raise ModelError(
                f"the network of {self.card.name} returned shape {vectors.shape} instead of {(len(batch), self.dim)}",
                name=self.card.name,
            )
        return self._directions(vectors)

    def _directions(self, vectors: Vectors) -> Vectors:
        """Return vectors scaled to unit norm."""
        try:
            return normalised(vectors)
        except TemplateFormatError as exc:
            raise ModelError(
                f"the network of {self.card.name} returned a vector that is zero or not finite: no template was made",
                name=self.card.name,
            ) from exc


def create_embedder(
    name: str,
    engine: Engine,
    *,
    flip_average: bool = False,
    batch_size: int = DEFAULT_BATCH_SIZE,
    models_folder: Path | None = None,
) -> NetworkEmbedder:
    """Return an embedder by name: see ``registry.card`` for names and ``NetworkEmbedder`` for the rest.

    Args:
        name: ``mobilenet-128``, or ``mobilenet-128@<12 hex digits>`` for one digest.
        engine: What runs it.
        flip_average: Whether vectors are averaged with the mirror image's.
        batch_size: Crops run at once.
        models_folder: A folder to look in besides the package's own.

    Raises:
        UnknownEmbedderError: There is none of that name.
        ModelError: Its files are missing, damaged or malformed, or the engine cannot load it.
    """
    return NetworkEmbedder(card(name, models_folder), engine, flip_average=flip_average, batch_size=batch_size)
