"""How well each layer of a network tells people apart, by way of pooling: what ``train features`` shows.

It trains nothing: components are learnt of one set of people and error rates measured on another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Vectors
from facesearch.core.errors import CropStoreError, InputError, TemplateFormatError
from facesearch.embedding.architecture import POOLINGS
from facesearch.embedding.pca import fit_projection
from facesearch.evaluation.all_pairs import all_pairs
from facesearch.evaluation.intervals import Rate, WeightedRate
from facesearch.training.crop_store import CropStore

if TYPE_CHECKING:
    import torch

    from facesearch.embedding.embedding_network import EmbeddingNetwork

FMRS = (1e-2, 1e-3)
"""Rates that are shown: looser than decisions need, since early layers have no more to show."""

DEFAULT_DIM = 128
"""Components kept."""

MAX_VALUES = 2048
"""Pooled values beyond which vectors are sketched: components of 50,000 numbers would take minutes and gigabytes each."""

AT_ONCE = 32
"""Crops run at once."""

TEMPLATE = "template"
"""Name of the network's own head in the table, in the place of a pooling."""

Progress = Callable[[int, int], None]
"""Called with the number of crops done and the number of all."""


@dataclass(frozen=True, slots=True)
class LayerFigures:
    """How well one layer and pooling tell people apart.

    Attributes:
        layer: The stage.
        pooling: One of ``POOLINGS``, or ``TEMPLATE``.
        n_values: Numbers of the pooled vector.
        n_components: Components it was brought to; None as it is.
        tar: TAR at each of ``FMRS`` as pooled, by cosine, every person weighing the same.
        tar_of_components: The same of the whitened components; empty for ``TEMPLATE``.
    """

    layer: str
    pooling: str
    n_values: int
    n_components: int | None
    tar: tuple[Rate | WeightedRate, ...]
    tar_of_components: tuple[Rate | WeightedRate, ...]

    def as_dict(self) -> dict[str, object]:
        """Return the figures as plain values; rates in [0, 1]."""
        return {
            "layer": self.layer,
            "pooling": self.pooling,
            "n_values": self.n_values,
            "n_components": self.n_components,
            "tar": {f"{fmr:g}": rate.as_dict() for fmr, rate in zip(FMRS, self.tar, strict=True)},
            "tar_of_components": {f"{fmr:g}": rate.as_dict() for fmr, rate in zip(FMRS, self.tar_of_components, strict=False)},
        }


def require_alignment(network: EmbeddingNetwork, store: CropStore) -> None:
    """Raise unless a store holds the crops that a network wants.

    Raises:
        CropStoreError: It holds others; names both.
    """
    wanted = network.architecture.alignment
    if (wanted.name, wanted.crop_px) != (store.alignment.name, store.crop_px):
        raise CropStoreError(
            f"the crops of {store.folder} are aligned as {store.alignment.name}, {network.architecture.backbone} wants "
            f"{wanted.name}: prepare them with train prepare --embedder of that alignment",
            path=str(store.folder),
        )


def some_people(store: CropStore, most: int | None) -> CropStore:
    """Return a store of as many whole people as have at most so many crops, drawn at random, the same ones each time."""
    if most is None or len(store) <= most:
        return store
    chosen: list[str] = []
    for place in np.random.default_rng(0).permutation(len(store.people)).tolist():
        n_crops = int(store.counts[place])
        if n_crops <= most:  # people with more than is left are passed over, or one with hundreds would end it
            chosen.append(store.people[place])
            most -= n_crops
    return store.of_people(chosen)


def measure_layers(
    network: EmbeddingNetwork,
    tested: CropStore,
    learnt: CropStore,
    *,
    layers: Sequence[str] | None = None,
    poolings: Sequence[str] = ("sum", "max", "gem", "rmac", "flatten"),
    dim: int = DEFAULT_DIM,
    on_progress: Progress | None = None,
) -> Iterator[LayerFigures]:
    """Yield the figures of layers and poolings, layer by layer; the network's own head first.

    Vectors longer than ``MAX_VALUES`` (flattened maps) are brought to that many by a count sketch, which keeps scalar products to
    about ``1 / √MAX_VALUES`` (Charikar, Chen & Farach-Colton 2002), before anything is measured of them.

    Args:
        network: With its weights.
        tested: Crops that are compared, each with each.
        learnt: Crops of other people that components are learnt of.
        layers: Stages to look at; None for all.
        poolings: Ways to look at them; ``mean`` has the direction of ``sum``.
        dim: Components kept, fewer where the vectors are shorter.
        on_progress: Called after each batch with the crops done and to do in all passes over the two stores.

    Raises:
        InputError: A pooling is unknown, or somebody is in both sets.
        CropStoreError: A store holds crops of another alignment.
        ModelDescriptionError: The network has no such layer.
    """
    unknown = [name for name in poolings if name not in POOLINGS]
    if unknown:
        raise InputError(f"pooling is one of {', '.join(POOLINGS)}, not {unknown[0]!r}")
    for store in (tested, learnt):
        require_alignment(network, store)
    both = set(tested.people) & set(learnt.people)
    if both:
        raise InputError(f"{len(both)} people are measured and learnt of at once, {min(both)!r} for one: name two lists of people")
    network.require_stages(layers or ())
    # In the network's order, whatever was asked in: a pass ends behind its last layer.
    chosen = tuple(name for name in network.stage_names if layers is None or name in layers)
    groups = [chosen[start : start + _LAYERS_AT_ONCE] for start in range(0, len(chosen), _LAYERS_AT_ONCE)]
    n_each = len(tested) + len(learnt)

    def after(n_before: int) -> Progress:
        """Return what tells of a pass that begins when so many crops are done."""

        def tell(n_done: int, _: int) -> None:
            if on_progress is not None:
                on_progress(n_before + n_done, len(groups) * n_each)

        return tell

    for number, group in enumerate(groups):
        begun = number * n_each
        tested_vectors = pooled_features(network, tested, group, poolings, with_template=number == 0, on_progress=after(begun))
        learnt_vectors = pooled_features(network, learnt, group, poolings, on_progress=after(begun + len(tested)))
        for key, vectors in tested_vectors.items():
            yield _figures(key, vectors, learnt_vectors.get(key), tested.labels, dim)


_LAYERS_AT_ONCE = 7
"""Layers whose vectors are held at once: each pass runs the network anew."""


def _figures(key: tuple[str, str], vectors: Vectors, learnt: Vectors | None, labels: NDArray[np.int64], dim: int) -> LayerFigures:
    tar = _tar(vectors, labels)
    if learnt is None:
        return LayerFigures(*key, vectors.shape[1], None, tar, ())
    n_components = min(dim, vectors.shape[1], len(learnt) - 1)
    units, bases = _unit(vectors), _unit(learnt)
    while n_components > 1:
        try:
            projection = fit_projection(bases, n_components, is_whitened=True)
        except InputError:  # dead channels: fewer directions than numbers
            n_components //= 2
            continue
        return LayerFigures(*key, vectors.shape[1], n_components, tar, _tar(projection(units), labels))
    return LayerFigures(*key, vectors.shape[1], None, tar, ())


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return rows of unit norm; a row of zeros stays one."""
    wide = np.asarray(vectors, dtype=np.float64)
    units: NDArray[np.float64] = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return units


def _tar(vectors: NDArray[np.floating], labels: NDArray[np.int64]) -> tuple[Rate | WeightedRate, ...]:
    """Return the rates by cosine; a vector without a direction is a failure to acquire."""
    units = _unit(vectors).astype(np.float32)
    units[~units.any(axis=1)] = np.nan
    if np.isnan(units[:, 0]).all():
        raise TemplateFormatError("the layer gives no picture a direction: the network has no weights")
    pairs = all_pairs(units, labels, n_worst=0)
    return tuple(pairs.at_fmr(fmr).tar for fmr in FMRS)


def pooled_features(
    network: EmbeddingNetwork,
    store: CropStore,
    layers: Sequence[str],
    poolings: Sequence[str],
    *,
    with_template: bool = False,
    on_progress: Progress | None = None,
) -> dict[tuple[str, str], Vectors]:
    """Return the pooled vectors of all crops of a store, by layer and pooling; float32 ``(N, D)``, not normalised.

    Args:
        network: With its weights.
        store: Aligned as it wants.
        layers: Stages.
        poolings: Of each.
        with_template: Whether the network's own vectors come too, first, under its last stage and ``TEMPLATE``.
        on_progress: Called after each batch.

    Raises:
        ModelDescriptionError: The network has no such layer, or there is no such pooling.
    """
    import torch

    from facesearch.embedding.heads import build_pooling
    from facesearch.embedding.prepared import prepared_planes

    network.require_stages(layers)
    heads = {name: build_pooling(name).eval() for name in poolings}
    found: dict[tuple[str, str], Vectors] = {}
    was_training = network.training
    network.eval()
    with torch.inference_mode():
        for start in range(0, len(store), AT_ONCE):
            rows = np.arange(start, min(start + AT_ONCE, len(store)))
            planes = prepared_planes(torch.from_numpy(store.crops(rows)), network.architecture.preparation)
            for key, vectors in _pooled(network, planes, layers, heads, with_template=with_template):
                if key not in found:
                    found[key] = np.empty((len(store), vectors.shape[1]), dtype=np.float32)
                found[key][rows] = vectors.numpy()
            if on_progress is not None:
                on_progress(int(rows[-1]) + 1, len(store))
    network.train(was_training)
    # The network's own vectors first.
    return dict(sorted(found.items(), key=lambda one: one[0][1] != TEMPLATE))


def _pooled(
    network: EmbeddingNetwork,
    planes: torch.Tensor,
    layers: Sequence[str],
    heads: Mapping[str, torch.nn.Module],
    *,
    with_template: bool,
) -> Iterator[tuple[tuple[str, str], torch.Tensor]]:
    last = network.stage_names[-1]
    for name, features in network.all_features(planes):
        if name in layers:
            for pooling, head in heads.items():
                yield (name, pooling), sketched(head(features))
        if name == last and with_template:
            yield (name, TEMPLATE), network.fc(network.pooling(features))
        if not with_template and name == layers[-1]:
            return


def sketched(vectors: torch.Tensor, n_values: int = MAX_VALUES) -> torch.Tensor:
    """Return vectors of at most so many numbers: longer ones by a count sketch, the same places and signs each time."""
    import torch

    if vectors.shape[1] <= n_values:
        return vectors
    places, signs = (torch.from_numpy(one) for one in _sketch(vectors.shape[1], n_values))
    return torch.zeros(len(vectors), n_values).index_add_(1, places, vectors.float() * signs)


@lru_cache(maxsize=4 * _LAYERS_AT_ONCE)  # a long one takes as long to draw as to apply
def _sketch(length: int, n_values: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the place and the sign of each number of vectors of a length."""
    random = np.random.default_rng(length)
    return random.integers(0, n_values, length), random.choice(np.array([-1.0, 1.0], dtype=np.float32), length)
