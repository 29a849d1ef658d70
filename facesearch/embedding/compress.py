"""An embedder of shorter templates made of another one: principal components folded into its last linear layer.

Nothing is trained, and the new embedder has thresholds of its own to be measured. It finds no faces to learn of.
"""

from __future__ import annotations

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facesearch.core.arrays import Vectors
from facesearch.core.errors import InputError
from facesearch.embedding.card import EmbedderCard
from facesearch.embedding.card_file import NOT_STATED
from facesearch.embedding.description import Description
from facesearch.embedding.library import ModelLibrary, Progress
from facesearch.embedding.networks import require_weights
from facesearch.embedding.pca import Projection, fit_projection

LEAST_PER_DIRECTION = 4
"""Templates that each component kept is learnt of, at least; fewer describe themselves and nobody else."""


@dataclass(frozen=True, slots=True, eq=False)
class Compression:
    """What was made.

    Attributes:
        card: The new embedder.
        source_id: The embedder it was made of.
        projection: The components.
        n_learnt: Templates they were learnt of.
    """

    card: EmbedderCard
    source_id: str
    projection: Projection
    n_learnt: int

    def as_dict(self) -> dict[str, object]:
        """Return plain values; ``kept`` in [0, 1]."""
        return {
            "embedder_id": self.card.embedder_id(),
            "made_of": self.source_id,
            "dim": self.card.dim,
            "kept": self.projection.kept,
            "n_learnt": self.n_learnt,
        }


def learn_components(vectors: Vectors, dim: int) -> Projection:
    """Return the components of templates that keep their scores best.

    Without a mean, so that the map is linear: folded into the network it gives the same templates as applied to ones that exist.

    Args:
        vectors: Templates of one embedder, unit norm, ``(N, D)``.
        dim: Components kept, less than ``D``.

    Raises:
        InputError: ``dim`` is out of range or there are too few templates.
    """
    _require_fewer(dim, vectors.shape[1])
    require_enough(len(vectors), dim)
    return fit_projection(vectors, dim, is_centred=False)


def require_compressible(library: ModelLibrary, source: EmbedderCard, name: str, dim: int) -> None:
    """Refuse before any face is embedded what ``compress`` would refuse afterwards.

    Args:
        library: Where to.
        source: The embedder.
        name: Of the new one.
        dim: Length of the new templates.

    Raises:
        UnsupportedModelError: The source is a graph, whose last layer cannot be taken apart.
        ModelDescriptionError: The name has another form.
        ModelTakenError: Another embedder has it.
        InputError: ``dim`` is out of range.
    """
    require_weights(source)
    library.require_free(name)
    _require_fewer(dim, source.dim)


def require_enough(n_faces: int, dim: int) -> None:
    """Raise where there are too few faces to learn components of.

    Args:
        n_faces: Faces, or photographs that may each give one.
        dim: Components.

    Raises:
        InputError: There are fewer than ``LEAST_PER_DIRECTION`` for each.
    """
    if n_faces < LEAST_PER_DIRECTION * dim:
        raise InputError(
            f"{dim} components are learnt of {LEAST_PER_DIRECTION * dim} faces at least, there are {n_faces}: name more "
            "photographs, of people like those of the gallery",
            n_vectors=n_faces,
        )


def _require_fewer(dim: int, n_numbers: int) -> None:
    if not 2 <= dim < n_numbers:
        raise InputError(f"templates of {n_numbers} numbers can be brought to 2 … {n_numbers - 1}, not {dim}", dim=dim)


def compress(
    library: ModelLibrary,
    source: EmbedderCard,
    name: str,
    vectors: Vectors,
    dim: int,
    *,
    progress: Progress = lambda _: None,
) -> Compression:
    """Add an embedder whose templates are the components of another's.

    Args:
        library: Where to.
        source: The embedder, one whose file holds weights.
        name: Of the new one.
        vectors: Templates of the source, what the components are learnt of; unit norm ``(N, D)``.
        dim: Length of the new templates.
        progress: Told what is being done.

    Raises:
        UnsupportedModelError: The source is a graph, whose last layer cannot be taken apart.
        InputError: ``dim`` is out of range or there are too few templates.
        ModelDescriptionError: The name has another form.
        ModelTakenError: Another embedder has the name.
        FileWriteError: The models folder cannot be written.
    """
    import torch

    from facesearch.embedding.embedding_network import EmbeddingNetwork, build_network
    from facesearch.embedding.networks import trainable_network
    from facesearch.embedding.weights import save_network

    require_compressible(library, source, name, dim)
    if vectors.shape[1] != source.dim:
        raise InputError(f"templates of {vectors.shape[1]} numbers were given, {source.name} makes {source.dim}")
    progress("learning the components")
    projection = learn_components(vectors, dim)
    network: EmbeddingNetwork = trainable_network(source)
    shorter = build_network(dataclasses.replace(network.architecture, dim=dim, is_projected=True))
    if isinstance(network.fc, torch.nn.Linear):
        weight, bias = projection.folded(network.fc.weight.detach().numpy(), network.fc.bias.detach().numpy())
    else:
        weight, bias = projection.matrix, np.zeros(dim)
    tensors = network.state_dict()
    tensors["fc.weight"], tensors["fc.bias"] = (torch.from_numpy(one.astype(np.float32)) for one in (weight, bias))
    shorter.load_state_dict(tensors)
    origin = source.origin
    made = f"{source.embedder_id()} brought from {source.dim} to {dim} numbers by components of {len(vectors)} faces"
    said = Description(licence=source.licence, source=made if origin.source in ("", NOT_STATED) else f"{made}; {origin.source}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.safetensors"
        save_network(shorter, file)
        card = library.add(file, name, said, accept_licence=origin.licence_accepted_at is not None, progress=progress)
    return Compression(card, source.embedder_id(), projection, len(vectors))
