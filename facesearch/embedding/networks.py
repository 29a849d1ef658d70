"""What an engine is given for a card: the file's graph, or how its network is built, with the preparation of the pixels.

It runs nothing. Reading a file checks its digest first, whatever its format.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import re
from functools import partial
from typing import TYPE_CHECKING, Literal, cast

from facesearch.core.errors import CheckpointFormatError, EngineError, ModelFileError, UnsupportedModelError
from facesearch.embedding.architecture import default_architecture
from facesearch.embedding.backbones import build_backbone
from facesearch.embedding.card import EmbedderCard
from facesearch.embedding.checkpoint import fill, load_checkpoint, read_checked
from facesearch.embedding.dlib_file import read_dlib
from facesearch.embedding.state_file import read_state
from facesearch.inference import NetworkSpec
from facesearch.inference.network import GraphFile

if TYPE_CHECKING:
    import torch

    from facesearch.embedding.embedding_network import EmbeddingNetwork

GRAPH_FORMATS = ("onnx", "tensorflow")
"""Formats that OpenVINO reads itself."""

_CLASSIFIER = re.compile(r"logits\.")
"""What facenet-pytorch's files hold beside the embedder: the layer that named the training people."""


def network_spec(card: EmbedderCard) -> NetworkSpec:
    """Return what an engine needs to load a card's network."""
    crop_px = card.alignment.crop_px
    # The normalisation is part of the graph that engines convert and keep: it has to be part of the digest they find it by.
    recipe = f"{card.sha256}|{card.recipe_text()}|{card.dim if card.backbone == 'mobilenet' else ''}"
    is_graph = card.format in GRAPH_FORMATS
    return NetworkSpec(
        name=card.name,
        digest=hashlib.sha256(recipe.encode()).hexdigest(),
        build=partial(_no_module if is_graph else build_network, card),
        example_shape=(2 if card.is_batched else 1, crop_px, crop_px, 3),
        example_dtype="uint8",
        dynamic_axes=(0,) if card.is_batched else (),
        graph=_graph(card) if is_graph else None,
        int8=card.precisions.int8,
        precisions=card.precisions.measured,
    )


def _graph(card: EmbedderCard) -> GraphFile:
    return GraphFile(
        path=card.weights_path,
        kind=cast(Literal["onnx", "tensorflow"], card.format),
        layout=cast(Literal["nchw", "nhwc"], card.layout),
        is_bgr=card.preparation.is_bgr,
        is_standardised=card.preparation.is_standardised,
        mean=card.preparation.mean,
        scale=card.preparation.scale,
        output=card.output,
    )


def _no_module(card: EmbedderCard) -> torch.nn.Module:
    raise EngineError(f"torch cannot run {card.name}, which is {card.format}: choose engine openvino for it", embedder=card.name)


def build_network(card: EmbedderCard) -> torch.nn.Module:
    """Return the card's network with its weights, taking crops as they are.

    Raises:
        CheckpointNotFoundError: The file is absent or cannot be read.
        CheckpointDigestError: It is another file.
        CheckpointFormatError: It holds no such weights.
        ModelFileError: It is no TorchScript.
    """
    from facesearch.embedding.prepared import Prepared

    if card.format == "torchscript":
        return Prepared(_script(card), card.preparation, card.layout).eval()
    if card.architecture is not None:
        return Prepared(_described_network(card), card.preparation).eval()
    network = build_backbone(card.backbone, card.dim, card.mean, card.scale)
    network = fill(network, _tensors(card), source=str(card.weights_path))
    return network if card.backbone == "mobilenet" else Prepared(network, card.preparation).eval()


def _described_network(card: EmbedderCard) -> EmbeddingNetwork:
    """Return the network that a card's architecture describes, with its weights."""
    from facesearch.embedding import embedding_network
    from facesearch.embedding.weights import load_weights

    if card.architecture is None:
        raise CheckpointFormatError(f"{card.name} comes without an architecture: this release knows its network as a whole only")
    network = embedding_network.build_network(card.architecture)
    load_weights(network, card.weights_path, sha256=card.sha256)
    return network.eval()


def trainable_network(card: EmbedderCard) -> EmbeddingNetwork:
    """Return a card's network as stages, pooling and linear layer, with its weights: to be trained on, compressed or exported.

    Raises:
        UnsupportedModelError: Its file is a graph, whose layers cannot be taken apart.
        CheckpointNotFoundError: The file is absent or cannot be read.
        CheckpointDigestError: It is another file.
        CheckpointFormatError: It holds no such weights.
    """
    require_weights(card)
    if card.architecture is not None:
        return _described_network(card)
    described = default_architecture(card.backbone, dim=card.dim, alignment=card.alignment, preparation=card.preparation)
    return _described_network(dataclasses.replace(card, architecture=described))


def require_weights(card: EmbedderCard) -> None:
    """Raise where an embedder's layers cannot be taken apart.

    Raises:
        UnsupportedModelError: Its file is a graph.
    """
    if card.format in GRAPH_FORMATS or card.format == "torchscript":
        raise UnsupportedModelError(
            f"{card.name} is {card.format}, a graph whose layers cannot be taken apart: this needs a file of weights",
            name=card.name,
        )


def _tensors(card: EmbedderCard) -> dict[str, torch.Tensor]:
    """Return the weights of a file that holds weights alone."""
    if card.format == "safetensors":
        tensors = load_checkpoint(card.weights_path, sha256=card.sha256)
    else:
        content = read_checked(card.weights_path, sha256=card.sha256)
        tensors = _dlib(content, card) if card.format == "dlib" else read_state(content, source=card.weights_path.name)
    return {
        name: tensor for name, tensor in tensors.items() if card.backbone != "inception-resnet-v1" or not _CLASSIFIER.match(name)
    }


def _dlib(content: bytes, card: EmbedderCard) -> dict[str, torch.Tensor]:
    import torch

    return {name: torch.from_numpy(values.copy()) for name, values in read_dlib(content, source=card.weights_path.name).items()}


def _script(card: EmbedderCard) -> torch.nn.Module:
    """Return a TorchScript module."""
    import warnings

    import torch

    content = read_checked(card.weights_path, sha256=card.sha256)
    try:
        with warnings.catch_warnings():
            # Newer torch releases call TorchScript deprecated; nothing that whoever has such a file can act on here.
            warnings.simplefilter("ignore")
            module: torch.nn.Module = torch.jit.load(io.BytesIO(content), map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as exc:
        reason = str(exc).strip().splitlines()[0]
        known = "Unknown builtin op" in str(exc) or "not found" in reason
        error = UnsupportedModelError if known else ModelFileError
        raise error(f"{card.weights_path.name} is no TorchScript that can be run here: {reason}", name=card.name) from exc
    return module.eval()
