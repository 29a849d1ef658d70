"""Weights of trainable networks: from files of this package, of torchvision, facenet-pytorch and dlib, and into safetensors.

A file that ``save_network`` wrote carries its architecture. Nothing is downloaded and nothing but tensors is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from facesearch.core.errors import CheckpointFormatError, FileWriteError
from facesearch.embedding.architecture import Architecture, parse_architecture
from facesearch.embedding.checkpoint import checksum, digest_of, fill, parse_tensors, read_checked
from facesearch.embedding.dlib_file import read_dlib
from facesearch.embedding.model_file import format_of, safetensors_header
from facesearch.embedding.state_file import read_state

if TYPE_CHECKING:
    import torch

    from facesearch.embedding.embedding_network import EmbeddingNetwork

Tensors = dict[str, "torch.Tensor"]

ARCHITECTURE_KEY = "facesearch.architecture"
"""Where a safetensors file's metadata holds the architecture, as JSON."""

LICENCE_KEY, SOURCE_KEY, FIGURES_KEY = "facesearch.licence", "facesearch.source", "facesearch.figures"
"""Where it may hold the weights' licence, where they came from, and what was measured of them (JSON as ``figures.json`` has it)."""

CHECKSUM_KEY = "facesearch.crc32"
"""Where it holds the CRC-32 of its tensors: a damaged file would go on as a worse network under a new digest."""

_HEAD = ("pooling.", "fc.")
_COUNTS = "num_batches_tracked"  # of batch norms: no floats, and nothing computes with them
_MOBILENET = re.compile(r"(stem|blocks\.(\d+))\.(.+)")
_RESNET_STEM = re.compile(r"(conv1|bn1)\.(.+)")
_MOBILENET_V3 = re.compile(r"features\.(\d+)\.(.+)")
_INCEPTION_STEM = re.compile(r"(conv2d_\d[ab])\.(.+)")


def read_architecture(path: Path) -> Architecture | None:
    """Return the architecture that a safetensors file carries; None where it carries none. No tensor is read.

    Raises:
        ModelFileError: It is no safetensors file that can be read.
        ModelDescriptionError: What it carries is malformed.
    """
    text = safetensors_header(path).get("__metadata__", {}).get(ARCHITECTURE_KEY)
    return None if text is None else parse_architecture(text, where=path.name)


def load_weights(network: EmbeddingNetwork, file: Path, *, sha256: str | None = None, with_head: bool = True) -> tuple[str, ...]:
    """Give a network the weights of a file.

    Understood are files of ``save_network``, the shipped ``mobilenet``'s, torchvision's (their classifier is left aside),
    facenet-pytorch's (linear layer and its batch norm become one linear layer) and dlib's. Stages of the file that the network does
    not have, since an earlier layer is pooled, are left aside.

    Args:
        network: Filled in place.
        file: The weights.
        sha256: Expected SHA-256 in lower-case hex; None for any.
        with_head: Whether the file's linear layer is taken too; without, it keeps what it has. Files that have none that fits the
            network (torchvision's, and any with another pooling) need this to be False.

    Returns:
        The network's tensors that the file did not fill.

    Raises:
        CheckpointNotFoundError: The file is absent or cannot be read.
        CheckpointDigestError: It is another file.
        CheckpointFormatError: It holds weights of another architecture; names what differs.
        ModelFileError: It is no file of weights.
    """
    wanted = network.state_dict()
    tensors = _own_tensors(network.architecture, file, sha256)
    unused = {name for name in tensors if name.startswith("stages.") and name.split(".")[1] not in network.stage_names}
    tensors = {name: tensor for name, tensor in tensors.items() if name not in unused}
    tensors |= {name: tensor for name, tensor in wanted.items() if name.endswith(_COUNTS)}
    unfilled: tuple[str, ...] = ()
    if not with_head:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(_HEAD)}
        unfilled = tuple(sorted(name for name in wanted if name.startswith(_HEAD)))
        tensors |= {name: wanted[name] for name in unfilled}
    fill(network, tensors, source=str(file))
    network.keep_folded_norms()
    return unfilled


def _own_tensors(architecture: Architecture, file: Path, sha256: str | None) -> Tensors:
    """Return a file's tensors under the names of an ``EmbeddingNetwork``."""
    digest = sha256 or digest_of(file)
    kind = format_of(file)
    if kind == "dlib":
        import torch

        _require_backbone(architecture, "dlib-resnet-29", file)
        found = read_dlib(read_checked(file, sha256=digest), source=file.name)
        return _of_dlib({name: torch.from_numpy(values.copy()) for name, values in found.items()})
    if kind == "tensorflow":
        from facesearch.embedding.backbones.frozen_inception import read_inception

        _require_backbone(architecture, "inception-resnet-v1", file)
        return _of_inception(read_inception(read_checked(file, sha256=digest), source=file.name))
    if kind == "torch-state":
        return _TRANSLATED[architecture.backbone](read_state(read_checked(file, sha256=digest), source=file.name))
    if kind != "safetensors":
        raise CheckpointFormatError(f"{file.name} is {kind}, a graph and not weights: it cannot be trained further")
    content = read_checked(file, sha256=digest)
    carried = read_architecture(file)
    if carried is None:
        return _TRANSLATED[architecture.backbone](parse_tensors(content, file))
    # Another crop or head is the caller's decision; another backbone's tensors fit nowhere.
    mine, theirs = ({"backbone": one.backbone, "has_norms": one.has_norms, "width": one.width} for one in (architecture, carried))
    if mine != theirs:
        told = ", ".join(f"{name} {theirs[name]}, not {mine[name]}" for name in mine if mine[name] != theirs[name])
        raise CheckpointFormatError(f"{file.name} is a checkpoint of another architecture: {told}", path=str(file))
    tensors = parse_tensors(content, file)
    written = metadata_of(file).get(CHECKSUM_KEY)
    if written is not None and written != (counted := str(checksum(tensors))):
        raise CheckpointFormatError(
            f"{file} is damaged: its tensors have the checksum {counted}, {written} was written", path=str(file)
        )
    return tensors


def _require_backbone(architecture: Architecture, backbone: str, file: Path) -> None:
    if architecture.backbone != backbone:
        raise CheckpointFormatError(
            f"{file.name} is a checkpoint of another architecture: backbone {backbone}, not {architecture.backbone}", path=str(file)
        )


def _of_dlib(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Name dlib's tensors: its linear layer has no bias."""
    import torch

    named = {
        f"stages.stem.conv.{name.removeprefix('stem.')}" if name.startswith("stem.") else _numbered(name): tensor
        for name, tensor in tensors.items()
    }
    return {**named, "fc.bias": torch.zeros(len(tensors["fc.weight"]))}


def _numbered(name: str) -> str:
    """Return ``stages.block3.…`` of ``blocks.2.…``; other names as they are."""
    found = _MOBILENET.fullmatch(name)
    return name if found is None or found[2] is None else f"stages.block{int(found[2]) + 1}.{found[3]}"


def _of_mobilenet(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Name the shipped network's tensors."""
    return {f"stages.{name}" if name.startswith("stem.") else _numbered(name): tensor for name, tensor in tensors.items()}


def _of_resnet(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Name torchvision's tensors; the classifier is left out."""
    return {
        f"stages.stem.{name}" if _RESNET_STEM.fullmatch(name) else f"stages.{name}": tensor
        for name, tensor in tensors.items()
        if not name.startswith("fc.")
    }


def _of_mobilenet_v3(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Name torchvision's tensors; the classifier is left out."""
    found = {name: _MOBILENET_V3.fullmatch(name) for name in tensors}
    numbers = [int(one[1]) for one in found.values() if one is not None]
    last = max(numbers, default=0)

    def stage(number: int) -> str:
        return "stem" if number == 0 else "top" if number == last else f"block{number}"

    return {f"stages.{stage(int(one[1]))}.{one[2]}": tensors[name] for name, one in found.items() if one is not None}


def _of_inception(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Name facenet-pytorch's tensors; linear layer and batch norm behind become one linear layer, the classifier is left out."""
    linear = {name: tensor for name, tensor in tensors.items() if name.startswith(("last_linear.", "last_bn."))}
    named = {
        f"stages.stem.{name}" if _INCEPTION_STEM.fullmatch(name) else f"stages.{name}": tensor
        for name, tensor in tensors.items()
        if name not in linear and not name.startswith("logits.")
    }
    if {"last_linear.weight", "last_bn.weight", "last_bn.bias", "last_bn.running_mean", "last_bn.running_var"} <= linear.keys():
        gain = linear["last_bn.weight"] / (linear["last_bn.running_var"] + _INCEPTION_EPS).sqrt()
        named["fc.weight"] = linear["last_linear.weight"] * gain[:, None]
        named["fc.bias"] = linear["last_bn.bias"] - linear["last_bn.running_mean"] * gain
    return named


_INCEPTION_EPS = 0.001
"""Added to variances in facenet-pytorch's batch norms."""

_TRANSLATED: dict[str, Callable[[Mapping[str, torch.Tensor]], Tensors]] = {
    "mobilenet": _of_mobilenet,
    "dlib-resnet-29": _of_dlib,
    "inception-resnet-v1": _of_inception,
    "resnet-18": _of_resnet,
    "resnet-50": _of_resnet,
    "mobilenet-v3-small": _of_mobilenet_v3,
    "mobilenet-v3-large": _of_mobilenet_v3,
}


def save_network(network: EmbeddingNetwork, path: Path, *, metadata: Mapping[str, str] | None = None) -> str:
    """Write a network as safetensors, its architecture with it, in one step.

    Args:
        network: Of any precision; floats are written as float32.
        path: Replaced where it exists.
        metadata: More texts to be written into the file.

    Returns:
        The file's SHA-256, lower-case hex.

    Raises:
        FileWriteError: The folder cannot be written or is full; a file that was there before stays.
    """
    import safetensors.torch

    tensors = {
        name: (tensor.detach().float() if tensor.is_floating_point() else tensor.detach()).cpu().contiguous().clone()
        for name, tensor in network.state_dict().items()
        if not name.endswith(_COUNTS)
    }
    texts = {**(metadata or {}), ARCHITECTURE_KEY: network.architecture.text(), CHECKSUM_KEY: str(checksum(tensors))}
    content = _in_order(safetensors.torch.save(tensors, texts))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as exc:
        temporary.unlink(missing_ok=True)
        raise FileWriteError(f"the weights could not be written to {path}: {exc.strerror or exc}", path=str(path)) from exc
    return hashlib.sha256(content).hexdigest()


def _in_order(content: bytes) -> bytes:
    """Return a safetensors file with its texts in order: the library writes them in any, and a network would have many digests."""
    n_header = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + n_header])
    header = {"__metadata__": dict(sorted(header.pop("__metadata__").items())), **header}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the tensors behind it begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + content[8 + n_header :]


def metadata_of(path: Path) -> dict[str, str]:
    """Return the texts that a safetensors file carries beside its tensors.

    Raises:
        ModelFileError: It is no safetensors file that can be read.
    """
    found = safetensors_header(path).get("__metadata__", {})
    return {str(name): value if isinstance(value, str) else json.dumps(value) for name, value in found.items()}
